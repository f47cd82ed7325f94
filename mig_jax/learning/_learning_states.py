"""The states of learning on the way, in a directory, so that a stopped run goes on.

Orbax takes half a second to import, so it is imported where it is needed.
"""

from __future__ import annotations

import os
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax._version import __version__
from mig_jax.errors import InputError
from mig_jax.learning._learn import LearningState
from mig_jax.learning._parameters import Parameterisation
from mig_jax.learning.objectives import Objective
from mig_jax.measure import LabelGraph, Pool
from mig_jax.runs import digest

__all__ = ["LearningStates", "learning_run"]


def learning_run(
    pool: Pool,
    graph: LabelGraph,
    parameterisation: Parameterisation,
    objective: Objective,
    settings: dict[str, Any],
) -> dict[str, str]:
    """What decides the result of learning: a hash or a text for each named part.

    `settings` are the other arguments of `mig_jax.learning.learn`, as plain values.
    """

    def hashed(tree: Any) -> str:
        leaves, structure = jax.tree_util.tree_flatten(tree)
        return digest([*leaves, str(structure)])

    return {
        "pool": hashed(pool),
        "graph": hashed(graph),
        "parameters": hashed(parameterisation),
        "objective": hashed(objective),
        "settings": repr(sorted(settings.items())),
        "versions": f"mig_jax {__version__}, jax {jax.__version__}",
    }


class LearningStates:
    """The newest states of one run of learning, in a directory of their own.

    Use it in a `with` block, and call `restore` before the first `save`.
    """

    def __init__(self, directory: str | os.PathLike[str], run: dict[str, str]) -> None:
        """Opens the directory, or makes it.

        Args:
          directory: holds nothing else.
          run: what `learning_run` gives.

        Raises:
          InputError: where the directory cannot be made or written to.
        """
        import orbax.checkpoint as ocp

        self._directory, self._run = os.path.abspath(os.fspath(directory)), run
        try:
            os.makedirs(self._directory, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self._directory,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=2, enable_async_checkpointing=False, cleanup_tmp_directories=True
                ),
                item_names=("run", "state"),
            )
        except OSError as error:
            raise InputError(
                f"{directory}: {error.strerror}; expected a directory that can be written to"
            ) from None

    def restore(self, like: LearningState) -> LearningState | None:
        """The newest whole state, None where there is none.

        Args:
          like: of the same run, from `mig_jax.learning.initial_state`.

        Raises:
          InputError: where the states are those of another run.
        """
        import orbax.checkpoint as ocp

        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                args = ocp.args.Composite(run=ocp.args.JsonRestore())
                run = self._manager.restore(step, args=args)["run"]
            # Orbax raises whatever the damage leads to: OSError, ValueError, KeyError, its own.
            except Exception:
                self._manager.delete(step)  # Orbax saves no step twice.
                continue
            if differing := [name for name in self._run if run.get(name) != self._run[name]]:
                raise InputError(
                    f"{self._directory}: holds the states of another run "
                    f"(of other {', '.join(differing)}); give another directory or delete this one"
                )
            try:
                leaves, structure = jax.tree_util.tree_flatten(like)
                args = ocp.args.Composite(state=ocp.args.StandardRestore([*map(_abstract, leaves)]))
                found = self._manager.restore(step, args=args)["state"]
                return jax.tree_util.tree_unflatten(structure, found)
            except Exception:  # As above.
                self._manager.delete(step)
        return None

    def save(self, state: LearningState) -> None:
        """Saves the state, where it is not that of the newest save."""
        import orbax.checkpoint as ocp

        step = int(state.step)
        if step == self._manager.latest_step():
            return
        leaves = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(state)]
        args = ocp.args.Composite(
            run=ocp.args.JsonSave(self._run), state=ocp.args.StandardSave(leaves)
        )
        self._manager.save(step, args=args, force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.asarray(leaf).dtype)
