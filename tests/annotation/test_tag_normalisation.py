"""Tags merged and left out, against a search of their chains by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.annotation import TagMapping, merge_tags, spelling


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("Data_Analysis ", "data analysis"),
        ("data-analysis", "data analysis"),
        ("C++", "c++"),
        ("c#", "c#"),
        (".NET", ".net"),
        ("node.js", "node js"),
        ("ＡＢＣ", "abc"),
        ("हिन्दी", "हिन्दी"),
        ("数据 分析", "数据 分析"),
        ("\u200bma\u00adth\ufeff", "math"),
        ("l\u2060'amour", "l amour"),
        ("...", ""),
        (" \u200b ", ""),
        ("", ""),
    ],
)
def test_spelling(tag, expected):
    assert spelling(tag) == expected
    assert spelling(expected) == expected


def test_rare_tags_go_and_spellings_are_joined_before():
    counts = {"NLP": 3, "nlp": 5, "n.l.p": 9, "n l p": 2, "rare": 7, "...": 50}
    mapping = merge_tags(counts, None, min_count=8)
    assert mapping.of == {
        "NLP": "nlp",
        "nlp": "nlp",
        "n.l.p": "n.l.p",
        "n l p": "n.l.p",
        "rare": None,
        "...": None,
    }
    assert mapping.apply(["rare", "NLP", "unknown", "n l p", "nlp"]) == ["nlp", "n.l.p"]


def test_the_name_of_spellings_is_what_is_seen():
    counts = {
        "\u200bmath": 9,
        "Math": 8,
        "MATH\ufeff": 3,
        " math": 1,
        "": 50,
        "  ": 50,
        "\u200b": 5,
    }
    counts |= {"می\u200cخواهم": 7, "میخواهم": 1, "\u200dx": 2, "data  science ": 5, "e\u0301": 6}
    of = merge_tags(counts, None, min_count=1).of
    assert [of[tag] for tag in ("\u200bmath", "Math", "MATH\ufeff", " math")] == ["math"] * 4
    assert [of[tag] for tag in ("", "  ", "\u200b")] == [None] * 3
    assert of["می\u200cخواهم"] == of["میخواهم"] == "می\u200cخواهم"
    assert (of["\u200dx"], of["data  science "], of["e\u0301"]) == ("x", "data science", "é")
    # Ten records have math in a name without marks, and eight have Math.
    counts["Math"] = 11
    assert merge_tags(counts, None, min_count=1).of[" math"] == "Math"


_DIRECTIONS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.tuples(st.integers(0, 71), st.integers(1, 9)),
    min_size=1,
    max_size=12,
)


@given(_DIRECTIONS, st.integers(1, 6))
def test_merged_are_chains_of_near_tags(tags, min_count):
    pytest.importorskip("sklearn", reason="scikit-learn of the extra annotate is not installed")
    # A tag is a direction in the plane, in steps of 5 degrees; near are those within 7.
    distance = 1 - math.cos(math.radians(7))

    def encode(names):
        angles = np.radians([5.0 * tags[name][0] for name in names])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    counts = {name: count for name, (_, count) in tags.items()}
    mapping = merge_tags(counts, encode, min_count=min_count, distance=distance).of
    common = {name for name in tags if counts[name] >= min_count}
    for name in tags:
        if name not in common:
            assert mapping[name] is None
            continue
        chain, frontier = {name}, [name]
        while frontier:
            here = tags[frontier.pop()][0]
            steps = {n for n in common - chain if (tags[n][0] - here) % 72 in (0, 1, 71)}
            chain |= steps
            frontier += steps
        assert mapping[name] == min(chain, key=lambda n: (-counts[n], n))


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.text())))
def test_mappings_are_read_as_they_were_written(of):
    assert TagMapping.from_json(TagMapping(of).to_json()).of == of
