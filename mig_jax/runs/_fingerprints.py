"""What tells runs and processes apart: fingerprints, and in which parts they differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["differences", "digest", "disagreement"]

_MOST_TOLD = 4

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


def disagreement(told: Sequence[dict[str, Any]]) -> str:
    """In which parts what processes tell of themselves differs, in words; empty if in none.

    Args:
      told: what each process tells, part by part.

    >>> disagreement([{"--gain": "exact", "--budget": 5}, {"--gain": "linear", "--budget": 5}])
    '--gain is exact in process 0, linear in process 1'
    """
    texts = []
    for name in dict.fromkeys(name for one in told for name in one):
        values = [one.get(name) for one in told]
        # The first that differs, so that all who hear it of process 0 have the same words.
        for index, value in enumerate(values):
            if value != values[0]:
                was, now = ("not given" if v is None else v for v in (values[0], value))
                texts.append(f"{name} is {was} in process 0, {now} in process {index}")
                break
    if len(texts) > _MOST_TOLD:
        texts[_MOST_TOLD:] = [f"and {len(texts) - _MOST_TOLD} more"]
    return "; ".join(texts)
