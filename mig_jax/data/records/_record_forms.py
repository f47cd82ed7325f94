"""How the records of a pool are read: their layout, the names of its fields, and what must fit."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Final

import msgspec

from mig_jax.data.records._conversation_formats import (
    telling_fields,
    told_conversation_format,
)
from mig_jax.data.records._field_decoder import FieldDecoder
from mig_jax.data.records._field_names import USUAL, FieldNames, value_at
from mig_jax.data.records._json_records import parse_record
from mig_jax.data.records._label_formats import (
    LABEL_FORMATS,
    BadRecord,
    LabelFormat,
    LabelsAndScore,
    convert_plain,
    convert_xsample,
)
from mig_jax.data.records._unknown_records import found_instead, one_side
from mig_jax.data.records._written_forms import AS_IT_CAME, WrittenForm

__all__ = [
    "RecordForm",
    "convert_named",
    "detect_label_format",
    "label_fields",
    "labels_and_score",
    "other_format",
    "possible_formats",
    "unlabelled",
]

_MISSING: Final = object()
_RIGHT: Final = ""  # The name of a field that no field name leads to.


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
    """Where a layout has labels and score, under the pool's names.

    A name of the pool's own is that of the field in both layouts that have one field for
    each, `mig_jax` and `plain`.

    >>> label_fields("mig_jax", FieldNames.parse(["labels=tags"]))
    ('tags', 'mig_jax.score')
    """
    fields = LABEL_FORMATS[layout].fields
    if layout == "xsample":
        return fields
    return tuple(
        names[usual] if names.is_mapped(usual) else field
        for usual, field in zip(("labels", "score"), fields, strict=True)
    )


def possible_formats(names: FieldNames) -> tuple[str, ...]:
    """The layouts that labels and scores may have under these names, the first one first.

    >>> possible_formats(FieldNames.parse(["labels=tags"]))
    ('mig_jax', 'plain')
    """
    mapped = [names.is_mapped(usual) for usual in ("labels", "score")]
    if all(mapped):
        return ("plain",)
    return tuple(name for name in LABEL_FORMATS if name != "xsample" or not any(mapped))


def detect_label_format(line: bytes, names: FieldNames = USUAL) -> str:
    """The layout of a record; the first of `LABEL_FORMATS` whose telling fields it has.

    These are `annotation.instag` and `annotation.deita` for xsample, and labels and score
    for the others, of whatever type they are. If one of the latter has another name,
    xsample is not meant.

    Raises:
      BadRecord: if the line is not a JSON object, or has the fields of no layout.
    """
    record = _telling_fields(line, names)
    if told := _told_formats(record, names):
        return told[0]
    raise unlabelled(record, names, line)


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
    return unlabelled(record, form.names, line) if is_raw else None


def unlabelled(record: dict[str, Any], names: FieldNames, line: bytes = b"") -> BadRecord:
    """What to say of a record that has no layout's labels and score.

    `record` may lack fields that no layout looks at; `line` has all, if it is given.
    """
    try:
        every = parse_record(line) if line else {}
    except BadRecord:
        every = {}
    layout = told_conversation_format(record, names)
    if layout is None and (one := one_side(record, names)):
        return BadRecord(one)
    if layout is None:
        told = {
            "mig_jax": " and ".join(label_fields("mig_jax", names)),
            "xsample": "annotation.instag and annotation.deita",
            "plain": " and ".join(label_fields("plain", names)),
        }
        expected = ", or ".join(f"{told[name]} (layout {name})" for name in possible_formats(names))
        found = found_instead(every, ["labels", "score"])
        return BadRecord(f"the fields of no layout were found; expected {expected}{found}")
    lacking: dict[str, str] = {}
    there: list[str] = []
    for usual, ours, own in zip(
        ("labels", "score"),
        label_fields("mig_jax", names),
        label_fields("plain", names),
        strict=True,
    ):
        places = [
            place for place in (ours, own) if value_at(record, place, _MISSING) is not _MISSING
        ]
        there += places[:1]
        if not places:
            lacking[usual] = f"{usual} (field {own})" if own != usual else usual
    if not lacking:
        labels, score = there
        return BadRecord(
            f"the record has {labels} and {score}, one of each layout; expected both of one, or "
            f"--field=labels={labels} --field=score={score} to take these"
        )
    has_no = " and no ".join(lacking.values())
    return BadRecord(
        f"the record has no {has_no}, only a conversation (layout {layout}); "
        "`mig-jax annotate` makes labels and scores, and --field=labels=NAME and "
        f"--field=score=NAME tell where there are some{found_instead(every, list(lacking))}"
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


def labels_and_score(
    record: dict[str, Any],
    names: FieldNames = USUAL,
    layout: str = "auto",
    *,
    labels: bool = True,
    score: bool = True,
) -> tuple[list[str] | None, float | None]:
    """What a record has of both, each where it is; None if there is none, or it is not wanted.

    "auto" looks in the object `mig_jax`, in fields of their own, and in an annotation of layout
    xsample, in this order and for each of the two alone; or only in the field that `names` names.

    Raises:
      BadRecord: if one that is wanted is there and cannot be used.
    """
    found_labels = found_score = None
    # Each is read beside one that is right.
    for one in _looked_in("labels", layout, names) if labels else ():
        path = label_fields(one, names)[0]
        if value_at(record, path) is not None:
            found_labels, _ = convert_named({**record, _RIGHT: 0.0}, path, _RIGHT)
            break
    for one in _looked_in("score", layout, names) if score else ():
        if one == "xsample":
            if (deita := value_at(record, "annotation.deita")) is not None:
                annotation = {"instag": {"content": []}, "deita": deita}
                _, found_score = convert_xsample({"annotation": annotation})
        elif value_at(record, path := label_fields(one, names)[1]) is not None:
            _, found_score = convert_named({**record, _RIGHT: []}, _RIGHT, path)
            break
    return found_labels, found_score


def _looked_in(usual: str, layout: str, names: FieldNames) -> tuple[str, ...]:
    if layout != "auto":
        return (layout,)
    return ("plain",) if names.is_mapped(usual) else ("mig_jax", "plain", "xsample")


@functools.lru_cache(maxsize=32)
def _reader(form: RecordForm) -> LabelFormat:
    reader = LABEL_FORMATS[form.layout]
    fields = label_fields(form.layout, form.names)
    if fields != reader.fields:
        reader = _named(*fields)
    return reader if form.fits.fits_all else _fitting(reader, form.names, form.fits)


def _named(labels: str, score: str) -> LabelFormat:
    """Labels and score at these paths."""
    decoder = FieldDecoder(path.partition(".")[0] for path in (labels, score))

    def parse(line: bytes | memoryview) -> LabelsAndScore | None:
        try:
            return convert_named(decoder.decode(line), labels, score)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRecord):
            return None

    def decode(line: bytes) -> LabelsAndScore:
        return convert_named(decoder.decode_line(line), labels, score)

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
    return [
        layout
        for layout in possible_formats(names)
        if all(
            value_at(record, field, _MISSING) is not _MISSING
            for field in (
                ("annotation.instag", "annotation.deita")
                if layout == "xsample"
                else label_fields(layout, names)
            )
        )
    ]


def _telling_fields(line: bytes, names: FieldNames) -> dict[str, Any]:
    """The fields of a record that tell its layout, as far as it has them."""
    return _telling_decoder(names).decode_line(line)


@functools.lru_cache(maxsize=32)
def _telling_decoder(names: FieldNames) -> FieldDecoder:
    roots = [names[name].partition(".")[0] for name in ("labels", "score")]
    return FieldDecoder(["annotation", "mig_jax", *roots, *telling_fields(names)])
