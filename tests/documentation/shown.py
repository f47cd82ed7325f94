"""Compares what a page shows of a command with what it says."""

from __future__ import annotations

import math
import re

__all__ = ["lines_not_said"]

_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_TIME = re.compile(r"\d[\d,.]* (ms|s|min)\b")


def lines_not_said(shown: str, said: str) -> list[str]:
    """The lines that are shown and not said, by any line.

    Spaces do not count, nor do seconds; numbers may differ by a thousandth, as processors add in
    other orders. A line of … alone stands for any, and … at the end of one for all that follows.
    """
    lines = [line.split() for line in said.replace("\r", "\n").splitlines()]
    return [
        line
        for line in shown.splitlines()
        if line.strip() not in ("", "\u2026", "...")
        and not any(_same(line.split(), other) for other in lines)
    ]


def _parts(words: list[str]) -> tuple[str, list[float]]:
    line = _TIME.sub("<time>", " ".join(words))
    numbers = [float(number.replace(",", "")) for number in _NUMBER.findall(line)]
    return _NUMBER.sub("<number>", line), numbers


def _same(shown: list[str], said: list[str]) -> bool:
    if shown[-1:] == ["\u2026"]:
        shown, said = shown[:-1], said[: len(shown) - 1]
    one, other = _parts(shown), _parts(said)
    if one[0] != other[0]:
        return False
    pairs = zip(one[1], other[1], strict=True)
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in pairs)
