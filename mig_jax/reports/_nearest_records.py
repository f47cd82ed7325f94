"""The records that came nearest to being selected, and which picks had taken their gain."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np

from mig_jax.reports._explanation_text import scores_as_read, told_explanation
from mig_jax.reports._selected import Selected
from mig_jax.selection import Explainer, gains_of_pool, in_range

__all__ = ["NearRecord", "nearest_records"]

_MOST: Final = 25
# So many are compared rank by rank, of those that would gain most after the last pick.
_COMPARED: Final = 50


@dataclasses.dataclass(frozen=True)
class NearRecord:
    """A record that was not selected."""

    record: int
    told: dict[str, Any]  # As `told_explanation` has it.
    taken: list[tuple[int, float, list[tuple[int, float]]]]  # Rank, amount, the same by label.


def nearest_records(selected: Selected, explainer: Explainer) -> list[NearRecord]:
    """Those that came nearest, the nearest first.

    None if limits decided which records could be picked, and not how many only.
    """
    if any(selected.about.get(name) for name in ("tokens", "quotas", "changes")):
        return []
    as_read = scores_as_read(selected.table, selected.pool)
    found = []
    for record in _likely(selected):
        explained = explainer.explain(record)
        told = told_explanation(explained, selected.table, len(selected.selection), as_read=as_read)
        taken = [(loss.rank, loss.amount, list(loss.labels)) for loss in explained.losses]
        if explained.ratio > 0:
            found.append(NearRecord(record, told, taken))
    return sorted(found, key=lambda near: (-near.told["ratio"], near.record))[:_MOST]


def _likely(selected: Selected) -> list[int]:
    """Records not selected that gain most after the last pick, to first order."""
    with in_range(selected.pool, selected.graph, selected.measure) as problem:
        z = np.asarray(selected.selection.z)[: selected.graph.num_labels]
        gains = gains_of_pool(*problem, z).copy()
    gains[np.asarray(selected.selection.picks)] = -1
    if selected.given is not None:
        gains[selected.given] = -1
    order = np.argsort(-gains, kind="stable")[:_COMPARED]
    return order[gains[order] > 0].tolist()
