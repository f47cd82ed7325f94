"""The labels that a pool may have: a JSON list."""

from __future__ import annotations

import os

import msgspec

from mig_jax.data.files import BYTE_ORDER_MARK
from mig_jax.data.reading._pool_files import stamp_of
from mig_jax.errors import InputError

__all__ = ["read_vocabulary"]


def read_vocabulary(path: str | os.PathLike[str]) -> list[str]:
    """The labels of a JSON file, here or elsewhere, that is a list of strings.

    Raises:
      InputError: if it cannot be read or is anything else, an empty list included, or if a label
        ends in a NUL character.
    """
    stamp = stamp_of(os.fspath(path))
    expected = "expected a JSON list of at least one string"
    try:
        with open(stamp.local, "rb") as stream:
            content = stream.read().removeprefix(BYTE_ORDER_MARK)
        labels = msgspec.json.decode(content, type=list[str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{stamp.path}: {error}; {expected}") from None
    if ended := next((label for label in labels if label.endswith("\0")), None):
        # Arrays of texts, which labels are written as, would drop it.
        raise InputError(f"{stamp.path}: the label {ended!r} ends in a NUL character; {expected}")
    if not labels:
        raise InputError(f"{stamp.path}: the list is empty; {expected}")
    return labels
