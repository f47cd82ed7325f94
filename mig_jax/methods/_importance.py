"""DSIR (arXiv 2302.03169): records drawn by how likely they are among the wanted ones."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._turns import take_turns

__all__ = ["HashedNgrams", "dsir", "dsir_pooled", "hashed_ngrams", "log_importance"]

_BUCKETS = 10_000
_SMOOTHING = 1e-8  # Of a bucket's share, as in the paper's own code.
_TOKEN = re.compile(r"\w+|[^\w\s]+")


class HashedNgrams(NamedTuple):
    """The unigrams and bigrams of n texts, each as the bucket it is hashed to."""

    buckets: npt.NDArray[np.uint16]  #: [entries], below 10,000.
    texts: npt.NDArray[np.int32]  #: [entries]: the text of each, ascending for unigrams.
    num_texts: int  #: n.

    def shares(self, of: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float64]:
        """Each bucket's share of the n-grams of these texts, of all by default: [10,000]."""
        buckets = self.buckets if of is None else self.buckets[of[self.texts]]
        counts = np.bincount(buckets, minlength=_BUCKETS)
        return counts / max(counts.sum(), 1)


def hashed_ngrams(texts: Sequence[str]) -> HashedNgrams:
    """The n-grams of lower-cased texts; a token is a run of word characters, or of signs.

    >>> hashed_ngrams(["No, no!", ""]).texts.tolist()
    [0, 0, 0, 0, 0, 0, 0]
    """
    hash_of = functools.cache(lambda token: zlib.crc32(token.encode()))
    rows = [
        np.array([hash_of(token) for token in _TOKEN.findall(text.lower())], np.uint64)
        for text in texts
    ]
    lengths = [len(row) for row in rows]
    single = np.concatenate([*rows, np.zeros(0, np.uint64)])
    owners = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    inside = owners[1:] == owners[:-1]
    double = (_mixed(single[:-1]) + single[1:])[inside]
    buckets = (_mixed(np.concatenate([single, double])) % np.uint64(_BUCKETS)).astype(np.uint16)
    return HashedNgrams(buckets, np.concatenate([owners, owners[1:][inside]]), len(rows))


def log_importance(
    ngrams: HashedNgrams, wanted: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """log of p(text | wanted) / p(text | these texts), both bags of n-grams: float64 [n].

    Args:
      ngrams: of n texts, from which the second is estimated.
      wanted: each bucket's share among the wanted records.
    """
    ratio = np.log(wanted + _SMOOTHING) - np.log(ngrams.shares() + _SMOOTHING)
    weights = np.bincount(ngrams.texts, ratio[ngrams.buckets], ngrams.num_texts)
    return weights.astype(np.float64)


def dsir(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Importance resampling for each task of the wanted records, the tasks in turn.

    A record's weight is its likelihood under hashed unigrams and bigrams (10,000 buckets) of the
    task's wanted records over that under those of the pool; records are drawn without replacement
    by weight (the largest log weight plus Gumbel noise first). Next is always the task that has
    had the least so far, in tokens if these are limited, else in records, so that each has its
    share.
    """
    assert candidates.wanted is not None
    groups = candidates.wanted.groups
    tasks = [groups == task for task in np.unique(groups)]
    amounts = None if limits.tokens is None else candidates.costs
    yield from take_turns(_orders(candidates, rng, tasks), amounts)


def dsir_pooled(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Importance resampling for all wanted records together, as the paper has it; see `dsir`."""
    assert candidates.wanted is not None
    (order,) = _orders(candidates, rng, [np.ones(len(candidates.wanted.groups), bool)])
    yield from order


def _orders(
    candidates: Candidates, rng: np.random.Generator, tasks: Sequence[npt.NDArray[np.bool_]]
) -> list[list[int]]:
    """For each task, which are masks of wanted records, all candidates as they are drawn."""
    assert candidates.wanted is not None
    pool = hashed_ngrams(candidates.texts().whole)
    wanted = hashed_ngrams(candidates.wanted.texts.whole)
    orders = []
    for task in tasks:
        weights = log_importance(pool, wanted.shares(task))
        drawn = weights + rng.gumbel(size=candidates.num_records)
        orders.append(np.argsort(-drawn, kind="stable").tolist())
    return orders


def _mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64: every bit of a hash reaches every bit."""
    with np.errstate(over="ignore"):
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
