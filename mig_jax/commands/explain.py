"""`mig-jax explain`: why a record was picked, or why not, and what score it would have taken.

    mig-jax explain --selection=picked.jsonl --record=17

tells it of the record in line 17 of the pool. The pool, its label graph and the measure are those
of the selection, as its manifest tells; a flag names them again if they stand elsewhere now.
"""

from __future__ import annotations

import dataclasses
import io
import os
from typing import Any, Final

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.asked_records import asked_records
from mig_jax.commands.budgets import Budget, read_budget
from mig_jax.commands.command import Command
from mig_jax.commands.extension import Changes, read_extension
from mig_jax.commands.flag_groups import check_input_flags, define_input_flags
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import Field, File, Folder, Text, adder, several
from mig_jax.commands.given_records import GivenRecords, read_given
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.problem import read_problem
from mig_jax.commands.select_options import SelectOptions, define_select_flags
from mig_jax.commands.standard_streams import STANDARD
from mig_jax.commands.terminal import tell
from mig_jax.devices import ALONE
from mig_jax.errors import InputError
from mig_jax.measure import GAIN_RULES, pool_from_table
from mig_jax.reports import explanation_lines, scores_as_read, told_explanation
from mig_jax.selection import Explainer, Explanation, Rates
from mig_jax.synthetic import BuiltinPool

__all__ = ["COMMAND", "run"]

# Flags that name files or models, which may stand elsewhere now; the others must be as they were.
_MAY_MOVE: Final = ("pool", "vocabulary", "cache", "label_embeddings", "embedding_model", "params")
_OWN: Final = ("selection", "record", "id_field", "json", "output")
# By how much a gain may differ that is computed again: float32 and another machine's rounding.
_TOLERANCE: Final = 1e-3


def define_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    add.under(Section.INPUT)(
        Folder,
        "params",
        None,
        "Directory with learned parameters, if the selection was made with them and they stand "
        "elsewhere now.",
    )
    add(
        File,
        "selection",
        None,
        "What `mig-jax select` wrote: its --output, with .manifest.json and .selection.parquet "
        "beside it, or one of these. Flags that are not given are those of its manifest.",
    )
    add(
        several(Text),
        "record",
        [],
        "Record of the pool to explain: LINE; FILE:LINE, if the pool has several files; or its "
        "ID. May be repeated.",
    )
    add.under(Section.INPUT)(
        Field,
        "id_field",
        None,
        "Field of the IDs, as in --id_field=meta.id; then --record gives IDs, numbers too. "
        "By default the first of the usual ones: id, _id, uuid and the like.",
    )
    add(flags.DEFINE_boolean, "json", False, "Write JSON to standard output, for programs.")
    add(File, "output", None, "File to write the same JSON to.")
    define_input_flags(add, otherwise=" Without it that of the selection is read again.")


def run(values: flags.FlagValues) -> None:
    """Explains the records that were asked for.

    Raises:
      InputError: for anything given that cannot be used, or that is not of the selection.
    """
    finished = data.read_selection(values.selection)
    manifest = finished.manifest
    if "method" in manifest:
        raise InputError(
            f"--selection: {values.selection} was chosen by --method={manifest['method']['name']}, "
            "which does not go by information; expected a selection of --method=mig"
        )
    if not values.pool:
        values["pool"].value = list(manifest.get("parameters", {}).get("pool", []))
    check_input_flags(values)
    options = _options(values, finished)
    with data.OutputFiles([*options.files(), *finished.outputs()]) as files:
        output = None if values.output is None else files.open(values.output)
        table = read_table(options, None, fits=options.written_form)
        say_read(table)
        asked = asked_records(table, values.record, values.id_field)
        picks = _picks(finished, table)
        budget, given = _budget(options, table)
        problem = read_problem(options, table, pool_from_table(table), is_new=False)
        pool, graph, measure, *_ = problem
        rule, gains = GAIN_RULES[manifest["gain"]], finished.gains[finished.ranks > 0]
        rates = Rates.of(manifest["rates"]) if "rates" in manifest else None
        explainer = Explainer(
            *(pool, graph, measure, rule, picks, gains),
            budget=budget.records,
            constraints=budget.constraints,
            rates=rates,
        )
        _check_gains(explainer.gains_found, gains)
        as_read = scores_as_read(table, pool)
        told = []
        for each in asked:
            found = explainer.explain(each.record)
            about: dict[str, Any] = {} if each.told_id is None else {"id": each.told_id}
            about |= {
                "given": bool(given.own[each.record]),
                "by_cost": rates is not None and rates.has_costs,
            }
            about |= told_explanation(found, table, len(picks), as_read=as_read)
            told.append(about | _limits(found, budget, len(picks)))
        text = io.BytesIO()
        data.write_json(text, told)
        if output is not None:
            output.write(text.getvalue())
    if values.json:
        tell(text.getvalue().decode().rstrip("\n"))
    else:
        tell("\n\n".join("\n".join(explanation_lines(about)) for about in told))


class _Options(SelectOptions):
    """The flags of a selection that was made by information, by `select` or by `learn`."""

    @property
    def builtin_pool(self) -> BuiltinPool:
        """As `learn --seed` has it; `select --seed` is of other methods."""
        return BuiltinPool(seed=self.seed)


