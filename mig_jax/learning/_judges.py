"""Models by which selections are judged: those that learning takes, and those it never saw."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from mig_jax.data import ValidationSet
from mig_jax.learning import objectives
from mig_jax.learning._count_model import (
    CountModel,
    ResponseBags,
    cluster_instructions,
    count_model,
    response_bags,
    response_losses,
)
from mig_jax.learning._response_net import Judge
from mig_jax.learning._token_bags import Conversations, conversation_bags

__all__ = ["CountModels", "Judges", "mean_over_groups"]

_MODELS = 2  # Count models that learning takes in turn.
_JUDGES = 5
# The judge is no model that learning saw: another kind, other hashes, another size.
_FIRST_JUDGE_SEED = 1000
_JUDGE = Judge(0, buckets=8192, hidden=48)


class Judges:
    """Networks that learning never saw, trained afresh on each selection to be judged.

    Another kind of model than learning's, with other hashes and of another size.
    """

    def __init__(self, pool: Conversations, test: Conversations) -> None:
        self._pool = pool
        self._judges = [
            dataclasses.replace(_JUDGE, seed=_FIRST_JUDGE_SEED + number)
            for number in range(_JUDGES)
        ]
        self._tests = [judge.prepare(test) for judge in self._judges]

    def losses(self, picks: np.ndarray) -> np.ndarray:
        """The loss of each test record, the mean over the judges: float [n], nats a token."""
        selected = self._pool.take(np.sort(picks))
        pairs = zip(self._judges, self._tests, strict=True)
        return np.mean([judge.losses(judge.prepare(selected), test) for judge, test in pairs], 0)


class CountModels:
    """The models of a pool that learning takes in turn, with clusters of their own."""

    def __init__(self, pool: Conversations, seed: int, say: Callable[[str], None]) -> None:
        self._clusters = []
        for number in range(_MODELS):
            say(f"clustering instructions, model {number + 1} of {_MODELS}")
            self._clusters.append(
                cluster_instructions(pool.instructions, seed=_MODELS * seed + number)
            )
        self._models = [count_model(pool, clusters) for clusters in self._clusters]

    def objective(self, dev: ValidationSet, seed: int) -> objectives.Validation:
        """The validation objective for the records of `dev`."""
        bags = self._bags(dev)
        return objectives.validation(self._models, bags, dev.groups, seed=seed)

    def losses(self, dev: ValidationSet, amounts: jax.Array) -> np.ndarray:
        """The loss of each record of `dev`, the mean over the models: float [n]."""
        pairs = zip(self._models, self._bags(dev), strict=True)
        return np.mean([np.asarray(_losses(m, b, amounts)) for m, b in pairs], axis=0)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - as long as the models live
    def _bags(self, dev: ValidationSet) -> list[ResponseBags]:
        asked = conversation_bags(dev.conversations)
        return [response_bags(asked, clusters) for clusters in self._clusters]


def mean_over_groups(losses: np.ndarray, groups: np.ndarray) -> float:
    """The mean over groups of their items' mean losses."""
    return float(np.mean([losses[groups == group].mean() for group in np.unique(groups)]))


@jax.jit
def _losses(model: CountModel, bags: ResponseBags, amounts: jax.Array) -> jax.Array:
    return response_losses(model.fit(amounts), bags)
