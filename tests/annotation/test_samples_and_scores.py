"""Exchanges of a conversation, and how several scores are made into one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mig_jax import data
from mig_jax.annotation import (
    DeitaScorer,
    Difficulty,
    EmbeddingTagger,
    Exchange,
    Keep,
    KeepLabels,
    Length,
    Needs,
    Relevance,
    Sample,
    TagCount,
    annotate,
    combine,
    exchanges_of,
    is_blank,
    is_nearly_constant,
    mean_of_turns,
    nearest_labels,
    ranks,
    scorer_weights,
)
from mig_jax.errors import InputError


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ("u1 a2", [("1", "2")]),
        ("u1 a2 u3 a4", [("1", "2"), ("3", "4")]),
        ("s0 u1 a2 u3", [("1", "2")]),
        ("a0 u1 u2 a3 a4", [("1\n2", "3\n4")]),
        ("u1 a2 t3 a4", [("1", "2"), ("3", "4")]),
        ("u1 s0 a2", [("1", "2")]),
        ("u1", []),
        ("a1", [("", "1")]),
        ("", []),
    ],
)
def test_exchanges(turns, expected):
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    given_turns = [(roles[word[0]], word[1:]) for word in turns.split()]
    assert exchanges_of(given_turns) == tuple(Exchange(*pair) for pair in expected)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_ranks_are_scipy_s_scaled_to_0_to_1(values):
    expected = (stats.rankdata(values) - 1) / (len(values) - 1)
    np.testing.assert_allclose(ranks(values), expected, atol=1e-12)


def test_ranks_of_few():
    assert ranks([]).tolist() == []
    assert ranks([7.0]).tolist() == [0.5]


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=6))
def test_mean_of_turns_multiplies_turn_by_turn(turns):
    quality, complexity = [q for q, _ in turns], [c for _, c in turns]
    expected = sum(q * c for q, c in turns) / len(turns)
    np.testing.assert_allclose(mean_of_turns([quality, complexity]), expected)
    # A single value counts for each turn.
    np.testing.assert_allclose(mean_of_turns([quality, [3.0]]), 3 * sum(quality) / len(turns))


def test_scorers_that_differ_in_turns_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        mean_of_turns([[1.0, 2.0], [1.0, 2.0, 3.0]])


def test_combinations():
    means = {"a": [1.0, 4.0, 2.0], "b": [5.0, 6.0, 7.0]}
    weights = {"a": 3.0, "b": 1.0}
    assert combine("mean_of_turns", means, [1.0, 2.0, 3.0], weights).tolist() == [1, 2, 3]
    assert combine("product", means, [], weights).tolist() == [5, 24, 14]
    ranked = [0.75 * a + 0.25 * b for a, b in [(0, 0), (1, 0.5), (0.5, 1)]]
    np.testing.assert_allclose(combine("ranks", means, [], weights), ranked)
    with pytest.raises(ValueError, match="how is 'sum'"):
        combine("sum", means, [], weights)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0] * 100, True),
        ([0.0] * 10, True),
        ([5.0] * 98 + [1.0, 9.0], True),
        ([5.0] * 80 + [4.0] * 20, False),
        (np.linspace(3.0, 3.02, 50), True),
        (np.linspace(3.0, 3.1, 50), False),
        ([1.0], False),
        ([], False),
    ],
)
def test_a_scorer_that_tells_nothing_apart_is_found(values, expected):
    assert is_nearly_constant(values) is expected


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=6, max_size=6), max_size=4),
    st.integers(1, 7),
    st.floats(-1, 1),
    st.floats(0, 1),
)
def test_nearest_labels_are_those_of_a_full_sort(rows, most, least, margin):
    expected = []
    for row in rows:
        order = sorted(range(6), key=lambda place: (-row[place], place))
        floor = max(max(row) - margin, least)
        expected.append([place for place in order if row[place] >= floor][:most])
    assert nearest_labels(rows, most, least, margin) == expected


def _letters(texts):
    """Embeds a text by how often it has a, b and c."""
    counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def _sample(*pairs, **more):
    return Sample(tuple(Exchange(*pair) for pair in pairs), **more)


def test_embedding_tags_and_relevance():
    tagger = EmbeddingTagger(["a", "b", "c", "ab", "a"], _letters, most=2, similarity=0.5)
    samples = [_sample(("aaab", "x")), _sample(("", "a")), _sample(("c", "a"), ("c", ""))]
    assert tagger.tag(samples) == [["a", "ab"], [], ["c"]]
    samples = [_sample(("ab", "a"), ("c", "cc")), _sample(("a", "b"))]
    [first, second] = Relevance(_letters).score(samples)
    np.testing.assert_allclose(first, [0.5**0.5, 1.0], rtol=1e-6)
    assert second == [0.0]


class _Model:
    """Stands for a language model to which all texts are alike."""

    max_tokens = 100

    def encode(self, text, *, start=False):
        return [ord(text)] if len(text) == 1 else [1, 2]

    def next_logits(self, sequences, tokens):
        return np.zeros((len(sequences), len(tokens)))

    def mean_losses(self, prompts, responses):
        return np.array([0.5 if len(prompt) > 2 else 1.0 for prompt in prompts])


def test_what_says_nothing_scores_nothing():
    exchanges = [("q", "a"), ("", "a"), ("<image>\n", "a"), ("q", " \u200b"), ("<image>?", "a")]
    sample = _sample(*exchanges)
    whole = [True, False, False, False, True]
    asked = [True, False, False, True, True]
    constant = Relevance(lambda texts: np.ones((len(texts), 1), np.float32))
    assert constant.score([sample]) == [[float(one) for one in whole]]
    for kind, expected in (("quality", whole), ("complexity", asked)):
        assert DeitaScorer(_Model(), kind).score([sample]) == [[3.5 * one for one in expected]]
    assert Difficulty(_Model()).score([sample]) == [[0.5 * one for one in whole]]
    assert Length().score([sample]) == [[1.0, 1.0, 1.0, 2.0, 1.0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        (" \t\n\u00a0", True),
        ("\u200b\ufeff\u00ad", True),
        ("<image>", True),
        ("<image> <video>\n<audio>", True),
        ("\ufffc", True),
        ("<image>x", False),
        ("<img>", False),
        ("?", False),
        ("😀", False),
        ("ก", False),
        ("0", False),
    ],
)
def test_texts_that_say_nothing(text, expected):
    assert is_blank(text) is expected


def test_a_tagger_gets_what_asks_something():
    seen = []

    class Tagger:
        def tag(self, samples):
            seen.extend(sample.instruction for sample in samples)
            return [[sample.instruction, "", " "] for sample in samples]

    def records(questions):
        for number, question in enumerate(questions, 1):
            turns = (("user", question), ("assistant", "a"))
            conversation = data.decode_conversation(
                {"messages": [{"role": role, "content": text} for role, text in turns]}
            )
            yield data.RawRecord("p", number, b"{}", {}, conversation, ["own"], None, 0)

    for needs, nothing in ((Needs(), []), (Needs(labels=True), ["own"])):
        added = []
        journal = SimpleNamespace(done=0, append=added.extend)
        annotate(
            records(["x", "", "y", "<image>", "\n"]),
            needs,
            Tagger(),
            {"tag_count": TagCount()},
            journal,
            5,
            lambda done: None,
        )
        assert [one.labels for one in added] == [["x"], nothing, ["y"], nothing, nothing]
        assert added[1].scores == {"tag_count": [float(len(nothing))]}
    assert seen == ["x", "y"] * 2


def test_scorers_without_a_model():
    samples = [_sample(("q", "four"), ("q", ""), labels=["x", "y"], score=2.5)]
    assert Length().score(samples) == [[4.0, 0.0]]
    assert TagCount().score(samples) == [[2.0]]
    assert Keep().score(samples) == [[2.5]]
    assert KeepLabels().tag(samples) == [["x", "y"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["depth"], "found depth, expected one of deita, "),
        (["length", "length"], "length is given twice"),
        (["deita", "deita_quality:2"], "deita_quality is given twice"),
        (["length:x"], "found length:x, expected a number above 0"),
        (["length:-1"], "found length:-1"),
        (["length:nan"], "found length:nan"),
        ([], "missing"),
    ],
)
def test_scorers_that_cannot_be_are_told(words, told):
    with pytest.raises(InputError, match=told):
        scorer_weights(words)