def _options(values: flags.FlagValues, finished: data.FinishedSelection) -> _Options:
    """The flags of the selection, with what is given in place of them.

    Raises:
      InputError: if what is given cannot have been so in the selection.
    """
    then = finished.manifest.get("parameters", {})
    usual = flags.FlagValues()
    define_select_flags(usual)
    usual.mark_as_parsed()
    known = {field.name for field in dataclasses.fields(SelectOptions)}
    found = usual.flag_values_dict() | {name: then[name] for name in then if name in known}
    if "learned" in finished.manifest and found["params"] is None:  # As `mig-jax learn` has them.
        found["params"] = os.path.join(os.path.dirname(finished.place), "params")
    given = {name: values[name].value for name in values if values[name].present and name in found}
    for name in [name for name in given if name not in (*_OWN, *_MAY_MOVE)]:
        if given[name] != found[name]:
            raise InputError(
                f"--{name}: found {_shown(given[name])}, but the selection was made with "
                f"{_shown(found[name])}; leave it out, what the manifest tells counts"
            )
    if "params" in given and found["params"] is None:
        raise InputError("--params: the selection was made without learned parameters")
    embeddings = [name for name in ("label_embeddings", "embedding_model") if name in given]
    had_edges = found["label_embeddings"] or found["embedding_model"] or not found["pool"]
    if embeddings and not had_edges:
        raise InputError(f"--{embeddings[0]}: the selection was made without a label graph")
    if embeddings:
        found |= {"label_embeddings": None, "embedding_model": None}
    found |= {name: given[name] for name in given if name in _MAY_MOVE}
    missing = [path for path in values.pool if _is_gone(path)]
    if STANDARD in missing and "pool" not in given:
        raise InputError(
            "--pool: the selection was made from standard input; expected --pool=FILE with the "
            "same records"
        )
    if missing and "pool" not in given:
        raise InputError(f"--pool: {missing[0]} is not here any more; expected --pool=FILE")
    return _Options(**found)


def _budget(options: SelectOptions, table: data.RecordTable) -> tuple[Budget, GivenRecords]:
    """What the selection had to keep to, and the records that were given."""
    given = read_given(options, table, ALONE)
    budget = read_budget(options, table, ALONE, given.own if len(given) else None)
    if options.at_most_changes is not None:
        earlier = read_extension(options, table, given.records, ALONE)
        if isinstance(earlier, Changes):
            budget = earlier.limit(budget, table, ALONE)
    return budget, given


def _limits(found: Explanation, budget: Budget, picks: int) -> dict[str, Any]:
    """What the limits of the selection had to do with a record."""
    costs, quotas = budget.constraints.costs, budget.constraints.quotas
    told = {} if costs is None else {"tokens": int(costs[found.record])}
    if found.picked or found.allowed == picks:
        return told
    since = (
        f"from rank {found.allowed + 1:,} on," if found.allowed else "in no rank was it allowed:"
    )
    if found.most_cost >= 0 and costs is not None:
        why = f"its {told['tokens']:,} tokens were more than the {found.most_cost:,} left for it"
    elif quotas is None:
        why = "no record could be picked any more"
    elif budget.quotas is None:  # Of --at_most_changes.
        why = "no further change was allowed"
    else:
        group, names = int(quotas.groups[found.record]), budget.quotas.names
        name = names[group] if group < len(names) else "of all others"
        why = f"no more could be picked of its group, {name}"
    return {**told, "limit": f"{since} {why}", "allowed_ranks": found.allowed}


def _is_gone(path: str) -> bool:
    return ":" not in path and not any(map(os.path.exists, data.local_files([path])))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _picks(finished: data.FinishedSelection, table: data.RecordTable) -> np.ndarray:
    """The picks as records of the table.

    Raises:
      InputError: if the table has not all of them.
    """
    then, now = finished.files(), list(table.files)
    if sorted(then) != sorted(now) and len(then) == len(now):
        # The same files under other names, in the same order.
        where = dict(zip(then, now, strict=True))
        names = tuple(where.get(name, name) for name in finished.names)
        finished = dataclasses.replace(finished, names=names)
    rows = finished.rows_in(table)
    if (rows < 0).any():
        first = int(np.argmax(rows < 0))
        raise InputError(
            f"--pool: has no record of {finished.names[finished.file_index[first]]}, line "
            f"{finished.line[first]:,}, which was selected; expected the pool of the selection"
        )
    return rows[finished.ranks > 0]


def _check_gains(found: np.ndarray, told: np.ndarray) -> None:
    """Raises InputError if the picks gain something else than they did."""
    wrong = np.flatnonzero(~np.isclose(found, told, rtol=_TOLERANCE, atol=1e-30))
    if wrong.size:
        rank = int(wrong[0])
        raise InputError(
            f"--selection: its pick of rank {rank + 1:,} gained {told[rank]:.6g}, and gains "
            f"{found[rank]:.6g} here: the pool, the embeddings or the parameters are not those of "
            "the selection"
        )


COMMAND = Command(
    name="explain",
    define_flags=define_flags,
    run=run,
    required=("selection", "record"),
    examples=(
        "--selection=train.jsonl --record=17",
        "--selection=train.jsonl --record=raw.jsonl:17 --record=raw.jsonl:99 --json",
    ),
)
