"""Counts of terms as rows of a sparse matrix, hashed: no list of terms is needed to read a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["commonest", "log_counts"]


def log_counts(
    counted: Iterable[Mapping[str, float]], buckets: int, kind: type[np.floating]
) -> Any:
    """One plus the logarithm of how often each text has each term: CSR [n, buckets].

    Args:
      counted: how often each text has its terms.
      buckets: what terms are hashed to.
      kind: of the numbers.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction import FeatureHasher

    counts = [of_one.items() for of_one in counted]
    if not counts:
        return csr_matrix((0, buckets), dtype=kind)
    hasher = FeatureHasher(buckets, input_type="pair", alternate_sign=False, dtype=kind)
    found = hasher.transform(counts)
    found.data = 1 + np.log(found.data)
    return found


def commonest(having: npt.NDArray[np.integer], most: int) -> npt.NDArray[np.int64]:
    """The buckets that most texts have, ascending, `most` of them at most.

    `having` tells how many texts have each bucket: int [buckets].
    """
    common = np.argsort(-having, kind="stable")[:most]
    return np.sort(common[having[common] > 0])
