"""Steps that select on the device: by full scan, by pages, from working sets, for many measures."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mig_jax
from experiments.benchmarks.device_runs import Sizes, Step, leading
from mig_jax.measure import PAPER
from mig_jax.selection import (
    SetSize,
    full_scan_greedy,
    initial_state,
    lazy_greedy,
    next_chunk,
)

__all__ = [
    "OF_A_RUN",
    "bounds",
    "by_pages",
    "lanes",
    "lazy_set",
    "pick_from",
    "reference",
    "set_of",
    "state_of",
    "ties",
    "trace",
    "working_set",
]

#: Files of picks that steps leave for those after them in the same run.
OF_A_RUN = ("reference_picks.npy", "picks_of_budget.npy")

_CHUNK = 1024


def reference(step: Step) -> None:
    """Picks by full scan, which those of all other steps must be: of this device's own rounding."""
    pages, z = step.pages()
    count = step.sizes.reference

    def scan(state: Any) -> Any:
        return full_scan_greedy(mig_jax.EXACT, step.measure, pages, state, jnp.int32(count), count)[
            1
        ].records

    picks, _ = step.time_calls(
        "full scan",
        scan,
        lambda: initial_state(mig_jax.EXACT, step.measure, pages, z),
        each=count,
        rounds=1,
        records=step.sizes.records,
        picks=count,
    )
    np.save(_reference_of(step), np.asarray(picks))


def by_pages(step: Step) -> None:
    """Picks by pages alone, as without a working set."""
    pages, z = step.pages()
    count, expected = step.sizes.by_pages, _expected(step)

    def chunk(state: Any) -> Any:
        stop = np.int32(count)
        return next_chunk(mig_jax.EXACT, step.measure, pages, state, stop, count, None)[1]

    step.time_calls(
        "by pages",
        chunk,
        lambda: initial_state(mig_jax.EXACT, step.measure, pages, z),
        each=count,
        same_picks=lambda found: leading(found.records, expected),
        note=lambda found: f"{float(found.pages_read.mean()):.2f} pages a pick",
        records=step.sizes.records,
        picks=count,
    )


def bounds(step: Step) -> None:
    """First bounds of all pages, as selection begins with them; and all gains at once."""
    pages, z = step.pages()
    records = step.sizes.records
    size = set_of(pages, step.sizes.set_pages[0], step.sizes.set_rows[0], full=True)
    step.time_calls(
        "first bounds",
        lambda _: state_of(step, pages, z, size),
        records=records,
    )
    gains = jax.jit(
        lambda pages, z: mig_jax.marginal_gains(mig_jax.EXACT, step.measure, pages, z, records)
    )
    step.time_calls("all gains at once", lambda _: gains(pages, jnp.asarray(z)), records=records)


