"""The flags of what came before a selection: records that are given, a selection to extend."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence

from absl import flags

from mig_jax import data
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import AddFlag, File, several
from mig_jax.commands.standard_streams import STANDARD
from mig_jax.commands.terminal import say
from mig_jax.errors import InputError

__all__ = ["GivenOptions", "check_given_flags", "define_given_flags", "files_beside"]


@dataclasses.dataclass(frozen=True)
class GivenOptions:
    """The flags of `define_given_flags`."""

    given: list[str]
    include_given: bool
    extend: str | None
    at_most_changes: int | None

    @functools.cached_property
    def given_places(self) -> list[str]:
        """What --given names: patterns and folders give way to their files."""
        return [place for path in self.given for place in data.files.expand(path)]


def define_given_flags(add: AddFlag) -> None:
    """Adds the flags of records that are there already, and of an earlier selection."""
    add = add.under(Section.EARLIER)
    add(
        several(File),
        "given",
        [],
        "Records that are there already: they count in the information, not in the budget, and "
        "are not picked. The --output of an earlier run over files of this pool, its "
        ".selection.parquet or .manifest.json; a file of --pool; or another file of records with "
        "labels and scores, which is read as --pool is. May be repeated.",
    )
    add(
        flags.DEFINE_boolean,
        "include_given",
        False,
        "Write the records of --given too, before those that are picked.",
    )
    add(
        File,
        "extend",
        None,
        "An earlier selection, by its --output, .selection.parquet or .manifest.json. --pool names "
        "its files, in the same order, and then new ones. The result is that of the whole pool, "
        "sooner: picks are kept up to the first rank at which a new record may win.",
    )
    add(
        flags.DEFINE_integer,
        "at_most_changes",
        None,
        "With --extend: of the records selected at most so many are new, and all others of the "
        "earlier selection. --pool may be any that has its records.",
        lower_bound=0,
    )


def check_given_flags(values: flags.FlagValues) -> None:
    """Raises InputError if the flags of `define_given_flags` contradict each other or others."""
    if values.include_given and not values.given:
        raise InputError("--include_given: goes with --given=FILE")
    if values.at_most_changes is not None and values.extend is None:
        raise InputError("--at_most_changes: goes with --extend=PREVIOUS, the earlier selection")
    for name in ("given", "extend"):
        if values[name].value and not values.pool:
            raise InputError(f"--{name}: the built-in pool has no files; give --pool too")
    if STANDARD in values.given:
        raise InputError(f"--given: found {STANDARD}, expected a file")
    if values.extend is not None and STANDARD in values.pool:
        raise InputError(
            f"--extend: does not go with the pool {STANDARD}, as the files of the earlier "
            "selection are known by their names; expected --pool=FILE"
        )
    if values.at_most_changes is not None and (values.quota or values.quotas):
        raise InputError(
            "--at_most_changes: does not go with --quota, as it is a quota of its own; give one "
            "of them"
        )


def files_beside(places: Iterable[str], pool: Sequence[str]) -> list[str]:
    """Those of the places that are read beside the pool: neither its files nor selections of it.

    Args:
      places: of `GivenOptions`.
      pool: the files of --pool.
    """
    real = {*pool, *map(os.path.realpath, pool)}

    def is_known(place: str) -> bool:
        if place in real or os.path.realpath(place) in real:
            return True
        manifest = data.find_manifest(place)
        if manifest is None:
            return data.is_selection_name(place)  # Told when it is read.
        if data.is_selection_name(place):
            return True
        earlier = data.read_selection(manifest)
        if max(earlier.places_of(earlier.files(), pool), default=-1) >= 0:
            return True
        say(
            f"--given: {place} was selected from other files than those of --pool, so that its "
            "records are given beside all of the pool's"
        )
        return False

    return [place for place in places if not is_known(place)]
