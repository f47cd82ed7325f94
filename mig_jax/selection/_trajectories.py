"""What each label held before each pick of a selection that is done, and what records gain by it.

A pick adds to a few labels, so that what a label holds is constant but for few ranks. The steps
are kept label by label; a record's gain at every rank is a sum of few of them.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mig_jax.measure import (
    Array,
    GainRule,
    LabelGraph,
    Measure,
    Pool,
    ScoreFunction,
    check_labels,
    check_measure,
    propagation_weights,
)
from mig_jax.selection._number_range import in_range, widened
from mig_jax.selection._propagated_rows import Neighbourhoods, propagated_rows

__all__ = ["GainsByLabel", "Trajectories", "Walk", "of_records"]

# So many steps are computed at once, whatever a record has: two programs serve all.
_FEW, _MANY = 128, 4096


@dataclasses.dataclass(frozen=True, eq=False)
class GainsByLabel:
    """What each label that a pick reaches gives of its gain; pick after pick."""

    ranks: Int[np.ndarray, " reached"]  #: Of the pick, from 0; ascending.
    labels: Int[np.ndarray, " reached"]
    gains: Float[np.ndarray, " reached"]  #: In the pick's own rank; they add up to its gain.
    at_first: Float[np.ndarray, " reached"]  #: Had it been the first pick.


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectories:
    """z of each label, pick by pick, as the selection's own precision had it.

    Label k has the steps `firsts[k]` to `firsts[k + 1]`; the first is what it holds at the start.
    """

    rule: GainRule
    score_function: ScoreFunction  # In float64, as selection rounds its parameters.
    pool: Pool
    graph: LabelGraph
    near: Neighbourhoods  # Of the graph's labels.
    weights: Float[np.ndarray, " weights"]  # Of A: [diagonal | edges].
    num_picks: int
    firsts: Int[np.ndarray, " _firsts"]
    #: The rank, from 0, from which on a label holds this; the pick before it has added to it.
    ranks: Int[np.ndarray, " steps"]
    table: Any  # What the rule prepares for each step, widened to float64.
    #: Each pick's gain at its rank, computed again.
    gains: Float[np.ndarray, " picks"]
    of_picks: GainsByLabel  # The same by label.

    @classmethod
    def of(
        cls,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        rule: GainRule,
        picks: Int[np.ndarray, " picks"],
        held: Float[Array, " labels"] | None = None,
    ) -> Trajectories:
        """Of a selection; `held` is z before its first pick, 0 by default."""
        check_labels(pool, graph)
        check_measure(measure, graph)
        with in_range(pool, graph, measure) as (pool, graph, measure):
            weights = np.concatenate(propagation_weights(graph, measure.propagation))
            picks, num_picks = np.asarray(picks, np.int64), len(picks)
            small = of_records(pool, picks)
            near = Neighbourhoods.of(graph)
            owners, labels, units = propagated_rows(small, graph, near).nonzeros(weights)
            # As `fill_pages` rounds them, and below z as the scan does: the same bits.
            steps = units * np.asarray(small.scores)[owners]
            start = np.zeros(graph.num_labels, steps.dtype)
            start = start if held is None else np.asarray(held).astype(steps.dtype)
            order = np.argsort(labels, kind="stable")
            counts = np.bincount(labels, minlength=graph.num_labels) + 1
            firsts = np.concatenate([[0], np.cumsum(counts)])
            z = np.zeros(firsts[-1], steps.dtype)
            ranks = np.zeros(firsts[-1], np.int32)
            z[firsts[:-1]] = start
            place = np.empty(len(order), np.int64)  # Of each nonzero, its step.
            place[order] = np.arange(len(order)) + labels[order] + 1
            z[place], ranks[place] = steps, owners + 1
            for label in np.flatnonzero(counts > 1):
                held_by = z[firsts[label] : firsts[label + 1]]
                np.add.accumulate(held_by, out=held_by)
            of_steps = np.repeat(np.arange(graph.num_labels), counts)
            table = _prepared(rule, measure.score_function, z, of_steps)
            function = widened(_rounded(measure.score_function, steps.dtype))
            units = steps.astype(np.float64)
            shares, at_first = (
                _shares_of(
                    *(rule, function),
                    jax.tree_util.tree_map(lambda leaf, here=here: leaf[here], table),
                    *(units, 1.0),
                )[0]
                for here in (place - 1, firsts[labels])
            )
        for size in (_FEW, _MANY):  # Compiled now, not when the first question comes.
            one = jax.tree_util.tree_map(lambda leaf, size=size: np.repeat(leaf[:1], size), table)
            _shares_of(rule, function, one, np.ones(size if len(z) else 0), 1.0)
        gains = np.bincount(owners, shares, num_picks)
        return cls(
            *(rule, function, pool, graph, near, weights),
            *(num_picks, firsts, ranks, table, gains),
            GainsByLabel(owners, labels, shares, at_first),
        )

    def walk(self, record: int) -> Walk:
        """A record's labels with their steps."""
        small = of_records(self.pool, np.array([record]))
        rows = propagated_rows(small, self.graph, self.near)
        here = slice(int(rows.starts[0]), int(rows.starts[0] + rows.lengths[0]))
        labels, units = rows.labels[here].copy(), self.weights[rows.entries[here]]
        entries = [[entry] for entry in rows.entries[here].tolist()]
        for _, slots, extra in rows.more:
            units[slots] += self.weights[extra]
            for slot, entry in zip(slots.tolist(), extra.tolist(), strict=True):
                entries[slot].append(entry)
        through = tuple(
            tuple(map(self._source, sorted(each, key=lambda entry: -self.weights[entry])))
            for each in entries
        )
        counts = self.firsts[labels + 1] - self.firsts[labels]
        before = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(self.firsts[labels] - before, counts)
        return Walk(
            paths=self,
            labels=labels,
            through=through,
            slots=np.repeat(np.arange(len(labels)), counts),
            ranks=self.ranks[places],
            units=np.repeat(units.astype(np.float64), counts),
            table=jax.tree_util.tree_map(lambda leaf: leaf[places], self.table),
        )

    def _source(self, entry: int) -> int:
        """The label from which an entry of A carries information."""
        edge = entry - self.graph.num_labels
        return entry if edge < 0 else int(self.graph.sources[edge])


