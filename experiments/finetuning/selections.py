"""Selections to fine-tune on: by the methods of the registry, by MIG, and controls."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from experiments.finetuning.study import Study
from mig_jax import data
from mig_jax.commands.candidates import candidates_of_table
from mig_jax.commands.terminal import say
from mig_jax.errors import InputError
from mig_jax.language_models import RecordGradients, RecordLosses
from mig_jax.learning import (
    FROM_WORDS,
    START_THRESHOLDS,
    CountModels,
    Inputs,
    LearnedMeasure,
    conversation_bags,
    harden,
    learn,
    matched_start,
    paper_measure,
    parameters_of_labels,
)
from mig_jax.learning.objectives import Objective, hold_out, influence
from mig_jax.measure import EXACT, LINEAR, GainRule, Pool, pool_from_table
from mig_jax.methods import (
    METHODS,
    Candidates,
    Limits,
    choose,
    heeded,
    influences,
    means_of_groups,
    method_named,
    random_of_lengths,
    take,
)
from mig_jax.runs import digest
from mig_jax.selection import Constraints, select

__all__ = ["OWN_METHODS", "Selections", "check_names"]

_CORRUPTED = "corrupted"  # The field that tells which responses belong to other records.
_STEPS_OF_LEARNING = 60
_HELD_OUT = 0.3
_OF_LENGTHS = "lengths_of_"
_HEEDED, _CLEAN = "heeded_", "clean_"
_DRAW = re.compile(r"(random\w*)#[1-9]\d{0,2}")  # Seeds are 1,000 apart.


class Selections:
    """Selections of a study. Each seed sees a share of the pool of its own, the same for all."""

    def __init__(
        self,
        study: Study,
        inputs: Inputs,
        share: float,
        group_field: str | None = None,
        gradients: RecordGradients | None = None,
        losses: RecordLosses | None = None,
    ) -> None:
        """Takes what selections are made from.

        Args:
          study: the records, and what they cost.
          inputs: the pool as learning takes it.
          share: of the pool that a seed sees.
          group_field: whose values are the groups of records.
          gradients: of the study's model, for methods that ask it.
          losses: of the same, for those that ask for them.
        """
        self._study, self._inputs, self._share = study, inputs, share
        self._gradients, self._losses, self._field = gradients, losses, group_field
        self._groups = (
            None if group_field is None else data.field_values(study.table, group_field)[1]
        )

    def identity(self, pool: Sequence[str]) -> dict[str, Any]:
        """What decides the selections from the files of a pool, in types that JSON has.

        The model that methods ask is not in it: studies of several models may have the
        selections of one.
        """
        study, table = self._study, self._inputs.table
        names = "\n".join(table.label_names).encode("utf-8", "surrogatepass")
        labels = [table.labels, table.offsets, table.scores, np.frombuffer(names, np.uint8)]
        return {
            "row": study.limit,
            "pool_share": self._share,
            "pool": data.pool_digests(pool),
            "labels": digest([*labels, self._inputs.embeddings]),
            "costs": digest([study.costs]),
            "validation": study.validation.digest,
            "group_field": self._field,
            "gradient_records": None if self._gradients is None else self._gradients.records,
            "learning": [_STEPS_OF_LEARNING, *FROM_WORDS],
        }

    def check(self, methods: Sequence[str], budgets: Sequence[Limits], seeds: int) -> None:
        """Raises InputError if a method lacks what it needs, or a budget leaves no choice."""
        for method in methods:
            name, among = _plain(method), _among(_with_lengths(method))[0]
            if name == _CORRUPTED or _CLEAN in among:
                self._bad()
            if name in METHODS and (lacking := METHODS[name].lacks(self._candidates(0))):
                flag = " (--group_field)" if "groups" in lacking else ""
                raise InputError(f"--methods: {method}: needs {', '.join(lacking)}{flag}")
        for among in dict.fromkeys(_among(_with_lengths(method))[0] for method in methods):
            # What is heeded the model is asked for, and so not before a choice is made among it:
            # a study that has the selections of another never asks its own.
            if _HEEDED not in among:
                self._check_budgets(budgets, range(seeds), among)

    def _check_budgets(
        self, budgets: Sequence[Limits], seeds: Sequence[int], among: frozenset[str]
    ) -> None:
        """Raises InputError if budgets leave no choice among what prefixes leave of the pool."""
        seen = [self._seen_of(seed, among) for seed in seeds]
        most = {
            "records": min(map(len, seen)),
            "tokens": min(int(self._study.costs[own].sum()) for own in seen),
        }
        which = "".join(f"{prefix.rstrip('_')} " for prefix in sorted(among))
        for limits in budgets:
            for unit, there in most.items():
                asked = getattr(limits, unit)
                if asked is not None and asked >= there:
                    raise InputError(
                        f"--{unit}: {asked:,}: a seed sees {there:,} {which}{unit}; expected less, "
                        "or all methods take the same"
                    )

    def select(self, method: str, limits: Limits, seed: int) -> npt.NDArray[np.int64]:
        """The records of the pool that a method takes for a seed: int64, no one twice.

        Raises:
          InputError: if there is no such method, or it lacks what it needs.
        """
        if method.startswith(_OF_LENGTHS):
            other = self.select(method.removeprefix(_OF_LENGTHS), limits, seed)
            order = random_of_lengths(self._study.costs[other])
            seen, candidates = self.seen(seed), self._candidates(seed)
            rng = np.random.default_rng([seed, 3])
            return seen[take(order(candidates, rng, limits), candidates.costs, limits)]
        among, method = _among(method)
        if _HEEDED in among:
            self._check_budgets([limits], [seed], among)
        seen = self._seen_of(seed, among)
        if method in OWN_METHODS:
            return seen[OWN_METHODS[method](self, seen, limits, seed)]
        if found := _LEARNED_FOR.fullmatch(method):
            learned_for = Limits(tokens=int(found[2])) if found[2] else limits
            measure = self._measure(found[1], among, learned_for, seed)
            return seen[self._mig(seen, limits, measure, EXACT)]
        name, _, draw = method.partition("#")  # `random#2` is the second of several draws.
        candidates = self._candidates(seed, among)
        return seen[choose(name, candidates, limits, seed=seed + 1000 * int(draw or 0))]

    def seen(self, seed: int) -> npt.NDArray[np.int64]:
        """The records that a seed may choose from, ascending."""
        fits = self._study.fits
        order = np.random.default_rng([seed, 2]).permutation(len(fits))
        return np.sort(fits[order[: round(self._share * len(fits))]])

    def _seen_of(self, seed: int, among: frozenset[str]) -> npt.NDArray[np.int64]:
        """Those of `seen` that all of the prefixes `among` leave."""
        seen = self.seen(seed)
        for prefix in among:
            seen = seen[_AMONG[prefix](self, seen)]
        return seen

    @functools.lru_cache(maxsize=2)  # noqa: B019 - as long as the selections live
    def _candidates(self, seed: int, among: frozenset[str] = frozenset()) -> Candidates:
        study, seen = self._study, self._seen_of(seed, among)
        gradients, losses = self._gradients, self._losses
        return candidates_of_table(
            self._inputs.table,
            study.costs,
            rows=seen,
            groups=self._groups,
            validation=study.validation,
            count=study.count,
            response_losses=None if losses is None else lambda: losses.of(seen),
            gradients=None if gradients is None else lambda: gradients.of(seen),
        )

    def _pool(self, seen: npt.NDArray[np.int64]) -> Pool:
        return pool_from_table(self._inputs.table.only(seen))

    def _mig(
        self, seen: npt.NDArray[np.int64], limits: Limits, measure: LearnedMeasure, rule: GainRule
    ) -> npt.NDArray[np.int64]:
        pool, graph, hard = harden(measure, self._pool(seen), self._inputs.graph)
        constraints = Constraints()
        if limits.tokens is not None:
            constraints = Constraints(self._study.costs[seen].astype(np.int32), limits.tokens)
        return select(
            pool, graph, limits.records, constraints=constraints, measure=hard, gain=rule
        ).picks.astype(np.int64)

    @functools.lru_cache(maxsize=16)  # noqa: B019 - as long as the selections live
    def _measure(
        self, method: str, among: frozenset[str], limits: Limits, seed: int
    ) -> LearnedMeasure:
        """What a method of `_LEARNED` learns for these limits; the same for all that use it."""
        return _LEARNED[method](self, self._seen_of(seed, among), limits, seed)

    def _from_words(self, seen: npt.NDArray[np.int64], limits: Limits, seed: int) -> LearnedMeasure:
        """A measure learned from models of words on the validation records."""
        study = self._study
        texts = conversation_bags([study.conversations[n] for n in seen.tolist()])
        objective = CountModels(texts, seed, say).objective(study.validation, seed)
        return self._learn(seen, limits, objective, seed)

    def _from_gradients(
        self, seen: npt.NDArray[np.int64], limits: Limits, seed: int
    ) -> LearnedMeasure:
        """A measure learned from what the model says it would learn from some records.

        The model was asked about those alone; the measure then chooses among all. The budget
        that is learned for is as large a share of theirs as the budget is of all.
        """
        if self._gradients is None:
            raise InputError("mig_asked: needs the gradients of the study's model")
        gradients, wanted = self._gradients.of(seen)
        asked = gradients.any(axis=1)
        known = wanted.any(axis=1)
        wanted, groups = wanted[known], self._study.validation.groups[known]
        costs = self._study.costs[seen[asked]]
        fitted, held_out = (
            influences(gradients[asked], means_of_groups(wanted[part], groups[part]), costs)
            for held in [hold_out(groups, _HELD_OUT, seed)]
            for part in (~held, held)
        )
        objective = influence(fitted, held_out, costs)
        smaller = _scaled(limits, float(asked.mean()))
        return self._learn(seen[asked], smaller, objective, seed)

    def _learn(
        self, seen: npt.NDArray[np.int64], limits: Limits, objective: Objective, seed: int
    ) -> LearnedMeasure:
        """A measure learned by an objective of these records, for about as many as fit."""
        budget = limits.records
        if budget is None:
            assert limits.tokens is not None
            budget = max(1, round(limits.tokens / float(self._study.costs[seen].mean())))
        pool = self._pool(seen)
        inputs = dataclasses.replace(self._inputs, pool=pool, seed=seed)
        inputs = inputs.for_budget(min(budget, pool.num_records))
        starts = [parameters_of_labels(inputs, t, prior=FROM_WORDS) for t in START_THRESHOLDS]
        start, params = matched_start(inputs, objective, starts)
        found = learn(
            pool,
            inputs.graph,
            start,
            objective,
            inputs.budgets,
            jax.random.key(seed),
            steps=_STEPS_OF_LEARNING,
            params=params,
        )
        return found.learned

    def _heeded(self, seen: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of some records have a response that the model finds likelier behind its prompt."""
        assert self._losses is not None
        return heeded(*self._losses.of(seen))

    @functools.lru_cache(maxsize=1)  # noqa: B019 - as long as the selections live
    def _bad(self) -> npt.NDArray[np.bool_]:
        """Which records of the pool have a response that belongs to another."""
        values, which = data.field_values(self._study.table, _CORRUPTED)
        bad = [n for n, value in enumerate(values) if value.lower() == "true"]
        if not bad:
            raise InputError(
                f"--methods: corrupted, clean_METHOD: expected records whose field {_CORRUPTED} is "
                "true"
            )
        return np.isin(which, bad)

    def _corrupted(
        self, seen: npt.NDArray[np.int64], limits: Limits, seed: int
    ) -> npt.NDArray[np.int64]:
        """At random among records whose response belongs to another: what must do harm."""
        own = np.flatnonzero(self._bad()[seen])
        order = np.random.default_rng([seed, 4]).permutation(own)
        return take(order.tolist(), self._study.costs[seen], limits)


