"""The error for input that cannot be used."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where (file, line, field) and what was
    expected. The command prints it and exits with 2. Line breaks that come in with
    a file name or a label are shown escaped.

    >>> str(InputError("a\\nb.jsonl: holds no records"))
    'a\\\\nb.jsonl: holds no records'
    """

    def __init__(self, message: str) -> None:
        super().__init__("\\n".join(message.splitlines()))
