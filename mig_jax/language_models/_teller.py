"""How what takes long is told while it runs: by whoever has a terminal."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["SILENT", "Teller"]


class Bar(Protocol):
    """What shows how far something is, as tqdm's bars do."""

    def update(self, n: float = 1, /) -> object: ...


class _NoBar:
    def update(self, n: float = 1, /) -> None:
        pass


def _say_nothing(text: str) -> None:
    pass


def _no_bar(name: str, total: int, **options: Any) -> contextlib.AbstractContextManager[Bar]:
    return contextlib.nullcontext(_NoBar())


@dataclasses.dataclass(frozen=True)
class Teller:
    """Lines and bars; nobody sees any by default."""

    say: Callable[[str], None] = _say_nothing
    #: Takes a name, the total, and tqdm's `unit`, `initial` and `leave`.
    bar: Callable[..., contextlib.AbstractContextManager[Bar]] = _no_bar


SILENT = Teller()
