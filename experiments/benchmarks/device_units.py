"""Steps that measure the device itself: its memory, and what a launch and a wait cost."""

from __future__ import annotations

import shutil
import subprocess

import jax
import jax.numpy as jnp
from jax import lax

from experiments.benchmarks.device_runs import Step

__all__ = ["device", "units"]


def device(step: Step) -> None:
    """Who it is, and how fast it reads and writes its memory."""
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv"]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout
        # Graphs that decide on their own need driver 12.4, which is 550.
        step.tell("driver", note="; ".join(told.splitlines()[1:]))
    step.tell("devices", note=", ".join(map(str, jax.devices())))
    size = step.sizes.bandwidth_mb * 1_000_000 // 4
    add_one = jax.jit(lambda x: x + 1, donate_argnums=0)
    _, best = step.time_calls(
        f"read and write {step.sizes.bandwidth_mb:,} MB",
        add_one,
        lambda: jnp.zeros(size, jnp.float32),
    )
    step.tell("memory", note=f"{2 * size * 4 / best / 1e9:.0f} GB/s")


def units(step: Step) -> None:
    """A turn of a loop of known length, one that the host waits for, and ten small kernels."""
    turns, waits = step.sizes.turns, step.sizes.waits
    numbers = jnp.arange(1024, dtype=jnp.float32)

    @jax.jit
    def known(x: jax.Array) -> jax.Array:
        return lax.scan(lambda x, _: (x * 0.5 + 1, None), x, length=turns)[0]

    @jax.jit
    def asked(x: jax.Array, stop: jax.Array) -> jax.Array:
        # The length is data, so that no compiler knows it.
        return lax.while_loop(lambda c: c[1] < stop, lambda c: (c[0] * 0.5 + 1, c[1] + 1), (x, 0))[
            0
        ]

    @jax.jit
    def ten(x: jax.Array) -> jax.Array:
        def turn(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            for _each in range(10):
                # Without the barrier they are one kernel.
                x = lax.optimization_barrier(jnp.sin(x) + jnp.max(x))
            return x, None

        return lax.scan(turn, x, length=waits)[0]

    step.time_calls("a turn of known length", lambda _: known(numbers[0]), each=turns)
    stop = jnp.int32(waits)
    step.time_calls("a turn that asks the host", lambda _: asked(numbers[0], stop), each=waits)
    step.time_calls("a turn of ten small kernels", lambda _: ten(numbers), each=waits)
