"""Who annotates the batches of a pool: this process, or those of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from mig_jax.annotation.running._annotating import annotate
from mig_jax.annotation.running._journal import Journal
from mig_jax.annotation.running._pool_batches import PoolBatches
from mig_jax.annotation.running._ray_engine import RayEngine
from mig_jax.annotation.texts import Scorer, Tagger

__all__ = ["ENGINES", "Engine", "LocalEngine"]


class Engine(contextlib.AbstractContextManager[None], Protocol):
    """Annotates the batches of a pool; a `with` block holds what it works with.

    What a batch gets is what `annotate_batch` gives for it, whoever works on it and whatever
    fails on the way, so that a run may go on under another engine.
    """

    def annotate(
        self,
        batches: PoolBatches,
        tagger: Tagger,
        scorers: Mapping[str, Scorer],
        journal: Journal,
        progress: Callable[[int], None],
    ) -> None:
        """Adds to the journal what is not there of the pool, in order, a batch at a time.

        `progress` gets the records annotated so far.

        Raises:
          InputError: for what cannot be used, when all batches before it are in the journal.
        """


class LocalEngine(contextlib.nullcontext[None]):
    """This process."""

    def annotate(
        self,
        batches: PoolBatches,
        tagger: Tagger,
        scorers: Mapping[str, Scorer],
        journal: Journal,
        progress: Callable[[int], None],
    ) -> None:
        records = batches.kept.of(batches.read(batches.files))
        annotate(records, batches.needs, tagger, scorers, journal, batches.size, progress)


#: By name: what makes an engine of the address of a cluster, None for none, and of whether models
#: run on GPUs where there are any.
ENGINES: Final[dict[str, Callable[[str | None, bool], Engine]]] = {
    "local": lambda address, on_gpus: LocalEngine(),
    "ray": RayEngine,
}
