"""How far a command is: a bar where there is a terminal, and elsewhere a line now and then.

Both beat: what is long at one thing, as JAX is while it compiles, is seen to go on.

Two settings of tqdm's own hold here: `TQDM_DISABLE=1` shows neither, and `TQDM_MININTERVAL` is the
least number of seconds between two lines, or between two looks of a bar.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

import tqdm

__all__ = ["Bar", "bar_on", "duration", "is_terminal", "passing_word"]

_LINE_EVERY_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 0.2
# What is done sooner shows no bar: it would be gone, or be noise, before anybody has read it.
_BAR_AFTER_SECONDS = 0.5
_BEAT_SECONDS = 1.0
_WORD_AFTER_SECONDS = 1.0
_CLEARED = "\r\x1b[K"


class Bar(Protocol):
    """What is told how far something is."""

    n: float  #: How much is done.
    total: float | None  #: Of how much; None if nobody knows.
    postfix: str | None  #: What else is told.

    def update(self, n: float = 1, /) -> Any:
        """So much more is done."""

    def rename(self, name: str, /) -> None:
        """It is at something else from now on."""

    def restart(self, name: str, /) -> None:
        """It begins once more, at something else."""

    def is_ready(self, n: float, /) -> None:
        """Up to so much, how long it took does not tell how fast it goes on."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Tells something beside the numbers."""

    def close(self) -> None:
        """It is over."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...


def bar_on(
    stream: Any,
    name: str,
    total: float | None,
    *,
    unit: str = "",
    initial: float = 0,
    leave: bool = True,
    is_drawn: bool | None = None,
    is_silent: bool = False,
) -> Bar:
    """What tells on a stream how far something is.

    Args:
      stream: text.
      name: what is done, such as "reading".
      total: how much there is of it; None if nobody knows.
      unit: what is counted, such as "records"; "B" are bytes, and nothing is counted without.
      initial: how much was done before.
      leave: whether a bar stays when it is done.
      is_drawn: whether a bar is drawn, again and again; lines are written else. By default it is
        on a terminal.
      is_silent: whether nothing is shown at all.
    """
    is_silent = is_silent or os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    how: dict[str, Any] = {"unit": unit.strip(), "initial": initial, "is_silent": is_silent}
    if is_terminal(stream) if is_drawn is None else is_drawn:
        return _TerminalBar(stream, name, total, leave=leave, **how)
    return _Lines(stream, name, total, **how)


def is_terminal(stream: Any) -> bool:
    """Whether a bar can be drawn there, and drawn again."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # As of a stream that is closed.
        return False


