"""The programs of selection that `compile_for_h100` compiles: functions with abstract arguments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mig_jax
from mig_jax.selection import SetSize, initial_state, next_chunk

__all__ = ["PROGRAMS", "Program", "Sizes", "abstract_pages"]


_MEAN_ROWS = 52  # Of a page of the generated pool.


class Sizes(NamedTuple):
    """Of the pool, and of the working set."""

    pages: int
    labels: int
    chunk: int  #: Picks of a call.
    set_pages: int = 1_024
    set_rows: int = 1_024
    set_width: int = 128  #: Slots of a row.


@dataclasses.dataclass(frozen=True)
class Program:
    """A jitted function, and what a turn of its loops means."""

    #: Gives the lowered function, from sizes and what puts abstract arrays on the card.
    lower: Callable[[Sizes, Callable[[Any], Any]], Any]
    #: The function in which the loop stands whose turns are picks; None if it makes no picks.
    picks: str | None = None
    picks_a_turn: int = 1  #: If that loop is unrolled.
    #: As for `launches_of_a_turn`.
    turns: Mapping[str, float] = dataclasses.field(default_factory=dict)


def abstract_pages(sizes: Sizes) -> Any:
    """The shapes of so many pages, made as `lay_out` makes them."""
    pool = mig_jax.pool_from_label_lists([[0]], [1.0])
    graph = mig_jax.label_graph_from_edges(sizes.labels)
    few = mig_jax.lay_out(pool, graph, mig_jax.Measure(), 1)
    rows = sizes.pages * _MEAN_ROWS + few.page_rows

    def shape(leaf: jax.Array) -> jax.ShapeDtypeStruct:
        count = rows if leaf is few.records else sizes.pages
        return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)

    return jax.tree_util.tree_map(shape, few)


def _arguments(sizes: Sizes) -> tuple[Any, Any, Any]:
    """Measure, pages and z."""
    measure = jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.float32), mig_jax.Measure()
    )
    z = jax.ShapeDtypeStruct((sizes.labels,), jnp.float32)
    return measure, abstract_pages(sizes), z


def _first_state(sizes: Sizes, place: Callable[[Any], Any]) -> Any:
    return initial_state.lower(mig_jax.EXACT, *place(_arguments(sizes)), size=_set_of(sizes))


def _chunk_by_pages(sizes: Sizes, place: Callable[[Any], Any]) -> Any:
    return _chunk(sizes, place, initial_state)


def _chunk_from_sets(sizes: Sizes, place: Callable[[Any], Any]) -> Any:
    return _chunk(sizes, place, functools.partial(initial_state, size=_set_of(sizes)))


def _set_of(sizes: Sizes) -> SetSize:
    return SetSize(pages=sizes.set_pages, rows=sizes.set_rows, width=sizes.set_width, full=True)


def _chunk(sizes: Sizes, place: Callable[[Any], Any], begin: Callable) -> Any:
    measure, pages, z = _arguments(sizes)
    state = jax.eval_shape(lambda *given: begin(mig_jax.EXACT, *given), measure, pages, z)
    budget = jax.ShapeDtypeStruct((), jnp.int32)
    return next_chunk.lower(
        mig_jax.EXACT, *place((measure, pages, state, budget)), sizes.chunk, None
    )


# Turns were counted: 50,000 picks of the benchmark's 939,343 records read 4.65 pages each. As long
# as some record gains something, the choice within a pick is not taken.
_TURNS = {"search": 4.65, "pick_from_pages": 0.0}

PROGRAMS: dict[str, Program] = {
    "first bounds": Program(_first_state),
    "picks by pages": Program(_chunk_by_pages, picks="_scan_lazily", turns=_TURNS),
    "picks from a set": Program(_chunk_from_sets, picks="_all_within.some"),
}
