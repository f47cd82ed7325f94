"""What is kept of a study: one line a cell, as soon as it is there, and never made twice."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, BinaryIO, Self

from mig_jax.errors import InputError
from mig_jax.runs import open_run_file, place_told

__all__ = ["KeptLines", "read_kept"]


class KeptLines:
    """JSON values by a key, in a file of lines that only grows; a `with` block holds it.

    A line that a killed process left half-written is dropped.
    """

    def __init__(self, path: str | os.PathLike[str], kind: str, run: dict[str, Any]) -> None:
        """`run` is what decides the values; a file of another run is refused."""
        self._path, self._kind, self._run = pathlib.Path(path), kind, run
        self._values: dict[str, Any] = {}
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Opens the file, or makes it.

        Raises:
          InputError: if it is none of ours, of another run, in use or cannot be written.
        """
        stream = self._stream = open_run_file(str(self._path), self._kind, self._run)
        try:
            self._values, size = _whole_lines(stream, self._path)
        except InputError:
            stream.close()
            raise
        stream.seek(size)
        stream.truncate()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._stream is not None
        with place_told(str(self._path)):
            self._stream.close()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> list[tuple[str, Any]]:
        """All keys and values, in the order in which they came."""
        return list(self._values.items())

    def put(self, key: str, value: Any) -> None:
        """Adds a value; it outlives this process from now on."""
        assert self._stream is not None
        with place_told(str(self._path)):
            self._stream.write(json.dumps([key, value]).encode() + b"\n")
            self._stream.flush()
        self._values[key] = value


def read_kept(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides the values of a file, and its values by key; a run may be adding to it.

    Raises:
      InputError: if it cannot be read, or is none of ours.
    """
    try:
        with open(path, "rb") as stream:
            record = json.loads(stream.readline() or b"{}")
            if not isinstance(record, dict) or record.get("format") != f"mig_jax {kind}":
                raise ValueError
            return record["run"], _whole_lines(stream, path)[0]
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected the {kind} of a study") from None
    except (ValueError, KeyError):
        what = f"its first line is no record of mig_jax {kind}"
        raise InputError(f"{path}: {what}; expected the {kind} of a study") from None


def _whole_lines(stream: BinaryIO, path: str | os.PathLike[str]) -> tuple[dict[str, Any], int]:
    """Values by key from here on, and where the last whole line ends."""
    values, size = {}, stream.tell()
    for number, line in enumerate(stream, 2):
        if not line.endswith(b"\n"):
            break
        try:
            key, value = json.loads(line)
            values[key] = value
        except (ValueError, TypeError):
            raise InputError(
                f"{path}, line {number}: damaged; expected a key and a value in JSON. Without "
                "this line the rest can be used, and it is made again"
            ) from None
        size += len(line)
    return values, size