def check_names(methods: Sequence[str]) -> None:
    """Raises InputError if there is no such method."""
    for method in methods:
        name = _plain(method)
        if _LEARNED_FOR.fullmatch(name):
            continue
        if "#" in name:
            raise InputError(
                f"--methods: {method}: expected draws of random methods alone, as random#1 to "
                "random#999"
            )
        if name not in OWN_METHODS:
            try:
                method_named(name)
            except InputError as error:
                before = (f"{prefix}METHOD" for prefix in (_OF_LENGTHS, *_AMONG))
                learned = (f"{name}[@TOKENS]" for name in _LEARNED)
                own = ", ".join([*OWN_METHODS, *learned, *before])
                raise InputError(f"--methods: {error}, {own}") from None


def _plain(method: str) -> str:
    """The name of a method, without the number of its draw and what stands before it."""
    method = _among(_with_lengths(method))[1]
    found = _DRAW.fullmatch(method)
    return found[1] if found else method


def _with_lengths(method: str) -> str:
    """The method whose lengths are asked for, or the method itself."""
    while method.startswith(_OF_LENGTHS):
        method = method.removeprefix(_OF_LENGTHS)
    return method


def _among(method: str) -> tuple[frozenset[str], str]:
    """Which prefixes narrow what a method chooses from, and the method."""
    found = set()
    while narrowing := [p for p in _AMONG if method.startswith(p) and p not in found]:
        found.add(narrowing[0])
        method = method.removeprefix(narrowing[0])
    return frozenset(found), method


