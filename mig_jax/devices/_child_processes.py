"""Work of the host in processes, on all cores, for what holds the interpreter's lock.

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
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import mig_jax

__all__ = ["answers_of_processes", "over_processes", "serve"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHILD_PROGRAM: Final = """
import sys
sys.path[:] = sys.argv[1:]
from mig_jax.devices import serve
serve()
"""
# A thread of these libraries in each process: there is one process a core.
_ONE_THREAD: Final = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
_AHEAD: Final = 2  # Items that a process is ahead of who takes the results.


def over_processes(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result]:
    """Yields what `work` gives for each item, in order.

    `work` is pickled once for each process, items and results are each time. It must give the
    same wherever it is called, but for `None`, which stands for no result. What a process cannot
    do, as it was killed, has no memory, or cannot unpickle `work`, is done here; so an error is
    raised here too. With fewer than two workers, or with `work` that cannot be pickled, all is
    done here. An error of `items` comes behind the results of the items before it.

    Args:
      work: a function or bound method.
      items: taken as results are, at most two a process ahead.
      workers: the processes.

    >>> list(over_processes(abs, [-1, 2], workers=1))
    [1, 2]
    """
    waiting: collections.deque[Item] = collections.deque()

    def noted() -> Iterator[Item]:
        for item in items:
            waiting.append(item)
            yield item

    with contextlib.closing(answers_of_processes(work, noted(), workers)) as answers:
        for answer in answers:
            item = waiting.popleft()
            yield work(item) if answer is None else answer


def answers_of_processes(
    work: Callable[[Item], Result | None], items: Iterable[Item], workers: int
) -> Generator[Result | None]:
    """The same, but None for what the caller is to do: what no process can do, or gives None for.

    The processes are ahead of the caller, who should have little to do meanwhile: a busy
    interpreter keeps the threads from fetching answers. Close the iterator to end them all.
    """
    children: list[subprocess.Popen[bytes]] = []
    free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    ahead: collections.deque[Future[Result | None]] = collections.deque()
    failure: Exception | None = None
    taken = iter(items)
    try:
        pickled = pickle.dumps(work, pickle.HIGHEST_PROTOCOL) if workers > 1 else None
    except Exception:  # Whatever an object's own way to pickle raises.
        pickled = None
    if pickled is None:
        yield from (None for _ in taken)
        return
    threads = ThreadPoolExecutor(workers, thread_name_prefix="mig_jax_children")

    def ask(item: Item) -> Result | None:
        child = free.get()
        try:
            return _ask(child, item)
        finally:
            free.put(child)

    try:
        for _ in range(workers):
            with contextlib.suppress(OSError):  # As if there are too many processes.
                children.append(_start_child())
                threads.submit(_send, children[-1], pickled).add_done_callback(
                    lambda _, child=children[-1]: free.put(child)  # type: ignore[misc]
                )
        if not children:
            yield from (None for _ in taken)
            return
        while True:
            try:
                for item in itertools.islice(taken, _AHEAD * workers - len(ahead)):
                    ahead.append(threads.submit(ask, item))
            except Exception as error:
                failure, taken = error, iter(())
            if not ahead:
                break
            yield ahead.popleft().result()
        if failure is not None:
            raise failure
    finally:
        for child in children:
            child.kill()
        threads.shutdown(cancel_futures=True)  # Those that wait find their child dead.
        for child in children:
            with contextlib.suppress(OSError):  # Of a question that was never read.
                child.communicate()


def serve() -> None:
    """What a child does: answers what comes from its input on its output, until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Whatever else is printed must not stand among the answers.
    work = None
    with contextlib.suppress(EOFError, OSError):  # The parent is gone.
        with contextlib.suppress(Exception):
            # Its pickle stands in one of bytes, so that all of it is read in any case.
            work = pickle.loads(pickle.load(sys.stdin.buffer))
        while True:
            item = pickle.load(sys.stdin.buffer)
            pickle.dump(_answer(work, item), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    os._exit(0)  # Half an answer may be left, which nobody reads; Python would complain of it.


def _answer(work: Callable[[Any], Any] | None, item: Any) -> Any:
    try:
        return None if work is None else work(item)
    except Exception:  # The parent will come to the same place and tell, or have more memory.
        return None


def _start_child() -> subprocess.Popen[bytes]:
    # Last: the path finds the parent's mig_jax, unless the parent has found it by other means.
    root = pathlib.Path(mig_jax.__path__[0]).parent
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _CHILD_PROGRAM, *sys.path, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A group of its own: Ctrl-C reaches the parent only, who ends the others.
        process_group=0,
        env=os.environ | _ONE_THREAD,
    )


def _send(child: subprocess.Popen[bytes], pickled: bytes) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):  # A child that has died gives no answers.
        pickle.dump(pickled, child.stdin, pickle.HIGHEST_PROTOCOL)
        child.stdin.flush()


def _ask(child: subprocess.Popen[bytes], item: Any) -> Any:
    """The child's answer; None if it has been killed, as by the system for its memory."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        pickle.dump(item, child.stdin, pickle.HIGHEST_PROTOCOL)
        child.stdin.flush()
        return pickle.load(child.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        return None
