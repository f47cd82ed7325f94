"""Learned on some sources of a pool, used on others that learning never saw.

    python -m experiments.transfer --workdir=DIR --pool=POOL --label_embeddings=EMB.npz \
        --validation=DEV.jsonl --test=TEST.jsonl [--budget=2000] [--seeds=3]

The records have a field `source`, a string or a list whose first item is one. Sources are
dealt to two halves of about equal size. A function of label features is learned on the one
half and selects from the other; the paper's defaults and what was learned there directly
select from it too. The other way round makes the second row of a seed.

How far a function can be trusted elsewhere is learned too: within the half, it is learned on
some sources and selects from the others, with its parameters moved only a part of the way
from the paper's. The part that served best there, by the validation records, is applied.
"""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import sys
import time
from typing import Any

import jax
import msgspec
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_groups import (
    InputOptions,
    check_input_flags,
    define_input_flags,
)
from mig_jax.commands.flag_values import adder
from mig_jax.commands.learning_inputs import inputs_of_table
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import say
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.learning import (
    Conversations,
    CountModels,
    FeatureBasis,
    FromFeatures,
    Judges,
    Params,
    Prior,
    bootstrap,
    conversation_bags,
    fit_feature_basis,
    learn,
    mean_over_groups,
    normalised_momentum,
    paper_measure,
    parameters_of_features,
    select_learned,
)
from mig_jax.measure import PAPER

