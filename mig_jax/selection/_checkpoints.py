"""Checkpoints of a selection: saved by orbax, and tied to the run that they belong to.

A checkpoint holds a `Progress`. The run is told by its fingerprint: what decides
the picks, part by part, so that checkpoints of another run are refused with the
part that differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mig_jax._version import __version__
from mig_jax.devices import all_gather_parts
from mig_jax.measure import Array, GainRule, LabelGraph, Measure, Pool
from mig_jax.runs import RunFolder, digest, read_tree, refusal, write_tree
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._passes import Progress

__all__ = ["Checkpoints", "fingerprint", "input_fingerprint"]

_KEPT = 2  # The one before the newest is there for when the newest is damaged.


def fingerprint(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    gain: GainRule,
    mesh: Mesh | None = None,
    *,
    budget: int | None = None,
    constraints: Constraints = UNCONSTRAINED,
) -> dict[str, str]:
    """What decides the picks: a hash or a text for each named part.

    If the mesh is of several processes, `pool` is this one's part, and how the pool is
    cut into parts belongs to the run. The budget does not, as the picks of a smaller one are
    the first of a larger one; but it does beside a limit of costs or a minimum.
    """
    leaves, structure = jax.tree_util.tree_flatten(measure)
    parameters = [*leaves, str(structure), gain.name, str(jnp.result_type(float))]
    return {
        **input_fingerprint(pool, graph, mesh),
        "parameters": digest(parameters),
        **_constraint_parts(budget, constraints, mesh),
    }


def _constraint_parts(
    budget: int | None, constraints: Constraints, mesh: Mesh | None
) -> dict[str, str]:
    """There without constraints too, so that a run with some is not taken for one without."""
    quotas, of_costs = constraints.quotas, constraints.most_cost is not None
    of_groups = [] if quotas is None else [quotas.minima, quotas.maxima, quotas.of_costs]
    of_costs |= quotas is not None and quotas.of_costs
    has_minima = quotas is not None and bool(np.any(quotas.minima))

    def of_records(values: Array | None) -> list[np.ndarray]:
        return [] if values is None else all_gather_parts(np.asarray(values), mesh)

    parts: dict[str, list[Any]] = {
        "costs": of_records(constraints.costs) if of_costs else [],
        "quotas": of_groups + of_records(None if quotas is None else quotas.groups),
        "given records": of_records(constraints.given),
    }
    return {
        "budget": f"{budget}" if of_costs or has_minima else "any",
        "budget of costs": f"{constraints.most_cost}",
        **{name: digest(values) if values else "none" for name, values in parts.items()},
    }


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


class Checkpoints(RunFolder):
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
          directory: new, empty, or with checkpoints of the same run.
          run: what `fingerprint` gives.
          every_seconds: `save` does nothing if less time has passed since the last.

        Raises:
          InputError: if the directory holds anything else, is in use by another process, or
            cannot be made or written to.
        """
        super().__init__(directory, "checkpoints", run, ".checkpoint")
        self._every_seconds = every_seconds
        self._saved_at = time.monotonic()
        self._newest = 0
        self.picks = 0  #: Those that the newest holds; 0 without any.

    def restore(
        self, budget: int | None, *, on_damaged: Callable[[int], None] | None = None
    ) -> Progress | None:
        """The newest whole checkpoint; None if there is none.

        Args:
          budget: picks wanted in the end; None if costs alone are limited.
          on_damaged: called with the picks of each newer checkpoint, damaged, before it is
            deleted.

        Raises:
          InputError: if the checkpoint holds more picks than the budget.
        """
        picks, found = next(self.whole(reversed(self.numbers()), _read_progress), (0, None))
        # If costs are limited, there are several passes, and the budget is of the run.
        _, under_way = (None, ()) if found is None else found.passes()
        if budget is not None and len(under_way) > budget:
            # Only of runs whose budget does not count: see `fingerprint`.
            raise refusal(
                self.folder,
                f"holds {picks:,} picks, more than the budget of {budget:,}; the first {budget:,} "
                "picks of the larger selection are the smaller one",
            )
        self.delete_damaged(on_damaged)
        self._newest, self.picks = picks, 0 if found is None else len(found)
        return found

    def save(self, progress: Progress, *, now: bool = False) -> None:
        """Saves what is new, if it is time to or `now` is true."""
        if not now and time.monotonic() - self._saved_at < self._every_seconds:
            return
        # Orbax refuses arrays of size 0. A pool without labels takes no time worth saving.
        if progress.made in (0, self._newest) or not progress.z.size:
            return
        tree = progress.arrays()
        self.put(progress.made, lambda path: write_tree(path, tree), keep=_KEPT)
        self._newest, self._saved_at = progress.made, time.monotonic()
        self.picks = len(progress)


def _read_progress(folder: str) -> Progress:
    return Progress.of(read_tree(folder))
