"""Conversations in columns: a question in one field and its answer in another, or a text.

* Alpaca: `instruction`, `input`, `output`; `system`; earlier exchanges in `history`.
* The same under other names, as `query` and `response` (`_PAIRS`), or with any other one
  question and one answer that a record has.
* `text` alone, which is what would be trained on: the assistant's.
* Items of evaluation files that only ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mig_jax.data.records._conversations import Conversation, Turn
from mig_jax.data.records._field_names import FieldNames
from mig_jax.data.records._json_records import found_kind, kind_of
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._turn_lists import ROLE_NAMES, decode_any_turns, is_turn_list

__all__ = [
    "ANSWERS",
    "BESIDE_TEXT",
    "COLUMNS",
    "QUESTIONS",
    "decode_alpaca",
    "decode_columns",
    "decode_questions",
    "decode_text",
    "encode_alpaca",
    "question_and_answer",
    "question_field",
    "question_turns",
    "questions_field",
    "text_is_beside",
]

# The first of these whose two fields a record has is taken, so a worked solution goes before
# the last line of it.
_PAIRS: Final = (
    ("question", "solution"),
    ("question", "answer"),  # GSM8K
    ("query", "response"),  # ms-swift, data-juicer
    ("instruction", "response"),  # Dolly, with `context`
    ("problem", "solution"),  # MATH
    ("inputs", "targets"),  # FLAN
    ("input", "output"),  # NeMo
    ("prompt", "response"),  # HelpSteer
    ("question", "response"),  # OpenOrca, with `system_prompt`
    ("message_1", "message_2"),  # CAMEL
)
QUESTIONS: Final = ("instruction", "question", "query", "prompt", "problem", "inputs", "input")
ANSWERS: Final = (
    *("response", "completion", "answer", "solution", "output", "targets", "target"),
    "generation",
)
# What a question is about, under other names than `context`: of AGIEval and BoolQ, of ASDiv.
_MORE_CONTEXTS: Final = ("passage", "body")
_SYSTEM: Final = ("system", "system_prompt")
# Fields that `text_is_beside` and `questions_field` look at, besides columns.
BESIDE_TEXT: Final = ("role", "question_id", "answer_id", "code")
COLUMNS: Final = tuple(
    dict.fromkeys((*QUESTIONS, *ANSWERS, "context", *_SYSTEM, "message_1", "message_2"))
)


def question_and_answer(record: dict[str, Any], names: FieldNames) -> tuple[str, str] | None:
    """The usual names of the two fields, both strings; None if there are none or too many.

    Fields that `--field` names go first, then pairs in their order, filled ones before
    empty ones; then a question and an answer that are the only ones.
    """

    found = {name: record.get(names[name]) for name in COLUMNS}
    texts = {name: text for name, text in found.items() if isinstance(text, str)}
    pairs = [pair for pair in _PAIRS if pair[0] in texts and pair[1] in texts]
    asked = [name for name in QUESTIONS if texts.get(name)]
    if "instruction" in asked and "input" in asked:
        asked.remove("input")  # Which is what the instruction is about.
    said = [name for name in ANSWERS if texts.get(name)]
    said = said or [name for name in ANSWERS if name in texts]
    only = [
        [name for name in candidates if names.is_mapped(name)] or candidates
        for candidates in (asked, said)
    ]
    if all(len(candidates) == 1 for candidates in only):
        pairs.append((only[0][0], only[1][0]))
    return max(
        pairs,
        key=lambda pair: (sum(map(names.is_mapped, pair)), all(texts[name] for name in pair)),
        default=None,
    )


def question_field(record: dict[str, Any], names: FieldNames) -> str | None:
    """The usual name of the first field that asks something, a filled string."""
    for name in QUESTIONS:
        if isinstance(record.get(names[name]), str) and record[names[name]]:
            return name
    return None


def question_turns(
    rest: dict[str, Any], question: str, names: FieldNames, fields: dict[str, str]
) -> list[Turn]:
    """The turns up to a question and its own, all taken from the fields of `rest`.

    `fields` gets their names.

    Raises:
      BadRecord: for a field that is no text, or no history.
    """
    turns = []
    for name in _SYSTEM:
        if rest.get(names[name]) is not None:
            fields["system"] = names[name]
            if system := _take_text(rest, names[name]):
                turns.append(Turn("system", system))
            break
    if rest.get(names["history"]):
        fields["history"] = names["history"]
    turns += _take_history(rest, names["history"])
    asked, more = _take_text(rest, names[question]), {}
    fields["question"] = names[question]
    about = ("context", "input") if question == "instruction" else ("context",)
    found = [names[name] for name in about if isinstance(rest.get(names[name]), str)]
    found = found or [name for name in _MORE_CONTEXTS if isinstance(rest.get(name), str)]
    for field in found[:1]:
        more["input"] = _take_text(rest, field)
        fields["context"] = field
        asked = "\n".join(part for part in (asked, more["input"]) if part)
    return [*turns, Turn("user", asked, None, {key: text for key, text in more.items() if text})]


def decode_columns(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a record in which `question_and_answer` found something."""
    found = question_and_answer(record, names)
    assert found is not None
    rest, fields = dict(record), {"answer": names[found[1]]}
    answer = Turn("assistant", _take_text(rest, names[found[1]]))
    turns = question_turns(rest, found[0], names, fields)
    return Conversation("columns", (*turns, answer), rest, fields, len(turns))


