"""Trees of arrays in a folder, by orbax, which finds by checksums what a disk has damaged.

Orbax takes half a second to import, and brings JAX: it is imported when it is needed.
"""

from __future__ import annotations

from typing import Any

__all__ = ["read_tree", "write_tree"]


def write_tree(folder: str, tree: Any) -> None:
    """Saves lists and dicts of NumPy arrays, none of size 0, as a new folder."""
    import orbax.checkpoint as ocp

    with _checkpointer() as checkpointer:
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
