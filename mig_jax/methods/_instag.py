"""#InsTag (arXiv 2308.07074): complex records first, and each brings a tag that is new."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from mig_jax.methods._candidates import Candidates, Limits

__all__ = ["instag"]

_LEAST_COUNT = 2


def instag(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Complexity first, diverse: Algorithm 1 of the paper.

    Records are gone through by their number of tags, the largest first and of equal ones the first
    in the pool. One is taken if it has a tag that no record taken in this round has. At the end
    the next round begins, with the records left and with no tag seen. Tags that only one record
    of the pool has do not count (MIG's settings for it: a frequency of at least 2), and a record
    without any that count is never taken. Merging tags by meaning (DBSCAN, 0.05) is for
    `mig-jax normalise_tags`, before.
    """
    labels, offsets = candidates.labels, candidates.offsets
    records = np.repeat(np.arange(candidates.num_records), np.diff(offsets))
    common = np.bincount(labels, minlength=candidates.num_labels) >= _LEAST_COUNT
    counts = common[labels]
    complexity = np.bincount(records[counts], minlength=candidates.num_records)
    ordered = np.argsort(-complexity, kind="stable")
    left = ordered[complexity[ordered] > 0].tolist()
    tags = [labels[start:end][counts[start:end]] for start, end in itertools.pairwise(offsets)]
    while left:
        seen = np.zeros(candidates.num_labels, bool)
        passed_over = []
        for record in left:
            if seen[tags[record]].all():
                passed_over.append(record)
                continue
            seen[tags[record]] = True
            yield record
        left = passed_over
