"""What is left out before annotation: duplicates and overlap with an evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.annotation import ExactDuplicates, NearDuplicates, Overlaps, words_of

_ROLES = st.sampled_from(["user", "assistant"])
_TURNS = st.lists(st.tuples(_ROLES, st.text("ab \n", max_size=3)), max_size=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 5 o'clock!", "it s 5 o clock"),
        ("snake_case x+y", "snake case x y"),
        ("時間です", "時 間 で す"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),
        ("ＡＢＣ ﬁne", "abc fine"),
        ("", ""),
    ],
)
def test_words(text, expected):
    assert words_of(text) == expected.split()


@given(st.lists(_TURNS, max_size=12))
def test_exact_duplicates_are_those_that_came_before(records):
    one = ExactDuplicates()
    for place, turns in enumerate(records):
        first = records.index(turns)
        told = one.reason(f"line {place}", turns)
        assert told == (None if first == place else f"exact duplicate of line {first}")


def _numbered(count):
    return " ".join(f"word{number}" for number in range(count))


def test_near_duplicates():
    pytest.importorskip("datasketch", reason="the extra annotate is not installed")
    one = NearDuplicates(0.8)
    text = _numbered(200)
    assert one.reason("a", [("user", text)]) is None
    # Of 196 shingles of five words, five differ in each: Jaccard 191 / 201 = 0.95.
    changed = text.replace("word100 ", "other ")
    told = one.reason("b", [("user", changed)])
    assert told is not None
    assert told.startswith("near duplicate of a (similarity 0.9")
    # Case and punctuation do not count; nor does how it is cut into turns.
    spaced = text.upper().replace(" ", ", ")
    assert one.reason("c", [("user", spaced[:500]), ("assistant", spaced[500:])]) is not None
    # Every tenth word another: no five successive words are left but 6 in 10; Jaccard 0.33.
    other = " ".join("x" if n % 10 == 0 else f"word{n}" for n in range(200))
    assert one.reason("d", [("user", other)]) is None
    # Both are there now; the nearer one is told.
    told = one.reason("e", [("user", other + " end")])
    assert told is not None
    assert told.startswith("near duplicate of d")


def test_near_duplicates_of_short_and_empty_texts():
    pytest.importorskip("datasketch", reason="the extra annotate is not installed")
    one = NearDuplicates(0.8)
    reasons = [
        one.reason(str(place), [("user", text)])
        for place, text in enumerate(["hi there", "", "hi you", "Hi there!", "?"])
    ]
    assert [reason and reason.split(" (")[0] for reason in reasons] == [
        None,
        None,
        None,
        "near duplicate of 0",
        "near duplicate of 1",
    ]


def test_overlap_with_an_evaluation():
    held_out = [
        ("test.jsonl, line 1", [("user", "What is " + _numbered(12)), ("assistant", "42")]),
        ("test.jsonl, line 2", [("system", "s " + _numbered(30)), ("user", "too short")]),
    ]
    one = Overlaps(held_out)
    assert one.reason("a", [("user", "too short"), ("assistant", "42")]) is None
    # Twelve words are common, not thirteen.
    assert one.reason("b", [("user", _numbered(12))]) is None
    assert one.reason("c", [("user", "This is " + _numbered(12))]) == (
        "shares 13 words with test.jsonl, line 1: is " + _numbered(12)
    )
    # Neither across turns, nor in system prompts.
    split = [("user", "x is " + _numbered(6)), ("assistant", _numbered(12)[6 * 6 :])]
    assert one.reason("d", split) is None
    assert one.reason("e", [("system", "What is " + _numbered(12))]) is None
    assert one.reason("f", [("user", "IS: " + _numbered(12).replace(" ", "... "))]) is not None
    assert Overlaps(held_out, n=12).reason("b", [("user", _numbered(12))]) is not None


@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.sampled_from("abc"), max_size=12),
    st.integers(1, 5),
)
def test_overlap_is_a_common_run_of_words(theirs, ours, n):
    def runs(words):
        return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}

    one = Overlaps([("there", [("user", " ".join(theirs))])], n)
    told = one.reason("here", [("assistant", " ".join(ours))])
    assert (told is not None) == bool(runs(theirs) & runs(ours))
