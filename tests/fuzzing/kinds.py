"""The kinds of files that are fuzzed: an entry each, and how what was read is compared."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mig_jax import data
from mig_jax.errors import InputError
from tests.fuzzing import mutations, oracles

_LAYOUTS = ("plain", "xsample")
_ALONE: dict[str, Any] = {"workers": 1, "cache": None}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file."""

    ending: str
    make: mutations.Bytes  #: An input.
    check: Callable[[str], str]  #: Reads it: "read" or "refused"; raises whatever is wrong.


class Wrong(AssertionError):  # noqa: N818 - an outcome, not an error of ours
    """What was read is not what the file holds."""


def _pools(expected: Callable[[str, str], oracles.Records]) -> Callable[[str], str]:
    """Checks `read_pool` in both layouts and ways, and `read_conversations`."""

    def check(path: str) -> str:
        outcomes = []
        for layout, way in itertools.product(_LAYOUTS, ("error", "skip")):
            how = {**_ALONE, "layout": layout, "on_bad_record": way}
            read = partial(data.read_pool, [path], **how)
            try:
                outcomes.append(_compared(path, expected(path, layout), how))
            except oracles.Unknown:
                outcomes.append(_refused_or(read))
            except oracles.Unreadable as damage:
                outcomes.append(_refused_or(read))
                may_be_read = isinstance(damage, oracles.Damaged) and way == "skip"
                if outcomes[-1] == "read" and not may_be_read:
                    raise Wrong(f"{layout}, {way}: read, though it is damaged") from None
        outcomes.append(_refused_or(lambda: data.read_pool([path], **_ALONE)))
        outcomes.append(_refused_or(lambda: _conversations(path)))
        return "read" if "read" in outcomes else "refused"

    return check


def _compared(path: str, records: oracles.Records, how: dict[str, Any]) -> str:
    layout, way = how["layout"], how["on_bad_record"]
    try:
        table = data.read_pool([path], **how)
    except InputError as error:
        _check_line(error)
        good = [record for record in records.values() if record.verdict == "good"]
        if good and (way == "skip" or len(good) == len(records)):
            raise Wrong(f"{layout}, {way}: refused, though it is good: {error}") from None
        return "refused"
    used = dict(zip(table.line.tolist(), range(table.num_records), strict=True))
    for line, record in records.items():
        if record.verdict == "good" and line not in used:
            raise Wrong(f"{layout}, {way}: line {line} is good, but left out")
    if way == "error" and len(used) != len(records):
        raise Wrong(f"{layout}: {len(used)} records of {len(records)}")
    if table.records_skipped != len(records) - len(used):
        raise Wrong(f"{layout}, {way}: {table.records_skipped} skipped of {len(records)}")
    for line, row in used.items():
        record = records.get(line, oracles.BAD)
        if record.verdict == "bad":
            raise Wrong(f"{layout}, {way}: line {line} is bad, but used")
        ids = table.labels[table.offsets[row] : table.offsets[row + 1]]
        labels = sorted(table.label_names[number] for number in ids)
        if np.isnan(record.score):  # Nested too deeply for the oracle.
            continue
        # Whether a label that nobody sees is one is left open.
        seen = [label for label in record.labels if oracles.is_seen(label)]
        is_same = labels in (sorted(record.labels), sorted(seen))
        if not is_same or table.scores[row] != np.float32(record.score):
            raise Wrong(
                f"{layout}, {way}: line {line} is read as {labels}, {table.scores[row]}, but is "
                f"{record}"
            )
    return "read"


def _conversations(path: str) -> None:
    for found in data.read_conversations([path], on_bad_record="skip"):
        for role, text in found.turns:
            if role not in data.ROLES or not isinstance(text, str):
                raise Wrong(f"line {found.line}: a turn is {role!r}, {text!r}")


def _refused_or(read: Callable[[], object]) -> str:
    try:
        read()
    except InputError as error:
        _check_line(error)
        return "refused"
    return "read"


def _check_line(error: InputError) -> None:
    if len(str(error).splitlines()) != 1:
        raise Wrong(f"the message is not one line: {str(error)!r}")


def _text(parse: Callable[[bytes, str], oracles.Records], unpacked: Callable[[bytes], bytes]):
    return _pools(lambda path, layout: parse(unpacked(pathlib.Path(path).read_bytes()), layout))


def _embeddings(path: str) -> str:
    names = ["maths", "code", "ü", "", "not there"]
    try:
        expected = oracles.of_npz(path, names)
    except oracles.Unreadable:
        expected = None
    try:
        unit, present = data.read_label_embeddings(path, names, missing="isolate")
    except InputError as error:
        _check_line(error)
        if expected is not None:
            raise Wrong(f"refused, though all is good: {error}") from None
        return "refused"
    if expected is None:
        raise Wrong("read, though it is damaged")
    if present.tolist() != expected[1] or not np.allclose(unit, expected[0], atol=1e-6):
        raise Wrong(f"read as {unit.tolist()}, but is {expected[0].tolist()}")
    return "read"


KINDS: dict[str, Kind] = {
    "lines": Kind(".jsonl", mutations.mutated_lines, _text(oracles.of_lines, bytes)),
    "array": Kind(".json", mutations.mutated_array, _text(oracles.of_array, bytes)),
    "csv": Kind(".csv", mutations.mutated_csv, _text(oracles.of_csv, bytes)),
    "gzip": Kind(".jsonl.gz", mutations.mutated_gzip, _text(oracles.of_lines, oracles.gunzipped)),
    "zstd": Kind(".jsonl.zst", mutations.mutated_zstd, _text(oracles.of_lines, oracles.unzstd)),
    "parquet": Kind(".parquet", mutations.mutated_parquet, _pools(oracles.of_parquet)),
    "npz": Kind(".npz", mutations.mutated_npz, _embeddings),
}
