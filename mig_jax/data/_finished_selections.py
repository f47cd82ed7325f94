"""Reading an earlier selection: its manifest, and which records it picked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.data.reading import RecordTable
from mig_jax.data.writing import check_outputs, read_manifest
from mig_jax.errors import InputError

__all__ = ["FinishedSelection", "find_manifest", "is_selection_name", "read_selection"]

_MANIFEST, _TABLE = ".manifest.json", ".selection.parquet"
_EXPECTED = (
    "expected the --output of an earlier `mig-jax select` with its .manifest.json and "
    ".selection.parquet beside it, or one of these"
)


@dataclasses.dataclass(frozen=True, eq=False)
class FinishedSelection:
    """What was selected, in the order written: n rows, of which given ones come first."""

    path: str  #: As it was named.
    place: str  #: The path of the manifest.
    manifest: dict[str, Any]
    names: tuple[str, ...]  #: The files that records are of, as they were given then.
    file_index: npt.NDArray[np.int32]  #: [n]: index into names.
    line: npt.NDArray[np.int64]  #: [n]: as in `RecordTable`.
    ranks: npt.NDArray[np.int64]  #: [n]: from 1; 0 for a record that was given.
    gains: npt.NDArray[np.float64]  #: [n]: as they were, NaN for a record that was given.
    #: [n]: by how much each raised E, as they were; None if an older version left them out.
    increases: npt.NDArray[np.float64] | None
    #: [n]: what each costs, 0 for a record that was given; None if tokens were not limited.
    tokens: npt.NDArray[np.int64] | None = None

    def files(self) -> list[str]:
        """The files of its pool, as they were given then."""
        return [str(name) for name in self.manifest.get("files", ())]

    def outputs(self) -> list[str]:
        """The files that the selection is made of: its manifest, and all that this tells of."""
        folder = os.path.dirname(self.place)
        return [self.place, *(os.path.join(folder, name) for name in self.manifest["outputs"])]

    def places_of(self, names: Iterable[str], files: Sequence[str]) -> list[int]:
        """For each of the names, which of the files it is, by index; −1 if it is none.

        A relative name is taken to be relative to the folder that the earlier command ran in,
        as far as its relative --output tells, to the present folder, or to the manifest's.
        """
        index = {name: i for i, name in reversed(list(enumerate(files)))}
        real = {os.path.realpath(name): i for i, name in reversed(list(enumerate(files)))}
        folder = os.path.dirname(os.path.realpath(self.place))
        folders = [os.getcwd(), folder]
        output = str(self.manifest.get("parameters", {}).get("output", "/"))
        if not os.path.isabs(output):
            folders.insert(0, os.path.join(folder, os.path.relpath(".", os.path.dirname(output))))

        def place(name: str) -> int:
            tried = [os.path.realpath(os.path.join(start, name)) for start in folders]
            return next((real[path] for path in tried if path in real), index.get(name, -1))

        return [place(name) for name in names]

    def rows_in(self, table: RecordTable) -> npt.NDArray[np.int64]:
        """The record of the table that each row is, int64 [n]; −1 if the table has it not."""
        files = np.array([*self.places_of(self.names, table.files), -1], np.int64)[self.file_index]
        if not table.num_records:
            return np.full(len(files), -1)
        # Records stand in the order of files and lines, and so do these numbers.
        most = int(max(table.line.max(), self.line.max(initial=0))) + 1
        keys = table.file_index.astype(np.int64) * most + table.line
        wanted = files * most + self.line
        rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((files >= 0) & (keys[rows] == wanted), rows, -1)


def is_selection_name(path: str) -> bool:
    """Whether a path can only be that of a manifest or of a table of picks, by its name."""
    return path.endswith((_MANIFEST, _TABLE))


def find_manifest(path: str) -> str | None:
    """The manifest of the selection that a path names, or is the output of; None if none is there.

    A path is that of the manifest, of the table of picks, or of the output, as the manifest says.
    """
    for ending in (_MANIFEST, _TABLE):
        if path.endswith(ending):
            found = path.removesuffix(ending) + _MANIFEST
            return found if os.path.exists(found) else None
    stem = path
    while True:
        found = stem + _MANIFEST
        if os.path.exists(found):
            try:
                output = read_manifest(found).get("output")
            except InputError:
                return None
            folder = os.path.dirname(os.path.realpath(found))
            is_of = isinstance(output, str) and os.path.realpath(
                os.path.join(folder, output)
            ) == os.path.realpath(path)
            return found if is_of else None
        shorter, ending = os.path.splitext(stem)
        if not ending:
            return None
        stem = shorter


def read_selection(path: str | os.PathLike[str]) -> FinishedSelection:
    """The selection that an output, a manifest or a table of picks is of.

    Raises:
      InputError: if there is none, or its table is not what its manifest tells of; or if the output
        is named and is not: who changed it may take it for what is read, which is the table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = os.fspath(path)
    place = find_manifest(path)
    if place is None:
        raise InputError(f"{path}: has no manifest of a selection; {_EXPECTED}")
    stem = place.removesuffix(_MANIFEST)
    check_outputs(place, stem + _TABLE)
    if not is_selection_name(path) and os.path.exists(path):
        try:
            check_outputs(place, path)
        except InputError as error:
            told = f"{error}, or {stem}{_TABLE} to go by what was picked then"
            raise InputError(told) from None
    manifest = read_manifest(place)
    for name, kind in (("files", list), ("parameters", dict)):
        if not isinstance(manifest.get(name, kind()), kind):
            raise InputError(f"{place}: its {name} are not as a selection has them; {_EXPECTED}")
    try:
        found = pq.read_table(stem + _TABLE)
        columns = {
            name: found[name].to_numpy()
            for name in ("rank", "line", "gain", "increase", "tokens")
            if name not in ("increase", "tokens") or name in found.column_names
        }
        names = found["file"].combine_chunks().dictionary_encode()
    except (OSError, KeyError, pa.ArrowException) as error:
        told = str(error).splitlines()[0]
        raise InputError(f"{stem}{_TABLE}: {told}; {_EXPECTED}") from None
    increases, tokens = columns.get("increase"), columns.get("tokens")
    return FinishedSelection(
        path,
        place,
        manifest,
        tuple(names.dictionary.to_pylist()),
        names.indices.to_numpy().astype(np.int32),
        columns["line"].astype(np.int64),
        columns["rank"].astype(np.int64),
        columns["gain"].astype(np.float64),
        None if increases is None else increases.astype(np.float64),
        None if tokens is None else tokens.astype(np.int64),
    )
