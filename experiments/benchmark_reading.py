"""Reading labels and scores against `jsonlines` + `pydantic` doing the same checks.

    python -m experiments.benchmark_reading --workdir=DIR [--source=POOL] [--size_gb=1]

The file, of xsample layout, repeats the records of --source (any file of such records;
without it, conversations of the built-in pool) with a new id each. Rows run in turn,
each in a process of its own, `--repeats` rounds; medians and their ratios to our reading
on all cores are printed and saved as CSV and PNG. A row with other labels or scores than
ours is marked invalid. The file stays in memory if it fits: disks are not compared.
"""

from __future__ import annotations

import csv
import itertools
import json
import pathlib
import shutil
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from absl import app, flags

from experiments.benchmarks.watched import run_watched
from experiments.reading_rows import OURS, ROWS
from mig_jax.data import open_files
from mig_jax.synthetic import BuiltinPool

_WORKDIR = flags.DEFINE_string("workdir", None, "Where all files go.", required=True)
_SOURCE = flags.DEFINE_string("source", None, "Records to repeat: .jsonl, .jsonl.gz, .jsonl.zst.")
_SIZE = flags.DEFINE_float("size_gb", 1.0, "Size of the file, 1e9 bytes.", lower_bound=0.0)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Rounds.", lower_bound=1)

_ID = "an id to be replaced"


def _source_records() -> Iterator[dict[str, Any]]:
    if _SOURCE.value:
        for line in open_files([_SOURCE.value])[0].scan():
            yield json.loads(line.text)
        return
    records = map(json.loads, BuiltinPool(records=20_000).lines())
    for first, second in itertools.pairwise(records):
        labels, score = first["mig_jax"]["labels"], first["mig_jax"]["score"]
        yield {
            "dialogs": first["messages"] + second["messages"],
            "annotation": {
                "instag": {"content": labels},
                "deita": {"quality_scores": [score, 1.0], "complexity_scores": [1.25, score]},
            },
        }


def _generate(path: pathlib.Path) -> int:
    """Writes the file; returns how many records it has."""
    split = [
        json.dumps(record | {"_id": _ID}, ensure_ascii=False).encode().split(_ID.encode())
        for record in _source_records()
    ]
    size = records = 0
    with open(path, "wb") as stream:
        for head, tail in itertools.cycle(split):
            if records and size >= _SIZE.value * 1e9:
                return records
            size += stream.write(b"%s%d%s\n" % (head, records, tail))
            records += 1
    raise ValueError("the source has no records")


def _run(row: str, path: pathlib.Path, cache: pathlib.Path) -> dict[str, Any]:
    """What the row's process says, with the peak memory of its children added."""
    command = [sys.executable, "-m", "experiments.reading_rows", row, str(path), str(cache)]
    watched = run_watched(command)
    result: dict[str, Any] = json.loads(watched.said)
    if result["peak_mb"] is not None:
        result["peak_mb"] += watched.children_mb
    return result


def _measure(path: pathlib.Path, cache: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ROWS}
    for turn in range(_REPEATS.value):
        shutil.rmtree(cache, ignore_errors=True)
        for name in ROWS:
            results[name].append(_run(name, path, cache))
            seconds = results[name][-1]["seconds"]
            print(f"  round {turn + 1} {name}: {seconds:.3f} s", file=sys.stderr)
    return results


def table_of(results: dict[str, list[dict[str, Any]]], size: int) -> list[dict[str, Any]]:
    """A row for each way of reading, from what its rounds gave for a file of `size` bytes."""
    medians = {
        name: statistics.median(result["seconds"] for result in rounds)
        for name, rounds in results.items()
    }
    expected = results[OURS][0]["digest"]
    table = []
    for name, rounds in results.items():
        seconds = [result["seconds"] for result in rounds]
        digests = {result["digest"] for result in rounds}
        peaks = [result["peak_mb"] for result in rounds]
        grown = [result["before_mb"] for result in rounds]
        table.append(
            {
                "row": name,
                "median_s": round(medians[name], 4),
                "min_s": round(min(seconds), 4),
                "max_s": round(max(seconds), 4),
                "cpu_s": round(statistics.median(result["cpu_seconds"] for result in rounds), 4),
                "mb_per_s": round(size / 1e6 / medians[name]),
                "ratio_to_ours": round(medians[name] / medians[OURS], 3),
                "before_mb": "" if None in grown else round(max(grown)),
                "peak_mb": "" if None in peaks else round(max(peaks)),
                "same_labels_and_scores": _verdict(digests, expected),
            }
        )
    return table


def _verdict(digests: set[str | None], expected: str) -> str:
    if digests == {None}:
        return ""
    return "yes" if digests == {expected} else "NO: the row is invalid"


def _save(table: list[dict[str, Any]], workdir: pathlib.Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with open(workdir / "benchmark_reading.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    figure, axes = plt.subplots(figsize=(8, 3.5))
    names = [f"{row['row']} ({row['ratio_to_ours']:.2f})" for row in table]
    bars = axes.barh(names, [row["median_s"] for row in table])
    axes.bar_label(bars, fmt="%.2f s", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xlabel="seconds, median (ratio to ours)", title=title)
    figure.tight_layout()
    figure.savefig(workdir / "benchmark_reading.png", dpi=120)


def main(_: list[str]) -> None:
    workdir = pathlib.Path(_WORKDIR.value)
    workdir.mkdir(parents=True, exist_ok=True)
    path, cache = workdir / "benchmark_reading.jsonl", workdir / "benchmark_reading.cache"
    try:
        records = _generate(path)
        size = path.stat().st_size
        table = table_of(_measure(path, cache), size)
    finally:
        path.unlink(missing_ok=True)
        shutil.rmtree(cache, ignore_errors=True)
    title = f"Reading {records:,} records, {size / 1e9:.3g} GB"
    print(title)
    for row in table:
        print(
            f"{row['row']:<32}{row['median_s']:>9.3f} s {row['ratio_to_ours']:>8.2f} x "
            f"{row['cpu_s']:>9.3f} s CPU {row['peak_mb']:>6} MB  {row['same_labels_and_scores']}"
        )
    _save(table, workdir, title)
    print(f"saved benchmark_reading.csv and .png in {workdir}")


if __name__ == "__main__":
    app.run(main)
