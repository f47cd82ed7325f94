"""Proxies: cheap numbers of a selection, by which one might tell what it teaches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mig_jax.commands.terminal import say
from mig_jax.data import ValidationSet
from mig_jax.learning import (
    CountModels,
    Inputs,
    Judges,
    conversation_bags,
    harden,
    paper_measure,
)
from mig_jax.measure import information
from mig_jax.methods import Texts, compression_ratio, text_embeddings
from mig_jax.selection import selected_information

__all__ = ["ALL_TASKS", "Proxy", "Selected", "by_task", "proxies_of"]

ALL_TASKS = "all tasks"


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """A selection that a language model was trained on."""

    method: str
    seed: int
    picks: npt.NDArray[np.int64]
    content: npt.NDArray[np.float64]  #: What the model lost on test records.
    tokens: int
    response_tokens: int


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A number of a selection; for each task, too, if it differs between them."""

    name: str
    about: str
    values: Callable[[Selected], dict[str, float]]  #: By task, and `ALL_TASKS`.


def by_task(values: npt.NDArray[np.floating], groups: npt.NDArray[np.str_]) -> dict[str, float]:
    """The mean of each task's values, and the mean over tasks as `ALL_TASKS`.

    >>> by_task(np.array([1.0, 3.0, 4.0]), np.array(["a", "a", "b"]))
    {'all tasks': 3.0, 'a': 2.0, 'b': 4.0}
    """
    found = {task: float(values[groups == task].mean()) for task in np.unique(groups).tolist()}
    return {ALL_TASKS: float(np.mean(list(found.values())))} | found


def proxies_of(
    inputs: Inputs,
    conversations: Sequence[tuple[str, str]],
    validation: ValidationSet,
    test: ValidationSet,
) -> list[Proxy]:
    """The proxies of a pool's selections. What one needs is made when it is first asked for.

    Args:
      inputs: the pool and the graph of its labels.
      conversations: of the pool.
      validation: what learning may look at.
      test: what the response networks of the project's tables are judged on.
    """

    @functools.cache
    def count_models() -> CountModels:
        return CountModels(conversation_bags(conversations), 0, say)

    @functools.cache
    def judges(on: ValidationSet) -> Judges:
        return Judges(conversation_bags(conversations), conversation_bags(on.conversations))

    def counted(selected: Selected) -> dict[str, float]:
        losses = count_models().losses(validation, inputs.amounts(selected.picks))
        return by_task(losses, validation.groups)

    def of_networks(on: ValidationSet, selected: Selected) -> dict[str, float]:
        return by_task(judges(on).losses(selected.picks), on.groups)

    def of_labels(selected: Selected) -> dict[str, float]:
        pool, graph, measure = harden(paper_measure(), inputs.pool, inputs.graph)
        z = selected_information(pool, graph, measure, selected.picks)
        return {ALL_TASKS: float(information(measure, z))}

    @functools.cache
    def embeddings() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        say("embedding the pool and the validation records")
        pool, wanted = text_embeddings(_texts(conversations), _texts(validation.conversations))
        assert wanted is not None
        return pool, wanted

    def cosines(selected: Selected) -> npt.NDArray[np.float32]:
        """Of the records picked with the validation records: [picks, V]."""
        pool, wanted = embeddings()
        return pool[selected.picks] @ wanted.T

    def nearness(selected: Selected) -> dict[str, float]:
        found, groups = cosines(selected), validation.groups
        nearest = [found[:, groups == task].max(axis=1).mean() for task in np.unique(groups)]
        return by_task(np.array(nearest), np.unique(groups))

    def coverage(selected: Selected) -> dict[str, float]:
        return by_task(cosines(selected).max(axis=0), validation.groups)

    def redundancy(selected: Selected) -> dict[str, float]:
        whole = _texts([conversations[n] for n in selected.picks.tolist()]).whole
        return {ALL_TASKS: compression_ratio("\n".join(whole).encode())}

    def number(of: Callable[[Selected], float]) -> Callable[[Selected], dict[str, float]]:
        return lambda selected: {ALL_TASKS: float(of(selected))}

    scores = np.asarray(inputs.pool.scores)
    return [
        Proxy("count models", "loss on validation records: what learning descends", counted),
        Proxy(
            "networks, validation",
            "loss of the response networks on validation records",
            functools.partial(of_networks, validation),
        ),
        Proxy(
            "networks, test",
            "loss of the response networks on test records",
            functools.partial(of_networks, test),
        ),
        Proxy("information", "E of the paper's measure", of_labels),
        Proxy("score", "mean score", number(lambda s: scores[s.picks].mean())),
        Proxy("records", "how many", number(lambda s: len(s.picks))),
        Proxy("length", "mean tokens a record", number(lambda s: s.tokens / len(s.picks))),
        Proxy("response tokens", "of all records", number(lambda s: s.response_tokens)),
        Proxy("nearness", "of records to the nearest validation record, mean cosine", nearness),
        Proxy("coverage", "of validation records by the nearest record, mean cosine", coverage),
        Proxy("redundancy", "bytes over compressed bytes of the texts", redundancy),
    ]


def _texts(conversations: Sequence[tuple[str, str]]) -> Texts:
    return Texts([asked for asked, _ in conversations], [said for _, said in conversations])
