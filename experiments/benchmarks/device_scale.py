"""The step that selects from pools made on the device, larger than a host lays out in the time."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.device_runs import Step, pages_of
from experiments.benchmarks.device_selection import pick_from, set_of, state_of
from mig_jax.selection import EMPTY

__all__ = ["random_pages", "scale"]

_AREA, _ROWS = 1024, 256
_MEAN_ROWS = 52  # As the generated pool has: 51 records a page.


def scale(step: Step) -> None:
    """First bounds, picks and memory of ten and of a hundred million records."""
    for records in step.sizes.scales:
        if step.is_over:
            step.tell("pool", records=records, note="no time was left")
            continue
        _one(step, records)


def _one(step: Step, records: int) -> None:
    pages = jax.block_until_ready(random_pages(records, step.sizes.labels))
    step.tell("pool", records=records, note=f"{pages.num_pages:,} pages")
    z = np.zeros(step.sizes.labels, np.float32)
    count, rows = step.sizes.scale_picks, step.sizes.set_rows[0]
    size = set_of(pages, step.sizes.set_pages[0], rows, full=True)
    begin = functools.partial(state_of, step, pages, z, size)
    step.time_calls("first bounds", lambda _: begin(), records=records, rounds=2)
    step.time_calls(
        "picks",
        functools.partial(pick_from, step, pages, count=count),
        begin,
        each=count,
        rounds=1,
        note=lambda found: f"{found[1].sum()} pages read",
        records=records,
        picks=count,
        set_pages=size.pages,
        set_rows=size.rows,
    )


def random_pages(records: int, num_labels: int) -> Any:
    """Pages of about so many records with random labels and values, made where they stay.

    Five of eight pages have rows of 16 slots, the others of 32; few labels are popular.
    """
    number = max(-(-records // _MEAN_ROWS), 1)
    width_log2 = np.where(np.arange(number) % 8 < 5, 4, 5).astype(np.int32)
    rows = _AREA >> width_log2
    starts = np.cumsum(rows) - rows
    labels, values = _slots(jax.random.key(0), number, num_labels)
    return pages_of(
        num_labels,
        labels=labels,
        values=values,
        records=_records(int(rows.sum())),
        starts=jnp.asarray(starts, jnp.int32),
        width_log2=jnp.asarray(width_log2),
    )


@functools.partial(jax.jit, static_argnames=("number", "num_labels"))
def _slots(key: jax.Array, number: int, num_labels: int) -> tuple[jax.Array, jax.Array]:
    of_labels, of_values = jax.random.split(key)
    share = jax.random.uniform(of_labels, (number, _AREA)) ** 3
    labels = jnp.minimum((share * num_labels).astype(jnp.int32), num_labels - 1)
    labels = labels.astype(jnp.uint16 if num_labels <= 1 << 16 else jnp.int32)
    return labels, jax.random.exponential(of_values, (number, _AREA))


@functools.partial(jax.jit, static_argnames="rows")
def _records(rows: int) -> jax.Array:
    """A record a row, and behind them what `Pages` asks for."""
    return jnp.pad(jnp.arange(rows, dtype=jnp.int32), (0, _ROWS), constant_values=EMPTY)
