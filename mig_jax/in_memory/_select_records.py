"""`mig-jax select` for records in memory: arguments for flags, a result for files."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from absl import flags

from mig_jax import data
from mig_jax.commands.budget_flags import BudgetOptions
from mig_jax.commands.choosing import Chosen, choose
from mig_jax.commands.flag_groups import InputOptions
from mig_jax.commands.flag_words import read_flags, refuse_empty
from mig_jax.commands.given_flags import GivenOptions
from mig_jax.commands.method_flags import MethodOptions
from mig_jax.commands.progress import is_terminal
from mig_jax.commands.select_options import SelectOptions, define_select_flags, select_options
from mig_jax.commands.terminal import say, silent, told_by
from mig_jax.data.records import labels_and_score
from mig_jax.devices import ALONE, kept_programs
from mig_jax.errors import InputError
from mig_jax.in_memory._arguments import Arguments
from mig_jax.in_memory._containers import container_of, paths_of, plain
from mig_jax.in_memory._picked_records import PickedRecords
from mig_jax.measure import Measure
from mig_jax.reports import summary

__all__ = ["select_records"]

# What says how records are measured, which a `measure` says alone.
_OF_MEASURE: Final = ("score_function", "exponent", "rate", "epsilon", "propagation")
# Flags of the command that may be arguments: those that decide what is picked.
_GROUPS: Final = (InputOptions, GivenOptions, BudgetOptions, MethodOptions)
_FLAGS: Final = (
    {field.name for group in _GROUPS for field in dataclasses.fields(group)}
    | {*_OF_MEASURE, "similarity_threshold", "neighbours", "gain", "preset", "params"}
    | {"certificate", "count_by", "checkpoint_dir", "checkpoint_every_seconds"}
) - {"pool", "field", "quota", "include_given"}
_NAMES: Final = {"pool": "records", "field": "fields", "quota": "quotas"}


def select_records(
    records: Any,
    budget: int | str | None = None,
    *,
    label_embeddings: str | os.PathLike[str] | Mapping[str, Any] | tuple[Any, Any] | None = None,
    similarity_threshold: float | Literal["auto"] = "auto",
    measure: Measure | None = None,
    budget_tokens: int | str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    group_field: str | None = None,
    quotas: Mapping[str, int | str] | str | os.PathLike[str] | None = None,
    given: Any = None,
    method: str = "mig",
    validation: Any = None,
    fields: Mapping[str, str] | None = None,
    vocabulary: Sequence[str] | str | os.PathLike[str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    progress: bool | None = None,
    cache: str | os.PathLike[str] | None = None,
    **more: Any,
) -> PickedRecords:
    """Picks the most informative records of those that you hold, as `mig-jax select` does of files.

    Records are conversations as they come, whose labels and scores are made first, without a
    model, if there are none (as `mig-jax annotate` does); or they bring labels, a score or both.
    Each format that the command reads is read (docs/guides/formats.md). The same records in a file
    give the same picks, gains and certificate.

    Args:
      records: a `datasets.Dataset`, a DataFrame of pandas or polars, a `pyarrow.Table`, or a list
        of dicts. Also a path, or a list of them, of whatever --pool takes.
      budget: how many records to pick, or a share of them, as "10%".
      label_embeddings: labels that are similar share information. A dict of a vector for each
        label, a pair of names and float [labels, width], or the path of an .npz file. Records
        whose labels are made need none.
      similarity_threshold: from which cosine similarity on labels are joined; "auto" takes the
        one at which they have 3.5 neighbours in the mean.
      measure: the paper's score function and propagation by default.
      budget_tokens: how many tokens the picks may have together, or a share, as "10%". It may
        take the place of `budget`, or stand beside it.
      tokenizer: what counts tokens; without, they are UTF-8 bytes over 4.
      group_field: the field whose values are the groups of `quotas`.
      quotas: how much of each group there must and may be, as {"maths": "5%..20%"}.
      given: records that you have already, held in any such way or in files: they count in the
        information. Leave them out of `records`: what a record holds does not tell that it is one
        of them, and a copy may be picked.
      method: "mig", or another one, such as "random" (docs/guides/methods.md).
      validation: records that the selection is wanted for, as some methods need them.
      fields: your names of fields by the usual ones, as {"labels": "tags", "score": "quality"}.
      vocabulary: labels that count; others are dropped.
      on_bad_record: "skip" leaves out records that cannot be used.
      progress: whether bars and remarks are shown on stderr. By default in a notebook or a
        terminal, and not in a script whose output goes to a file.
      cache: folder that keeps what was read, made and compiled, so that the next call is quick;
        the user's cache folder by default, "none" for no cache.
      more: any other flag of `mig-jax select` that decides what is picked, by its name:
        `embedding_model`, `cost_field`, `gain`, `exponent`, `preset`, `params`, `seed`, ….

    Warns:
      UserWarning: if labels or scores were made though there is a field for them, which is empty.

    Raises:
      InputError: a ValueError with one line, for anything given that cannot be used.
      TypeError: for an argument of no such name.

    >>> import mig_jax
    >>> records = [
    ...     {"text": "2 + 2 = 4", "labels": ["maths"], "score": 1.0},
    ...     {"text": "3 + 3 = 6", "labels": ["maths"], "score": 0.9},
    ...     {"text": "print(1)", "labels": ["code"], "score": 0.8},
    ... ]
    >>> picked = mig_jax.select_records(records, 2)
    >>> picked.picks.tolist(), [record["text"] for record in picked.records]
    ([0, 2], ['2 + 2 = 4', 'print(1)'])
    >>> print(picked)  # doctest: +ELLIPSIS
    selected 2 of 3 records
      information E   1.8   (a random choice: ...)
      labels covered  2 of 2   (a random choice: ...)
      certified       at least ... % of the best possible E
    """
    wanted = {
        "budget": budget,
        "budget_tokens": budget_tokens,
        "tokenizer": tokenizer,
        "group_field": group_field,
        # A default is as if not given: what other arguments decide, it does not contradict.
        "similarity_threshold": None if similarity_threshold == "auto" else similarity_threshold,
        "method": None if method == "mig" else method,
        "on_bad_record": on_bad_record,
        "cache": cache,
        **_checked(more),
    }
    values = flags.FlagValues()
    define_select_flags(values)
    told = Arguments([*values], _NAMES)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_in_words(told))
        stack.enter_context(silent(not (_is_watched() if progress is None else progress)))
        stack.enter_context(told_by(told, draws=_is_in_notebook()))
        files = _Files(stack.enter_context(tempfile.TemporaryDirectory(prefix="mig_jax-")), told)
        wanted |= {
            "pool": files.of_records(records, "records"),
            "given": None if given is None else files.of_records(given, "given"),
            "validation": None
            if validation is None
            else files.of_records(validation, "validation"),
            "label_embeddings": files.of_embeddings(label_embeddings),
            "quotas": files.of_json(quotas, "quotas"),
            "vocabulary": files.of_json(vocabulary, "vocabulary"),
            "field": _renamed(fields),
        }
        options = _options(values, wanted, measure)
        if options.cache_folder is not None:
            stack.enter_context(kept_programs(options.cache_folder, say))
        chosen = choose(options, None, ALONE, {})
        if empty := _empty_fields(chosen.table, options.fields):
            warnings.warn(_told_empty(empty), stacklevel=2)
        return _picked(records, chosen, told)


def _empty_fields(table: data.RecordTable, names: data.FieldNames) -> list[str]:
    """Of labels and score, those that were made though records have a field for them.

    The first record tells, as it does of what is made.
    """
    if data.ANNOTATED not in table.layouts:
        return []
    first = data.parse_record(next(data.each_record(table.only(np.arange(1)))))
    found = labels_and_score(first, names)
    return [
        field
        for field, value in zip(("labels", "score"), found, strict=True)
        if value is None and field in first
    ]


def _told_empty(fields: list[str]) -> str:
    made = " and ".join(field if field == "labels" else "scores" for field in fields)
    are = "fields labels and score are" if len(fields) > 1 else f"field {fields[0]} is"
    those = "them" if len(fields) > 1 else "it"
    return (
        f"the {are} there, but empty in the first record: {made} were made for all records, as "
        f"`mig-jax annotate` makes them; leave {those} out if that is wanted"
    )


def _renamed(fields: Mapping[str, str] | None) -> list[str]:
    if fields is not None and not isinstance(fields, Mapping):
        found = type(fields).__name__
        raise InputError(f"fields: found {found}, expected a dict such as {{'labels': 'tags'}}")
    for name in fields or {}:
        if name not in data.records.FIELD_NAMES:
            near = difflib.get_close_matches(str(name), data.records.FIELD_NAMES, n=1)
            usual = near or data.records.FIELD_NAMES
            raise InputError(f"fields: found {name}, expected {' or '.join(usual)}, a usual name")
    return [f"{name}={field}" for name, field in (fields or {}).items()]


def _checked(more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises TypeError for a name that is of no argument."""
    for name in more:
        if name not in _FLAGS:
            near = difflib.get_close_matches(name, [*_FLAGS, "records", "fields", "measure"], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"select_records() has no argument {name}{hint}")
    return more


