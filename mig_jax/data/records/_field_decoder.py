"""Some fields of a JSON object, without the others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from mig_jax.data.records._label_formats import decode_line

__all__ = ["FieldDecoder"]

# What stands in JSON otherwise than it is: msgspec looks for no such names.
_ESCAPED: Final = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')


class FieldDecoder:
    """Decodes some fields of JSON objects as they are, and passes over all others.

    >>> FieldDecoder(["a", "c"]).decode_line(b'{"a": 1, "b": 2}')
    {'a': 1}
    """

    def __init__(self, fields: Iterable[str]) -> None:
        self._fields = list(dict.fromkeys(fields))
        names = {f"field_{place}": name for place, name in enumerate(self._fields)}
        kind: Any = dict[str, Any]
        if not any(map(_ESCAPED.search, self._fields)):
            kind = msgspec.defstruct(
                "Fields", [(own, Any, msgspec.UNSET) for own in names], rename=names, gc=False
            )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def decode(self, line: bytes | memoryview) -> dict[str, Any]:
        """The fields that there are, by their names; quickly.

        Raises:
          msgspec.DecodeError, UnicodeDecodeError, RecursionError: for what is not strict JSON.
        """
        return self._named(self._decoder.decode(line))

    def decode_line(self, line: bytes) -> dict[str, Any]:
        """The same, as Python's own JSON reader has it.

        Raises:
          BadRecord: with the field at fault and what was expected.
        """
        return self._named(decode_line(line, self._decoder))

    def _named(self, found: Any) -> dict[str, Any]:
        if isinstance(found, dict):
            return {name: found[name] for name in self._fields if name in found}
        values = zip(self._fields, msgspec.structs.astuple(found), strict=True)
        return {name: value for name, value in values if value is not msgspec.UNSET}
