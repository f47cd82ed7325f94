"""The files that a path stands for: itself, those that match a pattern, or those of a folder."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterable
from typing import Final

from mig_jax.data.files._dataset_files import HUB_PREFIX
from mig_jax.data.files._remote_files import is_remote, remote_files
from mig_jax.data.files._text_streams import name_of
from mig_jax.errors import InputError

__all__ = ["expand", "is_shard", "local_files", "near_file"]

_ENDINGS: Final = (
    *(
        f"{ending}{compressed}"
        for ending in (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
        for compressed in ("", ".gz", ".zst")
    ),
    ".parquet",
)
# What stands beside records: outputs of this package, and LLaMA-Factory's list of data sets.
_NO_RECORDS: Final = (
    ".manifest.json",
    ".selection.parquet",
    ".rejected.jsonl",
    ".journal.jsonl",
    ".annotation.json",
    ".tag_mapping.json",
    "dataset_info.json",
    "dataset_infos.json",
)
_DATASET: Final = ("state.json", "dataset_dict.json")
_MOST_COMPARED: Final = 10_000
_EXPECTED: Final = f"expected files named {', '.join(_ENDINGS[:-1:3])} or .parquet in it"


def expand(path: str) -> list[str]:
    """The files, or the dataset, that a path given for a pool stands for, in order.

    * A path with `*`, `?` or `[` stands for the files that match (`**` for any folders), sorted
      by name. A file that has just this name comes first.
    * A folder stands for the files of records in it, not in its folders, sorted by name: not for
      those whose names start with . or _, nor for what this package writes beside records. A
      folder that `datasets` saved stands for itself.
    * An address (`s3://…`) stands for what it would stand for here; it may have a pattern too.

    Raises:
      InputError: if nothing matches, a folder has no such file, or an address cannot be looked at.
    """
    if path.startswith(HUB_PREFIX):
        return [path]
    if is_remote(path):
        return remote_files(path, is_shard)
    if os.path.isdir(path):
        return [path] if _is_dataset(path) else _shards(path)
    if not glob.has_magic(path) or os.path.lexists(path):
        return [path]
    found = [
        match
        for match in sorted(glob.glob(path, recursive=True))
        if not os.path.isdir(match) or _is_dataset(match)
    ]
    if not found:
        raise InputError(f"{path}: no file matches; expected at least one")
    return found


def local_files(paths: Iterable[str]) -> list[str]:
    """The files of this machine that the paths stand for, those of datasets too.

    Paths that stand for nothing here are given as they are.
    """
    found: list[str] = []
    for path in paths:
        if is_remote(path) or path.startswith(HUB_PREFIX):
            found.append(path)
            continue
        for file in expand(path):
            if os.path.isdir(file):
                for folder, _, names in os.walk(file):
                    found += (os.path.join(folder, name) for name in names)
            else:
                found.append(file)
    return found


def is_shard(name: str) -> bool:
    """Whether a file of a folder is read with it, by its name."""
    lower = name_of(name)
    return (
        not name.startswith((".", "_"))
        and lower.endswith(_ENDINGS)
        and not lower.endswith(_NO_RECORDS)
    )


def near_file(path: str) -> str | None:
    """The file of records that a path of no file may mean, by its name; None if none is like it."""
    folder, name = os.path.split(path)
    try:
        names = sorted(filter(is_shard, os.listdir(folder or ".")))[:_MOST_COMPARED]
    except (OSError, ValueError):
        return None
    longer = [other for other in names if other.startswith(f"{name}.")]  # As pool.jsonl.gz.
    stems = {other.partition(".")[0]: other for other in reversed(names)}
    close = difflib.get_close_matches(name.partition(".")[0], stems, n=1)
    found = longer or [stems[stem] for stem in close]
    return os.path.join(folder, found[0]) if found else None


def _is_dataset(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, name)) for name in _DATASET)


def _shards(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: {(error.strerror or '').lower()}; {_EXPECTED}") from None
    found = [os.path.join(folder, name) for name in names if is_shard(name)]
    found = [path for path in found if not os.path.isdir(path)]
    if not found:
        raise InputError(
            f"{folder}: is a folder without files of records; {_EXPECTED}, or a folder of a "
            "Hugging Face dataset with its state.json"
        )
    return found
