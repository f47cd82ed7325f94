"""A pass over the pool: picks in chunks, from any point on, until the budget is used up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from mig_jax.devices import own_shards, part_of_picks, place_shards
from mig_jax.measure import Array, Count, GainRule, Measure
from mig_jax.selection._feasibility import Limits
from mig_jax.selection._greedy import initial_state, lazy_greedy
from mig_jax.selection._number_range import check_finite
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Pages
from mig_jax.selection._rates import Rates
from mig_jax.selection._selection_state import Picks, SelectionState, SetSize
from mig_jax.selection._working_set import set_size

__all__ = [
    "Progress",
    "Run",
    "holds_more",
    "next_chunk",
    "of_rows",
    "pick",
    "resumed_state",
    "with_limits",
    "without",
]

_FIRST_LOOK = 16
_NUMBERS = ("finished", "best", "under_way", "before")  # Fields of `Progress`.


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Progress:
    """A selection under way: all that is needed to go on as if it had never stopped.

    Nothing in it depends on pages or devices: they only decide where records stand.
    """

    picks: Int[np.ndarray, " picks"]  #: The records picked so far, in order.
    gains: Float[np.ndarray, " picks"]  #: As in `Selection`.
    increases: Float[np.ndarray, " picks"]  #: As in `Selection`.
    z: Float[np.ndarray, " labels"]  #: Information held by each label.
    #: The leaves of the gain rule's table, a number a label. Not computed from z again: compiled
    #: into the scan, `prepare` rounds some of them in another way than outside it.
    table: tuple[Float[np.ndarray, " labels"], ...]
    #: If there are several passes: so many of the picks are all of the best one that is finished.
    #: The others are of the pass under way, and so are z and the table.
    finished: int = 0
    finished_z: Float[np.ndarray, " labels"] | None = None  #: z after the best one finished.
    best: int = 0  #: Which pass that is, from 0.
    under_way: int = 0  #: Which pass is under way.
    before: int = 0  #: Picks of all passes that are finished, whether they are kept or not.

    def __len__(self) -> int:
        return len(self.picks)

    def __repr__(self) -> str:
        return f"Progress({len(self):,} picks, {self.made:,} made in all passes)"

    @property
    def made(self) -> int:
        """Picks made so far in all passes: it only rises."""
        return self.before + len(self.picks) - self.finished

    @classmethod
    def none(cls, num_labels: int) -> Progress:
        """No picks yet, and so nothing held by any label, nor a table."""
        nothing = np.zeros(0, np.float32)
        z = np.zeros(max(num_labels, 1), np.float32)  # Gathers need a row for no label too.
        return cls(np.zeros(0, np.int64), nothing, nothing, z, ())

    def passes(self) -> tuple[Progress | None, Progress]:
        """The best pass of those that are finished, if there is one, and the one under way."""
        if self.finished_z is None:
            return None, self

        def part(which: slice, z: np.ndarray, table: tuple[np.ndarray, ...]) -> Progress:
            return Progress(self.picks[which], self.gains[which], self.increases[which], z, table)

        best = part(slice(self.finished), self.finished_z, ())
        return best, part(slice(self.finished, None), self.z, self.table)

    def after(self, finished: Progress, best: int, under_way: int, before: int) -> Progress:
        """The progress of all passes, of which this is the one under way and `finished` the best.

        Args:
          finished: at its end.
          best: its number, from 0.
          under_way: the number of this one.
          before: picks of all passes that are finished.
        """
        return Progress(
            np.concatenate([finished.picks, self.picks]),
            np.concatenate([finished.gains, self.gains]),
            np.concatenate([finished.increases, self.increases]),
            self.z,
            self.table,
            len(finished),
            finished.z,
            best,
            under_way,
            before,
        )

    def arrays(self) -> dict[str, Any]:
        """Its fields as arrays, the table as a list of them; `Progress.of` is the inverse."""
        told = {**vars(self), "table": list(self.table)}
        for name in _NUMBERS:
            told[name] = np.int64(told[name])
        if self.finished_z is None:
            for name in (*_NUMBERS, "finished_z"):
                del told[name]
        return told

    @classmethod
    def of(cls, arrays: dict[str, Any]) -> Progress:
        """The progress that `arrays` tells."""
        numbers = {name: int(arrays.get(name, 0)) for name in _NUMBERS}
        return cls(**{**arrays, "table": tuple(arrays["table"]), **numbers})


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What all passes of a selection share."""

    pages: Pages  #: With costs and groups if there are limits, and without the records given.
    measure: Measure
    gain: GainRule
    most_picks: int  #: No selection has more.
    limits: Limits | None  #: None if there are no others.
    sizes: Int[np.ndarray, " parts"]  #: Records of each part of the pool.
    chunk: int
    mesh: Mesh | None
    working_set: SetSize | None = None  #: None for the one that suits.


