"""How well a model says each response of a pool, and without its instruction: kept on disk."""

from __future__ import annotations

import functools
import pathlib

import numpy as np
import numpy.typing as npt

from mig_jax.runs import RunArrays, digest

from ._architecture import Weights
from ._encoding import responses_alone
from ._read_pool import WARM_UP, Batches, ReadPool
from ._tuning import TunedModel

__all__ = ["RecordLosses"]

_NAMES = ("behind", "alone")


class RecordLosses:
    """Nats a token of the response of each record that fits: what `Candidates` has for IFD.

    A response is asked for behind its instruction, and behind the chat template's heading of
    answers alone, by the same tokens, as in the code of the paper (arXiv 2308.12032, equations 2
    and 3). The token that ends it is left out of both: it is not said.

    The paper asks the model to be trained after an epoch on 1,000 records of many clusters. Here
    it is after an epoch on some random ones (`ReadPool.warmed_up`), as for gradients.
    """

    def __init__(
        self,
        pool: ReadPool,
        step_size: float,
        block: int = 1000,
        *,
        folder: pathlib.Path | None = None,
    ) -> None:
        """Nothing is computed before `of` is called; then it is kept.

        Args:
          pool: whose records they are of.
          step_size: of the warm-up.
          block: how many records are kept at once; a killed run loses less than that.
          folder: where it is kept; by default the pool's.
        """
        self._pool, self._step_size, self._block = pool, step_size, block
        self._folder = pool.folder if folder is None else folder

    def of(
        self, seen: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Losses of records of the pool that fit, [n] with and [n] without the instruction.

        NaN where a response says nothing.
        """
        rows = np.searchsorted(self._pool.fits, seen)
        behind, alone = self._all
        return behind[rows], alone[rows]

    @functools.cached_property
    def _all(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Of all records that fit, in their order."""
        pool = self._pool
        alone = responses_alone(pool.model.tokenizer, pool.model.template, pool.encoded)
        run = pool.identity() | {
            "fits": digest([pool.fits]),
            "alone": digest([alone.ids]),
            "step_size": self._step_size,
            "warm_up": WARM_UP,
            "block": self._block,
        }
        starts = range(0, len(pool.fits), self._block)
        with RunArrays(self._folder / "losses", "losses", run) as kept:
            parts = kept.restore(range(len(starts)), _NAMES)
            if len(parts) < len(starts):
                own = pool.warmed_up(self._step_size)
                done = sum(len(part["alone"]) for part in parts.values())
                with (
                    pool.reading("responses", alone, pool.fits) as batches_alone,
                    pool.teller.bar(
                        "losses of responses", len(pool.fits), unit=" records", initial=done
                    ) as bar,
                ):
                    for number, start in enumerate(starts):
                        if number in parts:
                            continue
                        block = pool.fits[start : start + self._block]
                        both = (pool.batches(block), batches_alone(block))
                        losses = (_mean_losses(pool.tuned, own, block, one) for one in both)
                        parts[number] = dict(zip(_NAMES, losses, strict=True))
                        kept.save(number, parts[number])
                        bar.update(len(block))
            behind, without = (
                np.concatenate([parts[number][name] for number in range(len(starts))])
                for name in _NAMES
            )
        return behind, without


def _mean_losses(
    model: TunedModel, own: Weights, block: npt.NDArray[np.int64], batches: Batches
) -> npt.NDArray[np.float32]:
    """Nats a token that is said, of each record of an ascending block: float32, NaN for none."""
    nats, tokens = np.zeros(len(block)), np.zeros(len(block))
    for batch, x in batches:
        owners = batch.owners
        said = (owners >= 0) & np.append(owners[1:] == owners[:-1], False)
        rows = np.searchsorted(block, owners[said])
        found = np.asarray(model.losses(own, batch, x))[said].astype(np.float64)
        nats += np.bincount(rows, found, len(block))
        tokens += np.bincount(rows, minlength=len(block))
    with np.errstate(invalid="ignore"):
        return (nats / tokens).astype(np.float32)