def duration(seconds: float) -> str:
    """Seconds in the words of people.

    >>> duration(7.6), duration(130), duration(7380)
    ('8 s', '2 min 10 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"


class passing_word:  # noqa: N801 - is used as a function.
    """Within, a terminal shows a word if it takes long; it is gone afterwards."""

    def __init__(self, stream: Any, word: str) -> None:
        self._stream, self._word, self._is_shown = stream, word, False
        self._beat = _Beat(self._show, _WORD_AFTER_SECONDS)

    def __enter__(self) -> Self:
        if is_terminal(self._stream):
            self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._beat.stop()
        if self._is_shown:
            self._stream.write(_CLEARED)

    def _show(self) -> None:
        if not self._is_shown:
            self._stream.write(f"{_CLEARED}{self._word} …")
            self._is_shown = True


class _Beat:
    """Calls a function every so many seconds, in a thread of its own, until it is stopped."""

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat, self._seconds = beat, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mig_jax progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._beat()


def _amounts(done: float, total: float | None, unit: str) -> str:
    """How much is done, of how much: "3,100 of 5,000 records"; empty if nothing is counted."""
    if not unit:
        return ""
    if unit == "B":
        size, of = tqdm.tqdm.format_sizeof, "" if total is None else "of "
        return f"{size(done)}B {of}{'' if total is None else size(total) + 'B'}".rstrip()
    return f"{done:,.0f} {'' if total is None else f'of {total:,.0f} '}{unit}"


def _told(
    done: float,
    total: float | None,
    initial: float,
    unit: str,
    seconds: float,
    pace: tuple[float, float],
) -> str:
    """How far it is: "3,100 of 5,000 records, 12 s, about 8 s left".

    `pace` is how much was done when it had got ready, and how many seconds ago that was.
    """
    parts = [_amounts(done, total, unit)] if unit else []
    if unit and done == initial and seconds >= 2:
        parts.append("getting ready")  # Often JAX compiles, the first time.
    parts.append(duration(seconds))
    before, since = pace
    if total is not None and before < done < total and since >= 1:
        left = since * (total - done) / (done - before)
        parts += [f"about {duration(left)} left"] * (left >= 0.5)
    return ", ".join(parts)


class _TerminalBar(tqdm.tqdm):
    """A bar that is drawn again and again."""

    def __init__(
        self,
        stream: Any,
        name: str,
        total: float | None,
        *,
        unit: str,
        initial: float,
        leave: bool,
        is_silent: bool,
    ) -> None:
        self._counts, self._since = unit, time.monotonic()
        self._pace = (initial, self._since)
        share = "{percentage:3.0f}% |{bar}| " if total is not None else ""
        super().__init__(
            desc=f"{name}: ",
            total=total,
            initial=initial,
            leave=leave,
            file=stream,
            disable=is_silent,
            delay=_BAR_AFTER_SECONDS,
            mininterval=_between(_LOOK_EVERY_SECONDS),
            miniters=1,
            dynamic_ncols=True,
            bar_format=f"{{desc}}{share}{{told}}{{postfix}}",
        )
        self._beat = _Beat(self.refresh, _BEAT_SECONDS)
        if not self.disable:
            self._beat.start()

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the bar is made of, as tqdm has it, and the words beside it."""
        found: dict[str, Any] = super().format_dict
        now = time.monotonic()
        before, ready = self._pace
        pace = (before, now - ready)
        told = _told(self.n, self.total, self.initial, self._counts, now - self._since, pace)
        width = found["ncols"] or None  # Of a terminal that does not say how wide it is, 0.
        return found | {"told": told, "ncols": width}

    def rename(self, name: str, /) -> None:
        """It is at something else from now on."""
        if not self.disable:
            self.desc = f"{name}: "

    def restart(self, name: str, /) -> None:
        """It begins once more, at something else."""
        if not self.disable:
            self.rename(name)
            self.n, self.initial, self._since = 0, 0, time.monotonic()
            self.is_ready(0)

    def is_ready(self, n: float, /) -> None:
        """Up to so much, how long it took does not tell how fast it goes on."""
        self._pace = (n, time.monotonic())

    def close(self) -> None:
        """It is over: the bar stays as it is, or goes."""
        if not self.disable:
            self._beat.stop()
        super().close()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draws it, unless it has only just begun: nothing that is gone at once is drawn."""
        now = time.time()
        if now >= self.start_t + self.delay:
            super().display(msg, pos)
            self.last_print_t = now  # By which tqdm knows that there is something to leave.


class _Lines:
    """A line now and then, and one at the end of what has taken as long as that."""

    def __init__(
        self,
        stream: Any,
        name: str,
        total: float | None,
        *,
        unit: str,
        initial: float,
        is_silent: bool,
    ) -> None:
        self.n: float = initial
        self.total: float | None = total
        self.postfix: str | None = None
        self._stream, self._name, self._unit, self._initial = stream, name, unit, initial
        self._is_silent, self._every = is_silent, _between(_LINE_EVERY_SECONDS)
        self._began = self._since = self._told_at = time.monotonic()
        self._pace = (initial, self._since)
        self._lock = threading.Lock()
        self._beat = _Beat(self._look, max(self._every, _BEAT_SECONDS))
        if not is_silent:
            self._beat.start()

    def update(self, n: float = 1, /) -> None:
        """So much more is done."""
        self.n += n
        self._look()

    def rename(self, name: str, /) -> None:
        """It is at something else from now on."""
        self._name = name

    def restart(self, name: str, /) -> None:
        """It begins once more, at something else."""
        self._name, self.n, self._initial, self._since = name, 0, 0, time.monotonic()
        self.is_ready(0)

    def is_ready(self, n: float, /) -> None:
        """Up to so much, how long it took does not tell how fast it goes on."""
        self._pace = (n, time.monotonic())

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Tells something beside the numbers, with the next line."""
        self.postfix = s

    def close(self) -> None:
        """It is over."""
        self._end("in")

    def _end(self, word: str) -> None:
        if self._is_silent:
            return
        self._beat.stop()
        self._is_silent = True
        if (took := time.monotonic() - self._began) >= self._every:
            is_whole = self.total is None or self.n >= self.total
            amounts = _amounts(self.n, None if is_whole else self.total, self._unit) or "done"
            self._write(f"{amounts} {word} {duration(took)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end("in" if kind is None else "given up after")

    def _look(self) -> None:
        if self._is_silent or (now := time.monotonic()) - self._told_at < self._every:
            return
        with self._lock:  # The beat and an update may come at the same time.
            if now - self._told_at < self._every:
                return
            self._told_at = now
        if self.total is None or self.n < self.total:  # Else the last line is next.
            before, ready = self._pace
            pace, since = (before, now - ready), now - self._since
            self._write(_told(self.n, self.total, self._initial, self._unit, since, pace))

    def _write(self, told: str) -> None:
        beside = f"; {self.postfix}" if self.postfix else ""
        # By tqdm, whose lock keeps lines whole.
        tqdm.tqdm.write(f"{self._name}: {told}{beside}", file=self._stream)


def _between(usual: float) -> float:
    """Seconds between two lines or looks: tqdm's own setting, if it is one."""
    try:
        return max(float(os.environ["TQDM_MININTERVAL"]), 0.0)
    except (KeyError, ValueError):
        return usual