_Narrow = Callable[[Selections, npt.NDArray[np.int64]], npt.NDArray[np.bool_]]

#: What may stand before a method: which of the records seen it chooses from. What the model finds
#: heeded, and what truly is: the second is a control, as users do not know it.
_AMONG: dict[str, _Narrow] = {
    _HEEDED: lambda s, seen: s._heeded(seen),
    _CLEAN: lambda s, seen: ~s._bad()[seen],
}

_Own = Callable[[Selections, npt.NDArray[np.int64], Limits, int], npt.NDArray[np.int64]]

#: What is not in the registry: MIG in its forms, and a control that must do harm.
OWN_METHODS: dict[str, _Own] = {
    "corrupted": lambda s, seen, limits, seed: s._corrupted(seen, limits, seed),
    "mig_linear": lambda s, seen, limits, seed: s._mig(seen, limits, paper_measure(), LINEAR),
    "mig_exact": lambda s, seen, limits, seed: s._mig(seen, limits, paper_measure(), EXACT),
}

_Learned = Callable[[Selections, npt.NDArray[np.int64], Limits, int], LearnedMeasure]

#: MIG with a measure that is learned: for the budget, or `mig_learned@TOKENS` once for all budgets.
_LEARNED: dict[str, _Learned] = {
    "mig_learned": lambda s, seen, limits, seed: s._from_words(seen, limits, seed),
    "mig_asked": lambda s, seen, limits, seed: s._from_gradients(seen, limits, seed),
}
_LEARNED_FOR = re.compile(rf"({'|'.join(_LEARNED)})(?:@([1-9]\d*))?")


def _scaled(limits: Limits, share: float) -> Limits:
    """The same share of fewer records: at least one record, or token."""
    tokens, records = limits.tokens, limits.records
    return Limits(
        records=None if records is None else max(1, round(records * share)),
        tokens=None if tokens is None else max(1, round(tokens * share)),
    )
