"""What an ablation has finished, cell by cell: a small .npz file each."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mig_jax.runs import RunFolder

__all__ = ["FinishedCells"]


class FinishedCells(RunFolder):
    """Arrays by name for each finished cell, by its number; a `with` block holds its folder."""

    def __init__(self, workdir: pathlib.Path, run: dict[str, Any]) -> None:
        """Opens the folder `cells` in `workdir`, or makes it.

        Args:
          workdir: of one run.
          run: what decides the picks of all cells, part by part, in types that JSON has.

        Raises:
          InputError: if `cells` holds anything else, is of another run, is in use by another
            process, or cannot be made or written to.
        """
        super().__init__(workdir / "cells", "cells", run, ".npz")

    def restore(
        self,
        count: int,
        names: Sequence[str],
        *,
        on_damaged: Callable[[int], None] | None = None,
    ) -> dict[int, dict[str, np.ndarray]]:
        """The arrays `names` of all whole cells with a number below `count`.

        `on_damaged` is called with the number of each damaged one, before it is deleted.
        """

        def read(path: str) -> dict[str, np.ndarray]:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names}

        found = dict(self.whole([n for n in self.numbers() if n < count], read))
        self.delete_damaged(on_damaged)
        return found

    def save(self, cells: dict[int, dict[str, np.ndarray]]) -> None:
        """Saves cells by their numbers."""
        for number, arrays in cells.items():

            def write(path: str, arrays: dict[str, Any] = arrays) -> None:
                with open(path, "wb") as stream:  # Given a name, NumPy adds an ending.
                    np.savez(stream, **arrays)

            self.put(number, write)
