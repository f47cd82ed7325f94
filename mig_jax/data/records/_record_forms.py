"""How the records of a pool are read: their layout, the names of its fields, and what must fit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from mig_jax.data.records._conversation_formats import (
    telling_fields,
    told_conversation_format,
)
from mig_jax.data.records._field_names import USUAL, FieldNames, value_at
from mig_jax.data.records._json_records import parse_record
from mig_jax.data.records._label_formats import (
    LABEL_FORMATS,
    BadRecord,
    LabelFormat,
    LabelsAndScore,
    convert_plain,
    decode_line,
)
from mig_jax.data.records._written_forms import AS_IT_CAME, WrittenForm

__all__ = [
    "RecordForm",
    "convert_named",
    "detect_label_format",
    "label_fields",
    "other_format",
    "unlabelled",
]

_MISSING: Final = object()
_FieldDecoder = msgspec.json.Decoder[Any]


@dataclasses.dataclass(frozen=True)
class RecordForm:
    """What the labels and the score of every record of a pool are read by."""

    layout: str  # A key of LABEL_FORMATS.
    names: FieldNames = USUAL
    fits: WrittenForm = AS_IT_CAME  # How it must be possible to write each record.

    @property
    def reader(self) -> LabelFormat:
        """How to read them; a record that does not fit is a bad one."""
        return _reader(self)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The fields of a table that are read; None for all."""
        return self.reader.fields if self.fits.fits_all else None


def label_fields(layout: str, names: FieldNames) -> tuple[str, ...]:
    """Where a layout has labels and score, under the pool's names."""
    return tuple(
        names[name] if layout == "plain" else name for name in LABEL_FORMATS[layout].fields
    )


def detect_label_format(line: bytes, names: FieldNames = USUAL) -> str:
    """The layout of a record; xsample if it has the telling fields of both.

    These are `annotation.instag` and `annotation.deita` for xsample, `labels` and
    `score` for plain, of whatever type they are. If one of the latter has another
    name, plain is meant.

    Raises:
      BadRecord: if the line is not a JSON object, or has the fields of no layout.
    """
    record = _telling_fields(line, names)
    if told := _told_formats(record, names):
        return told[0]
    raise unlabelled(record, names)


def other_format(line: bytes, form: RecordForm) -> BadRecord | None:
    """The better reason, if a record is bad because it has another layout."""
    try:
        record = _telling_fields(line, form.names)
    except BadRecord:
        return None
    told = _told_formats(record, form.names)
    if told:
        found = BadRecord(f"found a record of layout {told[0]}, expected layout {form.layout}")
        return None if form.layout in told else found
    is_raw = told_conversation_format(record, form.names) is not None
    return unlabelled(record, form.names) if is_raw else None


def unlabelled(record: dict[str, Any], names: FieldNames) -> BadRecord:
    """What to say of a record that has no layout's labels and score.

    `record` may lack fields that no layout looks at.
    """
    fields = dict(zip(("labels", "score"), label_fields("plain", names), strict=True))
    layout = told_conversation_format(record, names)
    if layout is None:
        return BadRecord(
            "the fields of no layout were found; expected annotation.instag and "
            f"annotation.deita (layout xsample), or {fields['labels']} and {fields['score']} "
            "(layout plain)"
        )
    lacking = [
        f"{usual} (field {field})" if field != usual else usual
        for usual, field in fields.items()
        if value_at(record, field, _MISSING) is _MISSING
    ]
    return BadRecord(
        f"the record has no {' and no '.join(lacking)}, only a conversation (layout {layout}); "
        "`mig-jax annotate` makes labels and scores, and --field=labels=NAME and "
        "--field=score=NAME tell where there are some"
    )


def convert_named(record: Any, labels: str, score: str) -> LabelsAndScore:
    """As `convert_plain`, with labels and score at these paths.

    Raises:
      BadRecord: with the field at fault, by its path, and what was expected.
    """
    paths = {"labels": labels, "score": score}
    found = {name: value_at(record, path, _MISSING) for name, path in paths.items()}
    try:
        return convert_plain(
            {name: value for name, value in found.items() if value is not _MISSING}
        )
    except BadRecord as bad:
        usual = "score" if bad.field == "score" else "labels"
        raise BadRecord(bad.problem, paths[usual] + bad.field.removeprefix(usual)) from None


@functools.lru_cache(maxsize=32)
def _reader(form: RecordForm) -> LabelFormat:
    reader = LABEL_FORMATS[form.layout]
    fields = label_fields(form.layout, form.names)
    if fields != reader.fields:
        reader = _named_plain(*fields)
    return reader if form.fits.fits_all else _fitting(reader, form.names, form.fits)


def _named_plain(labels: str, score: str) -> LabelFormat:
    """The layout plain, with labels and score at these paths."""
    decoder = _decoder_of(path.partition(".")[0] for path in (labels, score))

    def parse(line: bytes | memoryview) -> LabelsAndScore | None:
        try:
            return convert_named(_as_dict(decoder.decode(line)), labels, score)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRecord):
            return None

    def decode(line: bytes) -> LabelsAndScore:
        return convert_named(_as_dict(decode_line(line, decoder)), labels, score)

    def convert(row: Any) -> LabelsAndScore:
        return convert_named(row, labels, score)

    return LabelFormat(parse, decode, convert, (labels, score))


def _fitting(reader: LabelFormat, names: FieldNames, fits: WrittenForm) -> LabelFormat:
    """The reader to which records that cannot be written as they must be are bad."""

    def parse(line: bytes | memoryview) -> LabelsAndScore | None:
        found = reader.parse(line)
        try:
            fits.check(parse_record(bytes(line)), names)
        except BadRecord:
            return None
        return found

    def decode(line: bytes) -> LabelsAndScore:
        found = reader.decode(line)
        fits.check(parse_record(line), names)
        return found

    def convert(row: Any) -> LabelsAndScore:
        found = reader.convert(row)
        fits.check(row, names)
        return found

    return LabelFormat(parse, decode, convert, reader.fields)


def _told_formats(record: dict[str, Any], names: FieldNames) -> list[str]:
    told = []
    annotation = record.get("annotation")
    if isinstance(annotation, dict) and {"instag", "deita"} <= annotation.keys():
        told.append("xsample")
    fields = label_fields("plain", names)
    if all(value_at(record, field, _MISSING) is not _MISSING for field in fields):
        told.append("plain")
    if names.is_mapped("labels") or names.is_mapped("score"):
        return [name for name in told if name == "plain"]
    return told


def _telling_fields(line: bytes, names: FieldNames) -> dict[str, Any]:
    """The fields of a record that tell its layout, as far as it has them."""
    return _as_dict(decode_line(line, _telling_decoder(names)))


@functools.lru_cache(maxsize=32)
def _telling_decoder(names: FieldNames) -> _FieldDecoder:
    roots = [names[name].partition(".")[0] for name in ("labels", "score")]
    return _decoder_of(["annotation", *roots, *telling_fields(names)])


def _decoder_of(fields: Iterable[str]) -> _FieldDecoder:
    """Decodes these fields of a JSON object as they are, and passes over all others."""
    names = {f"field_{place}": name for place, name in enumerate(dict.fromkeys(fields))}
    kind = msgspec.defstruct(
        "Fields", [(own, Any, msgspec.UNSET) for own in names], rename=names, gc=False
    )
    return msgspec.json.Decoder(kind)


def _as_dict(found: msgspec.Struct) -> dict[str, Any]:
    values = zip(found.__struct_encode_fields__, msgspec.structs.astuple(found), strict=True)
    return {name: value for name, value in values if value is not msgspec.UNSET}
