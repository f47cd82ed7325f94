"""Rows of Arrow as JSON values: what each type becomes, and what JSON has not."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from mig_jax.data.files._time_texts import iso_8601
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["JSON_TYPE", "JsonRows", "Losses", "encoded", "extension_name", "is_binary", "parsed"]

JSON_TYPE: Final = "arrow.json"
_EXTENSION_NAME: Final = b"ARROW:extension:name"

_BASE64: Final = "binary values are written as base64 text"
_NOT_FINITE: Final = "NaN and infinities are written as null"
_REPEATED: Final = "of a key given twice in a map the last is written"
_NO_NAME: Final = "numbers without a class name are written as numbers"

_Values = Callable[["pa.Array"], list[Any]]
_Note = Callable[[str], None]
_Encoder = msgspec.json.Encoder(decimal_format="number")


class Losses:
    """What was met that JSON has not, once for each column."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], None] = {}

    def meet(self, column: str, loss: str) -> None:
        self._met[column, loss] = None

    def told(self, columns: set[str] | None = None) -> Iterator[str]:
        """A line for each, of these columns of the table or of all."""
        for column, loss in self._met:
            names = (column,) if columns is None else columns
            if any(column == name or column.startswith(f"{name}.") for name in names):
                yield f"column {column}: {loss}"


class JsonRows:
    """Makes of a batch of rows its JSON objects.

    Text, numbers, lists and objects are themselves, dictionaries and run-ends what they
    stand for. `arrow.json` is parsed, as `datasets` does it; another extension type is
    what it is stored as. Decimals stay `Decimal`, which `encoded` writes to the digit.
    Times are ISO 8601; ClassLabels of `datasets` are their names, and null for -1. A
    map with keys of text is an object, another a list of pairs. NaN and infinities stay,
    as JSON has them not: `encoded` writes null.
    """

    def __init__(self, schema: pa.Schema, features: dict[str, Any], losses: Losses) -> None:
        self._names = schema.names
        self._columns = [
            _reader(field, features.get(field.name), field.name, losses) for field in schema
        ]

    def __call__(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        if not self._names:
            return [{} for _ in range(batch.num_rows)]
        columns = [
            values(column) for values, column in zip(self._columns, batch.columns, strict=True)
        ]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)]


def encoded(row: Any) -> bytes:
    """A row as JSON; NaN and infinities are null."""
    try:
        return _Encoder.encode(row)
    except UnicodeEncodeError:
        return _Encoder.encode(_with_raw(row))


def parsed(text: bytes | str) -> Any:
    """The value of a JSON text, as Python's own parser has it: NaN and half characters are let in.

    Raises:
      ValueError: if it is none.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(text)


def extension_name(field: pa.Field) -> str:
    """The name of a field's extension type, known to this pyarrow or not; "" without."""
    import pyarrow as pa

    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name)
    return (field.metadata or {}).get(_EXTENSION_NAME, b"").decode("utf-8", "replace")


def _with_raw(value: Any) -> Any:
    """The value with its texts as they stand in JSON, halves of characters included."""
    if isinstance(value, dict):
        return {name: _with_raw(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_raw(inner) for inner in value]
    return msgspec.Raw(json.dumps(value).encode()) if isinstance(value, str) else value


def _reader(field: pa.Field, feature: Any, path: str, losses: Losses) -> _Values:
    """What makes JSON values of a column, or of what is in one."""
    import pyarrow as pa

    def note(loss: str) -> None:
        losses.meet(path, loss)

    name, kind = extension_name(field), field.type
    if not name:
        return _storage_reader(kind, feature, path, losses, note)
    is_known = isinstance(kind, pa.BaseExtensionType)
    stored = kind.storage_type if is_known else kind
    plain = _storage_reader(stored, feature, path, losses, note)
    if name == JSON_TYPE:
        # A pyarrow that does not know the type has bytes.
        plain = _each(_pylist, lambda text: _parsed_value(text, path, note))
    elif name == "arrow.uuid":
        plain = _each(_pylist, lambda value: str(uuid.UUID(bytes=value)))
    elif name == "arrow.bool8":
        plain = _each(plain, bool)
    elif name == "arrow.fixed_shape_tensor" and is_known:
        plain = _each(plain, _nested(kind.shape, kind.permutation))
    elif not name.startswith("datasets."):
        note(f"values of the extension type {name} are written as they are stored")
    return (lambda array: plain(array.storage)) if is_known else plain


def _storage_reader(
    kind: pa.DataType, feature: Any, path: str, losses: Losses, note: _Note
) -> _Values:
    import pyarrow as pa
    import pyarrow.compute as pc

    types = pa.types
    if types.is_dictionary(kind):
        values = _reader(pa.field("", kind.value_type), feature, path, losses)
        return lambda array: values(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        values = _reader(pa.field("", kind.value_type), feature, path, losses)
        return lambda array: values(pc.run_end_decode(array))
    if types.is_struct(kind):
        return _structs(kind, feature, path, losses)
    if types.is_map(kind):
        return _maps(kind, path, losses, note)
    if hasattr(kind, "value_field"):
        values = _reader(kind.value_field, _element_feature(feature), path, losses)
        return lambda array: _cut(values(array.flatten()), pc.list_value_length(array).to_pylist())
    if types.is_union(kind):
        return _unions(kind, path, losses)
    if types.is_floating(kind):
        return lambda array: _floats(array, note)
    if types.is_integer(kind) and isinstance(feature, dict) and feature.get("names"):
        names = feature["names"]
        return _each(_pylist, lambda value: _class_name(value, names, note))
    if is_binary(kind):
        return lambda array: _base64(array, note)
    return iso_8601(kind) or _pylist


def _pylist(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    kind = array.type
    if not array.null_count and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return array.to_numpy(zero_copy_only=False).tolist()  # Many times as fast.
    return array.to_pylist()


def _each(values: _Values, change: Callable[[Any], Any]) -> _Values:
    return lambda array: [None if value is None else change(value) for value in values(array)]


def is_binary(kind: pa.DataType) -> bool:
    """Whether values of a type are bytes."""
    import pyarrow as pa

    is_view = getattr(pa.types, "is_binary_view", lambda kind: False)
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or is_view(kind)
    )


def _parsed_value(text: str | bytes, path: str, note: _Note) -> Any:
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = parsed(text)
    except RecursionError:
        raise InputError(f"column {path}: JSON is nested too deeply") from None
    except ValueError:
        raise InputError(
            f"column {path}: found text that is not JSON in a column of the type {JSON_TYPE}"
        ) from None
    if ("NaN" in text or "Infinity" in text or "e" in text or "E" in text) and _not_finite(value):
        note(_NOT_FINITE)
    return value


def _not_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_not_finite, value.values()))
    if isinstance(value, list):
        return any(map(_not_finite, value))
    return isinstance(value, float) and not np.isfinite(value)


