"""Two runs at once: of one output, in one checkpoint folder, in one working folder.

    python -m tests.reliability.pairs --root=DIR [--pairs=100] [--crossed=200]

Each row of DIR/pairs.jsonl is a pair: how both ended, and what was wrong. One of them does what it
does alone; the other does too, or is refused with one line and status 2.

A crossed pair leaves nothing to chance: one run waits before a step of its, the other begins then
and waits before a step of its own until the first has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import random
import signal
import time
from typing import Any

from tests.reliability import forked
from tests.reliability.cases import Bench, left_behind, make_cases
from tests.reliability.rows import Rows

_REFUSED = ("another run is writing it", "another run is using it")


def pair(bench: Bench, both: list[str], second: list[str], later: float) -> dict[str, Any]:
    """Two runs of one command, the second so many seconds later, with words of its own."""
    bench.older()
    logs = [pathlib.Path(f"{bench.log}_{number}") for number in range(2)]
    children = []
    for log, more in zip(logs, ([], second), strict=True):
        words = bench.case.of(bench.out, *both, *more)
        children.append(forked.start(words, bench.out, log))
        time.sleep(later if log == logs[0] else 0)
    return _looked_at(bench, children, logs, has_second_output=bool(second))


def crossed(
    bench: Bench, both: list[str], second: list[str], step: int, second_step: int | None
) -> dict[str, Any]:
    """Two runs of one command, of which each waits for the other once.

    Args:
      bench: of the command.
      both: words of both.
      second: words of the second alone.
      step: before which the first run waits for the second.
      second_step: before which the second waits until the first has ended; None if it does not.
    """
    bench.older()
    logs = [pathlib.Path(f"{bench.log}_{number}") for number in range(2)]
    children = []
    for log, at, more in zip(logs, (step, second_step), ([], second), strict=True):
        words = bench.case.of(bench.out, *both, *more)
        child = forked.start(words, bench.out, log, stop_at=at, by=signal.SIGSTOP)
        forked.stopped_or_ended(child)
        children.append(child)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
        if child == children[0]:
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return _looked_at(bench, children, logs, has_second_output=bool(second))


def _looked_at(
    bench: Bench, children: list[int], logs: list[pathlib.Path], has_second_output: bool
) -> dict[str, Any]:
    """How both ended, and what is wrong with that and with what they have left."""
    ended = [forked.end(child, log) for child, log in zip(children, logs, strict=True)]
    row: dict[str, Any] = {"statuses": [one.status for one in ended]}
    row["lines"] = [one.line[-160:] for one in ended if one.status]
    try:
        assert not any("Traceback" in one.err for one in ended), [one.err[-500:] for one in ended]
        assert 0 in row["statuses"], "none has done its work"
        for one in ended:
            refused = one.status == 2 and any(told in one.line for told in _REFUSED)
            assert one.status == 0 or refused, f"{one.status}: {one.line}"
        # The second may have another output, and be the one that is not refused.
        writes = row["statuses"][0] == 0 or not has_second_output
        assert bench.which(had_older=True) == ("new" if writes else "old")
        assert not left_behind(bench.out), left_behind(bench.out)
    except AssertionError as error:
        row["wrong"] = str(error)[:800]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--crossed", type=int, default=200)
    parser.add_argument("--kinds", default="annotate,select,checkpoints,learn")
    options = parser.parse_args()
    rows = Rows(options.root, "pairs")
    done = {(row["kind"], row["number"]) for row in rows.read()}
    forked.ready()
    cases = make_cases(options.root)
    kinds = options.kinds.split(",")
    for kind in kinds:
        bench = Bench(cases["select" if kind == "checkpoints" else kind], options.root)
        rng = random.Random(kind)
        count = options.pairs // len(kinds)
        for number in range(count + options.crossed // len(kinds)):
            # Half of them at the same moment, as far as can be.
            later = rng.choice([0.0, rng.random() * bench.seconds])
            steps = {name: rng.randrange(bench.steps) for name in ("step", "second_step")}
            if (kind, number) in done:
                continue
            both, second = [], []
            if kind == "checkpoints":  # Of two outputs.
                folder = options.root / f"checkpoints_{number}"
                both = [f"--checkpoint_dir={folder}", "--checkpoint_every_seconds=0"]
                second = [f"--output={options.root / 'second.jsonl'}"]
            row = {"kind": kind, "number": number}
            if number < count:
                row |= {"later": later} | pair(bench, both, second, later)
            else:
                row |= steps | crossed(bench, both, second, **steps)
            rows.add(row)
    rows.tell()


if __name__ == "__main__":
    main()
