"""Decodes several files, or ranges of one, at the same time, on all cores.

The processes are started here and not by `multiprocessing`, because that runs the
user's program again in each of them: a script without `if __name__ == "__main__"`
would fail, and every program would import JAX once a process. Forking is no way out, as
JAX has threads by then.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from mig_jax.data.record_parts import Decoded, Decoding, decode_file

__all__ = ["decode_in_parallel", "serve"]

# What one decoding may hold of the text of bad records; ranges are smaller.
_MOST_BAD_TEXT: Final = 1 << 26

# `mig_jax` itself is left empty there: its names need JAX, reading needs none of them.
_CHILD_PROGRAM: Final = """
import sys, types
package = types.ModuleType("mig_jax")
package.__path__ = [sys.argv[1]]
sys.modules["mig_jax"] = package
sys.path[:] = sys.argv[2:]
from mig_jax.data.reading_workers import serve
serve()
"""


def decode_in_parallel(
    decodings: Sequence[Decoding], workers: int
) -> Iterator[list[Decoded] | None]:
    """Yields for each decoding, in order, what `decode_file` yields, or None.

    None stands for a file with too much text of bad records to hold: decode it here, as
    it comes. This process is one of the `workers`, which are at most two decodings each
    ahead of the caller. Close the iterator to end them all.

    Raises:
      InputError: where a file cannot be read to its end, in the order of the decodings.
    """
    crew = _Crew(workers)
    threads = ThreadPoolExecutor(workers, thread_name_prefix="mig_jax_reading")
    ahead: collections.deque[Future[list[Decoded] | None]] = collections.deque()
    try:
        for decoding in decodings:
            ahead.append(threads.submit(crew.decode, decoding))
            if len(ahead) == 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        crew.dismiss()
        threads.shutdown(cancel_futures=True)


def serve() -> None:
    """What a child does: answers decodings from its input on its output, until they end."""
    # Ctrl-C reaches the whole process group; the parent says what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr
    with contextlib.suppress(EOFError, OSError):  # The parent is gone.
        while True:
            decoding = pickle.load(sys.stdin.buffer)
            outcome: list[Decoded] | Exception | None
            try:
                outcome = _decode_whole(decoding)
            except Exception as error:
                outcome = error
            pickle.dump(outcome, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


class _Crew:
    """This process and its children; `decode` is called in one thread for each of them."""

    def __init__(self, workers: int) -> None:
        self._children: list[subprocess.Popen[bytes]] = []
        self._stopped = threading.Event()
        # Who is free; None is this process.
        self._free: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        self._free.put(None)
        for _ in range(workers - 1):
            # Where no process can be started, the threads here do the work.
            with contextlib.suppress(OSError):
                self._children.append(_start_child())
                self._free.put(self._children[-1])

    def decode(self, decoding: Decoding) -> list[Decoded] | None:
        try:
            worker = self._free.get_nowait()
        except queue.Empty:
            return _decode_whole(decoding, self._stopped)
        try:
            if worker is None:
                return _decode_whole(decoding, self._stopped)
            try:
                outcome = _ask(worker, decoding)
            except (EOFError, OSError, pickle.UnpicklingError):
                # The child has been killed, as by the system when memory is short.
                return _decode_whole(decoding, self._stopped)
        finally:
            self._free.put(worker)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def dismiss(self) -> None:
        """Ends the children and what is being decoded here; nothing of it is wanted."""
        self._stopped.set()
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()
            # The answers are closed by the garbage collector: a thread may be reading them.
            assert child.stdin is not None
            with contextlib.suppress(OSError):
                child.stdin.close()


def _start_child() -> subprocess.Popen[bytes]:
    package = pathlib.Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _CHILD_PROGRAM, str(package), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _ask(child: subprocess.Popen[bytes], decoding: Decoding) -> list[Decoded] | Exception | None:
    assert child.stdin is not None
    assert child.stdout is not None
    pickle.dump(decoding, child.stdin, pickle.HIGHEST_PROTOCOL)
    child.stdin.flush()
    outcome: list[Decoded] | Exception | None = pickle.load(child.stdout)
    return outcome


def _decode_whole(
    decoding: Decoding, stopped: threading.Event | None = None
) -> list[Decoded] | None:
    """All that `decode_file` yields; None where it is too much or no longer wanted."""
    parts = []
    bad_text = 0
    with contextlib.closing(decode_file(decoding)) as decoded:  # type: ignore[type-var]
        for part in decoded:
            parts.append(part)
            bad_text += sum(len(bad.text) for bad in part.bad)
            if bad_text > _MOST_BAD_TEXT or (stopped is not None and stopped.is_set()):
                return None
    return parts