def _floats(array: pa.Array, note: _Note) -> list[float | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if pc.all(pc.is_finite(array)).as_py() is False:
        note(_NOT_FINITE)
    return _pylist(array)


def _base64(array: pa.Array, note: _Note) -> list[str | None]:
    if len(array) > array.null_count:
        note(_BASE64)
    return _each(_pylist, lambda value: base64.b64encode(value).decode())(array)


def _class_name(value: int, names: list[str], note: _Note) -> str | int | None:
    if 0 <= value < len(names):
        return names[value]
    if value == -1:  # How `datasets` says that there is no class.
        return None
    note(_NO_NAME)
    return value


def _nested(shape: list[int], permutation: list[int] | None) -> Callable[[list[Any]], Any]:
    def nested(flat: list[Any]) -> Any:
        tensor = np.empty(len(flat), object)
        tensor[:] = flat
        tensor = tensor.reshape(shape)
        return (tensor if permutation is None else tensor.transpose(permutation)).tolist()

    return nested


def _structs(kind: pa.StructType, feature: Any, path: str, losses: Losses) -> _Values:
    fields = [kind.field(place) for place in range(kind.num_fields)]
    names = [field.name for field in fields]
    columns = [
        _reader(field, _field_feature(feature, field.name), f"{path}.{field.name}", losses)
        for field in fields
    ]

    def values(array: pa.StructArray) -> list[dict[str, Any] | None]:
        if columns:
            # The parts of a null are null there.
            parts = [of(part) for of, part in zip(columns, array.flatten(), strict=True)]
            rows: list[Any] = [
                dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)
            ]
        else:
            rows = [{} for _ in range(len(array))]
        if array.null_count:
            valid = array.is_valid().to_pylist()
            rows = [row if is_valid else None for row, is_valid in zip(rows, valid, strict=True)]
        return rows

    return values


def _maps(kind: pa.MapType, path: str, losses: Losses, note: _Note) -> _Values:
    import pyarrow as pa

    keys_of = _reader(kind.key_field, None, path, losses)
    items_of = _reader(kind.item_field, None, path, losses)
    key = kind.key_type
    of_text = pa.types.is_string(key) or pa.types.is_large_string(key)

    def values(array: pa.MapArray) -> list[Any]:
        pairs = list(zip(keys_of(array.keys), items_of(array.items), strict=True))
        edges, valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
        entries = [
            pairs[start:stop] if is_there else None
            for start, stop, is_there in zip(edges, edges[1:], valid, strict=False)
        ]
        if not of_text:
            return [None if pairs is None else [list(pair) for pair in pairs] for pairs in entries]
        found = [None if pairs is None else dict(pairs) for pairs in entries]
        if any(pairs is not None and len(pairs) != len(dict(pairs)) for pairs in entries):
            note(_REPEATED)
        return found

    return values


def _unions(kind: pa.UnionType, path: str, losses: Losses) -> _Values:
    fields = [kind.field(place) for place in range(kind.num_fields)]
    columns = [_reader(field, None, path, losses) for field in fields]
    child_of = {code: child for child, code in enumerate(kind.type_codes)}

    def values(array: pa.UnionArray) -> list[Any]:
        children = [of(array.field(child)) for child, of in enumerate(columns)]
        rows = array.offsets.to_pylist() if kind.mode == "dense" else range(len(array))
        codes = array.type_codes.to_pylist()
        return [children[child_of[code]][row] for code, row in zip(codes, rows, strict=True)]

    return values


def _cut(flat: list[Any], lengths: list[int | None]) -> list[list[Any] | None]:
    """The lists of these lengths, one after another; None for no list."""
    found: list[list[Any] | None] = []
    start = 0
    for length in lengths:
        found.append(None if length is None else flat[start : start + length])
        start += length or 0
    return found


def _element_feature(feature: Any) -> Any:
    """The feature of the elements of a list; older files have a list of one."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return feature.get("feature") if isinstance(feature, dict) else None


def _field_feature(feature: Any, name: str) -> Any:
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "Sequence":  # Of objects: stored as an object of lists.
        inner = _field_feature(feature.get("feature"), name)
        return None if inner is None else [inner]
    return feature.get(name)
