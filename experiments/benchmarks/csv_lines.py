"""A CSV file that grows line by line, so that a run that breaks off keeps what it had."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CsvLines"]


class CsvLines:
    """Lines of these columns, each in the file as soon as it is added.

    Args:
      path: is made with its folder, and begun anew unless `go_on`.
      columns: their names, in order.
      go_on: add to the lines of others, as processes do that take turns.

    Raises:
      ValueError: when a line has a column that the file has not.
    """

    def __init__(self, path: pathlib.Path, columns: Sequence[str], *, go_on: bool = False) -> None:
        self.path = path
        self._columns = list(columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not go_on or not path.exists():
            with open(path, "w", newline="") as stream:
                csv.DictWriter(stream, self._columns).writeheader()

    def add(self, line: Mapping[str, Any]) -> None:
        """Writes a line; columns that it does not have stay empty."""
        with open(self.path, "a", newline="") as stream:
            csv.DictWriter(stream, self._columns, restval="").writerow(line)
