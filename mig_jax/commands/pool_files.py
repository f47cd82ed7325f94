"""Opening the files that --pool names; those elsewhere are copied, with a bar each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from mig_jax import data
from mig_jax.commands.standard_streams import spooled_input
from mig_jax.commands.terminal import progress_bar

__all__ = ["open_pool"]


def open_pool(pool: Sequence[str | data.RecordFile], **how: Any) -> list[data.RecordFile]:
    """The files that `pool` names, to be read as often as need be: they must stay as they are.

    `-` is standard input. `how` has options of `data.open_files`.

    Raises:
      InputError: if a file cannot be used.
    """
    with contextlib.ExitStack() as bars:
        shown: dict[str, Any] = {}

        def on_fetch(address: str, done: int, size: int | None) -> None:
            if address not in shown:
                bar = progress_bar(f"fetching {address}", size, unit="B")
                shown[address] = bars.enter_context(bar)
            shown[address].update(done - shown[address].n)

        return data.open_files(pool, on_fetch=on_fetch, standard_input=spooled_input, **how)