def questions_field(record: dict[str, Any], names: FieldNames) -> str | None:
    """The usual name of the field that holds all that an evaluation item asks."""
    turns = record.get(names["turns"])  # MT-Bench and Arena-Hard: strings, or objects.
    if _asked(turns, names) or is_turn_list(turns, names):
        return "turns"
    prompt = record.get(names["prompt"])
    if not isinstance(prompt, str) and (_asked(prompt, names) or is_turn_list(prompt, names)):
        return "prompt"
    question = question_field(record, names)
    # Vicuna's, and of those who evaluate as it did. Its answers have ids of their own.
    is_vicuna = question is None and "question_id" in record and "answer_id" not in record
    text = record.get(names["text"])
    return "text" if is_vicuna and isinstance(text, str) and text else question


def decode_questions(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a record in which `questions_field` found something.

    Every text of a list is a turn of the user's: an evaluation asks one after the other.
    """
    usual = questions_field(record, names)
    assert usual is not None
    rest, field = dict(record), names[usual]
    if isinstance(record[field], str):
        fields: dict[str, str] = {}
        turns = tuple(question_turns(rest, usual, names, fields))
        return Conversation("questions", turns, rest, fields)
    found = rest.pop(field)
    if is_turn_list(found, names):
        turns = decode_any_turns(found, field, names)
    else:
        turns = tuple(Turn("user", said) for said in _asked(found, names))
    return Conversation("questions", turns, rest, {"turns": field})


def _asked(found: Any, names: FieldNames) -> list[str]:
    """The texts of a list of strings, or of objects with a content and no role."""
    if not isinstance(found, list) or is_turn_list(found, names):
        return []
    said = [turn.get(names["content"]) if isinstance(turn, dict) else turn for turn in found]
    texts = [text for text in said if isinstance(text, str)]
    return texts if len(texts) == len(said) else []


def text_is_beside(record: dict[str, Any], names: FieldNames) -> str | None:
    """The field that tells that `text` is one side of a conversation, and not all there is.

    It is the role of a turn (Open Assistant's messages), the number of a question (Vicuna), or
    the other side: a question, an answer or code (MBPP) that is no part of the text.
    """
    text = record[names["text"]]
    if str(record.get(names["role"])).lower() in ROLE_NAMES:
        return names["role"]
    if "question_id" in record:
        return "question_id"
    for name in (*QUESTIONS, *ANSWERS):
        other = record.get(names[name])
        if isinstance(other, str) and other.strip() and other.strip() not in text:
            return names[name]
    code = record.get("code")
    # One word may be the code of a language.
    is_code = isinstance(code, str) and len(code.split()) > 1 and code.strip() not in text
    return "code" if is_code else None


def decode_text(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a text that nobody asked for."""
    rest, field = dict(record), names["text"]
    turns = (Turn("assistant", _take_text(rest, field)),)
    return Conversation("text", turns, rest, {"text": field})


def decode_alpaca(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a record of Alpaca's, from which the same record can be made.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    rest = dict(record)
    turns = []
    fields = {"question": names["instruction"], "answer": names["output"]}
    fields |= {
        role: names[name]
        for role, name in (("context", "input"), ("system", "system"), ("history", "history"))
        if rest.get(names[name]) is not None
    }
    if rest.get(names["system"]) not in (None, ""):  # Either stays as it is.
        turns.append(Turn("system", _take_text(rest, names["system"])))
    turns += _take_history(rest, names["history"])
    question, more = _take_text(rest, names["instruction"]), {}
    if names["input"] in rest:
        given = rest.pop(names["input"])
        if given is not None and not isinstance(given, str):
            raise BadRecord(f"{found_kind(given)}, expected a string", names["input"])
        more["input"] = given
        # As trainers join them.
        question = "\n".join(part for part in (question, given) if part)
    answer = _take_text(rest, names["output"])
    turns += [Turn("user", question, None, more), Turn("assistant", answer)]
    return Conversation("alpaca", tuple(turns), rest, fields, len(turns) - 1)


def encode_alpaca(turns: tuple[Turn, ...]) -> dict[str, Any]:
    """The fields of Alpaca's for these turns.

    Raises:
      BadRecord: if they are not question and answer in turn, after at most one system turn,
        or have fields of their own.
    """
    system = turns[:1] if turns and turns[0].role == "system" else ()
    spoken = turns[len(system) :]
    for place, turn in enumerate(turns):
        expected = ("user", "assistant")[(place - len(system)) % 2]
        if place >= len(system) and turn.role != expected:
            raise BadRecord(
                f"turn {place + 1} is the {turn.role}'s; layout alpaca expects user and assistant "
                "in turn, after at most one system turn"
            )
    if not spoken or len(spoken) % 2:
        raise BadRecord(
            f"found {len(spoken)} turns of user and assistant; layout alpaca expects pairs of "
            "question and answer, at least one"
        )
    question, answer = spoken[-2:]
    for turn in turns:
        allowed = {"input"} if turn is question else set()
        for key, value in turn.more.items():
            if key not in allowed and value is not None:
                raise BadRecord(f"layout alpaca has no place for the field {key} of a turn")
    record: dict[str, Any] = {"instruction": question.content}
    if "input" in question.more:
        given = question.more["input"]
        if given:
            if not isinstance(given, str) or not f"\n{question.content}".endswith(f"\n{given}"):
                raise BadRecord("layout alpaca expects the field input to end the user's turn")
            record["instruction"] = question.content.removesuffix(given).removesuffix("\n")
        record["input"] = given
    record["output"] = answer.content
    if system and system[0].content != "":
        record["system"] = system[0].content
    if earlier := [turn.content for turn in spoken[:-2]]:
        pairs = zip(earlier[::2], earlier[1::2], strict=True)
        record["history"] = [[asked, said] for asked, said in pairs]
    return record


def _take_text(rest: dict[str, Any], field: str) -> str:
    value = rest.pop(field)
    if not isinstance(value, str):
        raise BadRecord(f"{found_kind(value)}, expected a string", field)
    return value


def _take_history(rest: dict[str, Any], field: str) -> Iterable[Turn]:
    # An empty history is kept as it is, be it null, [] or no field.
    history = rest.pop(field) if rest.get(field) else []
    turns = []
    for place, pair in enumerate(history if isinstance(history, list) else [history]):
        if not (isinstance(pair, list) and [type(said) for said in pair] == [str, str]):
            raise BadRecord(
                f"found {kind_of(pair)}, expected a list of two strings, question and answer",
                f"{field}[{place}]",
            )
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
    return turns
