"""Conversations as token ids, with the place at which the response starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["CHAT_TEMPLATES", "ChatTemplate", "EncodedRecords", "encode", "responses_alone"]

CHAT_TEMPLATES = {
    "chatml": (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "gemma": (
        "<bos>{% for message in messages %}<start_of_turn>"
        "{{ 'model' if message.role == 'assistant' else message.role }}\n"
        "{{ message.content }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
}
"""Templates in Jinja by name, for models that bring none or one that says too much."""


class Renders(Protocol):
    """A chat template of Jinja."""

    def render(self, **values: object) -> str: ...


class ChatTemplate:
    """How a model wants a question and its answer to be written down."""

    def __init__(
        self, source: str, place: str, special_tokens: Mapping[str, str] | None = None
    ) -> None:
        """Takes a template in Jinja as Hugging Face writes them.

        Args:
          source: the template.
          place: names it in errors.
          special_tokens: those that it may name, such as `bos_token`.

        Raises:
          InputError: if it is not a template, names a token that is not given, or its answer
            does not follow its question.
        """
        import jinja2
        from jinja2 import meta
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._place = place
        self._values = {**(special_tokens or {}), "tools": None, "documents": None}
        try:
            environment = ImmutableSandboxedEnvironment(
                trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
            )
            named = meta.find_undeclared_variables(environment.parse(source))
            missing = {name for name in named if name.endswith("_token")} - set(self._values)
            if missing:
                raise InputError(f"{place}: the chat template names {min(missing)}; expected one")
            environment.globals["raise_exception"] = _refuse
            environment.globals["strftime_now"] = _no_date
            self._template: Renders = environment.from_string(source)
            self.parts("question", "answer")
        except (jinja2.TemplateError, TypeError) as error:
            raise InputError(f"{place}: expected a chat template: {error}") from error

    def parts(self, instruction: str, response: str) -> tuple[str, str]:
        """What comes before the response, and the response with what ends it."""
        asked = [{"role": "user", "content": instruction}]
        answered = [*asked, {"role": "assistant", "content": response}]
        prompt = self._template.render(messages=asked, add_generation_prompt=True, **self._values)
        whole = self._template.render(
            messages=answered, add_generation_prompt=False, **self._values
        )
        if not whole.startswith(prompt):
            raise InputError(
                f"{self._place}: expected a chat template whose answer follows its question"
            )
        return prompt, whole[len(prompt) :].rstrip()

    @property
    def opening(self) -> str:
        """What a response alone stands behind: the token that texts begin with, and its heading.

        >>> ChatTemplate(CHAT_TEMPLATES["gemma"], "gemma", {"bos_token": "<bos>"}).opening
        '<bos><start_of_turn>model\\n'
        """
        asked = [{"role": "user", "content": "question"}]
        without, prompt = (
            self._template.render(messages=asked, add_generation_prompt=wanted, **self._values)
            for wanted in (False, True)
        )
        heading = prompt[len(without) :] if prompt.startswith(without) else ""
        begin = self._values.get("bos_token") or ""
        has_its_own = prompt.startswith(begin) and not heading.startswith(begin)
        return f"{begin}{heading}" if has_its_own else heading


def _refuse(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)


def _no_date(form: str) -> NoReturn:
    _refuse("it writes the date of today, by which no two runs would be alike")


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedRecords:
    """N records as token ids: `ids[offsets[n]:offsets[n + 1]]`, instruction and response.

    The last token of each record is the one that ends its answer.
    """

    ids: npt.NDArray[np.int32]  #: [tokens].
    offsets: npt.NDArray[np.int64]  #: [N + 1].
    starts: npt.NDArray[np.int32]  #: [N]: the first token of the response, from 0 in the record.

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each record, int64 [N]."""
        return np.diff(self.offsets)

    def of(self, record: int) -> npt.NDArray[np.int32]:
        """The token ids of one record."""
        return self.ids[self.offsets[record] : self.offsets[record + 1]]

    def take(self, records: npt.NDArray[np.int64]) -> EncodedRecords:
        """Some of the records, in the order given."""
        parts = [self.of(record) for record in records.tolist()]
        return _joined(parts, self.starts[records])


def encode(
    tokenizer: Tokenizer, template: ChatTemplate, conversations: Sequence[tuple[str, str]]
) -> EncodedRecords:
    """Instructions and responses as a model reads them; nothing is cut.

    Raises:
      InputError: if the template leaves an instruction or a response without any token.
    """
    written = [template.parts(instruction, response) for instruction, response in conversations]
    return _encoded(tokenizer, written)


def responses_alone(
    tokenizer: Tokenizer, template: ChatTemplate, encoded: EncodedRecords
) -> EncodedRecords:
    """The same responses, token by token, without instructions: what IFD compares with.

    Each stands behind the template's heading of answers alone, as in the code of the paper
    (arXiv 2308.12032), so that its first token is asked for, too.

    Raises:
      InputError: if there is neither a heading nor a token that texts begin with.
    """
    opening = np.array(tokenizer.encode(template.opening, add_special_tokens=False).ids, np.int32)
    if not len(opening):
        raise InputError(
            "the chat template has neither a heading of answers nor a token that texts begin with; "
            "expected one, to ask for a response without its instruction"
        )
    starts = encoded.starts.tolist()
    parts = [np.concatenate([opening, encoded.of(n)[s:]]) for n, s in enumerate(starts)]
    return _joined(parts, np.full(len(encoded), len(opening), np.int32))


def _encoded(tokenizer: Tokenizer, written: list[tuple[str, str]]) -> EncodedRecords:
    def ids(texts: list[str]) -> list[list[int]]:
        found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [one.ids for one in found]

    prompts = ids([prompt for prompt, _ in written])
    responses = ids([response for _, response in written])
    for record, (before, after) in enumerate(zip(prompts, responses, strict=True)):
        if not before or not after:
            part = "response" if before else "instruction"
            raise InputError(f"record {record}: expected a token of the {part} at least, got none")
    parts = [np.array(p + r, np.int32) for p, r in zip(prompts, responses, strict=True)]
    return _joined(parts, np.array([len(prompt) for prompt in prompts], np.int32))


def _joined(parts: list[npt.NDArray[np.int32]], starts: npt.NDArray[np.int32]) -> EncodedRecords:
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    ids = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    return EncodedRecords(ids, offsets, starts)
