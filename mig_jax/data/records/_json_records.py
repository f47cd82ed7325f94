"""Records as JSON, and what is said of a value that is another than expected."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import msgspec

from mig_jax.data.records._bare_lists import told_list
from mig_jax.data.records._label_formats import BadRecord

__all__ = ["found_kind", "kind_of", "parse_record", "record_as_json", "says_nothing"]

_EXPECTED: Final = "expected one JSON object a line"
_KINDS: Final = {bool: "true or false", str: "a string", list: "a list", dict: "an object"}


def parse_record(text: bytes) -> dict[str, Any]:
    """The JSON object of one record.

    Half of a character (a lone surrogate, as \\ud83d) is kept; of a name that is given twice
    in an object, the last value counts.

    Raises:
      BadRecord: if it is none, or has what UTF-8 or JSON has not: bytes of no character,
        NaN and infinities.
    """
    try:
        record = msgspec.json.decode(text)
    except RecursionError:
        raise BadRecord(f"JSON is nested too deeply; {_EXPECTED}") from None
    except UnicodeDecodeError:
        raise BadRecord("found bytes that are not UTF-8; expected text in UTF-8") from None
    except msgspec.DecodeError as error:
        # msgspec refuses lone surrogates; whatever else it refuses, the other way does, too.
        problem = str(error).replace("Input data was truncated", "JSON is truncated")
        try:
            record = _parse_with_halves(text)
        except _NotFinite as number:
            problem = f"found {number}, which JSON has not, expected null or a finite number"
            raise BadRecord(problem) from None
        if record is None:
            raise BadRecord(f"{problem}; {_EXPECTED}") from None
    if not isinstance(record, dict):
        raise BadRecord(f"found {kind_of(record)}; {_EXPECTED}{told_list(record)}")
    return record


def record_as_json(record: Any) -> bytes:
    """The record as JSON on one line; half a character as an escape, the rest as UTF-8.

    Raises:
      BadRecord: if it is nested too deeply.

    >>> record_as_json({"said": "é\\ud83d"}).decode()
    '{"said":"é\\\\ud83d"}'
    """
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")  # JSON's own way to write halves.
    except RecursionError:
        raise BadRecord(f"JSON is nested too deeply; {_EXPECTED}") from None


def kind_of(value: Any) -> str:
    """How messages name what kind of value it is."""
    if value is None or value is msgspec.UNSET:
        return "null" if value is None else "nothing"
    return _KINDS.get(type(value), "a number")


def says_nothing(value: Any) -> bool:
    """Whether a field is as good as none: as tables fill it in if a record has not got it."""
    return value is None or value in ("", [])


def found_kind(value: Any) -> str:
    """What is said of a field of this value; UNSET if there is no such field."""
    return "missing" if value is msgspec.UNSET else f"found {kind_of(value)}"


def _parse_with_halves(text: bytes) -> Any:
    """What Python's own parser finds in JSON, as strict as msgspec's but for lone surrogates.

    None for what is no JSON.

    Raises:
      _NotFinite: if it is none for NaN and infinities alone, with the first.
    """
    odd: list[str] = []

    def number(written: str) -> float:
        value = float(written)
        if not math.isfinite(value):
            odd.append(written[:20])
        return value

    try:
        record = json.loads(text.decode(), parse_constant=number, parse_float=number)
    except (ValueError, RecursionError):
        return None
    if odd:
        raise _NotFinite(odd[0])
    return record


class _NotFinite(Exception):  # noqa: N818 - it names the number, not the failure
    """A number that Python's writer writes, and JSON has not."""