def _options(
    values: flags.FlagValues, wanted: Mapping[str, Any], measure: Measure | None
) -> SelectOptions:
    """What the command makes of the arguments as flags."""
    words = ["--output=selected.jsonl"]  # Nothing is written there.
    for name, value in wanted.items():
        if value is not None:
            each = value if isinstance(value, list | tuple) else [value]
            words += [f"--{name}={one}" for one in each]
    read_flags(values, ["select_records", *words])
    refuse_empty(values)
    if measure is None:
        return select_options(values)
    if not isinstance(measure, Measure):
        raise InputError(f"measure: found {type(measure).__name__}, expected a mig_jax.Measure")
    for name in ("params", "preset", *_OF_MEASURE):
        if values[name].present:
            raise InputError(f"measure: does not go with {name}, which says it too; give one")
    options = select_options(values)
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return _WithMeasure(**given, own_measure=measure)


@dataclasses.dataclass(frozen=True)
class _WithMeasure(SelectOptions):
    """The flags, but for what says how to measure."""

    own_measure: Measure

    def measure(self) -> Measure:
        return self.own_measure


class _Files:
    """Files made of arguments, which the command reads as it reads any."""

    def __init__(self, folder: str, told: Arguments) -> None:
        self._folder = folder
        self._told = told

    def of_records(self, records: Any, argument: str) -> list[str]:
        """The files that have the records: those given, or one written."""
        paths = paths_of(records)
        if paths is not None:
            return paths
        container = container_of(records, argument)
        place = self._place(argument, container.ending)
        container.write(records, place, argument)
        return [place]

    def of_embeddings(self, embeddings: Any) -> str | None:
        argument = "label_embeddings"
        if embeddings is None or isinstance(embeddings, str | os.PathLike):
            return None if embeddings is None else os.fspath(embeddings)
        place = self._place(argument, ".npz")
        try:
            if isinstance(embeddings, Mapping):
                names, vectors = [*embeddings], np.stack([*map(np.asarray, embeddings.values())])
            else:
                names, vectors = embeddings
            data.write_label_embeddings(place, [*names], np.asarray(vectors))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{argument}: {error}; expected a dict of a vector for each label, all of one "
                "length, or a pair of names and an array [labels, width]"
            ) from None
        return place

    def of_json(self, value: Any, argument: str) -> str | None:
        if value is None or isinstance(value, str | os.PathLike):
            return None if value is None else os.fspath(value)
        place = self._place(argument, ".json")
        try:
            told = dict(value) if isinstance(value, Mapping) else list(value)
            text = json.dumps(told, default=plain)
        except TypeError as error:
            expected = "names" if argument == "vocabulary" else "a dict of quotas by group"
            raise InputError(f"{argument}: {error}; expected {expected}, or a path") from None
        with open(place, "w") as stream:
            stream.write(text)
        return place

    def _place(self, argument: str, ending: str) -> str:
        place = os.path.join(self._folder, argument + ending)
        self._told.name(place, argument)
        return place


