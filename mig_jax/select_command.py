"""`mig-jax select`: from pool files to the selected records, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh

import mig_jax
from mig_jax import data
from mig_jax.checkpoints import Checkpoints, fingerprint
from mig_jax.errors import InputError
from mig_jax.information import information, label_information
from mig_jax.selection import Progress
from mig_jax.sharding import pool_mesh

__all__ = ["Options", "run"]

_RANDOM_CHOICES = 5


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of the command; `mig-jax select --help` explains each."""

    pool: list[str]
    budget: int
    output: str
    label_embeddings: str | None
    missing_embeddings: str
    similarity_threshold: float
    propagation: float
    gain: str
    preset: str | None
    score_function: str
    exponent: float
    rate: float
    epsilon: float
    vocabulary: str | None
    format: str
    on_bad_record: str
    cache: str | None
    certificate: bool
    devices: str
    checkpoint_dir: str | None
    checkpoint_every_seconds: float

    @property
    def stem(self) -> str:
        """What the names of the other outputs begin with."""
        base, ending = os.path.splitext(self.output)
        return base if ending in (".jsonl", ".json") else self.output

    def measure(self) -> mig_jax.Measure:
        family = mig_jax.FAMILIES[self.score_function]
        if self.score_function == "power":
            function = family(exponent=self.exponent, epsilon=self.epsilon)
        else:
            function = family(rate=self.rate)
        return mig_jax.Measure(function, self.propagation)


