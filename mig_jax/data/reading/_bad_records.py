"""Records that cannot be used: the first ends the reading, or all are left out and kept."""

from __future__ import annotations

import json

from mig_jax.data.files import likely_form
from mig_jax.data.reading._cache import Writable
from mig_jax.data.records import BadRecord
from mig_jax.errors import InputError

__all__ = ["BadRecords"]


class BadRecords:
    """The records of one file that cannot be used: the first ends the reading, or all are kept."""

    def __init__(self, path: str, skip: bool, rejects: Writable | None) -> None:
        self._path = path
        self._skip = skip
        self._rejects = rejects
        self._first: InputError | None = None
        self.count = 0

    def meet(self, line: int, bad: BadRecord, text: bytes) -> None:
        """Raises `InputError` if bad records are not skipped."""
        separator = ", " if bad.field else ": "
        told = f"{self._path}, line {line}{separator}{bad}"
        if "JSON is malformed" in bad.problem and (looks := likely_form(text)):
            told += f"; {looks}"
        error = InputError(told)
        if not self._skip:
            raise error
        self._first = self._first or error
        self.count += 1
        if self._rejects is not None:
            # Python's own JSON writer, as it takes the lone surrogates that stand for
            # bytes that are not UTF-8.
            reject = {
                "file": self._path,
                "line": line,
                "reason": str(bad),
                "text": text.decode("utf-8", "surrogateescape"),
            }
            self._rejects.write(json.dumps(reject).encode("ascii") + b"\n")

    def nothing_usable(self) -> InputError:
        if not self.count:
            return InputError(f"{self._path}: holds no records; expected at least one")
        return InputError(
            f"{self._path}: all of its records ({self.count}) are bad; the first: {self._first}"
        )
