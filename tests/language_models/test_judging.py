"""Losses and multiple choice against plain loops, record by record."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.language_models import (
    CHAT_TEMPLATES,
    ChatTemplate,
    JudgedRecords,
    TunedModel,
    Tuning,
    choices_of,
    encode,
    shared_candidates,
)
from tests.language_models.decoders import LLAMA, nats_of, weights_of
from tests.language_models.tokenizers_of_tests import END, words_tokenizer

SPECIAL = ["<unk>", "<|im_start|>", END]
WORDS = ["user", "assistant", "yes", "no", "not", "why", "(", ")", "A", "B", "C", "is", "one"]
CONVERSATIONS = [
    ("is one not one", "no"),
    ("why ( A ) is ( B ) not", "( B )"),
    ("why", "is not one yes"),
    ("( A ) one ( C ) no", "( A )"),
    ("is one one", "yes"),
    ("is why one", "not yes"),
    ("one", "no"),
]
CANDIDATES = [
    ["yes", "no"],
    ["( A )", "( B )", "( C )"],
    [],
    ["( A )", "( C )", "( A )"],
    ["no", "yes", "why is"],
    ["not yes", "not no", "why"],  # Two begin alike: no one token tells all apart.
    ["no"],
]
ROW = 26
ROWS = 2


@pytest.fixture(scope="module")
def tokenizer():
    return words_tokenizer(WORDS, SPECIAL)


@pytest.fixture(scope="module")
def template():
    return ChatTemplate(CHAT_TEMPLATES["chatml"], "chatml")


@pytest.fixture(scope="module")
def judge():
    weights = weights_of(LLAMA, 21, head=True)
    model = TunedModel(LLAMA, weights, Tuning())
    return weights, model, model.start(jax.random.key(0))


def test_losses_are_those_of_each_token_alone(tokenizer, template, judge):
    weights, model, own = judge
    encoded = encode(tokenizer, template, CONVERSATIONS * 4)
    records = np.array([5, 0, 12, 27, 2, 3, 20, 21, 8, 14, 1, 15, 26, 9, 13, 4, 22, 6])
    judged = JudgedRecords(encoded, records, ROW, None)
    told = []
    losses = judged.losses(model, own, told.append)
    assert told == list(range(1, len(judged) + 1))
    assert len(judged) > 1
    every = [nats_of(LLAMA, weights, encoded.of(n), int(encoded.starts[n])) for n in records]
    close = {"rtol": 2e-4, "atol": 2e-4}
    assert losses.tokens.tolist() == [len(nats) for nats in every]
    np.testing.assert_allclose(losses.end, [nats[-1] for nats in every], **close)
    np.testing.assert_allclose(losses.content, [nats[:-1].mean() for nats in every], **close)
    np.testing.assert_allclose(losses.all, [nats.mean() for nats in every], **close)
    assert np.isnan(losses.margins).all()
    assert not losses.right.any()


def test_a_choice_is_won_by_the_likeliest_token_that_tells_answers_apart(
    tokenizer, template, judge
):
    weights, model, own = judge
    choices = choices_of(tokenizer, template, CONVERSATIONS * 4, CANDIDATES * 4)
    wanted = {}
    for n, ((asked, right), candidates) in enumerate(
        zip(CONVERSATIONS * 4, CANDIDATES * 4, strict=True)
    ):
        every = sorted(set(candidates))
        answers = encode(tokenizer, template, [(asked, one) for one in every])
        texts = [answers.of(k).tolist() for k in range(len(every))]
        place = next(
            (p for p, column in enumerate(zip(*texts, strict=False)) if len(set(column)) > 1), None
        )
        if place is None or len({text[place] for text in texts}) < len(every):
            continue
        nats = {
            one: nats_of(LLAMA, weights, np.array(text[: place + 1]), place)[0]
            for one, text in zip(every, texts, strict=True)
        }
        wanted[n] = min(nats[one] for one in every if one != right) - nats[right]
    assert choices.records.tolist() == sorted(wanted)
    assert choices.left_out == 4
    assert {n % 7 for n in wanted} == {0, 1, 3, 4}

    encoded = encode(tokenizer, template, CONVERSATIONS * 4)
    records = np.array([27, 2, 3, 0, 5, 7, 8, 10, 11, 14, 16, 20, 21, 22, 1, 4])
    judged = JudgedRecords(encoded, records, ROW, None, choices)
    losses = judged.losses(model, own)
    margins = [wanted.get(n, np.nan) for n in records.tolist()]
    np.testing.assert_allclose(losses.margins, margins, rtol=1e-3, atol=1e-3)
    assert losses.right.tolist() == [margin > 0 for margin in margins]
    assert 0 < losses.right.sum() < np.isfinite(margins).sum()
    plain = JudgedRecords(encoded, records, ROW, None).losses(model, own)
    np.testing.assert_allclose(losses.content, plain.content, rtol=1e-5)
    np.testing.assert_allclose(losses.end, plain.end, rtol=1e-5)


def test_records_without_choices_are_judged_as_ever(tokenizer, template, judge):
    _, model, own = judge
    encoded = encode(tokenizer, template, CONVERSATIONS)
    none = choices_of(tokenizer, template, CONVERSATIONS, [[]] * 7)
    assert (len(none.records), none.left_out) == (0, 0)
    losses = JudgedRecords(encoded, np.arange(7), ROW, None, none).losses(model, own)
    assert np.isnan(losses.margins).all()
    assert np.isfinite(losses.content).all()


def test_an_answer_that_is_no_candidate_is_refused(tokenizer, template):
    with pytest.raises(InputError, match="record 1: expected its answer 'no' among"):
        choices_of(tokenizer, template, [("why", "yes"), ("why", "no")], [["yes"], ["yes", "not"]])


def test_candidates_are_the_answers_of_a_group():
    conversations = [
        ("pick (A) or (B)", "(A)"),
        ("pick (B) or (C)", "(C)"),
        ("is it", "yes"),
        ("is it not", "no"),
        *[(f"count {n}", str(n)) for n in range(4)],
    ]
    groups = ["letters"] * 2 + ["words"] * 2 + ["numbers"] * 4
    found = shared_candidates(conversations, groups, most=3)
    assert found[:2] == [["(A)"], ["(C)"]]
    assert found[2:4] == [["no", "yes"]] * 2
    assert found[4:] == [[]] * 4
    assert shared_candidates(conversations, groups, most=4)[4:] == [["0", "1", "2", "3"]] * 4
    odd = [*conversations[:2], ("pick (A) or (B)", "(B)"), ("pick (A) or (C)", "Monsters, Inc")]
    found = shared_candidates(odd, ["letters"] * 4, most=2)
    assert found == [["(A)", "(B)"], ["(B)", "(C)"], ["(A)", "(B)"], ["Monsters, Inc"]]
    both = [("pick (A) or (B)", "(A)"), ("pick (A) or (B)", "(B)")]
    assert shared_candidates(both, ["letters"] * 2) == [["(A)", "(B)"]] * 2


def test_models_side_by_side_are_judged_as_each_alone(tokenizer, template, judge):
    _, model, own = judge
    encoded = encode(tokenizer, template, CONVERSATIONS)
    choices = choices_of(tokenizer, template, CONVERSATIONS, CANDIDATES)
    judged = JudgedRecords(encoded, np.arange(7), ROW, None, choices)
    other = jax.tree.map(lambda w: w * 1.1, own)
    both = jax.tree.map(lambda *w: np.stack(w), own, other)
    told = []
    found = judged.losses_side_by_side(model, both, told.append)
    assert told == list(range(1, len(judged) + 1))
    for one, alone in zip(found, (own, other), strict=True):
        expected = judged.losses(model, alone)
        for name in ("content", "end", "margins", "tokens"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(expected, name), rtol=1e-4, atol=1e-4, err_msg=name
            )
    assert abs(found[0].content - found[1].content).max() > 0.01
