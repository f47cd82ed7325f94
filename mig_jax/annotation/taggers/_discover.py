"""Labels without a vocabulary: groups of similar instructions, found in the pool itself."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mig_jax.annotation.taggers._label_names import NamingWords

__all__ = ["DiscoveredLabels", "discover_labels"]

# Of n texts, groups are sought at these powers of n: few wide ones, some, and many narrow ones.
_GRAINS: Final = (1 / 3, 1 / 2, 2 / 3)
# Labels that a record has at each grain, at most.
_MOST: Final = (2, 3, 3)
# How similar another centre of the grain is, as a part of how similar the nearest is, at least.
# Chosen, with the grains, on three of the six sites of our Stack Exchange pool.
_CLOSENESS: Final = 0.8
# How similar the nearest is; else the record has hardly a word of the pool.
_LEAST: Final = 0.02
_STEPS: Final = 2048
_AT_ONCE: Final = 4_096


def _exact(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Rows of unit length rounded so that their products are the same however they are summed.

    Entries are multiples of 2**-11. Products of two are multiples of 2**-22, and sums of them
    stay below 2: float32 holds them all, so no order of summing rounds.
    """
    return np.round(np.asarray(rows, np.float32) * _STEPS) / np.float32(_STEPS)


@dataclasses.dataclass(frozen=True)
class DiscoveredLabels:
    """Labels found in a pool, which other records can be given.

    A label is the centre of a group of similar texts; a record has those nearest to it.
    """

    names: list[str]  # No two alike.
    centres: npt.NDArray[np.float32]  # [labels, width], rows of unit length but for rounding.
    grain: npt.NDArray[np.int32]  # [labels], ascending: 0 for the widest.

    def of(self, embeddings: npt.NDArray[np.float32], most: int) -> list[list[str]]:
        """The labels of texts, `most` of them at most.

        The nearest of each grain come first, the widest before; then the next nearest. What a
        text gets depends on its embedding alone, to the bit.

        Args:
          embeddings: [n, width], rows of unit length. Of zeros has no label.
          most: at least 1.
        """
        found: list[list[tuple[int, float, int]]] = [[] for _ in embeddings]
        rows = _exact(embeddings)
        for grain in np.unique(self.grain).tolist():
            labels = np.flatnonzero(self.grain == grain)
            similar = rows @ self.centres[labels].T
            best = similar.max(axis=1, initial=-1.0)
            near = (
                similar >= np.where(best >= _LEAST, best * np.float32(_CLOSENESS), np.inf)[:, None]
            )
            for row, of_one in enumerate(found):
                places = np.flatnonzero(near[row])
                order = places[np.argsort(-similar[row, places], kind="stable")[: _MOST[grain]]]
                for rank, place in enumerate(order.tolist()):
                    closeness = float(similar[row, place] / best[row])
                    of_one.append((min(rank, 1), -closeness if rank else grain, labels[place]))
        return [[self.names[label] for *_, label in sorted(of_one)[:most]] for of_one in found]


def discover_labels(
    texts: Sequence[str], embeddings: npt.NDArray[np.float32], *, seed: int
) -> DiscoveredLabels:
    """Groups texts at several grains by mini-batch k-means, and names the groups.

    Of n texts that differ there are n**(1/3) wide groups, n**(1/2) and n**(2/3) narrow ones.

    Args:
      texts: of the sample.
      embeddings: theirs, float32 [n, width], rows of unit length. Those of zeros do not count,
        nor does it count how often one is there.
      seed: of the clustering.
    """
    rounded = _exact(embeddings)
    _, first = np.unique(rounded, axis=0, return_index=True)
    rows = np.sort(first[np.any(rounded[first] != 0, axis=1)])
    width = rounded.shape[1]
    if not len(rows):
        return DiscoveredLabels([], np.zeros((0, width), np.float32), np.zeros(0, np.int32))
    points = rounded[rows]
    found: list[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]] = []
    for grain, power in enumerate(_GRAINS):
        count = round(len(rows) ** power)
        if not found or count > len(found[-1][1]):
            found.append((grain, *_clusters(points, count, seed)))
    words = NamingWords([texts[row] for row in rows.tolist()])
    _, centres, group = found[-1]
    words.learn_worth(group, centres)
    names: list[str] = []
    for _, centres, group in found:
        names += words.names(group, centres, taken=names)
    return DiscoveredLabels(
        names,
        np.concatenate([centres for _, centres, _ in found]),
        np.repeat(
            np.array([grain for grain, *_ in found], np.int32),
            [len(centres) for _, centres, _ in found],
        ),
    )


def _clusters(
    points: npt.NDArray[np.float32], count: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Centres of unit length [at most count, width], none without a point; and each point's."""
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(
        count,
        batch_size=_AT_ONCE,
        init_size=max(3 * count, _AT_ONCE),
        max_iter=30,
        n_init=1,
        random_state=seed,
    )
    # One thread: sums in another order are other sums.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of fewer groups than were sought.
        centres = means.fit(points).cluster_centers_
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    centres = np.unique(_exact(centres / np.maximum(lengths, 1e-9)), axis=0)
    nearest = [
        np.argmax(points[start : start + _AT_ONCE] @ centres.T, axis=1)
        for start in range(0, len(points), _AT_ONCE)
    ]
    used, group = np.unique(np.concatenate(nearest), return_inverse=True)
    return centres[used], group
