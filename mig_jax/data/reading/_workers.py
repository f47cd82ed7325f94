"""Decodes several files, or ranges of one, at the same time, on all cores.

The processes are started here and not by `multiprocessing`, because that runs the
user's program again in each of them: a script without `if __name__ == "__main__"`
would fail, and every program would import JAX once a process. Forking is no way out, as
JAX has threads by then.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import pathlib
import pickle
import queue
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import mig_jax
from mig_jax.data.reading._limits import ReadingLimits
from mig_jax.data.reading._record_parts import Decoded, Decoding, decode_file

__all__ = ["decode_in_parallel", "serve"]

_CHILD_PROGRAM: Final = """
import sys
sys.path[:] = sys.argv[1:]
from mig_jax.data.reading import serve
serve()
"""

_Answer = list[Decoded] | None


def decode_in_parallel(
    decodings: Sequence[Decoding], workers: int, limits: ReadingLimits
) -> Iterator[_Answer]:
    """Yields for each decoding, in order, what `decode_file` yields, or None.

    None is for the caller to decode here, as it comes: a file that cannot be read to its
    end or has too much text of bad records to hold, or one whose process was killed. The
    `workers` processes are at most two decodings each ahead of the caller, who should
    have little to do meanwhile: a busy interpreter keeps the threads from fetching
    answers. Close the iterator to end all processes.
    """
    children: list[subprocess.Popen[bytes]] = []
    free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    threads = ThreadPoolExecutor(workers, thread_name_prefix="mig_jax_reading")
    ahead: collections.deque[Future[_Answer]] = collections.deque()

    def ask(decoding: Decoding) -> _Answer:
        child = free.get()
        try:
            return _ask(child, decoding, limits.bad_text)
        finally:
            free.put(child)

    try:
        for _ in range(workers):
            with contextlib.suppress(OSError):  # As if there are too many processes.
                children.append(_start_child())
                free.put(children[-1])
        if not children:
            yield from itertools.repeat(None, len(decodings))
            return
        for decoding in decodings:
            ahead.append(threads.submit(ask, decoding))
            if len(ahead) == 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for child in children:
            child.kill()
        threads.shutdown(cancel_futures=True)  # Those that wait find their child dead.
        for child in children:
            with contextlib.suppress(OSError):  # Of a question that was never read.
                child.communicate()


def serve() -> None:
    """What a child does: answers decodings from its input on its output, until they end."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Whatever else is printed must not stand among the answers.
    with contextlib.suppress(EOFError, OSError):  # The parent is gone.
        while True:
            pickle.dump(_answer(*pickle.load(sys.stdin.buffer)), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    os._exit(0)  # Half an answer may be left, which nobody reads; Python would complain of it.


def _answer(decoding: Decoding, most_bad_text: int) -> _Answer:
    parts = []
    bad_text = 0
    try:
        for part in decode_file(decoding):
            parts.append(part)
            bad_text += sum(len(bad.text) for bad in part.bad)
            if bad_text > most_bad_text:
                return None
    except Exception:  # The parent will come to the same place and tell, or have more memory.
        return None
    return parts


def _start_child() -> subprocess.Popen[bytes]:
    # Last: the path finds the parent's mig_jax, unless the parent has found it by other means.
    root = pathlib.Path(mig_jax.__path__[0]).parent
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _CHILD_PROGRAM, *sys.path, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A group of its own: Ctrl-C reaches the parent only, who ends the others.
        process_group=0,
        # NumPy would start a thread a core, for linear algebra that is not done here.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )


def _ask(child: subprocess.Popen[bytes], decoding: Decoding, most_bad_text: int) -> _Answer:
    """The child's answer; None if it has been killed, as by the system for its memory."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        pickle.dump((decoding, most_bad_text), child.stdin, pickle.HIGHEST_PROTOCOL)
        child.stdin.flush()
        answer: _Answer = pickle.load(child.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        return None
    return answer
