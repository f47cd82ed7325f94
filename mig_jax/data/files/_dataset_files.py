"""Records of Hugging Face datasets: a folder that `save_to_disk` wrote, or one of the hub."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mig_jax.data.files._file_stamps import FileStamp
from mig_jax.data.files._table_rows import ROWS_A_BATCH, TableRows, telling_errors
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["HUB_PREFIX", "DatasetRows", "is_dataset"]

HUB_PREFIX: Final = "hub:"
_HUB_NAME: Final = re.compile(r"hub:([^/:\s]+/[^/:\s]+)(?:/([^/:\s]+))?(?::([^/:\s]+))?")
# What the hub allows as an owner or a name: `datasets` takes others for paths.
_HUB_PART: Final = re.compile(r"(?!.*(?:--|\.\.|\.git$))\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_HUB_EXPECTED: Final = "hub:OWNER/NAME, with /CONFIGURATION and :SPLIT if needed"


@dataclasses.dataclass(frozen=True)
class DatasetRows(TableRows):
    """One split of a dataset, which `datasets` maps into memory."""

    kind: ClassVar[str] = "dataset"

    @classmethod
    def of(cls, path: str) -> DatasetRows:
        """The dataset that a path names: `is_dataset` is true of it.

        A dataset of the hub is downloaded to the cache of `datasets` if it is not there.

        Raises:
          InputError: if there is none, or `datasets` is not installed.
        """
        dataset = _load(path)
        files = sorted({file["filename"] for file in dataset.cache_files})
        if not path.startswith(HUB_PREFIX):
            files += [os.path.join(path, name) for name in ("dataset_info.json", "state.json")]
        if not files:
            raise InputError(f"{path}: holds no records; expected at least one")
        return cls(FileStamp.of_all(path, files))

    def schema(self) -> pa.Schema:
        with self._open() as dataset:
            return dataset.features.arrow_schema

    def batches(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.RecordBatch, int]]:
        with self._open() as dataset:
            if columns is not None:
                tops = {column.partition(".")[0] for column in columns}
                # Of a name with dots, all of the object is read.
                dataset = dataset.select_columns(sorted(tops & {*dataset.column_names}))
            for table in dataset.iter(ROWS_A_BATCH):
                for batch in table.to_batches():
                    yield batch, len(dataset)

    def batches_at(self, positions: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        with self._open() as dataset:
            for start in range(0, len(positions), ROWS_A_BATCH):
                yield from dataset[positions[start : start + ROWS_A_BATCH].tolist()].to_batches()

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        """The dataset, giving Arrow tables; whatever fails inside names it."""
        with telling_errors(self.stamp.path, self.kind):
            yield _load(self.stamp.path).with_format("arrow")


def is_dataset(path: str) -> bool:
    """Whether the path is of the hub, or a folder."""
    return path.startswith(HUB_PREFIX) or os.path.isdir(path)


def _load(path: str) -> Any:
    """The `datasets.Dataset` that a path names."""
    is_saved = not path.startswith(HUB_PREFIX)
    if is_saved:
        _check_folder(path)
    else:
        _hub_name(path)
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{path}: is a Hugging Face dataset; expected the package `datasets` to read it: "
            "pip install 'mig-jax[hub]'"
        ) from None
    try:
        return datasets.load_from_disk(path) if is_saved else _load_from_hub(path)
    except InputError:
        raise
    except Exception as error:  # It downloads, and reads files of many kinds: all may fail.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        expected = "a folder as save_to_disk writes it" if is_saved else _HUB_EXPECTED
        raise InputError(f"{path}: cannot be loaded ({reason}); expected {expected}") from None


def _load_from_hub(path: str) -> Any:
    import datasets

    name, configuration, split = _hub_name(path)
    return datasets.load_dataset(name, configuration, split=split or "train")


def _hub_name(path: str) -> tuple[str, str | None, str | None]:
    """Owner and name, configuration and split.

    Raises:
      InputError: if the hub has no such names, or `datasets` would read a local folder.
    """
    found = _HUB_NAME.fullmatch(path)
    if found is None:
        raise InputError(f"{path}: expected {_HUB_EXPECTED}")
    name, configuration, split = found.groups()
    for part in name.split("/"):
        # Names of buckets lead to other storage.
        if not _HUB_PART.fullmatch(part) or name.startswith("buckets/"):
            raise InputError(f"{path}: the hub has no name {part}; expected {_HUB_EXPECTED}")
    if {".", ".."} & {configuration, split}:
        raise InputError(f"{path}: has no configuration or split; expected {_HUB_EXPECTED}")
    if os.path.exists(name):
        raise InputError(
            f"{path}: {name} is a folder or file here, which `datasets` would read in place of the "
            f"hub's; expected --pool={name} for this one, or another working directory"
        )
    return name, configuration, split


def _not_for_training(split: str) -> tuple[bool, bool, bool]:
    """Sorts splits: `train`, then `train_sft` and its like, and what is for tests last."""
    for_tests = ("test", "val", "dev", "eval")
    return split != "train", "train" not in split, split.startswith(for_tests)


def _check_folder(path: str) -> None:
    if os.path.isfile(os.path.join(path, "state.json")):
        return
    if os.path.isfile(os.path.join(path, "dataset_dict.json")):
        splits = [
            name
            for name in sorted(os.listdir(path))
            if os.path.isfile(os.path.join(path, name, "state.json"))
        ]
        likely = min(splits, key=_not_for_training, default="train")
        raise InputError(
            f"{path}: has the splits {', '.join(splits)}; expected one of them, as "
            f"{os.path.join(path, likely)}"
        )
    raise InputError(
        f"{path}: is a directory; expected a file of records, or a folder of a Hugging Face "
        "dataset with its state.json"
    )