class _Stages:
    """Seconds spent in each stage of the command."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def run(options: Options) -> None:
    """Selects, certifies and writes; all outputs appear at the end, or none.

    Raises:
      InputError: for anything given that cannot be used.
    """
    stages = _Stages()
    inputs = [*options.pool, options.label_embeddings, options.vocabulary]
    with data.OutputFiles([path for path in inputs if path]) as outputs:
        # Opened first: a folder that is not there is known before the work, not after.
        records_out = outputs.open(options.output)
        manifest_out = outputs.open(options.stem + ".manifest.json")
        table_out = outputs.open(options.stem + ".selection.parquet")
        with stages.stage("reading"):
            table = _read(options, outputs)
        _say_read(table)
        if options.budget > table.num_records:
            raise InputError(
                f"--budget: found {options.budget}, expected at most the pool's "
                f"{table.num_records:,} records"
            )
        measure = options.measure()
        pool = mig_jax.pool_from_table(table)
        with stages.stage("graph"):
            graph = _label_graph(options, table)
        with stages.stage("selection"):
            selection, resumed_after = _select(options, pool, graph, measure)
        certificate = None
        if options.certificate:
            with stages.stage("certificate"):
                certificate = _certify(pool, graph, measure, selection)
        with stages.stage("writing"):
            data.write_records(table, selection.picks, records_out)
            so_far = np.cumsum(selection.increases, dtype=np.float64)
            data.write_selection_table(table_out, table, selection.picks, selection.gains, so_far)
        random = _random_choice(pool, graph, measure, options.budget)
        manifest = _manifest(options, table, pool, graph, selection, certificate, random)
        manifest["resumed_after"] = resumed_after
        manifest["seconds"] = stages.seconds
        data.write_json(manifest_out, manifest)
    print(_summary(options, manifest))


def _read(options: Options, outputs: data.OutputFiles) -> data.RecordTable:
    if not options.pool:
        return data.BuiltinPool().table()
    vocabulary = None if options.vocabulary is None else data.read_vocabulary(options.vocabulary)
    rejects = None
    if options.on_bad_record == "skip":
        rejects = outputs.open(options.stem + ".rejected.jsonl")
    size = sum(os.path.getsize(path) for path in options.pool if os.path.isfile(path))
    with _progress("reading", size, unit="B", unit_scale=True) as bar:
        return data.read_pool(
            options.pool,
            layout=options.format,  # type: ignore[arg-type]
            vocabulary=vocabulary,
            on_bad_record=options.on_bad_record,  # type: ignore[arg-type]
            rejects=rejects,
            progress=lambda done: bar.update(done - bar.n),
            cache=None if options.cache == "none" else options.cache or data.default_cache_folder(),
            on_cache=_say,
        )


def _say_read(table: data.RecordTable) -> None:
    text = f"{table.num_records:,} records with {table.num_labels:,} labels"
    if table.records_skipped:
        text += f"; {table.records_skipped:,} bad records skipped"
    if table.labels_dropped:
        text += f"; {table.labels_dropped:,} labels dropped that are not in the vocabulary"
    without = int(np.count_nonzero(np.diff(table.offsets) == 0))
    if without:
        text += f"; {without:,} records have no label"
    _say(text)


def _label_graph(options: Options, table: data.RecordTable) -> mig_jax.LabelGraph:
    if not options.pool:
        names, vectors = data.BuiltinPool().label_embeddings()
        place = {name: i for i, name in enumerate(names)}
        vectors, present = vectors[[place[name] for name in table.label_names]], None
    elif options.label_embeddings is not None:
        vectors, present = data.read_label_embeddings(
            options.label_embeddings,
            table.label_names,
            missing=options.missing_embeddings,  # type: ignore[arg-type]
        )
    else:
        _say(
            "the label graph has no edges: give --label_embeddings=EMB.npz to let labels of "
            "similar meaning share information"
        )
        return mig_jax.label_graph_from_edges(table.num_labels)
    graph = mig_jax.label_graph_from_embeddings(
        vectors, options.similarity_threshold, present=present
    )
    _say(
        f"label graph: {graph.num_edges:,} edges at similarity {options.similarity_threshold:g} "
        f"or more, {2 * graph.num_edges / max(graph.num_labels, 1):.1f} neighbours a label"
    )
    if not graph.num_edges:
        _say("no two labels are that similar: a lower --similarity_threshold would join some")
    return graph


def _select(
    options: Options, pool: mig_jax.Pool, graph: mig_jax.LabelGraph, measure: mig_jax.Measure
) -> tuple[mig_jax.Selection, int]:
    """The selection, and how many of its picks came from a checkpoint."""
    gain = mig_jax.GAIN_RULES[options.gain]
    with contextlib.ExitStack() as stack:
        checkpoints, resume = None, None
        if options.checkpoint_dir is not None:
            checkpoints = stack.enter_context(
                Checkpoints(
                    options.checkpoint_dir,
                    fingerprint(pool, graph, measure, gain),
                    every_seconds=options.checkpoint_every_seconds,
                )
            )
            resume = checkpoints.restore(
                options.budget,
                on_damaged=lambda picks: _say(
                    f"passed over a damaged checkpoint after {picks:,} picks"
                ),
            )
        resumed_after = 0 if resume is None else len(resume)
        if resumed_after:
            _say(f"resuming after {resumed_after:,} of {options.budget:,} picks")
        bar = stack.enter_context(
            _progress("selecting", options.budget, unit="records", initial=resumed_after)
        )

        def on_chunk(progress: Progress) -> None:
            bar.update(len(progress) - bar.n)
            if checkpoints is not None:
                checkpoints.save(progress, now=len(progress) == options.budget)

        selection = mig_jax.select(
            pool,
            graph,
            options.budget,
            measure=measure,
            gain=gain,
            mesh=_mesh(options),
            resume=resume,
            on_chunk=on_chunk,
        )
    return selection, resumed_after


def _mesh(options: Options) -> Mesh | None:
    if options.devices == "1":
        return None
    try:
        return pool_mesh(None if options.devices == "all" else int(options.devices))
    except ValueError as error:
        raise InputError(f"--devices: {error}") from None


def _certify(
    pool: mig_jax.Pool,
    graph: mig_jax.LabelGraph,
    measure: mig_jax.Measure,
    selection: mig_jax.Selection,
) -> mig_jax.Certificate:
    with _progress("certifying", None, unit="steps") as bar:

        def on_step(step: int, bound: float) -> None:
            bar.set_postfix_str(_at_least(selection.information / bound), refresh=False)
            bar.update(step - bar.n)

        return mig_jax.certify(pool, graph, measure, selection.picks, on_step=on_step)


def _random_choice(
    pool: mig_jax.Pool, graph: mig_jax.LabelGraph, measure: mig_jax.Measure, budget: int
) -> dict[str, float]:
    """E and labels covered of a random choice of the same size, on average."""
    rng = np.random.default_rng(0)
    values, covered = [], []
    for _ in range(_RANDOM_CHOICES):
        chosen = rng.choice(pool.num_records, budget, replace=False)
        amounts = np.zeros(pool.num_records, np.float32)
        amounts[chosen] = 1
        values.append(float(information(measure, label_information(pool, graph, measure, amounts))))
        covered.append(_labels_covered(pool, chosen))
    return {"information": float(np.mean(values)), "labels_covered": float(np.mean(covered))}


def _labels_covered(pool: mig_jax.Pool, picks: np.ndarray) -> int:
    chosen = np.zeros(pool.num_records, bool)
    chosen[picks] = True
    return len(np.unique(np.asarray(pool.labels)[chosen[np.asarray(pool.records)]]))


def _manifest(
    options: Options,
    table: data.RecordTable,
    pool: mig_jax.Pool,
    graph: mig_jax.LabelGraph,
    selection: mig_jax.Selection,
    certificate: mig_jax.Certificate | None,
    random: dict[str, float],
) -> dict[str, Any]:
    information_held = selection.information if certificate is None else certificate.information
    return {
        "files": list(table.files),
        "records_read": table.records_read,
        "records_used": table.num_records,
        "records_skipped": table.records_skipped,
        "labels": graph.num_labels,
        "labels_dropped": table.labels_dropped,
        "edges": graph.num_edges,
        "budget": options.budget,
        "gain": options.gain,
        "information": information_held,
        "upper_bound": None if certificate is None else certificate.upper_bound,
        "certified_ratio": None if certificate is None else certificate.certified_ratio,
        "labels_covered": _labels_covered(pool, selection.picks),
        "random_choice": random,
        "parameters": dataclasses.asdict(options),
        "versions": {
            "mig_jax": mig_jax.__version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": jax.devices()[0].device_kind,
    }


def _summary(options: Options, manifest: dict[str, Any]) -> str:
    random = manifest["random_choice"]
    lines = [
        f"selected {options.budget:,} of {manifest['records_used']:,} records -> {options.output}",
        f"  information E   {manifest['information']:,.1f}"
        f"   (a random choice: {random['information']:,.1f})",
        f"  labels covered  {manifest['labels_covered']:,} of {manifest['labels']:,}"
        f"   (a random choice: {random['labels_covered']:,.0f})",
    ]
    if manifest["certified_ratio"] is not None:
        share = _at_least(manifest["certified_ratio"])
        lines.append(f"  certified       {share} of the best possible E")
    return "\n".join(lines)


def _at_least(ratio: float) -> str:
    """A ratio in per cent, rounded down: what is said must be proven."""
    return f"at least {np.floor(ratio * 1e4) / 1e2:.2f} %"


def _progress(name: str, total: int | None, **options: Any) -> tqdm.tqdm:
    return tqdm.tqdm(desc=name, total=total, file=sys.stderr, mininterval=0.2, **options)


def _say(text: str) -> None:
    tqdm.tqdm.write(text, file=sys.stderr)
