"""Record layouts: how the labels and the score of a record are found in its JSON.

* `mig_jax`: labels are `mig_jax.labels`, the score is `mig_jax.score`, where `mig-jax annotate`
  puts them: trainers take columns named `labels` for their own.
* `xsample`: labels are `annotation.instag.content`; the score is the mean over turns
  of `annotation.deita.quality_scores` x `annotation.deita.complexity_scores`.
* `plain`: labels are `labels`, the score is `score`.

All other fields are skipped undecoded, whatever they hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np

from mig_jax.data.records._bare_lists import told_list

__all__ = [
    "LABEL_FORMATS",
    "BadRecord",
    "LabelFormat",
    "LabelsAndScore",
    "convert_mig_jax",
    "convert_plain",
    "convert_xsample",
    "decode_line",
    "decode_mig_jax",
    "decode_plain",
    "decode_xsample",
    "parse_mig_jax",
    "parse_plain",
    "parse_xsample",
]

LabelsAndScore = tuple[list[str], float]
T = TypeVar("T")

# Scores are kept in float32, so one that is finite only in float64 is refused.
_LARGEST_SCORE: Final = float(np.finfo(np.float32).max)
_SCORE_EXPECTED: Final = "a finite number of at least 0"
_LARGE_EXPECTED: Final = "at most 3.4e38 (float32)"

# What each field must be, by its path with list positions removed.
_EXPECTED: Final = {
    "": "one JSON object a line",
    "labels": "a list of strings",
    "labels[]": "a string",
    "score": _SCORE_EXPECTED,
    "mig_jax": "an object with labels and score",
    "mig_jax.labels": "a list of strings",
    "mig_jax.labels[]": "a string",
    "mig_jax.score": _SCORE_EXPECTED,
    "annotation": "an object with instag and deita",
    "annotation.instag": "an object with content",
    "annotation.instag.content": "a list of strings",
    "annotation.instag.content[]": "a string",
    "annotation.deita": "an object with quality_scores and complexity_scores",
    "annotation.deita.quality_scores": "a list of numbers, one a turn",
    "annotation.deita.quality_scores[]": "a finite number",
    "annotation.deita.complexity_scores": "a list of numbers, one a turn",
    "annotation.deita.complexity_scores[]": "a finite number",
}
_UNREADABLE: Final = object()
_JSON_NAMES: Final = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a number",
    "object": "an object",
    "str": "a string",
}


class BadRecord(Exception):  # noqa: N818 - it names the record, not the failure
    """A record that cannot be used.

    Attributes:
      field: path of the field at fault, such as `annotation.deita.quality_scores`;
        empty if the record as a whole is at fault.
      problem: what was found there and what was expected, on one line.
    """

    def __init__(self, problem: str, field: str = "") -> None:
        super().__init__(f"field {field}: {problem}" if field else problem)
        self.problem = problem
        self.field = field


# Records are trees, and there are millions: the garbage collector need not track them.
class _Plain(msgspec.Struct, gc=False):
    labels: list[str]
    score: float


class _MigJax(msgspec.Struct, gc=False):
    mig_jax: _Plain


class _InsTag(msgspec.Struct, gc=False):
    content: list[str]


class _Deita(msgspec.Struct, gc=False):
    quality_scores: list[float]
    complexity_scores: list[float]


class _Annotation(msgspec.Struct, gc=False):
    instag: _InsTag
    deita: _Deita


class _XSample(msgspec.Struct, gc=False):
    annotation: _Annotation


_PLAIN_DECODER: Final = msgspec.json.Decoder(_Plain)
_MIG_JAX_DECODER: Final = msgspec.json.Decoder(_MigJax)
_XSAMPLE_DECODER: Final = msgspec.json.Decoder(_XSample)
_SYNTAX_DECODER: Final = msgspec.json.Decoder(msgspec.Raw)


def decode_xsample(line: bytes) -> LabelsAndScore:
    """The labels, each once in order of first appearance, and the score of one record.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    return _finish_xsample(decode_line(line, _XSAMPLE_DECODER))


def decode_plain(line: bytes) -> LabelsAndScore:
    """The labels, each once in order of first appearance, and the score of one record.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    return _finish_plain(decode_line(line, _PLAIN_DECODER))


def decode_mig_jax(line: bytes) -> LabelsAndScore:
    """The same, of the object `mig_jax` in the record.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    return _finish_plain(decode_line(line, _MIG_JAX_DECODER).mig_jax, "mig_jax.")


