"""Keeps the tokens that were counted, which takes longer than reading the pool."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import mig_jax
from mig_jax.data.files import read_npz
from mig_jax.data.reading._cache import store_arrays
from mig_jax.data.reading._record_parts import RecordFile
from mig_jax.data.reading._record_table import RecordTable
from mig_jax.runs import digest

__all__ = ["KeptCosts"]

_FORMAT: Final = 1  # Part of the key, as is the version.


class KeptCosts:
    """The costs of a pool's records in a file of the cache, which may be deleted at any time.

    They are found by the bytes of the pool's files, not by their names: see `read_pool`.

    Args:
      folder: that of the cache; it is made if it is not there.
      files: those of the pool.
      table: the P records that were read from them.
      choices: all else that the costs depend on, which JSON must take.

    Raises:
      InputError: if a file cannot be read.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        files: Sequence[RecordFile],
        table: RecordTable,
        choices: Sequence[Any],
    ) -> None:
        contents = [[type(file).__name__, *file.stamp.digests()] for file in files]
        places = digest([table.file_index, table.position])
        text = json.dumps([_FORMAT, mig_jax.__version__, contents, places, *choices])
        key = hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
        self.path = pathlib.Path(folder, f"{key}.costs.npz")
        self._num_records = table.num_records

    def load(self) -> npt.NDArray[np.int64] | None:
        """The costs, int64 [P]; None if they are not there, or damaged."""
        try:
            costs = read_npz(self.path, ["costs"])["costs"]
        except (OSError, ValueError):
            return None
        is_whole = costs.dtype == np.int64 and costs.shape == (self._num_records,)
        return costs if is_whole and bool(np.all(costs >= 0)) else None

    def store(self, costs: npt.NDArray[np.int64]) -> None:
        """Keeps them.

        Raises:
          OSError: if that cannot be done; nothing is left then.
        """
        store_arrays(self.path, {"costs": costs})