_PRIOR, _LEARNING_RATE = Prior(strength=0.1), 0.1
_PARTS_OF_THE_WAY = (0.0, 0.25, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the program; `--help` explains each."""

    workdir: str
    validation: str
    test: str
    budget: int
    seeds: int
    steps: int


class _Sourced(msgspec.Struct):
    source: str | list[Any]


def _sources(table: data.RecordTable) -> np.ndarray:
    """The source of each record of a pool of one file."""
    decoder = msgspec.json.Decoder(_Sourced)
    found = []
    for index, source in enumerate(table.sources):
        rows = np.flatnonzero(table.file_index == index)
        for line in source.read_records(table.position[rows]):
            try:
                name = decoder.decode(line).source
            except msgspec.DecodeError as error:
                raise InputError(f"{table.files[index]}: {error}; expected `source`") from None
            found.append(name if isinstance(name, str) else str(name[0]))
    return np.array(found)


def _halves(sources: np.ndarray) -> np.ndarray:
    """Bool [P]: in the second half. Sources are dealt, largest first, to the smaller half."""
    names, counts = np.unique(sources, return_counts=True)
    if len(names) < 2:
        raise InputError("--pool: all records have one source; expected at least two")
    sizes, second = [0, 0], []
    for place in np.argsort(-counts, kind="stable"):
        half = int(sizes[1] < sizes[0])
        sizes[half] += int(counts[place])
        if half:
            second.append(names[place])
    return np.isin(sources, second)


def _part(table: data.RecordTable, rows: np.ndarray) -> data.RecordTable:
    """The table of these records alone, with the labels that they have."""
    part = table.only(rows)
    used, labels = np.unique(part.labels, return_inverse=True)
    return dataclasses.replace(
        part,
        labels=labels.astype(np.int32),
        label_names=[table.label_names[label] for label in used],
    )


class _Part:
    """A part of the pool, with all that learning and validation need of it."""

    def __init__(
        self, options: Options, table: data.RecordTable, texts: Conversations, rows: np.ndarray
    ) -> None:
        self.steps = options.steps
        own = _part(table, rows)
        self.inputs = inputs_of_table(options, own, budget=min(options.budget, len(rows)))
        self.texts = texts.take(rows)
        self.basis = fit_feature_basis(self.inputs.pool, self.inputs.graph, self.inputs.embeddings)
        self._models: dict[int, CountModels] = {}

    def parameterisation(self, basis: FeatureBasis) -> FromFeatures:
        return parameters_of_features(self.inputs, PAPER.threshold, basis=basis, prior=_PRIOR)

    def models(self, seed: int) -> CountModels:
        if seed not in self._models:
            self._models = {seed: CountModels(self.texts, seed, say)}
        return self._models[seed]

    def learn(self, dev: data.ValidationSet, seed: int) -> Params:
        """Parameters learned on this part."""
        inputs = self.inputs
        found = learn(
            inputs.pool,
            inputs.graph,
            self.parameterisation(self.basis),
            self.models(seed).objective(dev, seed),
            inputs.budgets,
            jax.random.key(seed),
            steps=self.steps,
            optimiser=normalised_momentum(_LEARNING_RATE),
        )
        return found.params

    def select(self, params: Params, basis: FeatureBasis, way: float) -> np.ndarray:
        """Picks with parameters that are so much of the way from the start to `params`."""
        params = jax.tree_util.tree_map(lambda leaf: way * leaf, params)
        return select_learned(self.inputs, self.parameterisation(basis).learned(params)).picks

    def validation_loss(self, picks: np.ndarray, dev: data.ValidationSet, seed: int) -> float:
        losses = self.models(seed).losses(dev, self.inputs.amounts(picks))
        return mean_over_groups(losses, dev.groups)


class _Half(_Part):
    """A half of the pool: with judges, and with parts of its own to try a transfer on."""

    def __init__(
        self,
        options: Options,
        table: data.RecordTable,
        texts: Conversations,
        rows: np.ndarray,
        test: Conversations,
    ) -> None:
        super().__init__(options, table, texts, rows)
        self.judges = Judges(self.texts, test)
        second = _halves(_sources(self.inputs.table))
        self._quarters = [
            _Part(options, self.inputs.table, self.texts, np.flatnonzero(quarter))
            for quarter in (~second, second)
        ]

    def part_of_the_way(self, dev: data.ValidationSet, seed: int) -> float:
        """How much of what is learned serves sources that it was not learned on."""
        losses = np.zeros(len(_PARTS_OF_THE_WAY))
        for here, there in (self._quarters, self._quarters[::-1]):
            params = here.learn(dev, seed)
            for number, way in enumerate(_PARTS_OF_THE_WAY):
                picks = there.select(params, here.basis, way)
                losses[number] += there.validation_loss(picks, dev, seed)
        return _PARTS_OF_THE_WAY[int(np.argmin(losses))]


def run(options: Options) -> None:
    """Learns on each half, selects from the other, and writes the table after each seed."""
    with held_workdir(options.workdir, "transfer") as folder:
        _compare_halves(options, folder)


def _compare_halves(options: Options, folder: pathlib.Path) -> None:
    with data.OutputFiles(options.pool) as outputs:
        table = read_table(options, outputs, str(folder / "transfer"))
        say_read(table)
    second = _halves(_sources(table))
    texts = conversation_bags(data.read_texts(table))
    dev, test = data.read_validation(options.validation), data.read_validation(options.test)
    answers = conversation_bags(test.conversations)
    halves = [
        _Half(options, table, texts, np.flatnonzero(which), answers) for which in (~second, second)
    ]
    papers = [
        h.judges.losses(select_learned(h.inputs, paper_measure(), PAPER.gain).picks) for h in halves
    ]
    rows_out = []
    for seed in range(options.seeds):
        start = time.perf_counter()
        params = [half.learn(dev, seed) for half in halves]
        ways = [half.part_of_the_way(dev, seed) for half in halves]
        for place, half in enumerate(halves):
            other = 1 - place
            moved = half.select(params[other], halves[other].basis, ways[other])
            losses = {
                "transferred": half.judges.losses(moved),
                "own": half.judges.losses(half.select(params[place], half.basis, 1.0)),
                "paper": papers[place],
            }
            row: dict[str, Any] = {"seed": seed, "used_on": "first" if place == 0 else "second"}
            row["part_of_the_way"] = ways[other]
            row |= {name: bootstrap(loss, test.groups)[0] for name, loss in losses.items()}
            gap = bootstrap(losses["transferred"] - losses["paper"], test.groups)
            row |= {"over_paper": gap[0], "over_paper_low": gap[1], "over_paper_high": gap[2]}
            rows_out.append(row)
            say(
                f"seed {seed}, used on the {row['used_on']} half: transferred "
                f"({ways[other]:g} of the way) {row['transferred']:.4f}, own {row['own']:.4f}, "
                f"paper {row['paper']:.4f}; transferred less paper {gap[0]:+.4f} "
                f"({gap[1]:+.4f} to {gap[2]:+.4f})"
            )
        say(f"seed {seed}: {time.perf_counter() - start:.0f} s")
        with (folder / "transfer.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows_out[0])
            writer.writeheader()
            writer.writerows(rows_out)


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_input_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for transfer.csv.")
    add(flags.DEFINE_string, "validation", None, "JSON lines; learned from.")
    add(flags.DEFINE_string, "test", None, "JSON lines; judged on.")
    add(flags.DEFINE_integer, "budget", 2000, "Records to select from a half.", lower_bound=1)
    add(flags.DEFINE_integer, "seeds", 3, "Of learning.", lower_bound=1)
    add(flags.DEFINE_integer, "steps", 40, "Most steps of learning.", lower_bound=1)


def _run(values: flags.FlagValues) -> None:
    check_input_flags(values)
    run(Options(**values.flag_values_dict()))


COMMAND = Command(
    name="transfer",
    summary="learned on some sources of a pool, used on others",
    define_flags=_define_flags,
    run=_run,
    required=("workdir", "pool", "validation", "test"),
    interrupted="seeds that were done are in transfer.csv",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="transfer"))
