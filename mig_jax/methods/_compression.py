"""ZIP (arXiv 2407.06645): records that compress least with what is chosen already."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits, Method

__all__ = ["compression_ratio", "zip_stages"]

_LEVEL = 9  # As the paper's own code has it.


def compression_ratio(text: bytes) -> float:
    """Bytes over compressed bytes, by zlib: the more redundant a text, the higher; 0 if empty."""
    return len(text) / len(zlib.compress(text, _LEVEL))


def zip_stages(k1: int = 10_000, k2: int = 200, k3: int = 100) -> Method:
    """The greedy choice of ZIP in three stages (Algorithm 1 of the paper, and its numbers).

    Each round takes the K1 records that were least redundant when last looked at; of these, looked
    at again together with all that is chosen, the K2 least redundant; and of these, one by one and
    beside each other only, K3. Redundancy is the compression ratio of the texts, instruction and
    response of one record after the other. Ties go to the first record in the pool.

    The compressor's state is copied for each record tried, not fed anew, so that a try costs as
    much as one record and not as all that is chosen; the ratio is the same. Records that have
    more tokens than are left are not looked at. The paper's own code leaves out for good the
    K2 − K3 records of a round that were not taken; here, as in the paper, they stay.

    Raises:
      ValueError: if K1, K2 and K3 do not descend, or are not positive.
    """
    if not k1 >= k2 >= k3 >= 1:
        raise ValueError(f"expected K1 ≥ K2 ≥ K3 ≥ 1, got {k1}, {k2} and {k3}")

    def order(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
        texts = [f"{text}\n".encode() for text in candidates.texts().whole]
        redundancy = np.array([compression_ratio(text) for text in texts])
        costs, tokens = candidates.costs, limits.tokens
        left = np.ones(len(texts), bool) if tokens is None else costs <= tokens
        chosen = _Compressed()
        while left.any():
            first = _lowest(redundancy, np.flatnonzero(left), k1)
            redundancy[first] = [chosen.ratio_with(texts[record]) for record in first]
            second = _lowest(redundancy, first, k2).tolist()
            of_round = _Compressed()
            for _ in range(k3):
                second = [record for record in second if left[record]]
                if not second:
                    break
                ratios = [of_round.ratio_with(texts[record]) for record in second]
                record = second[int(np.argmin(ratios))]
                of_round.add(texts[record])
                chosen.add(texts[record])
                left[record] = False
                if tokens is not None:
                    tokens -= int(costs[record])
                    left &= costs <= tokens
                yield record

    return order


class _Compressed:
    """Texts one after the other, compressed so far."""

    def __init__(self) -> None:
        self._state = zlib.compressobj(_LEVEL)
        self._bytes = 0
        self._written = 0

    def add(self, text: bytes) -> None:
        self._written += len(self._state.compress(text))
        self._bytes += len(text)

    def ratio_with(self, text: bytes) -> float:
        """The compression ratio of all texts and this one."""
        state = self._state.copy()
        written = self._written + len(state.compress(text)) + len(state.flush())
        return (self._bytes + len(text)) / written


def _lowest(
    values: npt.NDArray[np.float64], records: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """Those of the records that have the lowest values, so many at most; both ascending."""
    return np.sort(records[np.argsort(values[records], kind="stable")[:count]])
