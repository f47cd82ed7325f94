"""A selection by another method than MIG: from the flags to its picks, and what is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.commands.asking import Answers, ask
from mig_jax.commands.budget_flags import BY_FILE
from mig_jax.commands.budgets import Budget
from mig_jax.commands.candidates import candidates_of_table
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.errors import InputError
from mig_jax.measure import LabelGraph, Measure, Pool
from mig_jax.methods import METHODS, Candidates, Limits, choose, take
from mig_jax.selection import Selection, selection_of_picks

__all__ = ["select_by_method"]


def select_by_method(
    options: SelectOptions,
    table: data.RecordTable,
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: Budget,
) -> tuple[Selection, dict[str, Any]]:
    """What --method picks, with what each pick adds by the measure; and what the manifest tells.

    Raises:
      InputError: if records have no texts and the method needs them, --validation cannot be
        read, no record has the field of the groups, or nothing is picked.
    """
    costs, validation = _costs(options, table, budget), None
    if options.validation is not None:
        validation = data.read_validation(options.validation)
    answers = ask(options, table, validation) if options.asks else None
    candidates = _candidates(options, table, costs, validation, answers)
    limits = Limits(budget.records, budget.most_cost)
    by_tokens = budget.most_cost is not None
    with progress_bar("selecting", budget.total, unit=budget.unit) as bar:

        def on_pick(record: int) -> None:
            bar.update(int(candidates.costs[record]) if by_tokens else 1)

        picks = choose(options.method, candidates, limits, seed=options.seed, on_pick=on_pick)
        if answers is not None:
            picks = _with_others(options, answers, picks, costs, limits)
            bar.update((int(costs[picks].sum()) if by_tokens else len(picks)) - bar.n)
    if not len(picks):
        raise InputError(
            f"--method={options.method}: picked nothing: no record is one that it takes and fits "
            "the budget; expected a larger budget, or another method"
        )
    if _is_short(picks, costs, limits):
        asked = f" of {budget.records:,}" if budget.records is not None else ""
        fits = " that fits the tokens left" if by_tokens else ""
        never = f"{options.method}{' with --heeded' * options.heeded}"
        say(
            f"{len(picks):,}{asked} records were picked: any other{fits} is one that {never} "
            "never takes"
        )
    told = _told(options) if answers is None else _told(options) | {"model": answers.told}
    return selection_of_picks(pool, graph, measure, picks), {"method": told}


def _with_others(
    options: SelectOptions,
    answers: Answers,
    picks: npt.NDArray[np.int64],
    costs: npt.NDArray[np.int64],
    limits: Limits,
) -> npt.NDArray[np.int64]:
    """Picks among the records that the model was asked about, as records of the pool.

    If the budget has room left, the others follow as they come, where the method takes these.
    """
    own = answers.records[picks]
    if not len(answers.others):
        return own
    picks = take([*own.tolist(), *answers.others.tolist()], costs, limits)
    if more := len(picks) - len(own):
        say(
            f"{more:,} of the {len(picks):,} records picked fill what was left of the budget: the "
            f"model was not asked about them; a smaller budget, or a larger --gradient_records or "
            f"--row, leaves fewer of them"
        )
    return picks


def _is_short(picks: npt.NDArray[np.int64], costs: npt.NDArray[np.int64], limits: Limits) -> bool:
    """Whether the limits leave room for a record that is not picked."""
    others = np.delete(costs, picks)
    if limits.tokens is not None:
        others = others[others <= limits.tokens - costs[picks].sum()]
    return len(others) > 0 and (limits.records is None or len(picks) < limits.records)


def _candidates(
    options: SelectOptions,
    table: data.RecordTable,
    costs: npt.NDArray[np.int64],
    validation: data.ValidationSet | None,
    answers: Answers | None,
) -> Candidates:
    encode = None
    if options.needs("embeddings") and options.embedding_model is not None:
        from mig_jax.annotation import encoder_of

        encode = encoder_of(options.embedding_model)
    return candidates_of_table(
        table,
        costs,
        rows=None if answers is None else answers.records,
        fields=options.fields,
        groups=_groups(options, table) if options.needs("groups") else None,
        validation=validation,
        count=options.token_counter or data.bytes_over_4,
        encode=encode,
        response_losses=None if answers is None else answers.response_losses,
        gradients=None if answers is None else answers.gradients,
    )


def _costs(
    options: SelectOptions, table: data.RecordTable, budget: Budget
) -> npt.NDArray[np.int64]:
    """The tokens of each record; zeros if nobody asks, as those do who look at gradients."""
    if budget.constraints.costs is not None:
        return np.asarray(budget.constraints.costs, np.int64)
    if options.needs("costs") or options.needs("gradients"):
        found = data.costs_and_groups(table, count=data.bytes_over_4, fields=options.fields).costs
        assert found is not None
        return found
    return np.zeros(table.num_records, np.int64)


def _groups(options: SelectOptions, table: data.RecordTable) -> npt.NDArray[np.int32]:
    if options.group_field == BY_FILE:
        return table.file_index
    field = str(options.group_path)
    names, groups = data.field_values(table, field)
    if names == [data.counted_value({}, field)]:
        raise InputError(
            f"--group_field: no record has a field {field}; expected one whose values are the "
            "groups, or `file`"
        )
    return groups


def _told(options: SelectOptions) -> dict[str, Any]:
    method = METHODS[options.method]
    told: dict[str, Any] = {
        "name": options.method,
        "about": method.about,
        "source": None if method.source is None else f"arXiv {method.source}",
        "seed": options.seed,
        "needs": sorted(method.needs),
    }
    if options.validation is not None:
        told["validation"] = options.validation
    if options.needs("embeddings"):
        told["embeddings"] = options.embedding_model or "of the texts alone"
    if options.needs("groups"):
        told["groups"] = options.group_field
    return told