def pick_from(step: Step, pages: Any, state: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many picks from a state it takes over, chunk by chunk, and the pages read for each."""
    # One length for all counts: it is compiled once for each shape.
    picks, read, chunk = [], [], min(step.sizes.budget, _CHUNK)
    for done in range(0, count, chunk):
        stop = np.int32(min(done + chunk, count))
        state, found = next_chunk(mig_jax.EXACT, step.measure, pages, state, stop, chunk, None)
        picks.append(np.asarray(found.records))
        read.append(np.asarray(found.pages_read))
    return np.concatenate(picks)[:count], np.concatenate(read)[:count]


def working_set(step: Step) -> None:
    """Picks from working sets of several shapes, all gains of a set at once.

    The two shapes with the least time are tried with the whole budget.
    """
    pages, z = step.pages()
    found: list[tuple[float, SetSize]] = []
    for rows in step.sizes.set_rows:
        for number in step.sizes.set_pages:
            if step.is_over:
                step.tell("working set", set_pages=number, set_rows=rows, note="no time was left")
                continue
            size = set_of(pages, number or pages.num_pages, rows, full=True)
            seconds = _time_set(step, pages, z, size, step.sizes.first_picks, rounds=2)
            found.append((seconds, size))
    for _, size in sorted(found, key=lambda pair: pair[0])[:2]:
        _time_set(step, pages, z, size, step.sizes.budget, rounds=2)


def lazy_set(step: Step) -> None:
    """Picks from a working set whose gains are computed one after another, as on a CPU."""
    pages, z = step.pages()
    rows = min(step.sizes.set_rows[0], _CHUNK)
    size = set_of(pages, step.sizes.set_pages[0], rows, full=False)
    _time_set(step, pages, z, size, step.sizes.reference, rounds=1, what="lazy working set")


def lanes(step: Step) -> None:
    """Selections by many measures side by side, against one."""
    pages, z = step.pages()
    count, rows = step.sizes.lane_picks, step.sizes.set_rows[0]
    size = set_of(pages, step.sizes.set_pages[0], rows, full=True)

    def choose(pages: Any, exponent: jax.Array) -> jax.Array:
        measure = mig_jax.Measure(mig_jax.Power(exponent, jnp.float32(PAPER.epsilon)))
        state = initial_state(mig_jax.EXACT, measure, pages, z, size=size)
        budget = jnp.int32(count)
        return lazy_greedy(mig_jax.EXACT, measure, pages, state, budget, count)[1].records

    one, several = jax.jit(choose), jax.jit(jax.vmap(choose, in_axes=(None, 0)))
    for number in (1, *step.sizes.lanes):
        exponents = jnp.linspace(0.5, 0.95, number, dtype=jnp.float32)
        together = several if number > 1 else one
        given = exponents if number > 1 else exponents[0]
        step.time_calls(
            "measures side by side",
            functools.partial(together, pages),
            functools.partial(jnp.copy, given),
            each=number,
            rounds=2,
            records=step.sizes.records,
            picks=count,
            lanes=number,
            set_pages=size.pages,
            set_rows=size.rows,
        )


def trace(step: Step) -> None:
    """A profile of some picks, for the profiler's viewer."""
    pages, z = step.pages()
    count = step.sizes.traced
    size = set_of(pages, step.sizes.set_pages[0], step.sizes.set_rows[0], full=True)

    def choose() -> Any:
        state = state_of(step, pages, z, size)
        stop = np.int32(count)
        return next_chunk(mig_jax.EXACT, step.measure, pages, state, stop, count, None)[1]

    jax.block_until_ready(choose())
    folder = step.folder / "trace"
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready(choose())
    step.tell("profile", records=step.sizes.records, picks=count, note=f"in {folder.name}/")


def ties(step: Step) -> None:
    """A pool where few records differ: by pages alone, and with a working set that gives little."""
    pages, z = _pages_of_ties(step.sizes)
    count = step.sizes.tie_picks
    full = set_of(pages, step.sizes.set_pages[0], step.sizes.set_rows[0], full=True)
    expected = None
    for size in (None, full):
        (picks, _), _ = step.time_calls(
            "ties, by pages" if size is None else "ties, with a working set",
            functools.partial(pick_from, step, pages, count=count),
            functools.partial(state_of, step, pages, z, size),
            each=count,
            rounds=1,
            same_picks=functools.partial(_leading, expected),
            records=step.sizes.ties,
            picks=count,
            set_pages="" if size is None else size.pages,
            set_rows="" if size is None else size.rows,
        )
        expected = picks


def _leading(expected: np.ndarray | None, found: tuple[np.ndarray, np.ndarray]) -> str:
    return leading(found[0], expected)


def set_of(pages: Any, number: int, rows: int, full: bool) -> SetSize:
    """The shape of a working set that has room for the widest rows of the pages."""
    width = 1 << int(np.asarray(pages.width_log2).max())
    return SetSize(pages=min(number, pages.num_pages), rows=rows, width=width, full=full)


def state_of(step: Step, pages: Any, z: Any, size: SetSize | None) -> Any:
    """The state before the first pick, with a working set of a shape; None for none."""
    return initial_state(mig_jax.EXACT, step.measure, pages, z, size=size)


def _time_set(
    step: Step,
    pages: Any,
    z: Any,
    size: SetSize,
    count: int,
    rounds: int,
    what: str = "working set",
) -> float:
    """Seconds of so many picks, first bounds not included."""
    expected = _expected(step)
    whole = step.folder / OF_A_RUN[1]
    if count == step.sizes.budget and whole.exists():
        expected = np.load(whole)
    (picks, _), seconds = step.time_calls(
        what,
        lambda state: pick_from(step, pages, state, count),
        lambda: state_of(step, pages, z, size),
        each=count,
        rounds=rounds,
        same_picks=functools.partial(_leading, expected),
        note=_read,
        records=step.sizes.records,
        picks=count,
        set_pages=size.pages,
        set_rows=size.rows,
    )
    if count == step.sizes.budget and not whole.exists():
        np.save(whole, picks)
    return seconds


def _read(found: tuple[np.ndarray, np.ndarray]) -> str:
    """For how many picks pages were read, and how many."""
    read = found[1]
    return f"{np.count_nonzero(read)} reads of {read.sum()} pages"


def _reference_of(step: Step) -> pathlib.Path:
    return step.folder / OF_A_RUN[0]


def _expected(step: Step) -> np.ndarray | None:
    path = _reference_of(step)
    return np.load(path) if path.exists() else None


def _pages_of_ties(sizes: Sizes) -> tuple[Any, Any]:
    """One label and one of five scores a record: no more than 5 a label differ."""
    random = np.random.default_rng(0)
    num_labels = max(sizes.labels // 8, 2)
    labels = random.integers(0, num_labels, sizes.ties)
    scores = (1.0 + random.integers(0, 5, sizes.ties)).astype(np.float32)
    pool = mig_jax.pool_from_label_lists([[label] for label in labels.tolist()], scores)
    graph = mig_jax.label_graph_from_edges(num_labels)
    pages = mig_jax.lay_out(pool, graph, mig_jax.Measure(), sizes.tie_picks)
    return pages, np.zeros(num_labels, np.float32)
