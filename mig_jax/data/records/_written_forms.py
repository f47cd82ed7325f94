"""How the records of a pool are to be written: in which layout, without what, for whom."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import msgspec

from mig_jax.data.records._conversation_formats import decode_conversation
from mig_jax.data.records._field_names import USUAL, FieldNames
from mig_jax.data.records._json_records import parse_record, record_as_json
from mig_jax.data.records._llama_factory import read_as_llama_factory
from mig_jax.data.records._preference_pairs import PREFERENCES
from mig_jax.data.records._written_conversations import encode_conversation, with_usual_roles

__all__ = ["AS_IT_CAME", "WrittenForm", "without_fields"]


@dataclasses.dataclass(frozen=True)
class WrittenForm:
    """What is written for a record; one for which that cannot be done is a bad one."""

    layout: str | None = None  #: The conversation layout; None for records as they came.
    without: tuple[str, ...] = ()  #: Fields that are left out; dots lead into objects.
    for_llama_factory: bool = False  #: Whether it must be able to train on each.

    @property
    def fits_all(self) -> bool:
        """Whether every record can be written so."""
        return self.layout is None and not self.for_llama_factory

    def written(self, record: dict[str, Any], names: FieldNames = USUAL) -> dict[str, Any]:
        """The record as it is written; the one given is not changed.

        Raises:
          BadRecord: if the layout cannot hold it.
        """
        # A rejected answer tells that the chosen one beside it is the answer: it goes last.
        rejected = [names[pair[1]] for pair in PREFERENCES] if self.layout is not None else []
        for path in self.without:
            if path not in rejected:
                record = _without(record, path.split("."))
        if self.layout is None:
            return record
        conversation = with_usual_roles(decode_conversation(record, names))
        for path in {*rejected} & {*self.without}:
            conversation.rest.pop(path, None)
        return encode_conversation(conversation, self.layout)

    def check(self, record: dict[str, Any], names: FieldNames = USUAL) -> None:
        """Checks that the record can be written so, and trained on if it must.

        Raises:
          BadRecord: if it cannot.
        """
        written = self.written(record, names)
        if self.for_llama_factory:
            read_as_llama_factory(written, self.names_written(names))

    def names_written(self, names: FieldNames) -> FieldNames:
        """The names of fields in what is written: a layout has its usual ones."""
        return names if self.layout is None else USUAL


#: Each record is written with the bytes that it came with.
AS_IT_CAME: Final = WrittenForm()


def without_fields(record: bytes, paths: tuple[str, ...]) -> bytes:
    """A JSON object without these fields; the values that are left have the bytes that came in.

    Raises:
      BadRecord: if it is no JSON.

    >>> without_fields(b'{"a": 1.0e0, "b": {"c": 1, "d": "\\\\u00e9"}}', ("b.c",))
    b'{"a":1.0e0,"b":{"d":"\\\\u00e9"}}'
    """
    for path in paths:
        try:
            record = _raw_without(record, path.split("."))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Halves of characters, or a fault that is told there.
            record = record_as_json(_without(parse_record(record), path.split(".")))
    return record


def _without(record: dict[str, Any], path: list[str]) -> dict[str, Any]:
    first, *rest = path
    if first not in record or (rest and not isinstance(record[first], dict)):
        return record
    if rest:
        return {**record, first: _without(record[first], rest)}
    return {name: value for name, value in record.items() if name != first}


def _raw_without(record: bytes, path: list[str]) -> bytes:
    first, *rest = path
    try:
        fields = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return record  # No object: there is nothing that the path leads to.
    if first not in fields:
        return record
    if rest:
        fields[first] = msgspec.Raw(_raw_without(bytes(fields[first]), rest))
    else:
        del fields[first]
    return msgspec.json.encode(fields)