def parse_xsample(line: bytes | memoryview) -> LabelsAndScore | None:
    """The labels as they stand, repeats included, and the score of a record without fault.

    None for every other line: `decode_xsample` tells what is wrong, or finds that it
    can be used after all. This one is for the many: it takes a third of the time.
    """
    try:
        annotation = _XSAMPLE_DECODER.decode(line).annotation
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    deita = annotation.deita
    quality, complexity = deita.quality_scores, deita.complexity_scores
    if len(quality) == 1 == len(complexity):
        # Adding 0.0 turns -0.0 into 0.0, as the sum does.
        score = quality[0] * complexity[0] + 0.0
    elif quality and len(quality) == len(complexity):
        score = _mean_product(quality, complexity)
    else:
        return None
    return (annotation.instag.content, score) if 0.0 <= score <= _LARGEST_SCORE else None


def parse_plain(line: bytes | memoryview) -> LabelsAndScore | None:
    """The same for `decode_plain`."""
    try:
        record = _PLAIN_DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    score = record.score
    return (record.labels, score) if 0.0 <= score <= _LARGEST_SCORE else None


def parse_mig_jax(line: bytes | memoryview) -> LabelsAndScore | None:
    """The same for `decode_mig_jax`."""
    try:
        record = _MIG_JAX_DECODER.decode(line).mig_jax
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    score = record.score
    return (record.labels, score) if 0.0 <= score <= _LARGEST_SCORE else None


def convert_xsample(row: Any) -> LabelsAndScore:
    """The same as `decode_xsample`, for a record that is already an object.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    return _finish_xsample(_convert(row, _XSample))


def convert_plain(row: Any) -> LabelsAndScore:
    """The same for `decode_plain`."""
    return _finish_plain(_convert(row, _Plain))


def convert_mig_jax(row: Any) -> LabelsAndScore:
    """The same for `decode_mig_jax`."""
    return _finish_plain(_convert(row, _MigJax).mig_jax, "mig_jax.")


class LabelFormat(NamedTuple):
    """How the labels and the score of a record are found, and the fields that they are in."""

    parse: Callable[[bytes | memoryview], LabelsAndScore | None]
    decode: Callable[[bytes], LabelsAndScore]
    convert: Callable[[Any], LabelsAndScore]
    fields: tuple[str, ...]


# The first whose fields a record has is taken for its layout: what `mig-jax annotate` made goes
# before what it was made from.
LABEL_FORMATS: Final[dict[str, LabelFormat]] = {
    "mig_jax": LabelFormat(
        parse_mig_jax, decode_mig_jax, convert_mig_jax, ("mig_jax.labels", "mig_jax.score")
    ),
    "xsample": LabelFormat(
        parse_xsample,
        decode_xsample,
        convert_xsample,
        (
            "annotation.instag.content",
            "annotation.deita.quality_scores",
            "annotation.deita.complexity_scores",
        ),
    ),
    "plain": LabelFormat(parse_plain, decode_plain, convert_plain, ("labels", "score")),
}


def decode_line(line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What the decoder makes of a line, as Python's own JSON reader has it.

    NaN, infinities and lone surrogates are let pass in fields that are not used, and of a
    name that is given twice in an object the last value counts.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    try:
        return decoder.decode(line)
    except RecursionError:
        raise BadRecord("JSON is nested too deeply; expected one JSON object a line") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = error
    # msgspec stops at the first wrong type, though the name may come once more; a line that
    # is broken further on (two records run together, say) is better told as broken. And it is
    # stricter than Python's own writer, which leaves NaN, Infinity and halves of characters
    # behind; those matter only in a field that is used.
    malformed = _malformation(line)
    parsed, has_repeats = _parse_leniently(line)
    if malformed is None and (would_do := told_list(parsed)):
        raise BadRecord(f"found a list, expected {_EXPECTED['']}{would_do}")
    if malformed is None and isinstance(problem, msgspec.ValidationError) and not has_repeats:
        raise _as_bad_record(problem)
    if parsed is _UNREADABLE:
        raise BadRecord(f"{malformed or problem}; expected one JSON object a line")
    return _convert(parsed, decoder.type)


def _malformation(line: bytes) -> str | None:
    try:
        _SYNTAX_DECODER.decode(line)
    except RecursionError:
        return "JSON is nested too deeply"
    except msgspec.DecodeError as error:
        return str(error).replace("Input data was truncated", "JSON is truncated")
    return None


def _parse_leniently(line: bytes) -> tuple[Any, bool]:
    """The parsed line, or `_UNREADABLE`; and whether an object in it has a name twice.

    Bytes that are not UTF-8 become lone surrogates in strings, to be found by
    `_unique_labels`, and question marks in field names.
    """
    repeats = False

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        # msgspec.convert cannot look at other names.
        found = {name.encode("utf-8", "replace").decode(): value for name, value in pairs}
        repeats = repeats or len(found) < len(pairs)
        return found

    text = line.decode("utf-8", "surrogateescape")
    try:
        return json.loads(text, object_pairs_hook=as_object), repeats
    except (ValueError, RecursionError):
        return _UNREADABLE, False


def _convert(row: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise _as_bad_record(error) from None
    except UnicodeEncodeError:  # Of a string where something else is expected.
        raise BadRecord("found bytes that are not UTF-8, expected text in UTF-8") from None


def _as_bad_record(error: msgspec.ValidationError) -> BadRecord:
    """Says msgspec's finding in the terms of the layouts."""
    message, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        field = f"{field}.{missing[1]}" if field else missing[1]
        found = "missing"
    elif wrong := re.fullmatch(r"Expected `.*`, got `(.*)`", message):
        found = f"found {_JSON_NAMES.get(wrong[1], wrong[1])}"
    else:
        found = message[:1].lower() + message[1:]
    expected = _EXPECTED.get(re.sub(r"\[\d+\]", "[]", field), "a value of the layout")
    return BadRecord(f"{found}, expected {expected}", field)


