"""Pools by whose scores or labels nothing can be chosen, and those near the ends of float32."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.running import mig, refused

LABELS = ["art", "math", "law", "bio", "chem", "code"]


def pool(folder, scores, labels=None):
    rng = np.random.default_rng(0)
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = folder / "pool.jsonl"
    with path.open("w") as stream:
        for number, score in enumerate(scores):
            own = rng.choice(LABELS, rng.integers(1, 4), replace=False).tolist()
            record = {"labels": own if labels is None else labels[number], "score": score}
            stream.write(json.dumps({**record, "messages": turns}) + "\n")
    return path


def embeddings(folder):
    path = folder / "embeddings.npz"
    np.savez(path, labels=np.array(LABELS), embeddings=np.eye(len(LABELS)))
    return path


NOTHING = {
    "all scores are 0": ([0] * 20, None, "--pool: the scores of all records are 0"),
    "no label": ([1.0] * 20, [[]] * 20, "--pool: no record has a label"),
    "never both": (
        [1.0, 0.0] * 10,
        [[], ["art"]] * 10,
        "--pool: no record that has a label has a score above 0",
    ),
}


@pytest.mark.parametrize("case", [*NOTHING, "vocabulary"])
@pytest.mark.parametrize("command", ["select", "select --nocertificate", "ablate", "learn"])
def test_nothing_to_choose_by_is_told_before_the_work(case, command, tmp_path):
    scores, labels, told = NOTHING.get(
        case, ([1.0] * 20, None, "--vocabulary: has none of the labels of the records")
    )
    path = pool(tmp_path, scores, labels)
    words = [*command.split(), f"--pool={path}", "--budget=3", "--cache=none"]
    if case == "vocabulary":
        (tmp_path / "vocabulary.json").write_text('["sports"]')
        words.append(f"--vocabulary={tmp_path / 'vocabulary.json'}")
    out = tmp_path / "out"
    out.mkdir()
    if words[0] == "select":
        words.append(f"--output={out / 'picked.jsonl'}")
    else:
        words.append(f"--workdir={out}")
    if words[0] == "learn":
        wanted, other = tmp_path / "wanted.jsonl", tmp_path / "other.jsonl"
        wanted.write_text('{"labels": ["a"], "score": 1.0}\n')
        other.write_text('{"labels": ["b"], "score": 1.0}\n')
        words += [f"--label_embeddings={embeddings(tmp_path)}", "--objective=target"]
        words += [f"--validation={wanted}", f"--test={other}"]
    line = refused(*words)
    assert line.startswith(f"mig-jax: {told}, so that no selection holds any information")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("outlier", "is_told"), [(1e30, True), (3000.0, True), (200.0, False)])
def test_a_score_that_outweighs_all_others_is_told_with_its_place(outlier, is_told, tmp_path):
    scores = [*np.linspace(1, 3, 20), 0.0]
    scores[6] = outlier
    path = pool(tmp_path, scores)
    result = mig("select", f"--pool={path}", "--budget=3", f"--output={tmp_path / 'o.jsonl'}")
    assert result.returncode == 0, result.stderr
    told = f"warning: {path}, line 7 has the score {outlier:.4g}, "
    assert (told in result.stderr) == ("times the median" in result.stderr) == is_told
    times = outlier / np.median(np.delete(scores, 20))
    assert (f", {times:.3g} times the median" in result.stderr) == is_told


@pytest.mark.parametrize("scale", [1e38, 1e-38])
@pytest.mark.parametrize(
    "more", [["--epsilon=0"], ["--epsilon=0", "--gain=linear"], ["--score_function=log"]]
)
def test_scores_at_the_ends_of_float32(scale, more, tmp_path):
    """Log of 1 + x has a scale of its own: with tiny scores it is linear."""
    scores = (np.random.default_rng(1).uniform(1, 3, 20) * scale).tolist()
    path, output = pool(tmp_path, scores), tmp_path / "picked.jsonl"
    words = [f"--pool={path}", "--budget=5", f"--output={output}", *more]
    result = mig("select", *words, "--cache=none", f"--report={tmp_path / 'report'}")
    assert result.returncode == 0, result.stderr
    about = json.loads((tmp_path / "picked.manifest.json").read_text())
    table = pq.read_table(tmp_path / "picked.selection.parquet")
    gains, so_far = table["gain"].to_numpy(), table["information"].to_numpy()
    assert np.isfinite(gains).all()
    assert np.all(gains > 0)
    assert np.all(np.diff(gains) <= 0)
    np.testing.assert_allclose(so_far[-1], about["information"], rtol=1e-6)
    # By hand: E of what was picked, in float64.
    held = dict.fromkeys(LABELS, 0.0)
    for line in output.read_text().splitlines():
        record = json.loads(line)
        for label in record["labels"]:
            held[label] += float(np.float32(record["score"]))
    z = np.array(list(held.values()))
    own = np.log1p(z).sum() if "--score_function=log" in more else (z**0.8).sum()
    np.testing.assert_allclose(about["information"], own, rtol=1e-5)
    assert about["information"] >= about["random_choice"]["information"]
    assert 0.5 < about["certified_ratio"] <= 1


def test_a_grid_at_the_end_of_float32(tmp_path):
    path = pool(tmp_path, (np.random.default_rng(1).uniform(1, 3, 20) * 1e38).tolist())
    words = [f"--pool={path}", "--budget=5", f"--workdir={tmp_path / 'grid'}", "--cache=none"]
    result = mig("ablate", *words, "--exponents=0.5", "--rates=0.1", "--noheat_maps")
    assert result.returncode == 0, result.stderr
    table = pq.read_table(tmp_path / "grid" / "ablation.parquet").to_pydict()
    assert np.isfinite(table["information"]).all()
    assert min(table["information_paper"]) > 1e30


@pytest.mark.parametrize("scale", [1e-38, 1e-24])
@pytest.mark.parametrize("command", ["select", "select --nocertificate", "ablate"])
def test_scores_that_are_nothing_beside_epsilon_are_told(command, scale, tmp_path):
    """In float64, too, (x + 1e-6)^0.8 is 1e-6^0.8 then: E would be 0, and 100 % of it proven."""
    path = pool(tmp_path, (np.random.default_rng(1).uniform(1, 3, 20) * scale).tolist())
    words = [*command.split(), f"--pool={path}", "--budget=5", "--cache=none"]
    output, grid = tmp_path / "picked.jsonl", tmp_path / "grid"
    more = ["--exponents=0.5", "--rates=0.1", "--noheat_maps", f"--workdir={grid}"]
    line = refused(*words, *(more if command == "ablate" else [f"--output={output}"]))
    assert line.startswith("mig-jax: the information of the selection is too small beside")
    assert not list(tmp_path.glob("picked*"))
    assert not list(grid.glob("ablation*"))


def test_learning_says_that_it_needs_float32(tmp_path):
    path = pool(tmp_path, [3e38, 1e38] * 10)
    words = [f"--pool={path}", f"--label_embeddings={embeddings(tmp_path)}", "--cache=none"]
    told = refused("learn", f"--workdir={tmp_path / 'work'}", "--budget=5", *words)
    assert told.startswith("mig-jax: --pool: its scores above 0 go from 1e+38 to 3e+38, which ")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("word", "bounds"),
    [
        ("--propagation=1e39", "of at least 0 and at most 1e+30"),
        ("--rate=1e-31", "of at least 1e-30 and at most 1e+30"),
        ("--rate=0", "of at least 1e-30 and at most 1e+30"),
        ("--epsilon=1e31", "of at least 0 and at most 1e+30"),
        ("--exponent=1e-9", "of at least 0.001 and at most 1"),
    ],
)
def test_bounds_of_the_measure(word, bounds, tmp_path):
    told = refused("select", "--budget=5", f"--output={tmp_path / 'x.jsonl'}", word)
    name, _, value = word.partition("=")
    assert told == f"mig-jax: {name}: found {value}, expected a finite number {bounds}"
