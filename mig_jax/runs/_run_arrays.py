"""What a run has finished, number by number: a small .npz file each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.runs._resumable import RunFolder

__all__ = ["RunArrays"]


class RunArrays(RunFolder):
    """Arrays by name for each number; a `with` block holds their folder."""

    def __init__(self, folder: str | os.PathLike[str], kind: str, run: dict[str, Any]) -> None:
        """Opens the folder, or makes it.

        Args:
          folder: new, empty, or of the same run.
          kind: what is kept there: "cells".
          run: what decides the arrays, part by part, in types that JSON has.

        Raises:
          InputError: as `RunFolder`.
        """
        super().__init__(folder, kind, run, ".npz")

    def restore(
        self,
        numbers: Iterable[int],
        names: Sequence[str],
        *,
        on_damaged: Callable[[int], None] | None = None,
    ) -> dict[int, dict[str, npt.NDArray[Any]]]:
        """The arrays `names` of those of the numbers that are there, whole.

        `on_damaged` is called with the number of each damaged one, before it is deleted.
        """

        def read(path: str) -> dict[str, npt.NDArray[Any]]:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names}

        there = set(self.numbers())
        found = dict(self.whole([n for n in numbers if n in there], read))
        self.delete_damaged(on_damaged)
        return found

    def save(self, number: int, arrays: Mapping[str, Any]) -> None:
        """Saves the arrays of a number: the same arrays as the same bytes."""

        def write(path: str) -> None:
            with open(path, "wb") as stream:  # Given a name, NumPy adds an ending.
                np.savez(stream, **arrays)

        self.put(number, write)
