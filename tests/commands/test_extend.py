"""`select --extend`: the selection of the whole pool, and what is told of how it came about."""

from __future__ import annotations

import json

import pytest

from tests.running import mig, refused


@pytest.fixture(scope="module")
def folder(pool_file, tmp_path_factory):
    """`old.jsonl`; `weak.jsonl`, of which hardly a record wins; `good.jsonl`; a selection."""
    folder = tmp_path_factory.mktemp("grown")
    lines = pool_file.read_text().splitlines(keepends=True)
    (folder / "old.jsonl").write_text("".join(lines[:250]))
    (folder / "good.jsonl").write_text("".join(lines[250:]))
    weak = [json.loads(line) for line in lines[250:]]
    for record in weak:
        record["mig_jax"]["score"] *= 0.01
    (folder / "weak.jsonl").write_text("".join(json.dumps(one) + "\n" for one in weak))
    assert not select(folder, "prev", "old").returncode
    return folder


def words(folder, name, *pool, budget=30, extra=()):
    files = (f"--pool={folder / file}.jsonl" for file in pool)
    output = f"--output={folder / name}.jsonl"
    return ("select", *files, f"--budget={budget}", "--certificate=false", output, *extra)


def select(folder, *given, **options):
    return mig(*words(folder, *given, **options))


def outputs(folder, name):
    return [(folder / f"{name}{end}").read_bytes() for end in (".jsonl", ".selection.parquet")]


def told(folder, name):
    return json.loads((folder / f"{name}.manifest.json").read_text())


@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_it_is_what_a_run_over_all_files_gives(folder, gain):
    extra = (f"--gain={gain}",)
    assert not select(folder, "was", "old", extra=extra).returncode
    for new, budget in (("weak", 30), ("good", 30), ("weak", 40), ("weak", 20)):
        straight = select(folder, "straight", "old", new, budget=budget, extra=extra)
        assert not straight.returncode, straight.stderr
        given = (*extra, f"--extend={folder / 'was.jsonl'}")
        extended = select(folder, "extended", "old", new, budget=budget, extra=given)
        assert not extended.returncode, extended.stderr
        assert outputs(folder, "extended") == outputs(folder, "straight")
        about, plain = told(folder, "extended"), told(folder, "straight")
        assert about["run"] == plain["run"]
        assert about["information"] == plain["information"]
        kept = about["extended"]["kept"]
        assert about["extended"]["previous"] == str(folder / "was.jsonl")
        if new == "weak":
            assert kept == min(budget, 30)
            assert f"the first {kept} picks of" in extended.stderr
        else:
            assert kept < 30


def test_an_extended_selection_is_extended_again(folder):
    given = (f"--extend={folder / 'prev.selection.parquet'}",)
    assert not select(folder, "second", "old", "weak", extra=given).returncode
    again = (f"--extend={folder / 'second.manifest.json'}",)
    assert not select(folder, "third", "old", "weak", "good", extra=again).returncode
    assert not select(folder, "straight", "old", "weak", "good").returncode
    assert outputs(folder, "third") == outputs(folder, "straight")
    # In place of the earlier one, too.
    renewed = (f"--extend={folder / 'third.jsonl'}",)
    assert not select(folder, "third", "old", "weak", "good", extra=renewed).returncode
    assert outputs(folder, "third") == outputs(folder, "straight")
    assert told(folder, "third")["extended"]["kept"] == 30


def test_labels_that_are_joined_mean_a_start_anew(folder, pool_file):
    embeddings = f"--label_embeddings={pool_file.with_name('labels.npz')}"
    extra = (embeddings, "--similarity_threshold=0.9")
    assert not select(folder, "was", "old", extra=extra).returncode
    for name, more in (("straight", ()), ("extended", (f"--extend={folder / 'was.jsonl'}",))):
        assert not select(folder, name, "old", "weak", extra=(*extra, *more)).returncode
    assert outputs(folder, "extended") == outputs(folder, "straight")
    about = told(folder, "extended")["extended"]
    assert "labels that only the new records have are joined to" in about["reason"]
    assert about["kept"] == 0


