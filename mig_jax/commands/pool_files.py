"""Opening the files that --pool names; those elsewhere are copied, with a bar each."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mig_jax import data
from mig_jax.commands.terminal import progress_bar

if TYPE_CHECKING:
    from mig_jax.commands.flag_groups import PoolOptions

__all__ = ["open_pool"]


def open_pool(options: PoolOptions) -> list[data.RecordFile]:
    """The files of the pool, to be read as often as need be: they must stay as they are.

    Raises:
      InputError: if a file cannot be used.
    """
    with contextlib.ExitStack() as bars:
        shown: dict[str, Any] = {}

        def on_fetch(address: str, done: int, size: int | None) -> None:
            if address not in shown:
                bar = progress_bar(f"fetching {address}", size, unit="B", unit_scale=True)
                shown[address] = bars.enter_context(bar)
            shown[address].update(done - shown[address].n)

        return data.open_files(
            options.pool,
            fields=options.fields,
            longest_record=options.limits.longest_record,
            cache=options.cache_folder,
            on_fetch=on_fetch,
        )
