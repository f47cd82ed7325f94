"""Every command takes the same flags for its input, its choices from the registries."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from absl import flags

import mig_jax
from mig_jax import annotation, data
from mig_jax.commands.main import COMMANDS, load, main

RECORDS = ("pool", "field", "format", "on_bad_record")
TABLE = (*RECORDS, "vocabulary", "cache")
GRAPH = (*TABLE, "label_embeddings", "embedding_model", "missing_embeddings")
INPUT_FLAGS = {
    "select": GRAPH,
    "explain": GRAPH,
    "learn": GRAPH,
    "ablate": GRAPH,
    "embed_labels": TABLE,
    "annotate": RECORDS,
    "normalise_tags": RECORDS,
    "make_pool": (),
}


def flags_of(name):
    values = flags.FlagValues()
    load(name).define_flags(values)
    return values


def described(flag):
    return flag.default, getattr(flag.parser, "enum_values", None), flag.flag_type()


def choices(name, flag):
    return flags_of(name)[flag].parser.enum_values


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def refused(capsys, *arguments):
    """The one line that the command says when it exits with 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_command_has_its_flags_listed_here():
    assert set(INPUT_FLAGS) == set(COMMANDS)


@pytest.mark.parametrize("name", INPUT_FLAGS)
def test_input_flags_are_the_same_everywhere(name):
    ours, of_select = flags_of(name), flags_of("select")
    for flag in INPUT_FLAGS[name]:
        assert described(ours[flag]) == described(of_select[flag]), flag


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_nothing_that_pip_does_not_install(name, capsys):
    assert main([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: mig-jax {name} ")
    assert "experiments" not in told
    for flag in load(name).required:
        assert f"--{flag}" in told


def test_overview_and_unknown_commands(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in COMMANDS:
        assert f"  {name:<16}{load(name).summary}" in lines
    told = refused(capsys, "selct")
    assert told == "mig-jax: selct: no such command, expected select"
    told = refused(capsys, "zzz")
    assert told == f"mig-jax: zzz: no such command, expected {' or '.join(COMMANDS)}"
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mig-jax {mig_jax.__version__}\n"


def test_choices_are_what_the_registries_hold():
    assert choices("select", "score_function") == list(mig_jax.FAMILIES)
    assert choices("select", "gain") == list(mig_jax.GAIN_RULES)
    assert choices("select", "method") == ["mig", *mig_jax.methods.METHODS]
    assert choices("select", "output_layout") == list(data.OUTPUT_LAYOUTS)
    assert choices("select", "format") == ["auto", *data.LABEL_FORMATS]
    assert choices("annotate", "tagger") == list(annotation.TAGGERS)
    assert choices("annotate", "combine") == list(annotation.COMBINATIONS)
    scorers = flags_of("annotate")["scorer"].help
    for name in (*annotation.SCORERS, *annotation.SCORER_GROUPS):
        assert name in scorers


def test_a_family_in_the_registry_is_a_choice(tmp_path, monkeypatch):
    """Its parameters are the flags of their names."""
    monkeypatch.setitem(mig_jax.FAMILIES, "another", mig_jax.Log)
    found = {}
    for name, rate in (("another", 0.01), ("log", 0.01), ("log", 5.0)):
        output = tmp_path / f"{name}_{rate}.jsonl"
        words = [f"--score_function={name}", f"--rate={rate}", f"--output={output}"]
        words += ["--pool=builtin", "--budget=20", "--nocertificate"]
        assert main(["select", *words]) == 0
        found[name, rate] = output.read_bytes()
    assert found["another", 0.01] == found["log", 0.01] != found["log", 5.0]


@pytest.fixture
def twice_labelled(tmp_path):
    """Records whose fields and whose annotations say different things."""
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    annotated = {
        "instag": {"content": ["from annotation"]},
        "deita": {"quality_scores": [2.0], "complexity_scores": [3.0]},
    }
    record = {"messages": turns, "labels": ["from field"], "score": 1.0, "annotation": annotated}
    return write(tmp_path / "pool.jsonl", [record, record])


@pytest.mark.parametrize(
    ("layout", "labels", "score"),
    [("auto", "from field", 1.0), ("plain", "from field", 1.0), ("xsample", "from annotation", 6)],
)
def test_annotate_keeps_labels_and_scores_of_the_format(
    layout, labels, score, twice_labelled, tmp_path
):
    output = tmp_path / "out.jsonl"
    words = [f"--pool={twice_labelled}", f"--output={output}", f"--format={layout}"]
    assert main(["annotate", *words, "--tagger=keep", "--scorer=keep"]) == 0
    for line in output.read_text().splitlines():
        found = json.loads(line)
        assert found["mig_jax"] == {"labels": [labels], "score": score}
        assert (found["labels"], found["score"]) == (["from field"], 1.0)


def test_normalise_tags_reads_the_format(twice_labelled, tmp_path):
    output = tmp_path / "out.jsonl"
    words = [f"--pool={twice_labelled}", f"--output={output}", "--format=xsample"]
    more = ["--min_tag_count=1", "--tag_distance=0"]
    assert main(["normalise_tags", *words, *more]) == 0
    assert list(json.loads((tmp_path / "out.tag_mapping.json").read_text())) == ["from annotation"]


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("annotate", "--tagger=keep"),
        ("normalise_tags", "--tag_distance=0"),
        ("embed_labels", "--model=m"),
        ("select", "--budget=1"),
    ],
)
def test_a_field_does_not_go_with_the_other_format(name, flag, twice_labelled, tmp_path, capsys):
    words = [f"--pool={twice_labelled}", f"--output={tmp_path / 'out'}", flag, "--scorer=keep"]
    words = words if name == "annotate" else words[:-1]
    told = refused(capsys, name, *words, "--format=xsample", "--field=labels=tags")
    assert told == "mig-jax: --field: labels and score are fields of --format=plain"


@pytest.fixture
def encoder(monkeypatch):
    """Stands for a sentence-transformers model: one direction for each first letter."""

    class FirstLetters:
        def __init__(self, model, *, flag, device):
            assert (flag, device) == ("--model", "cpu")

        def __call__(self, texts):
            return np.array([np.arange(26) == ord(text[0]) - ord("a") for text in texts], "f4")

    def encoder_of(model, device, flag):
        return FirstLetters(model, flag=flag, device=device)

    monkeypatch.setattr(annotation, "encoder_of", encoder_of)
    return ["--device=cpu", "--cache=none"]


def test_embed_labels_takes_the_input_of_select(encoder, tmp_path):
    pool = write(
        tmp_path / "pool.jsonl",
        [{"tags": ["b", "a"], "quality": 1.0}, {"tags": [1], "quality": 2}, {"tags": ["c"]}],
    )
    (tmp_path / "vocabulary.json").write_text('["a", "c", "d"]')
    words = [
        f"--pool={pool}",
        f"--output={tmp_path / 'labels.npz'}",
        f"--model={tmp_path}",
        "--format=plain",
        "--field=labels=tags",
        "--field=score=quality",
        "--on_bad_record=skip",
        f"--vocabulary={tmp_path / 'vocabulary.json'}",
    ]
    assert main(["embed_labels", *words, *encoder]) == 0
    found = np.load(tmp_path / "labels.npz")
    assert found["labels"].tolist() == ["a"]
    assert found["embeddings"].argmax(1).tolist() == [0]
    rejected = (tmp_path / "labels.rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in rejected] == [2, 3]


def test_the_threshold_fits_the_labels_whatever_embeds_them(encoder, tmp_path, capsys):
    """Told by whoever embeds them and by select; one that joins hardly any is warned of."""
    labels = [f"{'a' * n}{'b' * m}" for n in range(1, 8) for m in range(1, 8)]
    pool = write(tmp_path / "pool.jsonl", [{"labels": [one], "score": 1.0} for one in labels])
    words = [f"--output={tmp_path / 'e.npz'}", f"--model={tmp_path / 'model'}", *encoder]
    assert main(["embed_labels", f"--pool={pool}", *words]) == 0
    assert "these labels have 3.5 neighbours in the mean" in capsys.readouterr().out
    assert data.embedding_model_of(tmp_path / "e.npz") == str(tmp_path / "model")
    vectors = np.random.default_rng(0).normal(size=(49, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    data.write_label_embeddings(tmp_path / "e.npz", labels, vectors)
    vectors, _ = data.read_label_embeddings(tmp_path / "e.npz", sorted(labels))
    fits = mig_jax.threshold_of_neighbours(vectors, 3.5)
    base = [f"--pool={pool}", f"--label_embeddings={tmp_path / 'e.npz'}", "--cache=none"]
    output = tmp_path / "o.jsonl"
    found = []
    for more in ([], ["--neighbours=1"], [f"--similarity_threshold={fits}"], ["--preset=paper"]):
        assert main(["select", *base, "--budget=1", f"--output={output}", *more]) == 0
        told = capsys.readouterr().err
        manifest = json.loads((tmp_path / "o.manifest.json").read_text())
        warned = "joins hardly any labels" in told and f"--similarity_threshold={fits:g}" in told
        found.append((manifest["parameters"]["similarity_threshold"], warned))
    fewer = mig_jax.threshold_of_neighbours(vectors, 1.0)
    graph = mig_jax.label_graph_from_embeddings(vectors, 0.9)
    assert fits < fewer
    assert 2 * graph.num_edges / len(labels) > 0.35  # The paper's is not too high here.
    assert found == [(fits, False), (fewer, False), (fits, False), (0.9, False)]
    assert main(["select", *base, "--budget=1", f"--output={output}", *_TOO_HIGH]) == 0
    assert f"--similarity_threshold={fits:g}" in capsys.readouterr().err
    grid = ["--exponents=0.8", "--rates=0.1", "--budget=1", "--noheat_maps", "--thresholds=1"]
    grid += ["--paper_threshold=1", f"--workdir={tmp_path / 'ablation'}"]
    assert main(["ablate", *base, *grid]) == 0
    assert f"--paper_threshold={fits:g}" in capsys.readouterr().err


_TOO_HIGH = ["--similarity_threshold=1"]


def test_embeddings_of_unknown_origin_have_no_model(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")  # Nobody writes to it: whoever waits waits for ever.
    assert data.embedding_model_of(tmp_path / "pipe.npz") is None
    for name, content in (("a.npz", None), ("b.npz", b"PK broken"), ("c.npz", b"")):
        path = tmp_path / name
        if content is None:
            data.write_label_embeddings(path, ["x"], [[1.0]])
        else:
            path.write_bytes(content)
        assert data.embedding_model_of(path) is None


def test_a_model_that_cannot_be_used_is_told_before_the_pool_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    pool = write(tmp_path / "pool.jsonl", [{"no": "labels"}])
    words = [f"--pool={pool}", f"--output={tmp_path / 'o'}", "--cache=none"]
    for command in (
        ["embed_labels", "--model=m"],
        ["select", "--embedding_model=m", "--budget=1"],
        ["annotate", "--tagger=keep", "--scorer=relevance"],
        ["annotate", "--tagger=keep", "--scorer=keep", "--normalise_tags", "--min_tag_count=1"],
    ):
        given = words if command[0] != "annotate" else words[:2]
        assert "is not installed; expected the extra annotate" in refused(
            capsys, command[0], *given, *command[1:]
        )
    assert names(tmp_path) == ["pool.jsonl"]


def test_embed_labels_writes_all_or_nothing(encoder, tmp_path, capsys):
    pool = write(tmp_path / "pool.jsonl", [{"labels": ["a"], "score": 1.0}, {"labels": 3}])
    before = pool.read_bytes()
    words = [f"--pool={pool}", f"--model={tmp_path}", *encoder]
    assert "line 2" in refused(capsys, "embed_labels", *words, f"--output={tmp_path / 'e.npz'}")
    told = refused(capsys, "embed_labels", *words, f"--output={pool}", "--on_bad_record=skip")
    assert "is an input" in told
    told = refused(capsys, "embed_labels", *words, f"--output={tmp_path / 'no' / 'e.npz'}")
    assert "does not exist" in told
    assert names(tmp_path) == ["pool.jsonl"]
    assert pool.read_bytes() == before


def test_make_pool_writes_all_or_nothing(tmp_path, capsys):
    words = ["--records=3", f"--output={tmp_path / 'pool.jsonl'}"]
    embeddings = f"--label_embeddings={tmp_path / 'no' / 'e.npz'}"
    assert "does not exist" in refused(capsys, "make_pool", *words, embeddings)
    embeddings = f"--label_embeddings={tmp_path / 'pool.jsonl'}"
    assert "is an output already" in refused(capsys, "make_pool", *words, embeddings)
    assert names(tmp_path) == []
