"""Questions and answers as models read them."""

from __future__ import annotations

import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.language_models import CHAT_TEMPLATES, ChatTemplate, encode, responses_alone
from tests.language_models.tokenizers_of_tests import END, byte_tokenizer

CHATML = ChatTemplate(CHAT_TEMPLATES["chatml"], "chatml")
SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_the_named_templates_are_as_their_models_have_them():
    assert CHATML.parts("Why?", "So.\nYes") == (
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "So.\nYes<|im_end|>",
    )
    assert ChatTemplate(CHAT_TEMPLATES["gemma"], "gemma").parts("Why?", "So.") == (
        "<bos><start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n",
        "So.<end_of_turn>",
    )
    assert (
        ChatTemplate(SMOLLM, "own")
        .parts("Why?", "So.")[0]
        .startswith("<|im_start|>system\nYou help<|im_end|>\n<|im_start|>user\nWhy?")
    )


def test_texts_are_told_as_they_are():
    """No escapes and no templates within texts."""
    odd = "<b>&amp; {{ bos_token }} {% raw %}"
    assert CHATML.parts(odd, odd) == (
        f"<|im_start|>user\n{odd}<|im_end|>\n<|im_start|>assistant\n",
        f"{odd}<|im_end|>",
    )


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("{% for m in messages %}", "expected a chat template"),
        ("{{ messages[9].content }}", "expected a chat template"),
        ("{{ raise_exception('no users') }}", "no users"),
        ("{{ bos_token }}{{ messages[0].content }}", "names bos_token"),
        ("{{ strftime_now('%d') }}{{ messages[0].content }}", "date of today"),
        ("{{ add_generation_prompt }}{{ messages[0].content }}", "whose answer follows"),
        ("{{ messages.append(1) }}", "expected a chat template"),
        ("{{ ''.__class__.__mro__ }}", "expected a chat template"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(source, match):
    with pytest.raises(InputError, match=match) as told:
        ChatTemplate(source, "here")
    assert str(told.value).startswith("here: ")


def test_tokens_that_a_template_names_are_given():
    source = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    template = ChatTemplate(source, "here", {"bos_token": "<s>", "eos_token": "</s>"})
    assert template.parts("a", "b") == ("<s>a</s>", "b</s>")


def test_records_are_encoded_whole_and_responses_alone():
    tokenizer = byte_tokenizer(digits=True)
    conversations = [("What is a label?", "A label 12"), ("Why?", "é\n\nyes"), ("", "x")]
    encoded = encode(tokenizer, CHATML, conversations)
    assert encoded.ids.dtype == np.int32
    [end] = tokenizer.encode(END).ids
    alone = responses_alone(tokenizer, CHATML, encoded)
    opening = "<|im_start|>assistant\n"
    for n, (asked, said) in enumerate(conversations):
        ids, start = encoded.of(n).tolist(), int(encoded.starts[n])
        assert tokenizer.decode(ids, skip_special_tokens=False) == "".join(
            CHATML.parts(asked, said)
        )
        assert tokenizer.decode(ids[start:], skip_special_tokens=False) == f"{said}{END}"
        assert ids[-1] == end
        own, first = alone.of(n).tolist(), int(alone.starts[n])
        assert own[first:] == ids[start:]
        assert tokenizer.decode(own[:first], skip_special_tokens=False) == opening
    assert encoded.lengths.sum() == len(encoded.ids)
    some = encoded.take(np.array([2, 0]))
    assert [some.of(n).tolist() for n in (0, 1)] == [encoded.of(n).tolist() for n in (2, 0)]
    assert some.starts.tolist() == encoded.starts[[2, 0]].tolist()
    assert len(encode(tokenizer, CHATML, [])) == 0


@pytest.mark.parametrize(
    ("source", "begin", "opening"),
    [
        (CHAT_TEMPLATES["gemma"], "<bos>", "<bos><start_of_turn>model\n"),
        (SMOLLM, "<|im_start|>", "<|im_start|>assistant\n"),  # The heading begins with it.
        (CHAT_TEMPLATES["chatml"], "<s>", "<|im_start|>assistant\n"),  # The template has none.
        ("{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}", "<s>", "<s>"),
    ],
)
def test_a_response_alone_has_the_heading_of_answers_and_what_texts_begin_with(
    source, begin, opening
):
    assert ChatTemplate(source, "here", {"bos_token": begin}).opening == opening


def test_a_part_without_any_token_is_refused():
    bare = "{% for m in messages %}{{ m.content }}{% endfor %}"
    template = ChatTemplate(bare, "bare")
    tokenizer = byte_tokenizer(digits=True)
    with pytest.raises(InputError, match="record 1: expected a token of the instruction"):
        encode(tokenizer, template, [("a", "b"), ("", "b")])
    with pytest.raises(InputError, match="record 0: expected a token of the response"):
        encode(tokenizer, template, [("a", "")])
    with pytest.raises(InputError, match="neither a heading of answers nor a token"):
        responses_alone(tokenizer, template, encode(tokenizer, template, [("a", "b")]))
