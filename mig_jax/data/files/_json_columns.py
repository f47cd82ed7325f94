"""Columns for JSON values: the Arrow types that hold them exactly, found by looking at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from mig_jax.data.files._json_values import JSON_TYPE

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["JsonColumn"]

# As a field of Arrow's type for JSON is stored: a pyarrow that knows the type reads it as such.
_AS_JSON: Final = {b"ARROW:extension:name": JSON_TYPE.encode(), b"ARROW:extension:metadata": b""}
_DEEPEST: Final = 32  # Lists and objects within each other that have types of their own.
_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_UINT64: Final = (0, (1 << 64) - 1)
_EXACT_IN_FLOAT64: Final = (-(1 << 53), 1 << 53)


class JsonColumn:
    """Learns from values of one place in many records which type holds them, and casts to it.

    Values of one kind have a type of their own: text, bool, int64 or uint64, double, lists,
    and objects with the same names. Whole and other numbers together are doubles, unless
    they stand in an object within a list, as arguments of calls do: 3 stays 3 there. The
    smallest part that no type holds exactly is the JSON text of its values, in Arrow's
    type `arrow.json`: objects with different names or none, values of different kinds,
    larger numbers, half characters, what is nested deeply. So nothing is added, and null is
    told from nothing.

    >>> column = JsonColumn()
    >>> column.see([{"a": 1}, {}])
    >>> column.see([])
    >>> str(column.field("x").type)
    'list<element: string>'
    >>> column.array([[{"a": 1}, {}], []]).to_pylist()
    [['{"a":1}', '{}'], []]
    """

    def __init__(self, *, in_list: bool = False, exact: bool = False, depth: int = 0) -> None:
        self._depth = depth
        self._in_list = in_list  # So that what stands in its objects is exact.
        self._exact = exact
        self._kinds: set[type] = set()
        self._range = (0, 0)
        self._is_text = False  # Of JSON.
        self._elements: JsonColumn | None = None
        self._fields: dict[str, JsonColumn] = {}

    def see(self, value: Any) -> None:
        """Takes one more value into account."""
        if value is None or self._is_text:
            return
        kind = type(value)
        is_first = kind not in self._kinds
        self._kinds.add(kind)
        if kind is str:
            self._is_text = not _is_encodable(value)
        elif kind is int:
            low, high = (value, value) if is_first else self._range
            self._range = min(low, value), max(high, value)
        elif self._depth == _DEEPEST:
            self._is_text = True
        elif kind is list:
            if self._elements is None:
                self._elements = JsonColumn(in_list=True, exact=self._exact, depth=self._depth + 1)
            for element in value:
                self._elements.see(element)
        elif kind is dict:
            self._see_fields(value, is_first)

    def _see_fields(self, value: dict[str, Any], is_first: bool) -> None:
        if is_first:
            exact = self._exact or self._in_list
            # An empty name, or a null byte in one, is beyond some readers of Parquet.
            self._is_text = not value or not all(
                name and "\0" not in name and _is_encodable(name) for name in value
            )
            depth = self._depth + 1
            self._fields = {name: JsonColumn(exact=exact, depth=depth) for name in value}
        elif self._fields.keys() != value.keys():
            self._is_text = True
        if not self._is_text:
            for name, inner in value.items():
                self._fields[name].see(inner)

    @property
    def is_text(self) -> bool:
        """Whether the values stand as JSON text."""
        numbers = self._kinds == {int, float} and not self._exact
        if self._is_text or (len(self._kinds) > 1 and not numbers):
            return True
        if numbers:
            return not _within(self._range, _EXACT_IN_FLOAT64)
        is_whole = self._kinds == {int}
        return is_whole and not (_within(self._range, _INT64) or _within(self._range, _UINT64))

    @property
    def has_text(self) -> bool:
        """Whether the values, or a part of them, stand as JSON text."""
        elements = [] if self._elements is None else [self._elements]
        return self.is_text or any(part.has_text for part in [*elements, *self._fields.values()])

    def field(self, name: str) -> pa.Field:
        """The column, as a field of a schema."""
        import pyarrow as pa

        return pa.field(name, self._type(), metadata=_AS_JSON if self.is_text else None)

    def array(self, values: Iterable[Any]) -> pa.Array:
        """Values that were seen, of the type of `field`."""
        import pyarrow as pa

        return pa.array([self._stored(value) for value in values], self._type())

    def _type(self) -> pa.DataType:
        import pyarrow as pa

        if self.is_text:
            return pa.string()
        if not self._kinds:
            return pa.null()
        if float in self._kinds:
            return pa.float64()
        (kind,) = self._kinds
        if kind is int:
            return pa.int64() if _within(self._range, _INT64) else pa.uint64()
        if kind is list:
            assert self._elements is not None
            return pa.list_(self._elements.field("element"))
        if kind is dict:
            return pa.struct([column.field(name) for name, column in self._fields.items()])
        return {str: pa.string(), bool: pa.bool_()}[kind]

    def _stored(self, value: Any) -> Any:
        if value is None:
            return None
        if self.is_text:
            return _json_text(value)
        if isinstance(value, list):
            assert self._elements is not None
            return [self._elements._stored(element) for element in value]
        if isinstance(value, dict):
            return {name: column._stored(value[name]) for name, column in self._fields.items()}
        return value


def _within(found: tuple[int, int], allowed: tuple[int, int]) -> bool:
    return allowed[0] <= found[0] and found[1] <= allowed[1]


def _is_encodable(text: str) -> bool:
    """False for half characters, which UTF-8 has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if _is_encodable(text) else json.dumps(value, separators=(",", ":"))
