"""The steps of a selection with what they say meanwhile: picking, certifying, writing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mig_jax import data
from mig_jax.commands.budgets import Budget
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.devices import ALONE, Hosts
from mig_jax.errors import InputError
from mig_jax.measure import GainRule, LabelGraph, Measure, Pool
from mig_jax.reports import proven_per_cent
from mig_jax.runs import place_told
from mig_jax.selection import (
    Certificate,
    InfeasibleError,
    Progress,
    Selection,
    certify,
    certify_prefixes,
    select,
)

if TYPE_CHECKING:  # Who learned nothing needs no optax and flax.
    from mig_jax.learning import LearnedMeasure

__all__ = [
    "certify_with_bar",
    "check_information",
    "select_with_bar",
    "told_of_learned",
    "told_prefixes",
    "write_selection",
]


def select_with_bar(
    pool: Pool,
    graph: LabelGraph,
    budget: Budget,
    *,
    measure: Measure,
    gain: GainRule,
    hosts: Hosts = ALONE,
    resume: Progress | None = None,
    save: Callable[[Progress], None] | None = None,
) -> Selection:
    """What `select` picks; `save` is called with the picks so far, again and again."""
    attempt, done = 0, 0
    if resume is not None and len(resume):
        of_all = f"of {budget.records:,} " if budget.most_cost is None else ""
        say(f"resuming after {len(resume):,} {of_all}picks")
        attempt, done = resume.under_way, budget.spent(resume.passes()[1].picks, hosts)
    with progress_bar(_attempted(attempt), budget.total, unit=budget.unit, initial=done) as bar:

        def on_chunk(progress: Progress) -> None:
            nonlocal attempt
            if progress.under_way > attempt:
                attempt = progress.under_way
                bar.restart(_attempted(attempt))
            bar.update(budget.spent(progress.passes()[1].picks, hosts) - bar.n)
            if save is not None:
                save(progress)

        try:
            selection = select(
                pool,
                graph,
                budget.records,
                constraints=budget.constraints,
                measure=measure,
                gain=gain,
                mesh=hosts.mesh,
                resume=resume,
                on_chunk=on_chunk,
            )
        except InfeasibleError as error:
            raise budget.refusal(error) from None
        bar.rename("selecting")  # Whichever attempt was the best.
        bar.update(budget.spent(selection.picks, hosts) - bar.n)
    _check_picks(len(selection), budget)
    all_raised = np.append(selection.increases, selection.given_information)
    check_information(selection.information, all_raised)
    return selection


def _attempted(attempt: int) -> str:
    """What a bar is called: of limits beside the budget there may be several selections."""
    if not attempt:
        return "selecting"
    return f"selecting another way, try {attempt + 1} (the best try is kept)"


def _check_picks(count: int, budget: Budget) -> None:
    """Says that fewer records were picked than were asked for, and raises InputError if none."""
    if not count:
        raise InputError(
            "nothing was picked: no record keeps to all limits and adds information; expected a "
            "larger budget, or larger maxima"
        )
    if budget.most_cost is None and budget.records is not None and count < budget.records:
        say(f"{count:,} of {budget.records:,} records were picked: any other would pass a quota")


def check_information(information: Any, increases: Any) -> None:
    """Raises InputError if E is lost in the rounding of φ(x) − φ(0), as of scores far below ε.

    `increases` [..., N] are those of the picks, which are computed without a difference, and
    `information` [...] is E of all: the picks are right then, and nothing can be told of them.
    """
    total = np.sum(np.asarray(increases, np.float64), axis=-1)
    if np.any(np.abs(np.asarray(information, np.float64) - total) > total / 2):
        raise InputError(
            "the information of the selection is too small beside the parameters of the measure "
            "to compute with; expected scores near 1 (multiply all by one number), or a smaller "
            "epsilon"
        )


def certify_with_bar(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    selection: Selection,
    budget: Budget,
    hosts: Hosts = ALONE,
) -> Certificate:
    """How close to optimal the selection is proven to be."""
    with progress_bar("certifying", None, unit="rounds") as bar:

        def on_step(step: int, bound: float) -> None:
            proven = proven_per_cent(selection.information / bound if bound > 0 else 1.0)
            bar.set_postfix_str(f"at least {proven} of the best possible", refresh=False)
            bar.update(step - bar.n)

        return certify(
            pool,
            graph,
            measure,
            selection.picks,
            budget=budget.records,
            constraints=budget.constraints,
            mesh=hosts.mesh,
            on_step=on_step,
        )


def told_prefixes(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    selection: Selection,
    budget: Budget,
    certificate: Certificate,
    hosts: Hosts = ALONE,
) -> dict[str, Any]:
    """What the manifest tells of the first picks as smaller selections; not under quotas."""
    with progress_bar("certifying smaller budgets", None, leave=False):
        found = certify_prefixes(
            pool,
            graph,
            measure,
            selection.picks,
            budget=budget.records,
            constraints=budget.constraints,
            whole=certificate,
            mesh=hosts.mesh,
        )
    rows = [
        {
            "records": prefix.records,
            "tokens": prefix.cost,
            "information": prefix.certificate.information,
            "certified_ratio": prefix.certificate.certified_ratio,
        }
        for prefix in found
    ]
    return {"prefixes": rows}


def told_of_learned(
    learned: LearnedMeasure,
    measure: Measure,
    budgets: Sequence[int],
    labels_learned: int | None,
) -> dict[str, Any]:
    """What the manifest tells of learned parameters.

    Args:
      learned: the parameters.
      measure: what `harden` makes of them.
      budgets: for how many records they were learned, as far as is known.
      labels_learned: how many labels of the pool were; None where features give those of any.
    """
    return {
        "propagation": float(measure.propagation),
        "threshold": float(learned.threshold),
        "score_exponent": float(learned.score_exponent),
        "budgets": list(budgets),
        "labels_learned": labels_learned,
    }


def write_selection(
    table: data.RecordTable,
    picks: np.ndarray,
    selection: Selection,
    records_out: BinaryIO,
    table_out: BinaryIO | None,
    tokens: np.ndarray | None = None,
    **how: Any,
) -> None:
    """Writes the records picked and the table that tells of each.

    Args:
      table: has all picks.
      picks: int64 [G + N], indices into the table; records that are given come first, if they
        are written too.
      selection: what was gained by each of the N picks.
      records_out: gets the records.
      table_out: gets the table, in Parquet, if it is not None.
      tokens: int64 [G + N]: what each costs, if that counts.
      how: the options of `data.write_records`.
    """
    with place_told(tempfile.gettempdir()):  # Outputs tell their own names.
        data.write_records(table, picks, records_out, **how)
    if table_out is None:
        return
    held = selection.given_information
    so_far = held + np.cumsum(selection.increases, dtype=np.float64)
    given = len(picks) - len(selection)
    data.write_selection_table(
        table_out,
        table,
        picks,
        selection.gains,
        np.append(np.full(given, held), so_far),
        increases=selection.increases,
        given=given,
        tokens=tokens,
    )