@contextlib.contextmanager
def _in_words(told: Arguments) -> Iterator[None]:
    """What is told of flags and files inside is told of arguments outside."""
    try:
        yield
    except (InputError, flags.Error) as error:
        raise InputError(told(str(error))) from None


def _picked(records: Any, chosen: Chosen, told: Arguments) -> PickedRecords:
    table, rows = chosen.table, chosen.selection.picks
    if paths_of(records) is not None:
        picks, of_picks = rows, _read_again(table, rows)
    else:  # One line a record, those too that are skipped.
        picks = table.line[rows] - 1
        of_picks = container_of(records, "records").take(records, picks)
    spans = zip(table.offsets[rows].tolist(), table.offsets[rows + 1].tolist(), strict=True)
    return PickedRecords(
        records=of_picks,
        picks=picks,
        gains=chosen.selection.gains,
        labels=[[table.label_names[i] for i in table.labels[low:high]] for low, high in spans],
        scores=table.scores[rows],
        information=chosen.about["information"],
        certified_ratio=chosen.about["certified_ratio"],
        pool=chosen.pool,
        graph=chosen.graph,
        measure=chosen.measure,
        label_names=table.label_names,
        selection=chosen.selection,
        certificate=chosen.certificate,
        told=told(summary(chosen.about)),
    )


def _read_again(table: data.RecordTable, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """The records of files, in this order."""
    ascending = np.sort(rows)
    texts = data.each_record(table.only(ascending))
    found = dict(zip(ascending.tolist(), map(data.parse_record, texts), strict=True))
    return [found[row] for row in rows.tolist()]


def _is_watched() -> bool:
    """Whether a person sees what happens, in a notebook or a terminal."""
    return _is_in_notebook() or is_terminal(sys.stderr)


def _is_in_notebook() -> bool:
    found = sys.modules.get("IPython")
    return found is not None and "IPKernelApp" in getattr(found.get_ipython(), "config", ())
