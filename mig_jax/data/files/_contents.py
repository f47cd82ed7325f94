"""What a file holds that is no text of records, so that it can be told."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from mig_jax.data.files._line_files import BYTE_ORDER_MARK
from mig_jax.data.records import FIELD_NAMES, FieldNames

__all__ = ["foreign_content", "is_array_text", "likely_form", "lone_object"]

_TEXT_OR_TABLE: Final = "expected JSON lines, a JSON array, CSV or Parquet, plain or as .gz or .zst"

# First bytes of files, what they are, and what would do.
_MAGIC: Final = (
    (b"BZh", "bzip2 data", "bunzip2"),
    (b"\xfd7zXZ\x00", "xz data", "unxz"),
    (b"\x04\x22\x4d\x18", "lz4 data", "lz4 -d"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
    (b"PK\x03\x04", "a zip archive", "unzip"),
    (b"\x1f\x8b", "gzip data within compressed data", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "zstd data within compressed data", "unzstd"),
)
_FOREIGN: Final = (
    (b"PAR1", "Parquet within compressed data"),
    (b"ARROW1", "an Arrow file; the folder that save_to_disk wrote is read as a whole"),
    (b"\xff\xff\xff\xff", "an Arrow stream; the folder that save_to_disk wrote is read as a whole"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "HDF5"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"%PDF", "PDF"),
    (b"\x89PNG", "a picture"),
)
# The longest first: UTF-32 begins as UTF-16 does.
_ENCODINGS: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WITHOUT_MARK: Final = (
    (re.compile(rb"[\[{\"\w]\0\0\0"), "UTF-32LE"),
    (re.compile(rb"\0\0\0[\[{\"\w]"), "UTF-32BE"),
    (re.compile(rb"[\[{\"\w]\0[^\0]\0"), "UTF-16LE"),
    (re.compile(rb"\0[\[{\"\w]\0[^\0]"), "UTF-16BE"),
)
_WEB_PAGE: Final = re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE)
_LFS: Final = b"version https://git-lfs.github.com/spec/"

# The fields of an object, plain ones, up to the first that is a list of objects.
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_PLAIN = rb"(?:" + _TEXT + rb"|[-+\w.]+|\{[^{}]*\}|\[[^\[\]{}]*\])"
_LIST_WITHIN: Final = re.compile(
    rb"\s*\{\s*(?:" + _TEXT + rb"\s*:\s*" + _PLAIN + rb'\s*,\s*){0,50}"(\w+)"\s*:\s*\[\s*\{'
)
# Fields of one record that hold lists of objects, and what turns of any name have in them.
_OF_ONE_RECORD: Final = frozenset(
    "annotation answer chosen completion conversation conversations dialogs dialogue "  # noqa: SIM905
    "functions history images messages mig_jax prompt query question rejected response text "
    "tool_calls tools turns".split()
)
_OF_TURNS: Final = re.compile(rb'"(role|from|content|value|human|assistant)"\s*:')


def foreign_content(start: bytes) -> str | None:
    """What to say of a file whose text starts so, if it cannot be records; else None."""
    for magic, what, tool in _MAGIC:
        if start.startswith(magic):
            return f"holds {what}; {_TEXT_OR_TABLE}: `{tool}` unpacks it"
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            return f"holds {what}; {_TEXT_OR_TABLE}"
    if start[257:262] == b"ustar":
        return f"holds a tar archive; {_TEXT_OR_TABLE}: `tar -xf` unpacks it"
    encoding = next((name for mark, name in _ENCODINGS if start.startswith(mark)), None)
    if encoding is None:
        encoding = next((name for form, name in _WITHOUT_MARK if form.match(start)), None)
    if encoding is not None:
        return (
            f"holds text in {encoding}; expected UTF-8: `iconv -f {encoding} -t UTF-8` makes it so"
        )
    if start.startswith(_LFS):
        return "is a pointer of Git LFS; expected the file itself: `git lfs pull` fetches it"
    if _WEB_PAGE.match(start):
        return f"holds a web page or XML; {_TEXT_OR_TABLE}"
    return None


def is_array_text(start: bytes, is_named_json: bool) -> bool:
    """Whether text that starts so is one JSON array of records.

    JSON lines may be lists too, which are bad records. They are told by a first line that is JSON
    of its own, with others behind it; or by a name that does not end in .json, unless a list of
    objects begins.
    """
    text = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not text.startswith(b"["):
        return False
    first, _, rest = text.partition(b"\n")
    if rest.strip() and _decoded(first, Any) is not None:
        return False
    return is_named_json or text[1:].lstrip()[:1] in (b"{", b"")


def lone_object(start: bytes, is_all: bool, names: FieldNames) -> str | None:
    """What to say of a file whose text starts so, if it is one JSON object and no line of records.

    `is_all` tells whether that is the whole text; `names` what the fields of a record are called.
    """
    text = start.removeprefix(BYTE_ORDER_MARK).strip()
    first, _, rest = text.partition(b"\n")
    if not first.startswith(b"{"):
        return None
    found = _decoded(text, dict[str, Any]) if is_all else None
    has_lines = first.strip() == b"{" or bool(rest and found)
    if (rest and not has_lines) or not (is_all or has_lines or not rest):
        return None
    field = _list_field(found, names) if found else _first_list_field(text)
    if field is not None:
        return (
            f"holds one JSON object, whose field {field} is a list; expected the records "
            f"themselves: `jq -c '.{field}[]'` writes them one a line"
        )
    if has_lines:
        return (
            "holds JSON objects that go over several lines; expected one record a line, or one "
            "array of them: `jq -c .` writes them one a line"
        )
    return None


def _list_field(found: dict[str, Any], names: FieldNames) -> str | None:
    """The field of an object that is a list of records, if it is no record itself."""
    usual = {names[name].partition(".")[0] for name in FIELD_NAMES} | _OF_ONE_RECORD
    if usual & found.keys():
        return None
    lists = [
        name
        for name, value in found.items()
        if isinstance(value, list) and value and all(isinstance(part, dict) for part in value)
    ]
    return max(lists, key=lambda name: len(found[name]), default=None)


def _first_list_field(text: bytes) -> str | None:
    """The same for the start of an object that has little before the list."""
    found = _LIST_WITHIN.match(text)
    if found is None or found[1].decode() in _OF_ONE_RECORD:
        return None
    # Up to what stands within the first object of the list.
    first = re.split(rb"[{}\[]", text[found.end() : found.end() + 2000])[0]
    return None if _OF_TURNS.search(first) else found[1].decode()


def likely_form(line: bytes) -> str:
    """What a line looks like that is no JSON: words to add to what is wrong; "" for nothing."""
    text = line.removeprefix(BYTE_ORDER_MARK).strip()
    if re.match(rb"[{\[]\s*'", text):
        return "it looks like Python, where json.dumps writes JSON"
    if not text.startswith((b"{", b"[")) and text.isascii() and b"\0" not in text:
        for separator, ending in ((b"\t", ".tsv"), (b",", ".csv"), (b";", ".csv, with , for ;")):
            if text.count(separator) > 0:
                return f"it looks like a row of a table, whose file is named {ending}"
    return ""


def _decoded(text: bytes, kind: Any) -> Any:
    """What the text is, if it is one JSON value of this kind; else None."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
