"""What tells beforehand which selection a language model learns most from.

    python -m experiments.proxies --workdir=DIR --study=DIR --model=MODEL.gguf --pool=POOL \
        --label_embeddings=EMB.npz --validation=DEV.jsonl --test=TEST.jsonl [--tokens=30000] \
        [--judges=DIR,...] [--proxies=NAME,...]

Of every selection that a workdir of experiments.finetune has judged at one budget: the loss of
the models that learning descends, that of the networks that judge in the project's tables,
the information, and plain numbers. `correlations.md` and `correlations.csv` have the rank
correlation of each with the loss of the language model, of what answers say, by task.

With influences.npz in the study's folder, as a study leaves it that has asked its model for
gradients, the summed influence and the loss before training are proxies, too.

Values are kept in the workdir as they are made; with more cells in the study, the same command
makes those that lack.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from absl import flags

from experiments.finetuning.base_models import read_encoder
from experiments.finetuning.cells import KeptLines, read_kept
from experiments.finetuning.correlation import rank_correlations
from experiments.finetuning.influences import Influences, read_influences
from experiments.finetuning.proxies import (
    ALL_TASKS,
    OF_INFLUENCES,
    PROXIES,
    Proxy,
    Selected,
    by_task,
    proxies_of,
)
from experiments.finetuning.study import (
    Encoder,
    chosen_per_task,
    judgeable,
)
from mig_jax import data
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_groups import InputOptions, check_input_flags, define_input_flags
from mig_jax.commands.flag_values import adder
from mig_jax.commands.learning_inputs import inputs_of_table
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import progress_bar, say, tell
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.reports import markdown_table
from mig_jax.runs import digest

_LEAST = 8  # Fewer selections have hardly an order.


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the program; `--help` explains each."""

    workdir: str
    study: str
    model: str
    chat_template: str
    validation: str
    test: str
    tokens: int
    judges: list[str]
    leave_out: list[str]
    proxies: list[str]


def run(options: Options) -> None:
    """Makes the values that are not there yet, and writes the table."""
    cells = _cells(options.study)
    budget = f"{options.tokens} tokens"
    selections = _selections(pathlib.Path(options.study), cells[1], budget, options.leave_out)
    if len(selections) < _LEAST:
        raise InputError(
            f"--study: {options.study}: {len(selections)} selections of {budget} are judged; "
            f"expected at least {_LEAST}"
        )
    influences = _influences(options, cells[0])
    with held_workdir(options.workdir, "proxies") as folder:
        with data.OutputFiles(options.pool) as outputs:
            table = read_table(options, outputs, str(folder / "proxies"))
            say_read(table)
        conversations = list(data.read_texts(table))
        validation = data.read_validation(options.validation)
        test = data.read_validation(options.test)
        encoder = read_encoder(
            options.model,
            options.chat_template,
            lambda: itertools.chain.from_iterable(conversations),
        )
        groups = _judged_groups(options, cells[0], selections, encoder, validation, test)
        inputs = inputs_of_table(options, table, budget=0)
        decides = {
            "study": digest([json.dumps(cells[0], sort_keys=True)]),
            "pool": _digest(conversations),
            "labels": digest([table.labels, table.offsets, table.scores, inputs.embeddings]),
            "validation": validation.digest,
            "test": test.digest,
        }
        proxies = [
            proxy
            for proxy in proxies_of(inputs, conversations, validation, test, influences)
            if proxy.name in options.proxies
        ]
        with KeptLines(folder / "values.jsonl", "proxies", decides) as kept:
            values = _values(proxies, selections, kept)
        for path in options.judges:
            proxies.append(_of_study(path, cells[0], budget, groups))
            values[proxies[-1].name] = [proxies[-1].values(one) for one in selections]
        rows = [_row(proxy, values[proxy.name], selections, groups) for proxy in proxies]
        _write(folder, budget, rows, selections, groups)


def _digest(conversations: Sequence[tuple[str, str]]) -> str:
    text = "\x1e".join("\x1f".join(pair) for pair in conversations)
    return digest([np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)])


