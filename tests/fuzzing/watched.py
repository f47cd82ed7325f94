"""Inputs read one after another by a child process that is watched, and started again."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from tests.fuzzing.kinds import KINDS, make_input

SECONDS = 10.0  # For one input; more is a hang.
MOST_MEMORY = 1 << 30  # Bytes of a child, its imports included.


class Failure(NamedTuple):
    """An input that was not read as it should be."""

    kind: str
    number: int
    what: str


def fuzz(
    kind: str,
    numbers: range,
    seed: int,
    keep: pathlib.Path | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[Counter[str], list[Failure]]:
    """Reads these inputs of a kind: how often each outcome was, and what failed.

    Failed inputs are written to the folder `keep`.
    """
    outcomes: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for number, outcome, what in _results(kind, numbers, seed, folder):
            outcomes[outcome] += 1
            tell(sum(outcomes.values()))
            if what:
                failures.append(Failure(kind, number, what))
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    stem = keep / f"{kind}_{seed}_{number}"
                    stem.with_suffix(KINDS[kind].ending).write_bytes(make_input(kind, seed, number))
                    stem.with_suffix(".txt").write_text(what)
    return outcomes, failures


def _results(kind: str, numbers: range, seed: int, folder: str) -> Iterator[tuple[int, str, str]]:
    """Number, outcome and, of a failure, what happened."""
    left = list(numbers)
    context = multiprocessing.get_context("spawn")
    while left:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_read_all, args=(kind, left, seed, folder, theirs))
        child.start()
        theirs.close()
        try:
            ours.recv()  # It has imported what it needs.
            while left:
                if not ours.poll(SECONDS):
                    yield left.pop(0), "hang", f"no end after {SECONDS:g} s"
                    break
                outcome, what = ours.recv()
                yield left.pop(0), outcome, what
        except EOFError:
            child.join()
            yield left.pop(0), "crash", f"the process ended with {child.exitcode}"
        finally:
            child.kill()
            child.join()
            ours.close()


def _read_all(kind: str, numbers: list[int], seed: int, folder: str, results: Connection) -> None:
    sys.setrecursionlimit(1000)
    soft = _address_space() + MOST_MEMORY  # What runs away is stopped before the machine suffers.
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    path = os.path.join(folder, f"input{KINDS[kind].ending}")
    results.send("ready")
    for number in numbers:
        pathlib.Path(path).write_bytes(make_input(kind, seed, number))
        results.send(_outcome(kind, path))


def _outcome(kind: str, path: str) -> tuple[str, str]:
    try:
        outcome = KINDS[kind].check(path)
    except AssertionError as error:
        return "wrong", str(error)
    except BaseException:
        return "exception", traceback.format_exc()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # On Linux.
    if used > MOST_MEMORY:
        return "memory", f"{used:,} bytes"
    return outcome, ""


def _address_space() -> int:
    """Bytes of it that this process has."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
