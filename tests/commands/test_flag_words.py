"""The words behind a command: hyphens, files of the pool, files of flags."""

from __future__ import annotations

import os

import pytest
from absl import flags

from mig_jax.commands.flag_words import read_flags, take_pool
from mig_jax.commands.main import load
from mig_jax.errors import InputError
from tests.running import mig, refused


def read(command, *words):
    values = flags.FlagValues()
    load(command).define_flags(values)
    take_pool(values, read_flags(values, ["mig-jax", *map(str, words)]))
    return values


def test_hyphens_are_underscores_in_names_alone(tmp_path):
    found = read(
        "select", "--label-embeddings=a-b.npz", "--on-bad-record", "skip", "--output", "x-y"
    )
    assert (found.label_embeddings, found.on_bad_record, found.output) == ("a-b.npz", "skip", "x-y")
    for word in ("--nocertificate", "--no-certificate", "--no_certificate"):
        assert not read("select", word).certificate
    assert read("select", "--include-given").include_given
    told = refused("select", "--label-embedings=x")
    assert told == "mig-jax: --label-embedings: no such flag, expected --label_embeddings"
    output = tmp_path / "p.jsonl"
    assert mig("make-pool", "--records=0.002k", f"--output={output}").returncode == 0
    assert len(output.read_text().splitlines()) == 2


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl", "c.jsonl", "pool.jsonl.gz", "raw.jsonl"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize("command", ["select", "explain", "annotate", "learn", "ablate"])
def test_files_stand_for_the_pool(command, here):
    assert read(command, "a.jsonl", "--cache=x", "b.jsonl").pool == ["a.jsonl", "b.jsonl"]
    # As a shell leaves --pool *.jsonl, unquoted.
    assert read(command, "--pool", "a.jsonl", "b.jsonl").pool == ["a.jsonl", "b.jsonl"]
    assert read(command, "*.jsonl", "hub:a/b", "s3://a/b", "-", ".").pool[1:3] == [
        "hub:a/b",
        "s3://a/b",
    ]
    assert read(command, "--", "a.jsonl").pool == ["a.jsonl"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["select", "budget=50"], "budget=50: is no flag; expected --budget=50"),
        (["select", "a.jsonl", "bugdet=50"], "bugdet=50: is no flag; expected --budget=50"),
        (["select", "label-embeddings=x"], "label-embeddings=x: is no flag; expected --label_emb"),
        (["select", "out.jsonl"], "out.jsonl: there is no such file to read; expected files of "),
        (["select", "out.jsonl"], "such as --output=out.jsonl"),
        (["make_pool", "out.jsonl"], "out.jsonl: expected flags only, as --flag=value"),
        (["learn", "learned"], "learned: there is no such file to read"),
        (["select", "out.jsonl", "--output=o.jsonl"], "and all else as --flag=value\n"),
        (["select", "rwa.jsonl"], "rwa.jsonl: there is no such file to read; perhaps raw.jsonl is"),
        (["select", "./pool.jsonl"], "; perhaps ./pool.jsonl.gz is meant"),
        (["select", "--pool=rwa.jsonl", "--budget=1", "--output=o.jsonl"], "perhaps raw.jsonl is"),
        (["select", "--deduplicate=near"], "--deduplicate: no flag of this command, but of `mig-"),
        (["learn", "--dry-run"], "--dry-run: no flag of this command, but of `mig-jax select`"),
    ],
)
def test_words_that_are_a_mistake(words, told, here):
    assert told in refused(*words) + "\n"


def test_a_file_whose_name_looks_like_a_flag(here):
    (here / "budget=50").write_text("")
    assert read("select", "budget=50").pool == ["budget=50"]


@pytest.mark.skipif(os.sep == "\\", reason="there it stands between folders")
def test_a_backslash_in_an_output_is_told(here):
    told = r"--output: the \ is a part of the name here; / stands between folders"
    done = mig("make_pool", "--records=2", r"--output=out\train.jsonl")
    assert (done.returncode, told in done.stderr) == (0, True)
    assert (here / r"out\train.jsonl").exists()
    done = mig("make_pool", "--records=2", f"--output={here / 'train.jsonl'}")
    assert (done.returncode, told in done.stderr) == (0, False)


def test_a_file_of_flags(here):
    (here / "flags").write_text(
        "# The usual ones.\n\n  --budget=5k\r\n// And:\n--label-embeddings=e.npz\n"
        "--flagfile=more\na.jsonl\n"
    )
    (here / "more").write_text("--budget=7\n--output=o.jsonl")
    found = read("select", "--flagfile=flags")
    assert (found.budget, found.label_embeddings) == (7, "e.npz")
    assert (found.output, found.pool) == ("o.jsonl", ["a.jsonl"])
    # What comes later counts.
    assert read("select", "--flagfile", "flags", "--budget=9").budget == 9
    assert read("select", "--budget=9", "--flagfile", "flags").budget == 7
    with pytest.raises(InputError, match="no such file"):
        read("select", "--", "--flagfile=flags")


def test_what_is_wrong_in_a_file_of_flags_has_a_place(here):
    for text, told in (
        ("--cache=x\n--budget=many\n", "flags, line 2: --budget: found many, expected a whole"),
        ("\n# no\n--budgte=3", "flags, line 3: --budgte: no such flag, expected --budget"),
        ("--flagfile=flags", "--flagfile: flags names itself; expected a file of flags, one a"),
        ("--nocertificate=1", "flags, line 1: --nocertificate=1 does not take an argument"),
    ):
        (here / "flags").write_text(text)
        assert refused("select", "--flagfile=flags").startswith(f"mig-jax: {told}")
    (here / "flags").write_text("--cache=x\n")
    assert refused("select", "--flagfile=flags", "--budget=z").startswith("mig-jax: --budget: ")
    (here / "flags").write_bytes(b"\xff\xfe--")
    assert "is no text in UTF-8" in refused("select", "--flagfile=flags")
    assert "No such file" in refused("select", "--flagfile=none")
    assert "found nothing" in refused("select", "--flagfile=")
    assert "found nothing" in refused("select", "--flagfile")


def test_words_that_nearly_say_it_are_told_what_does(here):
    (here / "picked.jsonl").write_text("")
    for words, told in (
        (["select", "--quiet"], "--quiet: no such flag, expected one of those that --help_all"),
        (["select", "--group_by=task"], "--group_by: no such flag, expected --group_field"),
        (
            ["explain", "picked.jsonl", "--record=5"],
            "--selection: missing; perhaps --selection=picked.jsonl is meant",
        ),
        (
            ["select", "picked.jsonl", "--output=o.jsonl", "--compare", "random", "top_score"],
            "top_score: there is no such file to read; expected files of records, or "
            "--compare=random,top_score",
        ),
    ):
        assert refused(*words).startswith(f"mig-jax: {told}")
