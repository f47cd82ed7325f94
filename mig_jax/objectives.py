"""What parameters of a measure are judged by when they are learned.

An `Objective` gives two losses: one that learning descends, and one on data held
out from it, which says when to stop. There are four:

- `target`: the selected information over labels should be that of a target set;
- `validation`: a model of the selected responses should predict those of
  validation records (bilevel; `mig_jax.proxies` says what the model is);
- `subsets`: E should rank subsets as measured results of past runs do;
- `imitation`: greedy selection with a softmax should pick what was picked by hand.

Each has a function that builds it, on the host, from data of the user's and a seed
that says what is held out. The objects are pytrees: pure data and pure functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mig_jax.errors import InputError
from mig_jax.gains import EXACT, marginal_gains
from mig_jax.information import Measure, information, label_information
from mig_jax.label_graph import LabelGraph, propagate
from mig_jax.pages import PageLayout, fill_pages, lay_out_pages
from mig_jax.pool import Array, Pool, pool_from_label_lists
from mig_jax.proxies import CountModel, ResponseBags, response_losses
from mig_jax.relaxation import RelaxedSelection

__all__ = [
    "Imitation",
    "Objective",
    "Subsets",
    "Target",
    "Validation",
    "hold_out",
    "imitation",
    "spearman",
    "subset_information",
    "subsets",
    "target",
    "validation",
]

# The part of a selection's information that counts as spread evenly over all labels, so that
# the divergence stays finite where the target has a label that the selection has not.
_EVEN_SHARE = 1e-3
_MOST_PREFIXES = 32


class Objective(Protocol):
    """What a softened pool, graph and measure are judged by. Members are pytrees."""

    @property
    def needs_selection(self) -> bool:
        """Whether `losses` looks at the relaxed selection; it gets None where not."""
        ...

    def losses(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        selection: RelaxedSelection | None,
        turn: Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """The loss on the fitted and on the held-out part of the data, scalars to be small.

        Args:
          pool: P records, their scores as the parameters make them.
          graph: K labels, edges below the threshold softly gated.
          measure: what is learned.
          selection: of the budget, under this measure.
          turn: int scalar, the step of learning. An objective that averages over several
            models may look at one of them a turn; without a turn it looks at all.
        """
        ...


def hold_out(groups: Any, share: float, seed: int) -> np.ndarray:
    """Which items are held out: bool [n], about `share` of each group, drawn at random.

    A group of two or more keeps one item on either side.

    >>> hold_out(["a", "a", "b"], 0.3, seed=0).sum()
    np.int64(1)
    """
    groups = np.asarray(groups)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    return held


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """KL divergence of the selected information from a target's, as built by `target`.

    Both are compared over one fixed graph: over the learned one, propagation
    could make them alike by spreading both over everything.
    """

    pool: Pool  # As read.
    graph: LabelGraph
    propagation: Array
    fitted: Array  # float [K], of sum 1: share of the target's information on each label.
    held_out: Array

    @property
    def needs_selection(self) -> bool:
        return True

    def losses(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        selection: RelaxedSelection | None,
        turn: Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        assert selection is not None
        fixed = Measure(propagation=self.propagation)
        z = label_information(self.pool, self.graph, fixed, selection.amounts)
        total = jnp.sum(z)
        selected = z / jnp.where(total > 0, total, 1)
        even = 1 / self.graph.num_labels
        log_share = jnp.log((1 - _EVEN_SHARE) * selected + _EVEN_SHARE * even)

        def divergence(wanted: Array) -> jax.Array:
            log_wanted = jnp.log(jnp.where(wanted > 0, wanted, 1))
            return jnp.sum(wanted * (log_wanted - log_share))

        return divergence(self.fitted), divergence(self.held_out)


def target(
    label_lists: Sequence[Sequence[int]],
    pool: Pool,
    graph: LabelGraph,
    *,
    propagation: float = 1.0,
    held_out: float = 0.3,
    seed: int,
) -> Target:
    """The objective to select as much of each label's information as target records have.

    Args:
      label_lists: ids of the pool's labels that each target record has.
      pool: P records, as read.
      graph: K labels, over which the two are compared.
      propagation: α with which they are compared.
      held_out: share of the target records that is held out.
      seed: says which.

    Raises:
      InputError: where fewer than two target records have labels of the pool.
    """
    labelled = [list(labels) for labels in label_lists if len(labels)]
    if len(labelled) < 2:
        raise InputError(
            f"{len(labelled)} of {len(label_lists)} target records have labels of the pool; "
            "expected at least 2 with `labels`"
        )
    held = hold_out(np.zeros(len(labelled)), held_out, seed)

    def shares(part: np.ndarray) -> np.ndarray:
        rows = [labels for labels, wanted in zip(labelled, part, strict=True) if wanted]
        records = pool_from_label_lists(rows, np.ones(len(rows)))
        fixed = Measure(propagation=propagation)
        z = np.asarray(label_information(records, graph, fixed, np.ones(len(rows))), np.float64)
        return (z / z.sum()).astype(np.float32)

    return Target(pool, graph, jnp.asarray(float(propagation)), shares(~held), shares(held))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Validation:
    """Loss on validation responses of models fitted to the selection, as built by `validation`."""

    models: tuple[CountModel, ...]  # Of the pool; each has its own hashes and clusters.
    # Of each model, the validation records, and their shares in the loss, float [n] of sum 1.
    fitted: tuple[tuple[ResponseBags, Array], ...]
    held_out: tuple[tuple[ResponseBags, Array], ...]

    @property
    def needs_selection(self) -> bool:
        return True

    def losses(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        selection: RelaxedSelection | None,
        turn: Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        assert selection is not None

        def of_model(number: int, amounts: jax.Array) -> tuple[jax.Array, jax.Array]:
            tables = self.models[number].fit(amounts)
            fitted, held_out = (
                jnp.vdot(shares, response_losses(tables, bags))
                for bags, shares in (self.fitted[number], self.held_out[number])
            )
            return fitted, held_out

        count = len(self.models)
        branches = [lambda amounts, n=n: of_model(n, amounts) for n in range(count)]
        if turn is not None:
            return lax.switch(turn % count, branches, selection.amounts)
        losses = [branch(selection.amounts) for branch in branches]
        fitted, held_out = (sum(part) / count for part in zip(*losses, strict=True))
        return fitted, held_out


def validation(
    models: Sequence[CountModel],
    bags: Sequence[ResponseBags],
    groups: Any,
    *,
    held_out: float = 0.3,
    seed: int,
) -> Validation:
    """The objective to select what teaches the responses of the validation records.

    Args:
      models: count models of the pool, of several seeds: learning takes them in turn.
      bags: of each model, the n validation records.
      groups: n names; every group (a task, say) has the same part in the loss.
      held_out: share of each group that is held out.
      seed: says which.

    Raises:
      InputError: where there are fewer than two validation records.
    """
    groups = np.asarray(groups)
    if len(groups) < 2:
        raise InputError(f"{len(groups)} validation records; expected at least 2")
    held = hold_out(groups, held_out, seed)
    if not held.any():  # Groups of one each.
        held = hold_out(np.zeros(len(groups)), held_out, seed)

    def part(kept: np.ndarray) -> tuple[tuple[ResponseBags, Array], ...]:
        names, group, counts = np.unique(groups[kept], return_inverse=True, return_counts=True)
        shares = (1 / counts[group] / len(names)).astype(np.float32)
        rows = np.flatnonzero(kept)
        return tuple((jax.tree_util.tree_map(lambda x: x[rows], b), shares) for b in bags)

    return Validation(tuple(models), part(~held), part(held))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Subsets:
    """Pairwise logistic loss of E against measured results, as built by `subsets`."""

    records: Array  # int32 [members]: record of each membership.
    members: Array  # int32 [members]: the subset that the record is in.
    label_slots: Array  # int32 [slots]: membership of each (subset, record, label).
    labels: Array  # int32 [slots]
    results: Array  # float [S]: measured; the higher the better.
    fitted: Array  # int32 [pairs, 2]: subsets, the better one first.
    held_out: Array  # int32 [pairs, 2]: pairs with a subset that is held out.

    @property
    def needs_selection(self) -> bool:
        return False

    def losses(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        selection: RelaxedSelection | None,
        turn: Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        values = subset_information(self, pool, graph, measure)
        # In units of their spread: the scale of E means nothing.
        deviations = values - jnp.mean(values)
        spread = jnp.sqrt(jnp.mean(deviations**2) + 1e-12 * jnp.mean(values**2) + 1e-30)
        scaled = deviations / spread

        def loss(pairs: Array) -> jax.Array:
            better, worse = pairs[:, 0], pairs[:, 1]
            return jnp.mean(jax.nn.softplus(scaled[worse] - scaled[better]))

        return loss(self.fitted), loss(self.held_out)


def subset_information(
    objective: Subsets, pool: Pool, graph: LabelGraph, measure: Measure
) -> jax.Array:
    """E of each subset under a measure: float [S]."""
    shape = objective.results.shape[0], graph.num_labels
    slots = jnp.asarray(objective.label_slots)
    values = jnp.asarray(pool.scores)[objective.records][slots]
    raw = jnp.zeros(shape, values.dtype)
    raw = raw.at[jnp.asarray(objective.members)[slots], objective.labels].add(values)
    z = jax.vmap(lambda row: propagate(graph, measure.propagation, row))(raw)
    return jax.vmap(lambda row: information(measure, row))(z)


def subsets(
    picks: Sequence[Any],
    results: Any,
    pool: Pool,
    *,
    held_out: float = 0.3,
    seed: int,
) -> Subsets:
    """The objective to rank subsets of the pool as measured results of training on them do.

    Args:
      picks: for each of S subsets the record indices in it.
      results: float [S], what training on each has given; the higher the better.
      pool: P records.
      held_out: share of the subsets whose pairs are held out.
      seed: says which.

    Raises:
      InputError: where there are fewer than 4 subsets, a result is not finite, all
        results are the same, or a subset is empty or names a record that is not there.
    """
    scores = np.asarray(results, np.float64).reshape(-1)
    if len(scores) != len(picks):
        raise InputError(f"{len(picks)} subsets but {len(scores)} results; expected one each")
    if len(scores) < 4:
        raise InputError(f"{len(scores)} measured subsets; expected at least 4")
    if not np.isfinite(scores).all():
        worst = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise InputError(f"result {worst + 1} is {scores[worst]}; expected finite numbers")
    rows = [np.unique(np.asarray(row, np.int64)) for row in picks]
    for number, row in enumerate(rows, 1):
        if not len(row) or row[0] < 0 or row[-1] >= pool.num_records:
            raise InputError(
                f"subset {number} is empty or names a record outside the pool; expected indices "
                f"from 0 to {pool.num_records - 1}"
            )
    held = hold_out(np.zeros(len(scores)), held_out, seed)
    better, worse = np.nonzero(scores[:, None] > scores[None, :])
    pairs = np.stack([better, worse], axis=1).astype(np.int32)
    touched = held[better] | held[worse]
    if not touched.any() or touched.all():
        raise InputError("the results do not differ enough to be ranked; expected distinct ones")
    records = np.concatenate(rows)
    members = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    first = np.searchsorted(pool.records, np.arange(pool.num_records + 1))
    counts = np.diff(first)[records]
    slots = np.repeat(np.arange(len(records)), counts)
    within = np.arange(len(slots)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Subsets(
        records.astype(np.int32),
        members.astype(np.int32),
        slots.astype(np.int32),
        np.asarray(pool.labels)[first[records][slots] + within],
        scores.astype(np.float32),
        pairs[~touched],
        pairs[touched],
    )


def spearman(first: Any, second: Any) -> float:
    """Rank correlation of two float [n]; equal values share their mean rank. 0 where undefined.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.5
    """

    def centred_ranks(values: Any) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse] - (len(inverse) + 1) / 2

    a, b = centred_ranks(first), centred_ranks(second)
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Imitation:
    """Likelihood of picking what was picked by hand, as built by `imitation`."""

    layout: PageLayout
    rank: Array  # int32 [P]: which pick by hand a record is, from 0; P where it is none.
    lengths: Array  # int32 [T]: picks by hand before each of the picks judged.
    fitted: Array  # bool [P]: picked by hand.
    held_out: Array  # bool [P]: picked by hand, and held out.
    temperature: Array  # Of the softmax, in units of the mean gain.

    @property
    def needs_selection(self) -> bool:
        return False

    def losses(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        selection: RelaxedSelection | None,
        turn: Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        pages = fill_pages(self.layout, pool, graph, measure)

        @jax.checkpoint
        def of_pick(length: jax.Array) -> tuple[jax.Array, jax.Array]:
            left = self.rank >= length
            z = label_information(pool, graph, measure, ~left)
            gains = marginal_gains(EXACT, measure, pages, z, pool.num_records)
            mean = jnp.mean(gains)
            odds = gains / (self.temperature * jnp.where(mean > 0, mean, 1))

            def surprise(wanted: jax.Array, other: jax.Array) -> jax.Array:
                among = left & ~other
                of_wanted = jax.nn.logsumexp(jnp.where(among & wanted, odds, -jnp.inf))
                return jax.nn.logsumexp(jnp.where(among, odds, -jnp.inf)) - of_wanted

            # What the other part wants is no wrong pick: it is taken out.
            fitted, held_out = jnp.asarray(self.fitted), jnp.asarray(self.held_out)
            return surprise(fitted, held_out), surprise(held_out, fitted)

        fitted, held_out = lax.map(of_pick, jnp.asarray(self.lengths))
        return jnp.mean(fitted), jnp.mean(held_out)


def imitation(
    picks: Any,
    pool: Pool,
    graph: LabelGraph,
    *,
    temperature: float = 1.0,
    held_out: float = 0.3,
    seed: int,
) -> Imitation:
    """The objective to pick as was picked by hand, by greedy selection with a softmax.

    Teacher-forced: each pick judged starts from picks made by hand, not by the
    measure. A set has no order, so a pick is right where it is any record of the set
    that is left; at most 32 picks are judged, evenly spread over a random order.

    Args:
      picks: int [n], the records picked by hand.
      pool: P records.
      graph: K labels, with all the edges that the learned measure may use.
      temperature: of the softmax over gains, in units of their mean.
      held_out: share of the picks that is held out: never picked before a pick judged.
      seed: says which, and the order.

    Raises:
      InputError: where fewer than 4 records are picked, or all, or one is not there.
    """
    chosen = np.unique(np.asarray(picks, np.int64))
    if len(chosen) < 4 or len(chosen) >= pool.num_records:
        raise InputError(
            f"{len(chosen)} records of {pool.num_records} are picked by hand; expected at least "
            "4, and not all"
        )
    if chosen[0] < 0 or chosen[-1] >= pool.num_records:
        raise InputError(
            f"a record picked by hand is outside the pool; expected 0 to {pool.num_records - 1}"
        )
    held = hold_out(np.zeros(len(chosen)), held_out, seed)
    order = np.random.default_rng([seed, 1]).permutation(chosen[~held])
    lengths = np.unique(np.linspace(0, len(order) - 1, _MOST_PREFIXES).astype(np.int64))
    rank = np.full(pool.num_records, pool.num_records, np.int32)
    rank[order] = np.arange(len(order))
    masks = np.zeros((2, pool.num_records), bool)
    masks[0, chosen[~held]] = masks[1, chosen[held]] = True
    layout = lay_out_pages(pool, graph)
    parts = masks[0], masks[1]
    return Imitation(
        layout, rank, lengths.astype(np.int32), *parts, jnp.asarray(float(temperature))
    )
