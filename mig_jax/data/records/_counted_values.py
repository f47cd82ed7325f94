"""The values that records are counted by."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from mig_jax.data.records._field_names import value_at

__all__ = ["counted_value"]

_LONGEST: Final = 200  # Symbols of a value that are kept.


def counted_value(record: Any, path: str) -> str:
    """The value that the names joined by dots lead to, as text; "(none)" if there is none.

    A list of one text is that text. What else is no text is written as JSON; of a long value the
    first 200 symbols are kept. Half of a character (a lone surrogate) is the replacement character.

    >>> counted_value({"meta": {"source": "flan"}, "n": 2}, "meta.source")
    'flan'
    >>> counted_value({"n": 2}, "n"), counted_value({}, "meta.source")
    ('2', '(none)')
    >>> counted_value({"from": ["flan"]}, "from"), counted_value({"from": ["flan", "p3"]}, "from")
    ('flan', '["flan","p3"]')
    """
    value = value_at(record, path)
    if value is None:
        return "(none)"
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if not isinstance(value, str):
        try:
            value = msgspec.json.encode(value, enc_hook=str).decode()
        except UnicodeEncodeError:
            value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if not value.isascii():
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
