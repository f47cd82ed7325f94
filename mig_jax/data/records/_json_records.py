"""Records as JSON, and what is said of a value that is another than expected."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import msgspec

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
        record = _parse_with_halves(text)
        if record is None:
            problem = str(error).replace("Input data was truncated", "JSON is truncated")
            raise BadRecord(f"{problem}; {_EXPECTED}") from None
    if not isinstance(record, dict):
        raise BadRecord(f"found {kind_of(record)}; {_EXPECTED}")
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
    """
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)