def _cells(study: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return read_kept(pathlib.Path(study) / "cells.jsonl", "cells")


def _influences(options: Options, run: dict[str, Any]) -> Influences | None:
    """What the model of the study was asked, if a proxy needs it and it is there."""
    needing = [name for name in OF_INFLUENCES if name in options.proxies]
    if not needing:
        return None
    found = read_influences(options.study, run | {"step_size": run["step_sizes"][0]})
    if found is None:
        lacks = f"{options.study} has no influences.npz"
        if len(options.proxies) < len(PROXIES):
            raise InputError(f"--proxies: {', '.join(needing)}: {lacks}; expected others")
        say(f"{', '.join(needing)} left out: {lacks}")
    return found


def _selections(
    study: pathlib.Path, cells: dict[str, Any], budget: str, leave_out: Sequence[str]
) -> list[Selected]:
    """The selections of a budget that were judged."""
    _, chosen = read_kept(study / "selections.jsonl", "selections")
    found = []
    for key, cell in cells.items():
        method, *rest = key.split(" | ")
        if len(rest) == 2 and rest[0] == budget and method not in leave_out and key in chosen:
            found.append(
                Selected(
                    method,
                    int(rest[1]),
                    np.array(chosen[key], np.int64),
                    np.array(cell["content"]),
                    cell["tokens"],
                    cell["response_tokens"],
                )
            )
    return found


def _judged_groups(
    options: Options,
    run: dict[str, Any],
    selections: list[Selected],
    encoder: Encoder,
    validation: data.ValidationSet,
    test: data.ValidationSet,
) -> npt.NDArray[np.str_]:
    """The task of each test record that judged: the study tells how many there are, and which."""
    counts = encoder(test.conversations)
    fit = judgeable(counts, run["row"], test.conversations, validation.conversations)
    same = run.get("test_file") == test.digest
    judged = len(selections[0].content)
    for most in range(1, judged + 1) if same else ():
        records = chosen_per_task(fit, test.groups, most)
        if len(records) == judged and digest([records]) == run["test"]:
            return test.groups[records]
    raise InputError(
        f"--study: {options.study}: was judged on other records; expected the --test, --model or "
        "--cost_model, and --chat_template of the study"
    )


def _of_study(path: str, run: dict[str, Any], budget: str, groups: npt.NDArray[np.str_]) -> Proxy:
    """What the model of another study lost, of the same selections."""
    other, cells = _cells(path)
    if any(other.get(name) != run.get(name) for name in ("test", "test_file")):
        raise InputError(
            f"--judges: {path}: was judged on other test records; expected a study with the same "
            "--cost_model, --row and --test_records"
        )
    _, chosen = read_kept(pathlib.Path(path) / "selections.jsonl", "selections")

    def values(selected: Selected) -> dict[str, float]:
        key = f"{selected.method} | {budget} | {selected.seed}"
        if key not in cells or chosen.get(key) != selected.picks.tolist():
            return {ALL_TASKS: math.nan}
        return by_task(np.array(cells[key]["content"]), groups)

    return Proxy(path, "loss of this study's model", values)


def _values(
    proxies: Sequence[Proxy], selections: Sequence[Selected], kept: KeptLines
) -> dict[str, list[dict[str, float]]]:
    """The values of each proxy for each selection, those made now and those made before."""
    keys = [
        [f"{proxy.name} | {digest([one.picks])[:16]}" for one in selections] for proxy in proxies
    ]
    left = sum(key not in kept for own in keys for key in own)
    with progress_bar("values", left, unit="values") as bar:
        for proxy, own in zip(proxies, keys, strict=True):
            for one, key in zip(selections, own, strict=True):
                if key not in kept:
                    kept.put(key, proxy.values(one))
                    bar.update()
    return {
        proxy.name: [kept[key] for key in own] for proxy, own in zip(proxies, keys, strict=True)
    }


def _row(
    proxy: Proxy,
    values: Sequence[dict[str, float]],
    selections: Sequence[Selected],
    groups: npt.NDArray[np.str_],
) -> dict[str, Any]:
    """The correlations of a proxy, of those selections that it has a value of."""
    pairs = [
        (value, one)
        for value, one in zip(values, selections, strict=True)
        if math.isfinite(value[ALL_TASKS])
    ]
    row: dict[str, Any] = {"proxy": proxy.name, "about": proxy.about, "selections": len(pairs)}
    tasks = [ALL_TASKS, *np.unique(groups).tolist()]
    found = None
    if len(pairs) >= _LEAST:
        lost = [by_task(one.content, groups) for _, one in pairs]
        # A number that is one for all tasks is compared with each.
        columns = [[value.get(t, value[ALL_TASKS]) for value, _ in pairs] for t in tasks]
        targets = [[losses[t] for losses in lost] for t in tasks]
        methods = [one.method.partition("#")[0] for _, one in pairs]
        found = rank_correlations(np.array(columns), np.array(targets), methods)
    for number, task in enumerate(tasks):
        for name in ("value", "low", "high"):
            one = math.nan if found is None else float(getattr(found, name)[number])
            column = task if name == "value" else f"{task}, {name}"
            row[column] = one if math.isfinite(one) else None
    return row


def _write(
    folder: pathlib.Path,
    budget: str,
    rows: Sequence[dict[str, Any]],
    selections: Sequence[Selected],
    groups: npt.NDArray[np.str_],
) -> None:
    with (folder / "correlations.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    tasks = np.unique(groups).tolist()
    methods = {one.method.partition("#")[0] for one in selections}
    header = ["proxy", "of", "selections", ALL_TASKS, "95 %", *tasks]
    lines = [
        [
            row["proxy"],
            row["about"],
            str(row["selections"]),
            _signed(row[ALL_TASKS]),
            f"{_signed(row[f'{ALL_TASKS}, low'])} to {_signed(row[f'{ALL_TASKS}, high'])}",
            *(_signed(row[task]) for task in tasks),
        ]
        for row in sorted(rows, key=lambda row: -abs(row[ALL_TASKS] or 0))
    ]
    page = [
        f"# Proxies and what a language model lost, {budget}",
        f"{len(selections)} selections of {len(methods)} methods. Spearman's rank correlation of "
        "each proxy with the loss a token of what answers say: the mean over tasks, and each task "
        f"({len(groups)} test records). 95 % by the bootstrap over methods: seeds of one are alike "
        "and drawn together. A loss should go with the loss (+1); of the others either sign is "
        "of use.",
        markdown_table(header, lines, range(2, len(header))),
    ]
    (folder / "correlations.md").write_text("\n\n".join(page) + "\n")
    tell("\n\n".join(page))
    say(f"the table is in {folder / 'correlations.md'}")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_input_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for values and the table.")
    add(flags.DEFINE_string, "study", None, "Workdir of experiments.finetune; it is only read.")
    add(
        flags.DEFINE_string,
        "model",
        None,
        "The model of the study, or its --cost_model: what counted the tokens.",
    )
    add(flags.DEFINE_string, "chat_template", "model", "That of the study.")
    add(flags.DEFINE_string, "validation", None, "JSON lines with `task`, as the study had them.")
    add(flags.DEFINE_string, "test", None, "The same.")
    add(flags.DEFINE_integer, "tokens", 30000, "The budget whose cells are read.", lower_bound=1)
    judges = "Workdirs of other studies of the same selections: what their models lost is a proxy."
    add(flags.DEFINE_list, "judges", [], judges)
    add(flags.DEFINE_list, "leave_out", [], "Methods whose cells are not looked at.")
    add(flags.DEFINE_list, "proxies", list(PROXIES), "Which are made; networks take the longest.")


def _run(values: flags.FlagValues) -> None:
    check_input_flags(values)
    if unknown := [name for name in values.proxies if name not in PROXIES]:
        raise InputError(f"--proxies: {unknown[0]}: expected one of {', '.join(PROXIES)}")
    run(Options(**values.flag_values_dict()))


COMMAND = Command(
    name="proxies",
    summary="what tells beforehand which selection a language model learns most from",
    define_flags=_define_flags,
    run=_run,
    required=("workdir", "study", "model", "pool", "validation", "test"),
    interrupted="the same command goes on from here",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="proxies"))
