"""One schema for the rows of several tables, which keeps every value as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mig_jax.data.files._json_values import extension_name
from mig_jax.data.files._table_rows import TableRows, features_of
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["common_schema", "with_features"]


def common_schema(tables: Sequence[TableRows]) -> pa.Schema:
    """The schema that holds the rows of all tables: columns in order of their appearance.

    Tables of one schema keep it, metadata included. A column that some tables have not is
    null there. Types may be wider in some: int8 and int64 are int64, text and large text
    large text, times of s and ns are times of ns. Of metadata, what all have alike stays,
    and what `datasets` knows of the columns.

    Raises:
      InputError: if a column has types in two tables that no type holds both of, or
        classes with other names.
    """
    import pyarrow as pa

    schemas = [table.schema() for table in tables]
    first = schemas[0]
    if all(schema.equals(first, check_metadata=True) for schema in schemas):
        return first
    fields: dict[str, pa.Field] = {}
    features: dict[str, Any] = {}
    where: dict[str, str] = {}
    for table, schema in zip(tables, schemas, strict=True):
        path = table.stamp.path
        if len(set(schema.names)) < len(schema):
            raise InputError(f"{path}: has two columns of one name; expected each once")
        known = features_of(schema)
        for field in schema:
            name = field.name
            if name not in fields:
                fields[name], where[name] = field, path
                features[name] = known.get(name)
                continue
            wider = _wider_field(fields[name], field)
            if wider is None:
                raise InputError(
                    f"{path}: the column {name} is {field.type}, but {fields[name].type} in "
                    f"{where[name]}; expected one type for one table, or --output=FILE.jsonl"
                )
            if _classes(features[name]) != _classes(known.get(name)):
                raise InputError(
                    f"{path}: the column {name} has other classes than in {where[name]}; "
                    "expected the same for one table, or --output=FILE.jsonl"
                )
            if features[name] != known.get(name):
                features[name] = None
            fields[name] = wider
    for name in fields:
        if not all(name in schema.names for schema in schemas):
            fields[name] = fields[name].with_nullable(True)
    metadata = {
        key: value
        for key, value in (first.metadata or {}).items()
        if all((schema.metadata or {}).get(key) == value for schema in schemas)
    }
    schema = pa.schema(list(fields.values()), metadata)
    told = {name: feature for name, feature in features.items() if feature is not None}
    return with_features(schema, told) if told else schema


def with_features(schema: pa.Schema, features: dict[str, Any]) -> pa.Schema:
    """The schema with these features of `datasets` in its metadata, beside what else is there."""
    metadata = dict(schema.metadata or {})
    try:
        about = json.loads(metadata.get(b"huggingface", b"{}"))
        info = about.get("info", {})
    except (AttributeError, ValueError):
        about, info = {}, {}
    text = json.dumps({**about, "info": {**info, "features": features}})
    return schema.with_metadata({**metadata, b"huggingface": text.encode()})


def _classes(feature: Any) -> list[Any]:
    """The names of all classes in a feature."""
    if isinstance(feature, dict):
        own = [feature["names"]] if feature.get("_type") == "ClassLabel" else []
        return own + [names for inner in feature.values() for names in _classes(inner)]
    return [n for inner in feature for n in _classes(inner)] if isinstance(feature, list) else []


def _wider_field(one: pa.Field, other: pa.Field) -> pa.Field | None:
    """A field that holds the values of both; None if there is none."""
    if extension_name(one) != extension_name(other):
        return None
    kind = _wider(one.type, other.type)
    if kind is None:
        return None
    return one.with_type(kind).with_nullable(one.nullable or other.nullable)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa

    types = pa.types
    if one.equals(other, check_metadata=True):
        return one
    for null, kind in ((one, other), (other, one)):
        if types.is_null(null):
            return kind
    if types.is_dictionary(one) or types.is_dictionary(other):
        plain = (kind.value_type if types.is_dictionary(kind) else kind for kind in (one, other))
        return _wider(*plain)
    if isinstance(one, pa.BaseExtensionType) or isinstance(other, pa.BaseExtensionType):
        return None
    for is_kind, large in (
        (_is_text, pa.large_string()),
        (_is_bytes, pa.large_binary()),
    ):
        if is_kind(one) and is_kind(other):
            return large
    if types.is_list(one) or types.is_large_list(one):
        return _wider_list(one, other)
    if types.is_struct(one):
        return _wider_struct(one, other)
    if types.is_timestamp(one) and types.is_timestamp(other):
        finer = max(one, other, key=lambda kind: ["s", "ms", "us", "ns"].index(kind.unit))
        return finer if one.tz == other.tz else None
    return _wider_number(one, other)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    is_view = getattr(pa.types, "is_string_view", lambda kind: False)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_view(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _wider_list(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa

    if not (pa.types.is_list(other) or pa.types.is_large_list(other)):
        return None
    element = _wider_field(one.value_field, other.value_field)
    if element is None:
        return None
    is_large = pa.types.is_large_list(one) or pa.types.is_large_list(other)
    return pa.large_list(element) if is_large else pa.list_(element)


def _wider_struct(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Of objects with the same names in the same order: none is added to any."""
    import pyarrow as pa

    if not pa.types.is_struct(other) or [f.name for f in one] != [f.name for f in other]:
        return None
    fields = [_wider_field(*pair) for pair in zip(one, other, strict=True)]
    found = [field for field in fields if field is not None]
    return pa.struct(found) if len(found) == len(fields) else None


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa

    types = pa.types
    numbers = (one, other)
    if all(map(types.is_decimal, numbers)):
        scale = max(kind.scale for kind in numbers)
        precision = scale + max(kind.precision - kind.scale for kind in numbers)
        if precision > 76 or scale < 0:
            return None
        return (
            pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        )
    if all(map(types.is_floating, numbers)):
        return max(numbers, key=lambda kind: kind.bit_width)
    if all(map(types.is_signed_integer, numbers)) or all(map(types.is_unsigned_integer, numbers)):
        return max(numbers, key=lambda kind: kind.bit_width)
    if all(map(types.is_integer, numbers)):
        unsigned = next(filter(types.is_unsigned_integer, numbers))
        return pa.int64() if unsigned.bit_width < 64 else None
    if any(map(types.is_floating, numbers)) and any(map(types.is_integer, numbers)):
        return pa.float64()  # If a larger number is met, the cast tells.
    return None
