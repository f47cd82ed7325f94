"""Flags that nothing would look at are refused, in one line that tells what they go with."""

from __future__ import annotations

import dataclasses

import pytest

import mig_jax
from tests.running import mig, refused

SELECT = ("select", "--budget=3", "--output=x.jsonl")
ANNOTATE = ("annotate", "raw.jsonl", "--output=x.jsonl")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    yield
    assert [path.name for path in tmp_path.iterdir()] == ["raw.jsonl"]


@pytest.mark.parametrize("name", mig_jax.FAMILIES)
@pytest.mark.parametrize("parameter", ["exponent", "epsilon", "rate"])
def test_parameters_go_with_families_that_have_them(name, parameter):
    able = [
        family
        for family, kind in mig_jax.FAMILIES.items()
        if parameter in [field.name for field in dataclasses.fields(kind)]
    ]
    # A method that has no use for --gain ends what is not refused, before anything is read.
    ends = ("--method=random", "--gain=exact", f"--score_function={name}", f"--{parameter}=0.5")
    if name in able:
        assert f"--{parameter}:" not in refused(*SELECT, *ends)
        return
    told = refused(*SELECT, f"--score_function={name}", f"--{parameter}=0.5")
    assert told.startswith(f"mig-jax: --{parameter}: --score_function={name} has no {parameter}; ")
    assert all(family in told.partition("expected")[2] for family in able)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*SELECT, "--rate=2", "--preset=paper"), "--rate: --score_function=power has no rate"),
        ((*SELECT, "--checkpoint_every_seconds=9"), "goes with --checkpoint_dir=DIR"),
        ((*SELECT, "--process_id=0"), "goes with --coordinator_address"),
        ((*SELECT, "--process_timeout_seconds=9"), "goes with --coordinator_address"),
        ((*SELECT, "--vocabulary=v.json"), "--vocabulary: goes with --pool=FILE"),
        ((*SELECT, "--format=plain"), "--format: goes with --pool=FILE"),
        ((*SELECT, "--on_bad_record=skip"), "--on_bad_record: goes with --pool=FILE"),
        (("learn", "--workdir=w", "--task=a"), "--task: goes with --validation=FILE"),
        (("ablate", "--workdir=w", "--families=power", "--rates=1"), "=power has no rate; "),
        (("ablate", "--workdir=w", "--families=log", "--exponents=1"), "=log has no exponent; "),
        ((*ANNOTATE, "--overlap_words=9"), "--overlap_words: goes with --exclude_overlap=FILE"),
        ((*ANNOTATE, "--deduplicate=exact", "--near_duplicate_similarity=0.5"), "=near"),
        ((*ANNOTATE, "--min_tag_count=9"), "--min_tag_count: goes with --normalise_tags"),
        ((*ANNOTATE, "--tag_margin=0.5"), "--tag_margin: goes with --tagger=embedding"),
        ((*ANNOTATE, "--tagger=keep", "--max_tags=2"), "--max_tags: goes with --tagger=discover"),
        ((*ANNOTATE, "--ifd_model=m"), "--ifd_model: goes with --scorer=ifd"),
        ((*ANNOTATE, "--deita_quality_model=m"), "goes with --scorer=deita_quality"),
        ((*ANNOTATE, "--max_tokens=99"), "goes with a tagger or scorer that asks a language"),
        ((*ANNOTATE, "--price_in=1"), "--price_in: goes with --endpoint=URL"),
    ],
)
def test_flags_that_nothing_looks_at(words, told):
    assert told in refused(*words)


def test_a_grid_with_one_family_that_has_the_parameter():
    words = ("ablate", "--families=power,log", "--rates=0", "--workdir=w")
    assert refused(*words).startswith("mig-jax: --rates: found 0, expected numbers")
    assert mig("ablate", "--help").returncode == 0
