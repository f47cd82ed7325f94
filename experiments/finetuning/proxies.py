"""Proxies: cheap numbers of a selection, by which one might tell what it teaches."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from experiments.finetuning.influences import Influences
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

__all__ = ["ALL_TASKS", "OF_INFLUENCES", "PROXIES", "Proxy", "Selected", "by_task", "proxies_of"]

ALL_TASKS = "all tasks"

#: What each is, in the order in which they are made: the cheap ones first.
PROXIES = {
    "influence": "summed over records, each task's over its spread: what `influence` looks at",
    "loss": "mean loss of the records before training, warmed up",
    "score": "mean score",
    "records": "how many",
    "length": "mean tokens a record",
    "response tokens": "of all records",
    "information": "E of the paper's measure",
    "redundancy": "bytes over compressed bytes of the texts",
    "nearness": "of records to the nearest validation record, mean cosine",
    "coverage": "of validation records by the nearest record, mean cosine",
    "count models": "loss on validation records: what learning descends",
    "validation networks": "loss of the response networks on validation records",
    "test networks": "loss of the response networks on test records",
}

#: Those that a model must have been asked for.
OF_INFLUENCES = ("influence", "loss")


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
    influences: Influences | None = None,
) -> list[Proxy]:
    """The proxies of a pool's selections. What one needs is made when it is first asked for.

    Args:
      inputs: the pool and the graph of its labels.
      conversations: of the pool.
      validation: what learning may look at.
      test: what the response networks of the project's tables are judged on.
      influences: what the model of the study was asked; without it, `OF_INFLUENCES` lack.
    """

    @functools.cache
    def count_models() -> CountModels:
        return CountModels(conversation_bags(conversations), 0, say)

    @functools.cache
    def judges() -> Judges:
        both = [*validation.conversations, *test.conversations]
        return Judges(conversation_bags(conversations), conversation_bags(both))

    @functools.cache
    def judged(picks: bytes) -> npt.NDArray[np.floating]:
        """Trained once for both: the loss of each validation record, then of each test record."""
        return judges().losses(np.frombuffer(picks, np.int64))

    def counted(selected: Selected) -> dict[str, float]:
        losses = count_models().losses(validation, inputs.amounts(selected.picks))
        return by_task(losses, validation.groups)

    def of_validation(selected: Selected) -> dict[str, float]:
        losses = judged(selected.picks.tobytes())[: len(validation)]
        return by_task(losses, validation.groups)

    def of_test(selected: Selected) -> dict[str, float]:
        return by_task(judged(selected.picks.tobytes())[len(validation) :], test.groups)

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
    made = {
        "score": number(lambda s: scores[s.picks].mean()),
        "records": number(lambda s: len(s.picks)),
        "length": number(lambda s: s.tokens / len(s.picks)),
        "response tokens": number(lambda s: s.response_tokens),
        "information": of_labels,
        "redundancy": redundancy,
        "nearness": nearness,
        "coverage": coverage,
        "count models": counted,
        "validation networks": of_validation,
        "test networks": of_test,
    }
    if influences is not None:
        made |= _of_influences(influences)
    return [Proxy(name, about, made[name]) for name, about in PROXIES.items() if name in made]


def _of_influences(found: Influences) -> dict[str, Callable[[Selected], dict[str, float]]]:
    """Sums over a selection's records; those not asked about count as the mean of the others.

    NaN if the model was asked about fewer than half of them.
    """
    place = {record: row for row, record in enumerate(found.records.tolist())}
    # Tasks differ a hundredfold, by how long answers are: no mean over them would see but one.
    spread = found.taught.std(axis=0, dtype=np.float64)
    scaled = found.taught / np.where(spread > 0, spread, 1.0)

    def rows(selected: Selected) -> list[int]:
        asked = [place[record] for record in selected.picks.tolist() if record in place]
        return asked if 2 * len(asked) >= len(selected.picks) else []

    def influence(selected: Selected) -> dict[str, float]:
        if not (asked := rows(selected)):
            return {ALL_TASKS: math.nan}
        sums = len(selected.picks) * scaled[asked].mean(axis=0)
        return by_task(sums, np.array(found.tasks))

    def loss(selected: Selected) -> dict[str, float]:
        asked = rows(selected)
        losses = found.losses[asked].astype(np.float64)
        return {ALL_TASKS: float(losses.mean()) if asked else math.nan}

    return {"influence": influence, "loss": loss}


def _texts(conversations: Sequence[tuple[str, str]]) -> Texts:
    return Texts([asked for asked, _ in conversations], [said for _, said in conversations])
