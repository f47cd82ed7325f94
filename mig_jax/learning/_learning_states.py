"""The states of learning on the way, in a directory, so that a stopped run goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax._version import __version__
from mig_jax.learning._learn import LearningState
from mig_jax.learning._parameters import Parameterisation
from mig_jax.learning.objectives import Objective
from mig_jax.measure import LabelGraph, Pool
from mig_jax.runs import RunFolder, digest, read_tree, refuse_foreign, write_tree

__all__ = ["LearningStates", "learning_run", "refuse_other_settings"]

_KIND = "states of learning"
_KEPT = 2  # The one before the newest is there if the newest is damaged.


def learning_run(
    pool: Pool,
    graph: LabelGraph,
    parameterisation: Parameterisation | Sequence[Parameterisation],
    objective: Objective,
    settings: dict[str, Any],
) -> dict[str, str]:
    """What decides the result of learning: a hash or a text for each named part.

    Of several parameterisations one is learned, which these parts decide, too. `settings` are the
    other arguments of `mig_jax.learning.learn`, as plain values.
    """

    def hashed(tree: Any) -> str:
        leaves, structure = jax.tree_util.tree_flatten(tree)
        return digest([*leaves, str(structure)])

    return {
        "pool": hashed(pool),
        "graph": hashed(graph),
        "parameters": hashed(parameterisation),
        "objective": hashed(objective),
        **_of_program(settings),
    }


def refuse_other_settings(directory: str | os.PathLike[str], settings: dict[str, Any]) -> None:
    """Refuses states of other settings or versions: before the pool is read, not after.

    Args:
      directory: where `LearningStates` will be.
      settings: as far as they are known, as in `learning_run`.

    Raises:
      InputError: if the directory holds states of other settings, or anything else.
    """
    refuse_foreign(directory, _KIND, _of_program(settings))


def _of_program(settings: dict[str, Any]) -> dict[str, str]:
    return {
        **{f"setting {name}": repr(value) for name, value in sorted(settings.items())},
        "versions": f"mig_jax {__version__}, jax {jax.__version__}",
    }


class LearningStates(RunFolder):
    """The two newest states of one run of learning, in a directory of their own.

    Use it in a `with` block, and call `restore` before the first `save`.
    """

    def __init__(self, directory: str | os.PathLike[str], run: dict[str, str]) -> None:
        """Opens the directory, or makes it.

        Args:
          directory: new, empty, or with states of the same run.
          run: what `learning_run` gives.

        Raises:
          InputError: if the directory holds anything else, is in use by another process, or
            cannot be made or written to.
        """
        super().__init__(directory, _KIND, run, ".state")
        self.seconds = 0.0  #: Spent up to the state restored, as `save` was told.
        self.start = 0  #: Of several to learn from, the one of the state restored.

    def restore(
        self, like: LearningState, *, on_damaged: Callable[[int], None] | None = None
    ) -> LearningState | None:
        """The newest whole state, None if there is none.

        Args:
          like: of the same run, from `mig_jax.learning.initial_state`.
          on_damaged: called with the step of each newer state, damaged, before it is deleted.
        """
        structure = jax.tree_util.tree_structure(like)

        def read(folder: str) -> tuple[LearningState, float, int]:
            saved = read_tree(folder)
            leaves = [jnp.asarray(leaf) for leaf in saved["state"]]
            state = jax.tree_util.tree_unflatten(structure, leaves)
            return state, float(saved["seconds"]), int(saved["start"])

        _, (found, self.seconds, self.start) = next(
            self.whole(reversed(self.numbers()), read), (0, (None, 0.0, 0))
        )
        self.delete_damaged(on_damaged)
        return found

    def save(self, state: LearningState, *, seconds: float = 0.0, start: int = 0) -> None:
        """Saves the state, if it is not that of an earlier save.

        Args:
          state: to go on from.
          seconds: spent on it.
          start: of several, the one that it is of.
        """
        step = int(state.step)
        if step not in self.numbers():
            leaves = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(state)]
            tree = {"state": leaves, "seconds": np.float64(seconds), "start": np.int64(start)}
            self.put(step, lambda path: write_tree(path, tree), keep=_KEPT)
