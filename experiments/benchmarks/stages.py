"""Rows for the stages of a selection: each alone, from what the one before it gave, compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import mig_jax
from experiments.benchmarks.pools import page_bytes_a_record
from experiments.benchmarks.rows import Measured, Row, timed
from mig_jax.selection import (
    fill_pages,
    initial_state,
    lay_out_pages,
    next_chunk,
    page_priority,
    set_size,
)

__all__ = ["STAGE_OF_PICKS", "first_state", "pick_all", "stage_rows"]

STAGE_OF_PICKS = "stage: picks"

_CHUNK = 1024


def first_state(measure: mig_jax.Measure, pages: Any, z: Any, picks: int) -> Any:
    """The state that `select` begins with, for so many picks by exact gains."""
    size = set_size(pages, picks)
    return initial_state(mig_jax.EXACT, measure, pages, z, size=size)


def pick_all(measure: mig_jax.Measure, pages: Any, state: Any, budget: int) -> np.ndarray:
    """The picks up to the budget, in chunks as `select` makes them, from a state it takes over."""
    picks = []
    for done in range(0, budget, _CHUNK):
        stop = np.int32(min(done + _CHUNK, budget))
        state, found = next_chunk(mig_jax.EXACT, measure, pages, state, stop, _CHUNK, None)
        # As select does: the host looks at each chunk before it asks for the next.
        picks.append(np.asarray(found.records))
    return np.concatenate(picks)[:budget]


def stage_rows(
    pool: mig_jax.Pool,
    graph: mig_jax.LabelGraph,
    measure: mig_jax.Measure,
    budget: int,
    pages: Callable[[], Any],
    same_picks_as: str | None,
) -> dict[str, Row]:
    """Rows for ordering, layout, first bounds, picks and the certificate, and for memory.

    Args:
      pool: the records.
      graph: the labels.
      measure: score functions and α.
      budget: of the selection.
      pages: gives what `lay_out` does for all these, always the same.
      same_picks_as: the row whose picks they must have.
    """
    z = np.zeros(graph.num_labels, np.float32)

    @functools.cache
    def priority() -> np.ndarray:
        return page_priority(pool, graph, measure, budget)

    def laid_out() -> Any:
        return fill_pages(lay_out_pages(pool, graph, priority=priority()), pool, graph, measure)

    @functools.cache
    def chosen() -> np.ndarray:
        return pick_all(measure, pages(), first_state(measure, pages(), z, budget), budget)

    def ordering() -> Measured:
        return Measured(timed(lambda: page_priority(pool, graph, measure, budget))[1])

    def layout() -> Measured:
        priority()
        return Measured(timed(laid_out)[1])

    def bounds() -> Measured:
        pages()
        return Measured(timed(lambda: first_state(measure, pages(), z, budget))[1])

    def picks() -> Measured:
        state = jax.block_until_ready(first_state(measure, pages(), z, budget))
        found, seconds = timed(lambda: pick_all(measure, pages(), state, budget))
        return Measured(seconds, found)

    def certificate() -> Measured:
        chosen()
        certify = functools.partial(mig_jax.certify, pool, graph, measure, budget=budget)
        return Measured(timed(lambda: certify(chosen()).upper_bound)[1])

    def memory() -> Measured:
        held = (pages(), first_state(measure, pages(), z, budget))
        return Measured(bytes_a_record=page_bytes_a_record(held, pool.num_records))

    return {
        "stage: ordering": Row(ordering),
        "stage: layout": Row(layout),
        "stage: first bounds": Row(bounds),
        STAGE_OF_PICKS: Row(picks, same_picks_as),
        "stage: certificate": Row(certificate),
        "pages and state on the device": Row(memory, warms_up=False),
    }
