"""The file of what is left out of a pool, and what is told of it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mig_jax.commands.terminal import say
from mig_jax.errors import printable

if TYPE_CHECKING:  # Who annotates needs no JAX.
    from mig_jax.devices import Hosts

__all__ = ["Rejected"]

_MOST_REASONS = 10_000  # That are told apart.


class Rejected:
    """Passes on the lines of STEM.rejected.jsonl, and counts the reasons that they give."""

    def __init__(self, stream: Any, path: str | None) -> None:
        """Takes the stream, and the path that it will have in the end; None if nobody keeps it."""
        self._stream, self._rest = stream, b""
        self._of_reason: Counter[str] = Counter()
        self._first: dict[str, str] = {}  # Such a reason, as it is.
        #: Where the lines are found, from the root of the file system on; None for nowhere.
        self.path = None if path is None else os.path.abspath(path)

    def write(self, text: bytes) -> None:
        """Takes lines, or any part of them."""
        self._stream.write(text)
        *lines, self._rest = (self._rest + text).split(b"\n")
        for line in lines:
            # Python's own reader takes the lone surrogates that stand for bytes of no text.
            reason = printable(json.loads(line)["reason"])
            kind = re.sub(r"\d+", "0", reason)  # A place in the line makes it no other reason.
            if kind in self._first or len(self._first) < _MOST_REASONS:
                self._first.setdefault(kind, reason)
                self._of_reason[kind] += 1

    def most(self, hosts: Hosts | None = None) -> tuple[str, int] | None:
        """The most frequent reason, and its number; None if nothing is left out.

        It is that of all the processes together, of this one alone by default, and told as it
        was met first.
        """
        own = np.frombuffer(msgspec.json.encode((self._of_reason, self._first)), np.uint8)
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for part in [own] if hosts is None else hosts.gather(own):
            its_counts, its_first = msgspec.json.decode(part.tobytes())
            counts.update(its_counts)
            first = its_first | first
        if not counts:
            return None
        kind, number = counts.most_common(1)[0]
        return first[kind], number

    def say(self, hosts: Hosts) -> None:
        """Tells what was left out most, and where all of it is listed when the command is done."""
        if (most := self.most(hosts)) is None:
            return
        reason, number = most
        times = f"{number:,} time{'s' * (number > 1)}"
        listed = ""
        if self.path is not None:
            listed = f"; all are listed in {self.path}{', and beside it' * (hosts.count > 1)}"
        say(f"left out most often ({times}): {reason}{listed}")