@dataclasses.dataclass(frozen=True, eq=False)
class Walk:
    """The labels that a record reaches, and their steps, label after label."""

    paths: Trajectories
    labels: Int[np.ndarray, " slots"]
    through: tuple[tuple[int, ...], ...]  #: The record's own labels, the strongest first.
    slots: Int[np.ndarray, " steps"]
    ranks: Int[np.ndarray, " steps"]  #: As in `Trajectories`, ascending within a label.
    units: Float[np.ndarray, " steps"]  #: ê for a score of 1.
    table: Any

    def shares(
        self, score: float, steps: Int[np.ndarray, " n"] | None = None
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Shares of the gain at these steps, all by default, and their slopes by the score."""
        table, units = self.table, self.units
        if steps is not None:
            table = jax.tree_util.tree_map(lambda leaf: leaf[steps], table)
            units = units[steps]
        return _shares_of(self.paths.rule, self.paths.score_function, table, units, score)

    def at(self, rank: int) -> Int[np.ndarray, " slots"]:
        """The step of each label in a rank, from 0."""
        firsts = np.flatnonzero(self.ranks == 0)
        passed = np.bincount(self.slots[self.ranks <= rank], minlength=len(firsts))
        return firsts + passed - 1

    def by_rank(self, shares: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " _ranks"]:
        """Sums of the shares that hold in each rank, and after all picks."""
        falls = np.zeros_like(shares)
        is_later = self.ranks > 0  # Else a label's first step.
        later = np.flatnonzero(is_later)
        falls[later] = shares[later - 1] - shares[later]
        fallen = np.bincount(self.ranks, falls, self.paths.num_picks + 1)
        # From the end: what is added is never negative, and no digits are lost.
        last = np.append(~is_later[1:], True)[: len(shares)]
        fallen = np.append(fallen[1:], shares[last].sum())
        return np.cumsum(fallen[::-1])[::-1]


def of_records(pool: Pool, records: Int[np.ndarray, " n"]) -> Pool:
    """The pool of these records alone, in this order."""
    of_entries = np.asarray(pool.records)
    ids = np.asarray(records).astype(of_entries.dtype)  # Else NumPy would convert all entries.
    starts = np.searchsorted(of_entries, ids)
    counts = np.searchsorted(of_entries, ids, side="right") - starts
    before = np.cumsum(counts) - counts
    entries = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    owners = np.repeat(np.arange(len(ids), dtype=np.int32), counts)
    return Pool(np.asarray(pool.labels)[entries], owners, np.asarray(pool.scores)[ids])


def _rounded(function: ScoreFunction, dtype: Any) -> ScoreFunction:
    """With parameters as compiled code gets them: a Python float is one of the precision used."""
    rounded: ScoreFunction = jax.tree_util.tree_map(lambda leaf: np.asarray(leaf, dtype), function)
    return rounded


@partial(jax.jit, static_argnames="rule")
def _table(rule: GainRule, function: ScoreFunction, z: jax.Array, labels: jax.Array) -> Any:
    prepared = rule.prepare(function.at(labels), z)
    return jax.tree_util.tree_map(lambda leaf: jnp.broadcast_to(leaf, z.shape), prepared)


def _prepared(rule: GainRule, function: ScoreFunction, z: np.ndarray, labels: np.ndarray) -> Any:
    """What the rule prepares for each z of a label, in float64 but rounded as selection rounds."""
    return widened(_table(rule, function, jnp.asarray(z), jnp.asarray(labels)))


@partial(jax.jit, static_argnames="rule")
def _block_shares(
    rule: GainRule, function: ScoreFunction, table: Any, units: jax.Array, score: jax.Array
) -> tuple[Array, Array]:
    def shares(score: jax.Array) -> Array:
        return rule.of_slot(function, table, score * units)

    found, slopes = jax.jvp(shares, (score,), (jnp.ones_like(score),))
    return jnp.maximum(found, 0), slopes


def _shares_of(
    rule: GainRule, function: ScoreFunction, table: Any, units: np.ndarray, score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares and their slopes by the score, in float64, block by block."""
    found = np.zeros((2, len(units)))
    size = _FEW if len(units) <= _FEW else _MANY
    with jax.enable_x64(True):
        for start in range(0, len(units), size):
            here = slice(start, min(start + size, len(units)))
            missing = start + size - here.stop
            pad = partial(np.pad, pad_width=(0, missing), mode="edge")
            part = jax.tree_util.tree_map(lambda leaf, here=here, pad=pad: pad(leaf[here]), table)
            block = _block_shares(rule, function, part, pad(units[here]), np.float64(score))
            found[:, here] = [np.asarray(each)[: size - missing] for each in block]
    return found[0], found[1]
