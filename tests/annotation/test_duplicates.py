"""What is left out before annotation: duplicates and overlap with an evaluation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.annotation import ExactDuplicates, NearDuplicates, Overlaps, jaccard, words_of

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
    # Of 204 runs of five words, ends included, five differ in each: Jaccard 199 / 209 = 0.95.
    changed = text.replace("word100 ", "other ")
    told = one.reason("b", [("user", changed)])
    assert told is not None
    assert told.startswith("near duplicate of a (similarity 0.9")
    # Case and pauses of prose do not count; nor does how it is cut into turns.
    spaced = text.upper().replace(" ", ", ")
    assert one.reason("c", [("user", spaced[:500]), ("assistant", spaced[500:])]) is not None
    # Every tenth word another: no five successive words are left but 6 in 10; Jaccard 0.33.
    other = " ".join("x" if n % 10 == 0 else f"word{n}" for n in range(200))
    assert one.reason("d", [("user", other)]) is None
    # Both are there now; the nearer one is told.
    told = one.reason("e", [("user", other + " end")])
    assert told is not None
    assert told.startswith("near duplicate of d")


def _near(similarity, *texts, **how):
    """What is told of each text, after those before it."""
    pytest.importorskip("datasketch", reason="the extra annotate is not installed")
    one = NearDuplicates(similarity, **how)
    told = [one.reason(str(place), [("user", text)]) for place, text in enumerate(texts)]
    return [reason and reason.split(" (")[0] for reason in told]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a + b", "a - b"),
        ("x = x + 1", "x = x - 1"),
        ("I am 😀", "I am 😡"),
        ("😀", "😡"),
        ("👍🏻", "👍🏿"),
        ("?", "!"),
        ("Really?", "Really!"),
        ("", "?"),
        ("?????", "??????"),
        ("if a < b: return 1", "if a > b: return 1"),
        ("a[1:2]", "a[1,2]"),
        ("x² + 1", "x2 + 1"),
        ("x₂", "x²"),
        ("3.14", "3 14"),
        ("a == b", "a = b"),
        ("a & b", "a && b"),
        ("print(1)\n" * 3, "print(1)\n" * 5),
        ("$5", "€5"),
        ("-1", "1"),
        ("C", "C#"),
        ("def add(a, b):\n    return a + b", "def add(a, b):\n    return a - b"),
        ("for i in range(10): total += values[i]", "for i in range(10): total -= values[i]"),
        ("\U0001fae9 a", "\U0001fae8 a"),  # One of them is newer than some tables of Unicode.
        ("hi there", "hi you"),
    ],
)
def test_signs_and_digits_tell_records_apart(one, other):
    assert _near(0.8, one, other, one) == [None, None, "near duplicate of 0"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is it ?", "where  IS it?"),
        ("Stra\u00dfe caf\u00e9", "STRASSE cafe\u0301"),
        ("ma\u200bths \ufeffis fun", "maths is\u00a0fun"),
        ("soft\u00adware", "software"),
        ("x=x+1", "x = x + 1"),
        ("\uff21\uff22 \ufb01ne", "AB fine"),
        ("It\u2019s \u201cso\u201d \u2013 yes", 'It\'s "so" - yes'),
        ("Well, no. That is it.", "well no that is it"),
        ("❤️ you", "❤ you"),
        ("x²", "x^2"),
    ],
)
def test_spellings_do_not_tell_records_apart(one, other):
    assert _near(1.0, one, other) == [None, "near duplicate of 0"]


_SCRIPTS = {
    "Thai": (0x0E01, 46),
    "Lao": (0x0E94, 4),
    "Tibetan": (0x0F40, 8),
    "Myanmar": (0x1000, 32),
    "Khmer": (0x1780, 32),
    "kana": (0x3042, 64),
    "ideographs": (0x4E00, 2000),
    "extension A": (0x3400, 2000),
    "extension B": (0x20000, 2000),
    "extension G": (0x30000, 2000),
    "words": (None, 2000),
}


@pytest.mark.parametrize("script", _SCRIPTS)
def test_near_copies_are_found_in_every_script(script):
    first, size = _SCRIPTS[script]
    random = np.random.default_rng(3)
    letters = [f"w{n} " if first is None else chr(first + n) for n in range(size)]

    def text(count):
        return [letters[n] for n in random.integers(size, size=count)]

    original, other = text(300), text(300)
    copy = [*original]
    copy[100], copy[200] = other[0] + other[1], other[2]
    both = original[:150] + other[150:]
    told = _near(0.8, *("".join(one) for one in (original, other, copy, both)))
    assert told == [None, None, "near duplicate of 0", None]


def _bag(text):
    """Runs of five successive tokens, with four ends on each side."""
    tokens = [None] * 4 + text.split() + [None] * 4
    return Counter(tuple(tokens[n : n + 5]) for n in range(len(tokens) - 4))


def _bag_similarity(one, other):
    """The definition, in Python."""
    common = sum(min(count, other[run]) for run, count in one.items() if run in other)
    return common / (one.total() + other.total() - common)


_CODE = st.lists(st.sampled_from(["a", "b", "1", "+", "-", "(", ")"]), min_size=1, max_size=30).map(
    " ".join
)


@given(_CODE, _CODE)
def test_similarity_is_that_of_bags_of_tokens(one, other):
    found = jaccard([("user", one)], [("user", other)])
    np.testing.assert_allclose(found, _bag_similarity(_bag(one), _bag(other)))


@pytest.mark.parametrize("least", [0.5, 0.8, 0.95])
def test_near_duplicates_are_those_of_a_full_comparison(least):
    pytest.importorskip("datasketch", reason="the extra annotate is not installed")
    random = np.random.default_rng(0)
    texts = []
    for _ in range(40):
        words = [f"w{n}" for n in random.integers(1000, size=int(random.integers(3, 300)))]
        for changes in (0, 1, 2, 3, 5, 8):
            changed = [*words]
            for place in random.integers(len(words), size=changes):
                changed[place] = "+-*/"[random.integers(4)]
            texts.append(" ".join(changed))
    one = NearDuplicates(least)
    bags = [_bag(text) for text in texts]
    kept, missed = [], 0
    for place, text in enumerate(texts):
        told = one.reason(str(place), [("user", text)])
        nearest = max((_bag_similarity(bags[place], bags[other]) for other in kept), default=0.0)
        if told is None:
            kept.append(place)
            missed += nearest >= least
        else:  # Never wrong, and the nearest is told.
            assert nearest >= least
            assert told.endswith(f"(similarity {nearest:.2f})")
    assert missed <= 2
    assert 40 <= len(kept) < len(texts)


def test_only_what_a_reference_set_lacks_is_kept():
    known = [("ref, line 1", [("user", "a b"), ("assistant", "c")]), ("ref, line 2", [])]
    exact = ExactDuplicates(known, remember=False)
    turns = [("user", "new")]
    assert exact.reason("1", known[0][1]) == "exact duplicate of ref, line 1"
    assert exact.reason("2", [("user", "a b c")]) is None
    # Among themselves they may be alike.
    assert [exact.reason(place, turns) for place in "34"] == [None, None]
    assert ExactDuplicates(known).reason("1", []) == "exact duplicate of ref, line 2"
    known = [("ref, line 1", [("user", _numbered(60))]), ("ref, line 2", [("user", "😀")])]
    for remember in (False, True):
        told = _near(
            0.8, _numbered(60) + " end", "😀", "😡", "x y", "x y", known=known, remember=remember
        )
        again = "near duplicate of 3" if remember else None
        expected = ["near duplicate of ref, line 1", "near duplicate of ref, line 2", None, None]
        assert told == [*expected, again]


def test_overlap_with_an_evaluation():
    held_out = [
        ("test.jsonl, line 1", [("user", "What is " + _numbered(12)), ("assistant", "42")]),
        ("test.jsonl, line 2", [("system", "s " + _numbered(30)), ("user", "too short?")]),
    ]
    one = Overlaps(held_out)
    assert one.reason("a", [("user", "something else"), ("assistant", "42")]) is None
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
    assert (one.records, one.as_a_whole) == (2, 1)


def _asked(question, *before):
    turns = [("system", "Be kind."), *((("user", text)) for text in before)]
    return [*turns, ("user", question), ("assistant", "42")]


def test_short_questions_are_compared_as_a_whole():
    nine = "How many legs does an ant have in all"
    evaluation = [
        ("e1", _asked("What is 2+2?")),
        ("e2", _asked("Yes!")),
        ("e3", _asked(nine)),
        ("e4", [("user", "Tell me a story, please"), ("assistant", "x"), ("user", "Shorter now")]),
        ("e5", [("assistant", "An answer alone")]),
        ("e6", _asked("?!")),
    ]
    one = Overlaps(evaluation)
    assert (one.records, one.as_a_whole) == (6, 5)
    assert one.reason("a", _asked("what is 2 + 2")) == "asks what e1 asks: what is 2 + 2"
    assert one.reason("b", _asked("what is 2+2?", "Hello")) == "asks what e1 asks: what is 2 + 2"
    assert one.reason("c", _asked("What is 2*2?")) is None
    assert one.reason("d", _asked("What is 2+2+3?")) is None
    assert one.reason("e", [("user", "Think."), ("assistant", "What is 2+2?")]) is None
    assert one.reason("f", _asked("yes")) == "asks what e2 asks: yes"
    assert one.reason("g", _asked("yes", "May I?")) is None
    told = one.reason("h", _asked(f"Please tell me. {nine}? Thanks"))
    assert told == f"asks what e3 asks: {nine.lower()}"
    assert one.reason("i", _asked("shorter now")) is None
    assert one.reason("j", _asked("Tell me a story please.")) == (
        "asks what e4 asks: tell me a story please"
    )
    assert one.reason("k", [("user", "an answer alone"), ("assistant", "")]) is not None
    assert one.reason("l", [("user", "Well"), ("assistant", "an answer alone")]) is None
    assert one.reason("m", _asked("?!")) is None


def test_overlap_takes_four_letters_of_thai_for_a_word():
    letters = "".join(chr(0x0E01 + n % 46) for n in range(0, 46 * 9, 7))[:59]
    long = letters[:52]
    one = Overlaps([("there", [("user", "x"), ("assistant", long)])])
    assert one.reason("a", [("user", "q"), ("assistant", f"abc {letters[1:]}")]) is None
    assert one.reason("b", [("user", "q"), ("assistant", f"abc {letters} ok")]) is not None


@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.sampled_from("abc"), max_size=12),
    st.integers(1, 5),
)
def test_overlap_is_a_common_run_of_words(theirs, ours, n):
    def runs(words):
        return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}

    one = Overlaps([("there", [("user", " ".join(theirs))])], n)
    told = one.reason("here", [("user", "other"), ("assistant", " ".join(ours))])
    assert (told is not None) == bool(runs(theirs) & runs(ours))
