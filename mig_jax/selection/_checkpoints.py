"""Checkpoints of a selection: saved by orbax, and tied to the run that they belong to.

A checkpoint holds a `Progress` and the fingerprint of its run: what decides
the picks, part by part, so that a checkpoint of another run is refused with
the part that differs. Orbax commits a checkpoint by renaming its folder: a
process killed at any moment leaves whole checkpoints only. What a disk may
damage later, orbax finds by the checksums that it keeps of all arrays.

Orbax takes half a second to import, so it is imported where it is needed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mig_jax._version import __version__
from mig_jax.devices import all_gather_parts
from mig_jax.errors import InputError
from mig_jax.measure import GainRule, LabelGraph, Measure, Pool
from mig_jax.runs import differences, digest
from mig_jax.selection._select import Progress

__all__ = ["Checkpoints", "fingerprint", "input_fingerprint"]

_KEPT = 2  # The one before the newest is there for when the newest is damaged.


def fingerprint(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    gain: GainRule,
    mesh: Mesh | None = None,
) -> dict[str, str]:
    """What decides the picks: a hash or a text for each named part.

    Where the mesh is of several processes, `pool` is this one's part, and how the pool is
    cut into parts belongs to the run. The budget does not: the picks of a smaller budget
    are the first of a larger one.
    """
    leaves, structure = jax.tree_util.tree_flatten(measure)
    parameters = [*leaves, str(structure), gain.name, str(jnp.result_type(float))]
    return {**input_fingerprint(pool, graph, mesh), "parameters": digest(parameters)}


def input_fingerprint(pool: Pool, graph: LabelGraph, mesh: Mesh | None = None) -> dict[str, str]:
    """The parts of `fingerprint` that are the same for all parameters."""

    own = digest([pool.labels, pool.records, pool.scores])
    parts = all_gather_parts(np.frombuffer(own.encode(), np.uint8), mesh)
    device = jax.devices()[0]
    return {
        "pool": own if len(parts) == 1 else digest(parts),
        "graph": digest([graph.num_labels, graph.sources, graph.targets, graph.similarities]),
        # Rounding differs between versions and between kinds of devices, and picks with it.
        "versions": f"mig_jax {__version__}, jax {jax.__version__}",
        "device": f"{device.platform} {device.device_kind}",
    }


class Checkpoints:
    """The two newest checkpoints of one run, in a directory of their own.

    Use it in a `with` block, and call `restore` before the first `save`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        run: dict[str, str],
        *,
        every_seconds: float = 5.0,
    ) -> None:
        """Opens the directory, or makes it.

        Args:
          directory: holds nothing but checkpoints.
          run: what `fingerprint` gives.
          every_seconds: `save` does nothing where less time has passed since the last.

        Raises:
          InputError: where the directory cannot be made or written to.
        """
        self._directory = os.path.abspath(os.fspath(directory))
        self._run = run
        self._every_seconds = every_seconds
        self._saved_at = time.monotonic()
        try:
            os.makedirs(self._directory, exist_ok=True)
        except OSError as error:
            raise InputError(f"{directory}: {error.strerror}; expected a directory") from None
        if not os.access(self._directory, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(f"{directory}: expected a directory that can be written to")
        self._manager = self._open(clean=False)

    def restore(
        self, budget: int, *, on_damaged: Callable[[int], None] | None = None
    ) -> Progress | None:
        """The newest whole checkpoint; None where there is none.

        Args:
          budget: picks wanted in the end.
          on_damaged: called with the picks of each newer checkpoint, damaged and deleted.

        Raises:
          InputError: where the checkpoints are those of another run, or can none of them
            be read, or hold more picks than the budget.
        """
        found, damaged, ours = None, [], False
        for step in sorted(self._manager.all_steps(), reverse=True):
            record = self._read_record(step)
            if record is not None:
                self._refuse_another_run(record)
                ours = True
                found = self._read_progress(step)
                if found is not None:
                    break
            damaged.append(step)
        if damaged and not ours:
            raise self._refusal("holds checkpoints that cannot be read")
        if found is not None and len(found) > budget:
            raise self._refusal(f"holds {len(found):,} picks, more than the budget of {budget:,}")
        for step in damaged:
            self._manager.delete(step)  # Orbax saves no step twice.
            if on_damaged is not None:
                on_damaged(step)
        self._manager.close()
        self._manager = self._open(clean=True)
        return found

    def save(self, progress: Progress, *, now: bool = False) -> None:
        """Saves what is new, where it is time to or `now` is true."""
        import orbax.checkpoint as ocp

        if not now and time.monotonic() - self._saved_at < self._every_seconds:
            return
        # Orbax refuses arrays of size 0. A pool without labels takes no time worth saving.
        if len(progress) in (0, self._manager.latest_step()) or not progress.z.size:
            return
        tree = {**vars(progress), "table": list(progress.table)}
        self._manager.save(
            len(progress),
            args=ocp.args.Composite(
                run=ocp.args.JsonSave(self._run), progress=ocp.args.StandardSave(tree)
            ),
            force=True,
        )
        self._saved_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.close()

    def _open(self, *, clean: bool) -> Any:
        """Orbax's manager; removes what killed saves left behind where `clean` is true."""
        import orbax.checkpoint as ocp

        # Of several processes, the one that opens a directory is alone with it.
        own = jax.process_index()
        return ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=own, active_processes={own}, barrier_sync_key_prefix="mig_jax"
                ),
                create=False,
                max_to_keep=_KEPT,
                # A save takes a tenth of a second every few: less than a thread is worth.
                enable_async_checkpointing=False,
                cleanup_tmp_directories=clean,
            ),
            item_names=("run", "progress"),
        )

    def _read_record(self, step: int) -> dict[str, Any] | None:
        import orbax.checkpoint as ocp

        try:
            args = ocp.args.Composite(run=ocp.args.JsonRestore())
            return dict(self._manager.restore(step, args=args)["run"])
        # Orbax raises whatever the damage leads to: OSError, ValueError, KeyError, its own.
        except Exception:
            return None

    def _read_progress(self, step: int) -> Progress | None:
        import orbax.checkpoint as ocp

        try:
            args = ocp.args.Composite(progress=ocp.args.StandardRestore())
            tree = self._manager.restore(step, args=args)["progress"]
            return Progress(**{**tree, "table": tuple(tree["table"])})
        except Exception:  # As above.
            return None

    def _refuse_another_run(self, run: dict[str, str]) -> None:
        differing = differences(run, self._run)
        if differing:
            raise self._refusal(f"holds checkpoints of another run: {differing}")

    def _refusal(self, what: str) -> InputError:
        return InputError(
            f"{self._directory}: {what}; give another directory for checkpoints or delete this one"
        )