def pick(
    run: Run,
    start: Progress,
    rates: Rates,
    on_chunk: Callable[[Progress], None] | None = None,
    is_enough: Callable[[Progress], bool] | None = None,
) -> Progress:
    """Goes on from `start` to the end of the budget, or until `is_enough`, chunk by chunk.

    Args:
      run: what to pick from, and how.
      start: picks of this pass so far; without any, a z to start from.
      rates: what gains are compared over, if costs are limited.
      on_chunk: called with the progress of this pass after every chunk.
      is_enough: asked after 16 picks, 32, 64 and so on, and after every chunk.
    """
    done, most, limits, mesh = len(start), run.most_picks, run.limits, run.mesh
    pages = _without(run.pages, part_of_picks(start.picks, run.sizes, mesh), mesh)
    z = np.asarray(start.z).astype(pages.values.dtype, copy=False)
    left = None if limits is None else limits.left(start.picks, rates, mesh, run.sizes)
    size = run.working_set or set_size(pages, most - done, mesh)
    fresh = initial_state(run.gain, run.measure, pages, z, mesh, left, size)
    state = resumed_state(fresh, start)
    _check_bounds(state)
    first_of_part = np.cumsum(run.sizes) - run.sizes
    picks = np.zeros(most, np.int64)
    gains, increases = np.zeros(most, state.z.dtype), np.zeros(most, state.z.dtype)
    picks[:done], gains[:done], increases[:done] = start.picks, start.gains, start.increases

    def progress() -> Progress:
        # Views: what is picked never changes, so nothing is copied at every chunk.
        return Progress(
            picks[:done],
            gains[:done],
            increases[:done],
            np.asarray(state.z),
            tuple(map(np.asarray, jax.tree_util.tree_leaves(state.table))),
        )

    while done < most:
        length = run.chunk if is_enough is None else min(run.chunk, max(done, _FIRST_LOOK))
        stop = min(most, done + length)
        state, found = next_chunk(
            run.gain, run.measure, pages, state, np.int32(stop), run.chunk, mesh
        )
        before, done = done, int(state.count)
        if done < stop and (limits is None or not limits.of_costs):
            raise RuntimeError(f"selection stopped at {done} of {most} picks")
        picks[before:done] = (first_of_part[np.asarray(found.parts)] + np.asarray(found.records))[
            : done - before
        ]
        gains[before:done] = np.asarray(found.gains)[: done - before]
        increases[before:done] = np.asarray(found.increases)[: done - before]
        check_finite(state.z, gains[before:done], increases[before:done])
        _check_bounds(state)
        if on_chunk is not None and done > before:
            on_chunk(progress())
        if done < stop or (is_enough is not None and is_enough(progress())):
            break
    return progress()


