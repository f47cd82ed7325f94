"""Readers that fail in each way, to test that it is found."""

from __future__ import annotations

import os
import random
import time

from tests.fuzzing.kinds import Kind, Wrong


def _make(rng: random.Random) -> bytes:
    return rng.randbytes(4)


def _hangs(path: str) -> str:
    while True:
        pass


def _waits(path: str) -> str:
    time.sleep(3600)
    return path


def _wrong(path: str) -> str:
    raise Wrong(path)


def _raises(path: str) -> str:
    raise KeyError(path)


def _crashes(path: str) -> str:
    os._exit(7)


def _takes_memory(path: str) -> str:
    return str(len(b"x" * (5 << 28))) and "read"


def _reads(path: str) -> str:
    return "read"


KINDS = {
    check.__name__: Kind(".txt", _make, check)
    for check in (_reads, _hangs, _waits, _wrong, _raises, _crashes, _takes_memory)
}
