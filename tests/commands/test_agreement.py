"""Processes that select together and were not told the same are refused, all of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from absl import flags

from mig_jax.commands.agreement import FILE_FLAGS, OWN_FLAGS, told_of_flags
from mig_jax.commands.select_options import SelectOptions, define_select_flags, select_options
from mig_jax.data import write_label_embeddings
from mig_jax.runs import disagreement
from tests.running import start_together
from tests.tokenizer_files import write_tokenizer

FLAGS = [field.name for field in dataclasses.fields(SelectOptions)]


def options_of(*words: str) -> SelectOptions:
    values = flags.FlagValues()
    define_select_flags(values)
    values(["select", "--pool=pool.jsonl", "--output=out.jsonl", "--budget=5", *words])
    return select_options(values)


@pytest.mark.parametrize("name", FLAGS)
def test_every_flag_counts_unless_it_is_named(name):
    usual = options_of()
    # Equal to no value that a flag can have.
    other = dataclasses.replace(usual, **{name: ["another"]})
    found = disagreement([told_of_flags(usual), told_of_flags(other)])
    if name in (*OWN_FLAGS, *FILE_FLAGS):
        assert found == ""
    else:
        assert found.startswith(f"--{name} is ")


def test_a_preset_is_what_it_stands_for():
    preset, plain = options_of("--preset=paper"), options_of()
    assert "--gain is linear" in disagreement([told_of_flags(preset), told_of_flags(plain)])
    said = options_of(
        "--gain=linear",
        *(f"--{n}={getattr(preset, n)}" for n in ("exponent", "epsilon", "similarity_threshold")),
    )
    assert told_of_flags(preset) == told_of_flags(said)


@pytest.fixture
def inputs(tmp_path):
    """For each flag that names a file: the file that process 0 reads, and another one."""
    names = ["math", "code", "law"]
    for folder, sizes in (("one", "3456"), ("two", "3465")):
        place = tmp_path / folder
        place.mkdir()
        rows = [{"labels": names[: int(n) % 4], "score": float(n)} for n in sizes]
        (place / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (place / "vocabulary.json").write_text(
            json.dumps(names[: len(folder) - int(sizes[2] == "6")])
        )
        (place / "quotas.json").write_text(json.dumps({"math": f"..{sizes}t"}))
        write_tokenizer(place / "tokenizer.json", names[: int(sizes[2]) - 4])
        vectors = np.eye(3, dtype=np.float32) + 0.1 * (folder == "two")
        write_label_embeddings(str(place / "label_embeddings.npz"), names, vectors)
    return tmp_path


def flag(folder: pathlib.Path, name: str) -> str:
    (path,) = folder.glob(f"{name}.*")
    return f"--{name}={path}"


@pytest.mark.parametrize(
    ("differing", "words"),
    [
        ("--exponent is 0.8 in process 0, 0.5 in process 1", ["--exponent=0.5"]),
        ("--certificate is True in process 0, False in process 1", ["--nocertificate"]),
        (
            "what the name of --output stands for is lines in process 0, parquet in process 1",
            ["--output=picked.parquet"],
        ),
        ("file 1 of --pool is JSON lines of ", ["pool"]),
        ("--vocabulary is ", ["vocabulary"]),
        ("--label_embeddings is ", ["label_embeddings"]),
        ("--quotas is a file of ", ["quotas"]),
        ("--tokenizer is a tokenizer with the hash ", ["tokenizer"]),
    ],
)
def test_all_end_with_what_differs(inputs, differing, words):
    output = inputs / "out" / "picked.jsonl"
    output.parent.mkdir()
    common = [flag(inputs / "one", name) for name in FILE_FLAGS]
    common += [f"--output={output}", "--budget_tokens=2", "--group_field=x"]
    # Multiple flags add up: the pool is named once for each.
    other = [word if word.startswith("--") else flag(inputs / "two", word) for word in words]
    theirs = [
        word
        for word in common
        if word.partition("=")[0] not in {o.partition("=")[0] for o in other}
    ]
    started = start_together(common, [*theirs, *other])
    said = [process.communicate(timeout=120)[1].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [2, 2], said
    assert said[0] == said[1]
    assert said[0].startswith(f"mig-jax: the processes disagree: {differing}")
    assert not list(output.parent.iterdir())


def test_what_one_cannot_read_is_told_with_the_process(inputs):
    common = [f"--output={inputs / 'picked.jsonl'}", "--budget=2", flag(inputs / "one", "pool")]
    other = [*common, f"--vocabulary={inputs / 'none.json'}"]
    started = start_together([*common, flag(inputs / "one", "vocabulary")], other)
    said = [process.communicate(timeout=120)[1].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [2, 2], said
    assert said[0] == said[1]
    assert said[0].startswith(f"mig-jax: process 1: {inputs / 'none.json'}: no such file")


def test_files_are_told_by_the_names_of_fields_that_are_given(tmp_path):
    """Without them, this line would be an object that has the records within."""
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"turns_of": [{"n": 1}], "tags": ["a"], "worth": 2}) + "\n")
    words = [f"--pool={pool}", "--field=labels=tags", "--field=score=worth", "--budget=2"]
    words += [f"--output={tmp_path / 'picked.jsonl'}", "--cache=none"]
    started = start_together(words, words)
    said = [process.communicate(timeout=120)[1].splitlines()[-1] for process in started]
    expected = "mig-jax: --budget: found 2, expected at most the pool's 1 records"
    assert said == [expected] * 2