def _finish_plain(record: _Plain, within: str = "") -> LabelsAndScore:
    """`within` is the path of what holds labels and score, its dot included."""
    score = record.score
    if not 0.0 <= score <= _LARGEST_SCORE:
        raise BadRecord(f"found {_number(score)}, expected {_expected(score)}", f"{within}score")
    return _unique_labels(record.labels, f"{within}labels"), score


def _finish_xsample(record: _XSample) -> LabelsAndScore:
    deita = record.annotation.deita
    quality, complexity = deita.quality_scores, deita.complexity_scores
    turns = len(quality)
    if turns != len(complexity) or not turns:
        raise BadRecord(
            f"found {turns} quality and {len(complexity)} complexity scores, "
            "expected as many of both, one a turn, and at least one",
            "annotation.deita.quality_scores",
        )
    score = _mean_product(quality, complexity)
    if not 0.0 <= score <= _LARGEST_SCORE:
        for name in ("quality_scores", "complexity_scores"):
            for turn, value in enumerate(getattr(deita, name)):
                if not math.isfinite(value):
                    raise BadRecord(
                        f"found {_number(value)}, expected a finite number",
                        f"annotation.deita.{name}[{turn}]",
                    )
        raise BadRecord(
            "the mean of quality times complexity is "
            f"{_number(score)}, expected {_expected(score)}",
            "annotation.deita",
        )
    return _unique_labels(record.annotation.instag.content, "annotation.instag.content"), score


def _mean_product(quality: list[float], complexity: list[float]) -> float:
    return sum([q * c for q, c in zip(quality, complexity, strict=True)]) / len(quality)


def _unique_labels(labels: list[str], field: str) -> list[str]:
    for position, label in enumerate(labels):
        try:
            label.encode()
        except UnicodeEncodeError as error:
            is_byte = "\udc80" <= label[error.start] <= "\udcff"  # As `_parse_leniently` has them.
            found = "bytes that are not UTF-8" if is_byte else "a lone surrogate (half a character)"
            raise BadRecord(
                f"found {found}, expected a string in UTF-8", f"{field}[{position}]"
            ) from None
    return list(dict.fromkeys(labels))


def _expected(score: float) -> str:
    """What was expected in place of a score that cannot be."""
    return _LARGE_EXPECTED if math.isfinite(score) and score > 0 else _SCORE_EXPECTED


def _number(value: float) -> str:
    if math.isfinite(value):
        return f"{value:g}"
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
