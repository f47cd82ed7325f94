"""What the steps of `benchmark_accelerator` share: sizes, the pool, lines, and times of calls."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import mig_jax
from experiments.benchmarks.csv_lines import CsvLines

__all__ = ["COLUMNS", "FULL", "SMALL", "Sizes", "Step", "leading", "pages_of", "peak_mb", "prepare"]

COLUMNS = (
    "date",
    "device",
    "jax",
    "step",
    "command_buffers",
    "what",
    "records",
    "picks",
    "set_pages",
    "set_rows",
    "lanes",
    "round",  # 0 is the first call, with compilation.
    "seconds",
    "us_each",
    "peak_mb",
    "same_picks",
    "note",
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much each step does."""

    records: int
    labels: int
    budget: int
    bandwidth_mb: int  #: Of the array that is read and written.
    turns: int  #: Of loops whose length is known.
    waits: int  #: Of loops that the host waits for.
    reference: int  #: Picks by full scan.
    by_pages: int  #: Picks by pages.
    first_picks: int  #: Picks of each shape of the working set.
    #: Of working sets, the likeliest first; 0 for all pages.
    set_pages: tuple[int, ...]
    set_rows: tuple[int, ...]
    lanes: tuple[int, ...]
    lane_picks: int
    scales: tuple[int, ...]  #: Records of pools that are made on the device.
    scale_picks: int
    traced: int  #: Picks.
    ties: int  #: Records, of which few differ.
    tie_picks: int


FULL = Sizes(
    records=939_343,
    labels=4_531,
    budget=50_000,
    bandwidth_mb=4_000,
    turns=100_000,
    waits=10_000,
    reference=500,
    by_pages=256,
    first_picks=5_000,
    set_pages=(4_096, 1_024, 0),
    set_rows=(2_048, 1_024, 4_096, 512),
    lanes=(16, 64),
    lane_picks=1_000,
    scales=(10_000_000, 100_000_000),
    scale_picks=5_000,
    traced=200,
    ties=200_000,
    tie_picks=5_000,
)
#: The same program within a minute, on a CPU.
SMALL = Sizes(
    records=2_000,
    labels=60,
    budget=80,
    bandwidth_mb=1,
    turns=100,
    waits=100,
    reference=40,
    by_pages=40,
    first_picks=40,
    set_pages=(8,),
    set_rows=(32,),
    lanes=(2,),
    lane_picks=20,
    scales=(5_000,),
    scale_picks=20,
    traced=10,
    ties=1_000,
    tie_picks=40,
)


def prepare(path: pathlib.Path, sizes: Sizes, threshold: float, embeddings: str | None) -> None:
    """Writes the pages of a generated pool, in the order that suits its budget."""
    from experiments.benchmarks.pools import generate

    found = generate(sizes.records, sizes.labels, threshold, embeddings)
    pages = mig_jax.lay_out(found.pool, found.graph, mig_jax.Measure(), sizes.budget)
    arrays: dict[str, Any] = {
        name: leaf for name, leaf in vars(pages).items() if isinstance(leaf, jax.Array)
    }
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays, num_labels=found.graph.num_labels)
    partial.rename(path)


@dataclasses.dataclass
class Step:
    """A step under way: where its lines go, and how long it may take."""

    name: str
    command_buffers: str
    sizes: Sizes
    folder: pathlib.Path
    pool: pathlib.Path  #: From `prepare`.
    lines: CsvLines
    seconds: float  #: After so many it begins nothing new.
    started: float = dataclasses.field(default_factory=time.monotonic)
    measure: mig_jax.Measure = dataclasses.field(default_factory=mig_jax.Measure)

    def tell(self, what: str, **numbers: Any) -> None:
        """A line, printed and saved at once; numbers that it does not give stay empty."""
        device = jax.devices()[0]
        about = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "device": device.device_kind,
            "jax": jax.__version__,
            "step": self.name,
            "command_buffers": self.command_buffers,
            "what": what,
            "peak_mb": peak_mb(),
        }
        self.lines.add({**about, **numbers})
        told = ", ".join(f"{name} {value}" for name, value in numbers.items() if value != "")
        print(f"{self.name} ({self.command_buffers}): {what}: {told}", flush=True)

    @property
    def is_over(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() - self.started > self.seconds

    def pages(self) -> tuple[Any, Any]:
        """The pool on the device, and z without picks."""
        with np.load(self.pool) as arrays:
            fields = {name: jax.device_put(arrays[name]) for name in arrays if name != "num_labels"}
            labels = int(arrays["num_labels"])
        return pages_of(labels, **fields), np.zeros(labels, np.float32)

    def time_calls(
        self,
        what: str,
        call: Callable[[Any], Any],
        given: Callable[[], Any] = lambda: None,
        *,
        each: int = 1,
        rounds: int = 3,
        note: Callable[[Any], str] = lambda _: "",
        same_picks: Callable[[Any], str] = lambda _: "",
        **numbers: Any,
    ) -> tuple[Any, float]:
        """Lines for a first call, with compilation, and for some more.

        Args:
          what: is called.
          call: gets what `given` gives, made anew for every call and not part of its time.
          each: of how many things a call is made, whose time each is told too.
          rounds: calls behind the first.
          note: of what the last call gave.
          same_picks: of it.

        Returns:
          What the last call gave, and the least seconds of the rounds.
        """
        best, result = float("inf"), None
        for turn in range(rounds + 1):
            before = jax.block_until_ready(given())
            start = time.perf_counter()
            result = jax.block_until_ready(call(before))
            seconds = time.perf_counter() - start
            best = seconds if turn <= 1 else min(best, seconds)
            self.tell(
                what,
                **numbers,
                round=turn,
                seconds=round(seconds, 6),
                us_each=round(seconds / each * 1e6, 3) if each > 1 else "",
                same_picks=same_picks(result),
                note=note(result),
            )
            if turn and self.is_over:
                break
        return result, best


def pages_of(num_labels: int, **fields: Any) -> Any:
    """Pages with these arrays as fields."""
    pool = mig_jax.pool_from_label_lists([[0]], [1.0])
    graph = mig_jax.label_graph_from_edges(num_labels)
    few = mig_jax.lay_out(pool, graph, mig_jax.Measure(), 1)
    return dataclasses.replace(few, **fields)


def peak_mb() -> float | str:
    """The most memory of the device that this process has used; empty if it does not tell."""
    told = jax.devices()[0].memory_stats() or {}
    peak = told.get("peak_bytes_in_use")
    return "" if peak is None else round(peak / 1e6, 1)


def leading(picks: Any, expected: np.ndarray | None) -> str:
    """How many picks are the expected ones up to the first that is not; empty if none are known."""
    if expected is None:
        return ""
    found = np.asarray(picks)[: len(expected)]
    expected = expected[: len(found)]
    differ = np.flatnonzero(found != expected)
    return f"{differ[0] if len(differ) else len(found)} of {len(found)}"
