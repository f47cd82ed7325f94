"""What tells runs apart: fingerprints of inputs and settings, and in which parts two differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["differences", "digest"]

_HASH = re.compile("[0-9a-f]{16}")


def digest(values: Iterable[Any]) -> str:
    """SHA-256 over type, shape and bytes of arrays, numbers and strings."""
    digest = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype.str} {np.shape(value)};".encode())
        digest.update(array.view(np.uint8) if array.size else b"")
    return digest.hexdigest()


def differences(run: dict[str, Any], now: dict[str, Any]) -> str:
    """In which parts two fingerprints differ, in words; empty if in none.

    >>> was = {"pool": digest([1]), "device": "cpu"}
    >>> differences(was, {"pool": digest([2]), "device": "gpu"})
    'pool, device (cpu; now gpu) differ'
    """
    texts = []
    for name in [name for name in now if run.get(name) != now[name]]:
        # All but hashes can be told.
        told = name in run and not _HASH.search(f"{run[name]}{now[name]}")
        texts.append(f"{name} ({run[name]}; now {now[name]})" if told else name)
    return f"{', '.join(texts)} {'differs' if len(texts) == 1 else 'differ'}" if texts else ""