@partial(jax.jit, static_argnames=("gain", "chunk", "mesh"), donate_argnames="state")
def next_chunk(
    gain: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Count,
    chunk: int,
    mesh: Mesh | None,
) -> tuple[SelectionState, Picks]:
    """`lazy_greedy` that takes over the state it is given, which cannot be used again.

    Its arrays are updated where they stand: copying the records of all pages at every chunk
    took longer than the picks, with ten million of them.
    """
    return lazy_greedy(gain, measure, pages, state, budget, chunk, mesh)


def resumed_state(fresh: SelectionState, progress: Progress) -> SelectionState:
    """The state after the picks of `progress`, from an initial state for its z and its pages.

    Bounds are not kept: the initial state has found them for its z. Before the first pick it is
    the state.

    Raises:
      ValueError: if `progress` is of another number of labels or kind of table.
    """
    if not len(progress):
        return fresh
    leaves, structure = jax.tree_util.tree_flatten(fresh.table)
    shapes = [np.shape(leaf) for leaf in leaves]
    if [leaf.shape for leaf in progress.table] != shapes:
        found = [leaf.shape for leaf in progress.table]
        raise ValueError(f"the table to resume from has shapes {found}, expected {shapes}")
    return dataclasses.replace(
        fresh,
        table=jax.tree_util.tree_unflatten(structure, progress.table),
        count=np.array(len(progress), np.int32),
    )


@jax.jit
def holds_more(a: Float[Array, " picks"], b: Float[Array, " _others"]) -> Bool[jax.Array, ""]:
    """Whether increases `b` are more than `a` together.

    Each sum is kept in two numbers, and added up in order: the answer is the same in any program.
    """

    def add(
        carry: tuple[jax.Array, jax.Array], x: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        total, lost = carry
        then = total + x
        added = then - total
        return (then, lost + ((total - (then - added)) + (x - added))), None

    def total(increases: Array) -> tuple[jax.Array, jax.Array]:
        zero = jnp.zeros((), increases.dtype)
        return lax.scan(add, (zero, zero), jnp.asarray(increases))[0]

    (total_a, lost_a), (total_b, lost_b) = total(a), total(b)
    return (total_b - total_a) + (lost_b - lost_a) > 0


def with_limits(pages: Pages, limits: Limits, mesh: Mesh | None) -> Pages:
    """The pages with the costs and groups of their rows, and without the records given."""

    costs, groups = (
        None if values is None else _on_rows(pages, partial(of_rows, values), mesh)
        for values in (limits.costs, limits.groups)
    )
    if limits.taken is not None:
        pages = _without(pages, np.flatnonzero(limits.taken), mesh)
    return dataclasses.replace(pages, costs=costs, groups=groups)


def _without(pages: Pages, picks: Int[np.ndarray, " picks"], mesh: Mesh | None) -> Pages:
    """The pages less the records picked, which are named within this part of the pool."""
    if not len(picks):
        return pages

    return dataclasses.replace(pages, records=_on_rows(pages, partial(without, picks), mesh))


def of_rows(
    values: Int[np.ndarray, " records"], records: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, " rows"]:
    """The value of each row's record; 0 for rows without one."""
    return np.append(values, np.zeros(1, values.dtype))[np.minimum(records, len(values))]


def without(
    picks: Int[np.ndarray, " picks"], records: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, " rows"]:
    """The rows' records, EMPTY if they are picked."""
    return np.where(np.isin(records, picks), EMPTY, records)


def _on_rows(
    pages: Pages, change: Callable[[np.ndarray], np.ndarray], mesh: Mesh | None
) -> jax.Array:
    """What `change` makes of the rows' records, where they stand."""
    if mesh is None:
        return jnp.asarray(change(np.asarray(pages.records)))
    shards = {shard.device: shard.data for shard in pages.records.addressable_shards}
    return place_shards([change(np.asarray(shards[device])) for device in own_shards(mesh)], mesh)


def _check_bounds(state: SelectionState) -> None:
    """Raises InputError if what a record gains is not a number: the search passes over it."""
    check_finite(*(shard.data for shard in state.tops.addressable_shards))
    if state.work is not None:
        check_finite(state.work.bounds)
