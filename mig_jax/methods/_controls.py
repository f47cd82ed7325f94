"""Controls: choices at random, with one thing kept that a method may change, or nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits, Method
from mig_jax.methods._turns import take_turns

__all__ = ["random_lengths", "random_of_lengths", "random_order", "random_quotas"]

_BINS = 20


def random_order(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """All records, every order as likely."""
    yield from rng.permutation(candidates.num_records).tolist()


def random_quotas(
    candidates: Candidates, rng: np.random.Generator, limits: Limits
) -> Iterator[int]:
    """Random records of the groups in turn, so that all groups have equal shares.

    Next is always the group that has had the least so far, in tokens if these are limited, else
    in records; of several the first. A group with no record left has had its share.
    """
    groups = candidates.groups
    assert groups is not None
    order = rng.permutation(candidates.num_records)
    of_groups = [order[groups[order] == group].tolist() for group in np.unique(groups)]
    yield from take_turns(of_groups, None if limits.tokens is None else candidates.costs)


def random_lengths(
    candidates: Candidates, rng: np.random.Generator, limits: Limits
) -> Iterator[int]:
    """Random records with as many tokens as the wanted records have: see `random_of_lengths`."""
    assert candidates.wanted is not None
    assert candidates.wanted.costs is not None
    return random_of_lengths(candidates.wanted.costs)(candidates, rng, limits)


def random_of_lengths(lengths: npt.NDArray[np.integer], bins: int = _BINS) -> Method:
    """A method that takes records at random, by which token counts are spread as given ones are.

    Counts are put into bins that each hold about as many of the given ones (their quantiles). The
    given counts are gone through again and again, in a random order each time; for each, a random
    record of its bin is taken. So the first records, as many as counts are given, have one record
    for each of them, and so has every further round. Records with more or fewer tokens than all
    given counts are never taken, and a bin without records left is passed over.

    Args:
      lengths: [S], tokens of each record of a selection, say, that a random choice is to be like.
      bins: how many, at most.

    Raises:
      ValueError: if no length is given.
    """
    given = np.sort(np.asarray(lengths, np.int64))
    if not given.size:
        raise ValueError("expected at least one length")
    # A bin goes up to its edge and includes it.
    places = np.ceil(np.arange(1, bins + 1) / bins * len(given)).astype(np.int64) - 1
    edges = np.unique(given[places])

    def order(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
        within = (candidates.costs >= given[0]) & (candidates.costs <= given[-1])
        shuffled = rng.permutation(np.flatnonzero(within))
        bin_of = np.searchsorted(edges, candidates.costs[shuffled])
        left = [shuffled[bin_of == place].tolist() for place in range(len(edges))]
        wanted = np.searchsorted(edges, given)
        while any(left):
            for place in rng.permutation(wanted).tolist():
                if left[place]:
                    yield left[place].pop()

    return order
