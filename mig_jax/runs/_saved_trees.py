"""Trees of arrays in a folder, by orbax, which finds by checksums what a disk has damaged.

Orbax takes half a second to import, and brings JAX: it is imported when it is needed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["disk_errors", "read_tree", "write_tree"]

_NUMBER = re.compile(r"os_error_code='(\d+)'")  # In what TensorStore raises.


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Raises OSError for what orbax raises within, if it is of the system, as of a full disk.

    Its threads log the same with pages of text, which is not shown.
    """
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        found = _NUMBER.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from None
    finally:
        log.setLevel(level)


def write_tree(folder: str, tree: Any) -> None:
    """Saves lists and dicts of NumPy arrays, none of size 0, as a new folder.

    Raises:
      OSError: if that cannot be written.
    """
    import orbax.checkpoint as ocp

    with disk_errors(), _checkpointer() as checkpointer:
        checkpointer.save(folder, args=ocp.args.StandardSave(tree))


def read_tree(folder: str) -> Any:
    """The tree that `write_tree` has saved; raises whatever a damage leads to."""
    with _checkpointer() as checkpointer:
        return checkpointer.restore(folder)


def _checkpointer() -> Any:
    import jax
    import orbax.checkpoint as ocp

    # Of several processes, the one that opens a folder is alone with it.
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix="mig_jax"
    )
    return ocp.Checkpointer(
        ocp.StandardCheckpointHandler(multiprocessing_options=alone), multiprocessing_options=alone
    )
