"""The error for input that cannot be used, and text that is safe to show."""

from __future__ import annotations

import importlib
import re
from typing import Any

__all__ = ["InputError", "printable", "require"]

# What moves a cursor, ends a line, turns the order of text around, or has no form in UTF-8.
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with its control characters escaped; names of files and labels may hold any.

    >>> printable("a\x1b[31m\nb é")
    'a\\x1b[31m\\nb é'
    """
    return _NOT_SHOWN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where (file, line, field) and what was
    expected. The command prints it and exits with 2. Control characters that come in with
    a file name or a label, line breaks among them, are shown escaped.

    >>> str(InputError("a\\nb.jsonl: holds no records"))
    'a\\\\nb.jsonl: holds no records'
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message.removesuffix("\n")))


def require(module: str, purpose: str, extra: str) -> Any:
    """A module of a package that only an extra brings, imported now.

    Raises:
      InputError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there and lacks one of its own is another matter.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise InputError(
            f"{purpose}: {error.name} is not installed; expected the extra {extra} "
            f"(pip install 'mig-jax[{extra}]')"
        ) from None
