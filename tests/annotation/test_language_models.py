"""Scores and tags by language models, against what each text alone gives, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mig_jax.annotation import (
    CausalLM,
    DeitaScorer,
    Difficulty,
    Exchange,
    InsTagger,
    Sample,
    difficulty,
    expected_score,
)
from mig_jax.errors import InputError
from tests.annotation.tiny_models import tiny_causal_lm

_EXCHANGES = [
    Exchange("What is a label?", "A name for what a text is about."),
    Exchange("Score it.", "6"),
    Exchange("Wie heißt das 图?", "Ein Graph: 3 labels, 2 edges. " * 3),
]
# One record of two turns, and one of one.
_SAMPLES = [Sample(tuple(_EXCHANGES[:2])), Sample((_EXCHANGES[2],))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_causal_lm(tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="module")
def model(folder):
    return CausalLM(str(folder), flag="--model", device="cpu", batch=2)


@pytest.fixture(scope="module")
def logits_of(folder):
    """The logits at each place of a single sequence, by transformers alone: float64."""
    torch = pytest.importorskip("torch", reason="the extra annotate is not installed")
    import transformers

    alone = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()

    def logits(ids):
        with torch.no_grad():
            return alone(torch.tensor([ids])).logits[0].double().numpy()

    return logits


@pytest.fixture(scope="module")
def tokenizer(folder):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


def _softmax(row):
    weights = [math.exp(value - max(row)) for value in row]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("kind", ["quality", "complexity"])
def test_deita_is_the_expected_digit_behind_the_published_prompt(kind, model, logits_of, tokenizer):
    found = DeitaScorer(model, kind).score(_SAMPLES)
    assert [len(of_one) for of_one in found] == [2, 1]
    expected = []
    for instruction, response in _EXCHANGES:
        prompt = {
            "quality": (
                "You are a helpful assistant. Please identify the quality score of the Response "
                f"corresponding to the Question. \n #Question#:\n{instruction}\n#Response#:\n"
                f"{response} \n##Quality: "
            ),
            "complexity": (
                "You are a helpful assistant. Please identify the complexity score of the "
                f"following user query. \n##Query: {instruction}  \n##Complexity: "
            ),
        }[kind]
        last = logits_of(tokenizer(prompt)["input_ids"])[-1]
        digits = [last[tokenizer.convert_tokens_to_ids(digit)] for digit in "123456"]
        expected.append(sum(n * p for n, p in zip(range(1, 7), _softmax(digits), strict=True)))
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4)
    # It is no constant that would agree by chance.
    assert np.ptp(expected) > 0.01


def test_deita_cuts_long_texts_and_not_the_prompt(folder, logits_of, tokenizer):
    short = CausalLM(str(folder), flag="--model", device="cpu", max_tokens=100)
    long = Sample((Exchange("word " * 400, "said"),))
    [[found]] = DeitaScorer(short, "quality").score([long])
    whole = tokenizer(
        "You are a helpful assistant. Please identify the quality score of the Response "
        "corresponding to the Question. \n #Question#:\n" + "word " * 400
    )["input_ids"]
    tail = tokenizer(" \n##Quality: ", add_special_tokens=False)["input_ids"]
    last = logits_of(whole[: 100 - len(tail)] + tail)[-1]
    digits = [last[tokenizer.convert_tokens_to_ids(digit)] for digit in "123456"]
    expected = sum(n * p for n, p in zip(range(1, 7), _softmax(digits), strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_expected_score_survives_large_logits():
    np.testing.assert_allclose(expected_score([[1e4, 1e4, -1e4, -1e4, -1e4, -1e4]]), [1.5])


def test_ifd_is_the_ratio_of_the_response_s_losses(model, logits_of, tokenizer):
    def loss(prompt, response):
        ids = [*prompt, *response]
        rows = logits_of(ids)
        picked = [
            -math.log(_softmax(rows[place - 1])[ids[place]])
            for place in range(len(prompt), len(ids))
        ]
        return sum(picked) / len(picked)

    expected, ratios = [], []
    for instruction, response in _EXCHANGES:
        said = tokenizer(response, add_special_tokens=False)["input_ids"]
        heading = tokenizer("\n\n### Response:", add_special_tokens=False)["input_ids"]
        asked = loss(tokenizer(instruction)["input_ids"] + heading, said)
        alone = loss(tokenizer("### Response:")["input_ids"], said)
        ratios.append(asked / alone)
        expected.append(asked / alone if asked < alone else 0.0)
    found = Difficulty(model).score(_SAMPLES)
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4)
    assert min(ratios) < 1 < max(ratios)


def test_ifd_of_what_has_no_loss(model):
    [[found]] = Difficulty(model).score([Sample((Exchange("Say nothing.", ""),))])
    assert found == 0.0
    assert difficulty([1.0], [0.0]).tolist() == [0.0]


def test_ifd_of_texts_longer_than_the_model_takes(folder):
    short = CausalLM(str(folder), flag="--model", device="cpu", max_tokens=64)
    [[first], [second]] = Difficulty(short).score(
        [Sample((Exchange("ask " * 300, "say " * n),)) for n in (300, 500)]
    )
    assert 0 <= first == second


def test_instag_writes_each_likeliest_token_behind_its_prompt(model, logits_of, tokenizer):
    query = 'Sort "this" list'
    prompt = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions. USER: Please "
        "identify tags of user intentions in the following user query and provide an explanation "
        'for each tag. Please respond in the JSON format {"tag": str, "explanation": str}.\n'
        f"User query: {query} ASSISTANT:"
    )
    parts = (prompt[: prompt.index("Sort")], query, " ASSISTANT:")
    ids = sum([tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts], [0])
    size = len(ids)
    for _ in range(12):
        ids.append(int(np.argmax(logits_of(ids)[-1])))
        if ids[-1] == 1:
            break
    written = []
    tagger = InsTagger(model, max_new_tokens=12)
    write = model.write
    model.write = lambda *given: written.extend(write(*given)) or written
    try:
        # Beside a longer one, so that the shorter is padded.
        tagger.tag([Sample((Exchange(query, ""),)), Sample((Exchange("longer " * 9, ""),))])
    finally:
        model.write = write
    assert written[0] == tokenizer.decode(ids[size:], skip_special_tokens=True)
    assert written[0] != written[1]


def test_instag_takes_what_the_model_answers(model, monkeypatch):
    answers = ['[{"tag": "Sorting", "explanation": "-"}, {"tag": "lists"}]', "I cannot."]
    monkeypatch.setattr(model, "write", lambda prompts, most: answers)
    tags = InsTagger(model).tag([Sample((Exchange("a", ""),)), Sample((Exchange("b", ""),))])
    assert tags == [["Sorting", "lists"], []]


def test_models_that_cannot_be_loaded_are_told(tmp_path, folder):
    pytest.importorskip("torch", reason="the extra annotate is not installed")
    with pytest.raises(InputError, match=r"--ifd_model: .*nowhere cannot be loaded"):
        CausalLM(str(tmp_path / "nowhere"), flag="--ifd_model")


def test_the_positions_of_the_model_limit_its_texts(tmp_path):
    folder = tiny_causal_lm(tmp_path / "short", positions=80, start=False)
    model = CausalLM(str(folder), flag="--model", device="cpu")
    assert model.max_tokens == 80
    long = Sample((Exchange("label graph " * 100, "yes " * 100),))
    for scorer in (DeitaScorer(model, "complexity"), Difficulty(model)):
        [[found]] = scorer.score([long])
        assert math.isfinite(found)
