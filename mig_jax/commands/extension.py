"""An earlier selection of --extend: how far it holds in the pool of now, and how far it must."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np

from mig_jax import data
from mig_jax.commands.budgets import Budget
from mig_jax.commands.given_records import own_records
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import say
from mig_jax.devices import Hosts
from mig_jax.errors import InputError
from mig_jax.measure import GAIN_RULES, LabelGraph, Measure, Pool
from mig_jax.runs import differences
from mig_jax.selection import (
    NO_MAXIMUM,
    Progress,
    Quotas,
    extended,
    fingerprint,
    first_part,
    why_not_extended,
)

__all__ = ["Changes", "Extension", "read_extension"]

# Flags whose values decide what is picked, and can be compared: contents of files cannot.
_COMPARED: Final = (
    "method",
    "gain",
    "params",
    "score_function",
    "exponent",
    "rate",
    "epsilon",
    "propagation",
    "similarity_threshold",
    "field",
    "format",
)
# What of a manifest tells of limits beside the budget.
_LIMITS: Final = ("given", "tokens", "quotas", "changes")


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """An earlier selection, of which most must stay."""

    previous: str
    most: int
    records: np.ndarray  #: int64, of the whole pool: what was selected, less what is given now.
    own: np.ndarray  #: int64, those of this process's part, as rows of it.

    def limit(self, budget: Budget, table: data.RecordTable, hosts: Hosts) -> Budget:
        """The budget, of which at most so many records may be new.

        Without a budget in records, all of the earlier ones less so many must stay.

        Raises:
          InputError: if that cannot be.
        """
        if budget.constraints.quotas is not None:
            raise InputError("--at_most_changes: does not go with quotas; give one of them")
        wanted = len(self.records) if budget.records is None else budget.records
        stay = max(wanted - self.most, 0)
        about = f"--at_most_changes: with {self.most:,} of {wanted:,} records new, {stay:,} must be"
        if stay > len(self.records):
            beside = "" if budget.constraints.given is None else " that are not given"
            raise InputError(
                f"{about} of {self.previous}, which has {len(self.records):,}{beside}; expected "
                f"at least {wanted - len(self.records):,}"
            )
        costs, most_cost = budget.constraints.costs, budget.constraints.most_cost
        if costs is not None and most_cost is not None:
            of_all = np.concatenate(hosts.gather(np.asarray(costs)[self.own]))
            least = int(np.sort(of_all)[:stay].sum(dtype=np.int64))
            if least > int(most_cost):
                raise InputError(
                    f"{about} of {self.previous}, where they cost at least {least:,} together; "
                    f"expected a budget of as much, and it is {int(most_cost):,}"
                )
        groups = np.ones(table.num_records, np.int32)
        groups[self.own] = 0
        quotas = Quotas(
            groups, np.array([stay, 0], np.int32), np.array([NO_MAXIMUM, self.most], np.int32)
        )
        constraints = dataclasses.replace(budget.constraints, quotas=quotas)
        return dataclasses.replace(budget, constraints=constraints)

    def told(self, picks: np.ndarray) -> dict[str, Any]:
        """What the manifest tells of them, for what is picked now."""
        kept = int(np.isin(picks, self.records).sum())
        about = {"previous": self.previous, "most": self.most, "kept": kept}
        return {"changes": {**about, "new": len(picks) - kept}}


@dataclasses.dataclass(frozen=True, eq=False)
class Extension:
    """An earlier selection of the first files of the pool."""

    earlier: data.FinishedSelection
    records: np.ndarray  #: int64: what was picked, in order, as records of the pool.
    count: int  #: The records of the first files.
    made_here: bool  #: Whether labels or scores are made of the whole pool.

    @property
    def joined_at(self) -> float | None:
        """The similarity that joined labels in the earlier run, if flags decided it."""
        threshold = self.earlier.manifest.get("parameters", {}).get("similarity_threshold")
        return threshold if isinstance(threshold, float) else None

    def progress(
        self,
        options: SelectOptions,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        budget: Budget,
        hosts: Hosts,
    ) -> tuple[Progress | None, dict[str, Any]]:
        """Where to go on, None for the start; and what the manifest tells of it.

        Raises:
          InputError: if the earlier run was another one: of other parameters or records, by
            another version, on another device.
        """
        gain = GAIN_RULES[options.gain]
        reason = self._reason_of_limits(budget, hosts)
        if reason is None:
            part = first_part(pool, graph, measure, self.count)
            reason = self._reason_of_run(options, fingerprint(*part, gain, hosts.mesh))
        if reason is None:
            reason = why_not_extended(pool, graph, measure, self.count)
        progress = None
        if reason is None:
            assert budget.records is not None
            assert self.earlier.increases is not None
            picked = self.earlier.ranks > 0
            gains, increases = self.earlier.gains[picked], self.earlier.increases[picked]
            earlier = Progress(self.records, gains, increases, np.zeros(0), ())
            progress = extended(
                *(pool, graph, budget.records, earlier, self.count),
                measure=measure,
                gain=gain,
                mesh=hosts.mesh,
            )
            if not len(progress):
                progress, reason = None, "new records may win from nearly the first rank on"
        kept = 0 if progress is None else len(progress)
        previous = self.earlier.path
        if reason is None:
            say(f"the first {kept:,} picks of {previous} hold")
        else:
            say(f"selecting from the start: {reason}")
        return progress, {"extended": {"previous": previous, "kept": kept, "reason": reason}}

    def _reason_of_limits(self, budget: Budget, hosts: Hosts) -> str | None:
        """Why neither the earlier selection nor this one can be followed rank by rank."""
        manifest = self.earlier.manifest
        if not budget.constraints.is_empty or budget.records is None:
            return "limits beside --budget, or given records, are weighed anew"
        if limits := _limits_of(self.earlier):
            return f"the earlier selection had {', '.join(limits)}"
        if hosts.count > 1 or manifest.get("processes", 1) != 1:
            return "several processes divide the pool, which divides in another way as it grows"
        if not isinstance(manifest.get("run"), dict) or self.earlier.increases is None:
            return "the earlier selection is of a version that did not keep what this needs"
        return None

    def _reason_of_run(self, options: SelectOptions, now: dict[str, str]) -> str | None:
        """Why the picks of the same run need not hold.

        Raises:
          InputError: if it was not the same run.
        """
        run = self.earlier.manifest["run"]
        differing = {name for name in now if run.get(name) != now[name]}
        if not differing:
            return None
        learned = options.params is not None and differing <= {"pool", "graph", "parameters"}
        if learned:
            return "learned parameters are relative to the pool, and are others in a larger one"
        if differing == {"graph"}:
            return "the labels of the earlier records are joined in another way"
        about = f"--extend: {self.earlier.path} is of another run"
        if self.made_here and differing <= {"pool", "graph", "parameters"}:
            raise InputError(
                f"{about}: the labels or scores that were made then are not those of the pool as "
                "it is now; expected records that keep theirs: from `mig-jax annotate`, which has "
                "--labels_from for new ones, or no --extend"
            )
        raise InputError(
            f"{about}: {differences(run, now)}; expected the same flags, records and versions, or "
            "no --extend"
        )


def read_extension(
    options: SelectOptions, table: data.RecordTable, given: np.ndarray, hosts: Hosts
) -> Extension | Changes | None:
    """The selection that --extend names, among the records read; None if there is none.

    Args:
      options: the flags.
      table: this process's part of the pool.
      given: int64, records of the whole pool that are given.
      hosts: the processes that hold the pool.

    Raises:
      InputError: in all processes, if it cannot be read, or is not of these records.
    """
    if options.extend is None:
        return None
    path = options.extend
    earlier = hosts.together(lambda: data.read_selection(path))
    picked = earlier.ranks > 0
    rows = earlier.rows_in(table)[picked]
    records = own_records(rows, table, hosts)
    if options.at_most_changes is None:
        _check_flags(options, earlier)
        # If it had limits, nothing of it is kept, and its files may be those of --given too.
        if not _limits_of(earlier):
            _check_files(earlier, table)
    if lacking := int(np.count_nonzero(records < 0)):
        raise InputError(
            f"--extend: {path}: {lacking:,} of its {len(records):,} records are not in --pool; "
            "expected all files that it was selected from"
        )
    if options.at_most_changes is not None:
        may_be_picked = ~np.isin(records, given)
        own = rows[(rows >= 0) & may_be_picked]
        return Changes(path, options.at_most_changes, records[may_be_picked], own)
    count = hosts.sum(int(np.count_nonzero(table.file_index < len(earlier.files()))))
    return Extension(earlier, records, count, data.ANNOTATED in table.layouts)


def _limits_of(earlier: data.FinishedSelection) -> list[str]:
    """By their names in the manifest, the limits beside a budget that the earlier run had."""
    return [name for name in _LIMITS if name in earlier.manifest]


def _check_flags(options: SelectOptions, earlier: data.FinishedSelection) -> None:
    """Raises InputError if the flags differ from those of the earlier run."""
    were, now = earlier.manifest.get("parameters", {}), options.parameters()
    differing = [name for name in _COMPARED if were.get(name) != now.get(name)]
    if were.get("neighbours") != now.get("neighbours"):
        differing.append("neighbours")  # Or the threshold was fixed, and now is to fit.
    elif now.get("similarity_threshold") == "auto" and "similarity_threshold" in differing:
        differing.remove("similarity_threshold")  # That of the earlier run is taken.
    if "params" in differing:
        differing = ["params"]  # They take the place of others.
    if differing:

        def told(value: Any) -> str:
            return "not given" if value is None else str(value)

        texts = (
            f"--{name} was {told(were.get(name))} and is {told(now.get(name))}"
            for name in differing
        )
        raise InputError(
            f"--extend: {earlier.path} is of another run: {'; '.join(texts)}; expected the same "
            "flags, or no --extend"
        )


def _check_files(earlier: data.FinishedSelection, table: data.RecordTable) -> None:
    """Raises InputError if the files of the pool do not begin with those of the earlier run."""
    names = earlier.files()
    for index, (name, place) in enumerate(
        zip(names, earlier.places_of(names, table.files), strict=True)
    ):
        if place != index:
            found = table.files[index] if index < len(table.files) else "no file"
            raise InputError(
                f"--extend: file {index + 1} of --pool is {found}, and {earlier.path} is of "
                f"{name} there; expected its files first, in the same order, and then new ones"
            )
