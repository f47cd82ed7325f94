"""Several processes that work as one, started by `jax.distributed`.

Every process runs the same program over its own part of the pool. Nothing here
is a protocol of its own: `jax.distributed` connects the processes and watches
that all are alive, and JAX's collectives carry what they exchange.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import jax

from mig_jax.errors import InputError

__all__ = ["joined"]

# JAX ends a process by itself, with pages of text, when its own time is up: ours is first.
_GRACE_SECONDS = 10
_COORDINATOR_STAYS_SECONDS = 5


@contextlib.contextmanager
def joined(address: str, count: int, index: int, *, timeout_seconds: int = 60) -> Iterator[None]:
    """Within, this is process `index` of `count`; call it before JAX computes anything.

    If another process is lost, this one does not wait for ever: it says so in one
    line and exits with status 1 at once if the connection breaks, as when a process
    is killed; and it is aborted by JAX, which names the process lost, if nothing has
    been heard of one for `timeout_seconds`, as when its host is cut off.

    Args:
      address: host:port of process 0, which serves as coordinator there.
      count: how many processes there are.
      index: from 0 to count − 1.
      timeout_seconds: how long to wait for the others at the start, for a sign of life
        later, and for all to be done in the end.

    Raises:
      InputError: if this process cannot be the coordinator at `address`.
    """
    _join(address, count, index, timeout_seconds)
    try:
        yield
    except InputError:  # All processes have it: see `Hosts.together`.
        jax.distributed.shutdown()
        raise
    except KeyboardInterrupt:
        _leave(f"process {index} interrupted", 130)
    except Exception as error:
        # JAX raises several types here, in words that change with what carries the bytes.
        if not _is_lost(error):
            sys.excepthook(type(error), error, error.__traceback__)
            _leave(f"process {index} of {count} failed", 1)
        # Without process 0, which coordinates, JAX aborts the others with pages of text: it is
        # the last to go, so that they find the loss by themselves.
        stay = _COORDINATOR_STAYS_SECONDS if index == 0 else 0
        lost = f"process {index} of {count} has lost another process: {_first_line(error)}"
        _leave(lost, 1, after_seconds=stay)
    jax.distributed.shutdown()


def _join(address: str, count: int, index: int, timeout_seconds: int) -> None:
    waiting = threading.Timer(
        timeout_seconds,
        lambda: _leave(
            f"process {index} of {count} waited {timeout_seconds} s for the others at {address}; "
            f"expected {count} processes, with an index each, to be started within that time",
            1,
        ),
    )
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(
            address,
            count,
            index,
            cluster_detection_method="deactivate",
            initialization_timeout=timeout_seconds + _GRACE_SECONDS,
            heartbeat_timeout_seconds=timeout_seconds,
            shutdown_timeout_seconds=timeout_seconds,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot join the processes at {address}: {error}") from None
    finally:
        waiting.cancel()


def _is_lost(error: Exception) -> bool:
    signs = ("gloo", "nccl", "connection", "peer", "unavailable", "aborted", "deadline", "barrier")
    return any(sign in str(error).lower() for sign in signs)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _leave(message: str, status: int, *, after_seconds: float = 0) -> NoReturn:
    """Ends the process: an ordinary exit would wait for the others."""
    print(f"mig-jax: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(after_seconds)
    os._exit(status)
