"""What an ablation has finished, cell by cell, in its working directory.

A cell is a small .npz file, renamed into place once it is whole: a process
killed at any moment leaves whole cells only. `run.json` tells of which grid
they are.
"""

from __future__ import annotations

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mig_jax import data
from mig_jax.errors import InputError
from mig_jax.runs import differences

__all__ = ["FinishedCells"]

# What np.load raises for a file that a disk has damaged.
_DAMAGE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


class FinishedCells:
    """Arrays by name for each finished cell, by its number."""

    def __init__(self, workdir: pathlib.Path, run: dict[str, Any]) -> None:
        """Opens the directory, or makes it.

        Args:
          workdir: of one run.
          run: what decides the picks of all cells, part by part, in types that JSON has.

        Raises:
          InputError: where the directory cannot be made or read, or is of another run.
        """
        self._folder = workdir / "cells"
        record = workdir / "run.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in [*workdir.glob(".mig_jax.*.tmp"), *self._folder.glob(".mig_jax.*.tmp")]:
                left.unlink()  # What a killed process was writing.
            if not record.exists():
                with data.OutputFiles() as outputs:
                    data.write_json(outputs.open(record), run)
            found = json.loads(record.read_bytes())
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}; expected a directory") from None
        except ValueError:
            raise InputError(f"{record}: cannot be read; {_ANOTHER}") from None
        # As JSON has it: tuples are lists there.
        differing = differences(found, json.loads(json.dumps(run)))
        if differing:
            raise InputError(f"{workdir}: holds cells of another grid: {differing}; {_ANOTHER}")

    def restore(self, count: int, names: Sequence[str]) -> dict[int, dict[str, np.ndarray]]:
        """The arrays `names` of all whole cells with a number below `count`; others are deleted."""
        cells = {}
        for number in range(count):
            try:
                with np.load(self._path(number), allow_pickle=False) as arrays:
                    cells[number] = {name: arrays[name] for name in names}
            except FileNotFoundError:
                continue
            except _DAMAGE:
                os.remove(self._path(number))
        return cells

    def save(self, cells: dict[int, dict[str, np.ndarray]]) -> None:
        """Saves cells by their numbers."""
        with data.OutputFiles() as outputs:
            for number, arrays in cells.items():
                np.savez(outputs.open(self._path(number)), **arrays)

    def _path(self, number: int) -> pathlib.Path:
        return self._folder / f"{number:05d}.npz"


_ANOTHER = "give another --workdir or delete this one"
