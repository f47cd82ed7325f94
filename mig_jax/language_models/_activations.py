"""What the lower layers of a model make of each record, kept on disk: they never change."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import numpy.typing as npt

from mig_jax.runs import RunFolder, place_told

from ._architecture import Architecture, Weights, embed, layers_between, run_layers
from ._encoding import EncodedRecords
from ._packing import Batch, lay_out, pack

__all__ = ["Activations"]

_ROWS = 8  # Of a batch: enough for two cores, and little padding in the last one.
_RECORDS = 512  # Packed together, and kept before the next ones are begun.


class Activations:
    """Activations [tokens, d] after the lower layers, bfloat16, of the records asked for so far.

    They are in the folder, by record, and stay there: what is asked for again is not computed
    again, by this run or another. The folder is held until `close`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        run: dict[str, Any],
        encoded: EncodedRecords,
        architecture: Architecture,
        weights: Weights,
        layers: int,
        row: int,
    ) -> None:
        """Opens the folder, or makes it.

        Args:
          folder: new, empty, or of the same run.
          run: what decides the activations, in types that JSON has: the model's digest and the
            records'.
          encoded: all records.
          architecture: of the model.
          weights: of the model.
          layers: how many layers are run; 0 for the embedding alone.
          row: tokens of a row; the longest record that can be asked for.

        Raises:
          InputError: if the folder holds something else, is of another run or in use.
        """
        self.encoded, self.row, self._a = encoded, row, architecture
        place = pathlib.Path(folder)
        self._held = RunFolder(place, "activations", run | {"layers": layers}, ".npy")
        shape = (len(encoded.ids), architecture.width)
        self._path = place / "activations"
        self._values = _open(self._path, np.dtype(ml_dtypes.bfloat16), shape)
        # Written through memory, a full disk would kill the process without a word.
        self._stream = self._path.open("r+b")
        with place_told(self._path):
            if not (place / "done").exists():
                (place / "done").write_bytes(bytes(len(encoded)))
        self._done = _open(place / "done", np.dtype(np.uint8), (len(encoded),))
        lower = layers_between(weights, 0, layers)
        embedding = {"embedding": weights["embedding"]}

        @jax.jit
        def compute(lower: Weights, embedding: Weights, batch: Batch) -> jax.Array:
            tokens, positions, segments = map(jnp.asarray, batch[:3])
            x = embed(architecture, embedding, tokens)
            x = run_layers(architecture, lower, x, positions, segments)
            return x.astype(jnp.bfloat16)

        self._compute = lambda batch: compute(lower, embedding, batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the folder."""
        self._stream.close()
        self._held.__exit__(None, None, None)

    def missing(self, records: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of the records that are not computed yet."""
        return records[self._done[records] == 0]

    def ensure(
        self, records: npt.NDArray[np.int64], progress: Callable[[int], None] | None = None
    ) -> None:
        """Computes what is missing; `progress` gets the tokens computed so far.

        Raises:
          InputError: if a record is longer than a row.
          OSError: if the disk is full.
        """
        left, done = self.missing(records), 0
        for block in np.split(left, range(_RECORDS, len(left), _RECORDS)):
            rows = pack(self.encoded.lengths, block, self.row)
            for first in range(0, len(rows), _ROWS):
                some = rows[first : first + _ROWS]
                batch = lay_out(self.encoded, some, _ROWS, self.row)
                x = np.asarray(self._compute(batch))
                for b, row in enumerate(some):
                    place = 0
                    for record in row:
                        span = self._span(record)
                        count = span.stop - span.start
                        self._write(span.start, x[b, place : place + count])
                        place += count
                    done += place
                if progress is not None:
                    progress(done)
            with place_told(self._path):
                self._stream.flush()
            self._done[block] = 1

    def _write(self, first: int, values: npt.NDArray[Any]) -> None:
        with place_told(self._path):
            self._stream.seek(first * self._a.width * values.itemsize)
            self._stream.write(values.tobytes())

    def of(self, rows: list[list[int]], count: int) -> npt.NDArray[Any]:
        """The activations of one batch, bfloat16 [count, row, d], as `lay_out` lays it out.

        All its records have been ensured before.
        """
        x = np.zeros((count, self.row, self._a.width), ml_dtypes.bfloat16)
        for b, row in enumerate(rows):
            place = 0
            for record in row:
                span = self._span(record)
                stop = place + span.stop - span.start
                x[b, place:stop] = self._values[span]
                place = stop
        return x

    def _span(self, record: int) -> slice:
        return slice(*map(int, self.encoded.offsets[record : record + 2]))


def _open(path: pathlib.Path, kind: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """A file of numbers, of zeros at first; it takes no disk before it is written to."""
    mode = "r+" if path.exists() and path.stat().st_size else "w+"
    return np.memmap(path, dtype=kind, mode=mode, shape=shape)  # type: ignore[call-overload]
