"""Where labels and score go in a record, all else of which stays as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec

from mig_jax.data import BadRecord, FieldNames, RawRecord
from mig_jax.data.records import label_fields, record_as_json, value_at
from mig_jax.errors import InputError

__all__ = ["AnnotationFields"]

_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class AnnotationFields(NamedTuple):
    """The paths of labels and score; dots lead into objects.

    >>> AnnotationFields.of(FieldNames.parse(["labels=meta.tags"]))
    AnnotationFields(labels='meta.tags', score='mig_jax.score')
    """

    labels: str
    score: str

    @classmethod
    def of(cls, names: FieldNames) -> Self:
        """Those that the flags name, or else within our own field, `mig_jax`.

        Raises:
          InputError: if one is within the other.
        """
        found = cls(*label_fields("mig_jax", names))
        one, other = (f"{path}." for path in found)
        if one.startswith(other) or other.startswith(one):
            raise InputError(
                f"--field: labels go to {found.labels} and the score to {found.score}, one within "
                "the other; expected a field of its own for each"
            )
        return found

    def check(self, record: RawRecord) -> None:
        """Raises BadRecord if something else of the record is in the way."""
        for path in self:
            *outer, _ = names = path.split(".")
            if names[0] in record.record and names[0] not in record.conversation.rest:
                raise BadRecord(f"is part of the conversation; {path} cannot stand there", names[0])
            for depth in range(1, len(outer) + 1):
                place = ".".join(outer[:depth])
                found = value_at(record.record, place)
                if found is not None and not isinstance(found, dict):
                    raise BadRecord(
                        f"found {json.dumps(found)[:40]}, expected an object, in which {path} is "
                        "written (--field=labels=NAME and --field=score=NAME name other fields)",
                        place,
                    )

    def replaced(self, record: RawRecord, labels: Sequence[str], score: float) -> list[str]:
        """The paths at which something else stands, which writing replaces."""
        return [
            path
            for path, new in zip(self, (list(labels), score), strict=True)
            if (old := value_at(record.record, path)) is not None and old != new
        ]

    def written(self, record: RawRecord, labels: Sequence[str], score: float) -> bytes:
        """The record as a line of JSON with labels and score; all other values byte for byte."""
        values = dict(zip(self, (list(labels), score), strict=True))
        return _with_values(record.raw.strip(), record.record, values) + b"\n"


def _with_values(text: bytes, record: dict[str, Any], values: Mapping[str, Any]) -> bytes:
    """The JSON object with a value at each path, none of which is within another."""
    inner: dict[str, dict[str, Any]] = {}
    new: dict[str, bytes] = {}
    for path, value in values.items():
        name, dot, rest = path.partition(".")
        if dot:
            inner.setdefault(name, {})[rest] = value
        else:
            new[name] = msgspec.json.encode(value)
    outer = _parts(text, record) if (inner.keys() | new.keys()) & record.keys() else {}
    for name, within in inner.items():
        old = record.get(name)
        is_object = isinstance(old, dict)
        new[name] = _with_values(outer[name] if is_object else b"{}", old or {}, within)
    if outer:
        return b"{%s}" % _fields({**outer, **new})
    # Nothing stands there: the text goes on behind its last field.
    return b"%s%s%s}" % (text[:-1].rstrip(), b"," if record else b"", _fields(new))


def _fields(parts: Mapping[str, bytes]) -> bytes:
    return b",".join(b"%s:%s" % (record_as_json(name), text) for name, text in parts.items())


def _parts(text: bytes, record: dict[str, Any]) -> dict[str, bytes]:
    """The text of each field's value; the last, if a name is given twice."""
    try:
        return {name: bytes(raw).strip() for name, raw in _RAW_OBJECT.decode(text).items()}
    except msgspec.DecodeError:  # What our reader takes and this one does not: lone surrogates.
        return {name: record_as_json(value) for name, value in record.items()}