def test_labels_are_joined_as_in_the_earlier_run(folder, pool_file):
    """A threshold that fits the labels of the larger pool would be another."""
    extra = (f"--label_embeddings={pool_file.with_name('labels.npz')}",)
    assert not select(folder, "was", "old", extra=extra).returncode
    threshold = told(folder, "was")["parameters"]["similarity_threshold"]
    assert not select(folder, "alone", "old", "weak", extra=extra).returncode
    assert told(folder, "alone")["parameters"]["similarity_threshold"] != threshold
    given = (f"--similarity_threshold={threshold}",)
    assert not select(folder, "straight", "old", "weak", extra=(*extra, *given)).returncode
    more = (*extra, f"--extend={folder / 'was.jsonl'}")
    assert not select(folder, "extended", "old", "weak", extra=more).returncode
    assert outputs(folder, "extended") == outputs(folder, "straight")
    assert told(folder, "extended")["parameters"]["similarity_threshold"] == threshold


def test_limits_and_given_files_mean_a_start_anew(folder):
    """The files of an earlier run with --given stand behind those of its pool."""
    given = (f"--given={folder / 'good.jsonl'}",)
    assert not select(folder, "was", "old", extra=given).returncode
    for extra, reason in (((), "the earlier selection had given"), (given, "or given records")):
        assert not select(folder, "straight", "old", "weak", extra=extra).returncode
        more = (*extra, f"--extend={folder / 'was.jsonl'}")
        extended = select(folder, "extended", "old", "weak", extra=more)
        assert not extended.returncode, extended.stderr
        assert outputs(folder, "extended") == outputs(folder, "straight")
        assert reason in told(folder, "extended")["extended"]["reason"]


def test_other_runs_are_refused_in_a_line(folder):
    extend = f"--extend={folder / 'prev.jsonl'}"

    def line(*pool, extra=()):
        return refused(*words(folder, "other", *pool, extra=(extend, *extra)))

    assert "--exponent was 0.8 and is 0.5; expected the same flags" in line(
        "old", "weak", extra=("--exponent=0.5",)
    )
    # Told by itself, though flags whose place it takes are not given either.
    assert "another run: --params was not given and is learned; expected" in line(
        "old", "weak", extra=("--params=learned",)
    )
    assert "file 1 of --pool is " in line("weak", "old")
    assert "expected its files first, in the same order" in line("weak")
    assert "file 1 of --pool is" in line("weak")
    whole = (folder / "old.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    first = json.loads(lines[0])
    first["mig_jax"]["score"] += 1
    (folder / "old.jsonl").write_text(json.dumps(first) + "\n" + "".join(lines[1:]))
    try:
        assert "is of another run: pool differs" in line("old", "weak")
        (folder / "old.jsonl").write_text("".join(lines[:5]))
        assert "records are not in --pool; expected all files" in line("old", "weak")
    finally:
        (folder / "old.jsonl").write_text(whole)
    assert "has no manifest of a selection" in refused(
        *words(folder, "other", "old", extra=(f"--extend={folder / 'old.jsonl'}",))
    )
    assert not (folder / "other.jsonl").exists()
    for flags, expected in (
        (("--at_most_changes=3",), "goes with --extend"),
        (("--include_given",), "goes with --given"),
    ):
        assert expected in refused(*words(folder, "other", "old", extra=flags))
    assert "give --pool too" in refused(*words(folder, "other", extra=(extend,)))


def test_devices_and_checkpoints_go_with_it(folder, tmp_path):
    assert not select(folder, "straight", "old", "weak", budget=40).returncode
    given = (f"--extend={folder / 'prev.jsonl'}", f"--checkpoint_dir={tmp_path / 'saved'}")
    # A checkpoint after fewer picks than hold is passed over.
    few = (given[1],)
    assert not select(folder, "few", "old", "weak", budget=3, extra=few).returncode
    for more in ((), ("--devices=2",), ()):
        extra = (*given, *more)
        result = select(folder, "extended", "old", "weak", budget=40, extra=extra)
        assert not result.returncode, result.stderr
        assert outputs(folder, "extended") == outputs(folder, "straight")
        after = told(folder, "extended")["resumed_after"]
        assert after == (40 if "resuming after 40 of 40 picks" in result.stderr else 0)
        assert after or "resuming after 30 of 40 picks" in result.stderr
