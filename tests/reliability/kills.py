"""Kills commands at their steps and at random times, and looks at what is left.

    python -m tests.reliability.kills --root=DIR [--cases=select,annotate,learn] [--kills=210]

Each row of DIR/kills.jsonl is a kill: the command, the signal, where it came, which set of outputs
stood there afterwards, and what was wrong. Rows that are there are not done again.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import signal
import time
from typing import Any

from tests.reliability import forked
from tests.reliability.cases import Bench, content, left_behind, make_cases
from tests.reliability.rows import Rows


def kill(
    bench: Bench,
    signal_name: str,
    *,
    step: int | None,
    part: float,
    older: bool,
    again: bool = True,
) -> dict[str, Any]:
    """One kill and all that must be so after it, the next run included if `again`."""
    bench.older() if older else bench.clear()
    by = forked.SIGNALS[signal_name]
    if step is not None:
        ended = bench.run(stop_at=step, by=by)
    else:
        words = bench.case.of(bench.out)
        steps = pathlib.Path(f"{bench.log}.steps")
        steps.unlink(missing_ok=True)
        child = forked.start(words, bench.out, bench.log)
        while not steps.exists():  # Until then it is not the program that runs.
            time.sleep(0.0005)
        time.sleep(part * bench.seconds)
        os.kill(child, by)
        ended = forked.end(child, bench.log)
    row: dict[str, Any] = {"step": ended.step, "status": ended.status, "line": ended.line[-160:]}
    row["again"] = again
    try:
        row["set"] = bench.which(had_older=older)
        _check_end(bench, ended, by, row["set"])
        if not again:
            return row
        ended = bench.run()
        assert ended.status == 0, f"the next run: {ended.status} {ended.line}"
        assert content(bench.out, bench.case) == bench.sets[False], "the next run differs"
        assert not left_behind(bench.out), left_behind(bench.out)
    except AssertionError as error:
        row["wrong"] = str(error)[:600]
    return row


def _check_end(bench: Bench, ended: forked.Ended, by: int, found: str) -> None:
    assert "Traceback" not in ended.err, ended.err[-600:]
    if ended.status == 0:  # It was done before the signal came.
        assert found == "new", found
        return
    assert ended.status == -by, f"status {ended.status}"
    if by == signal.SIGKILL:
        return
    assert not left_behind(bench.out), left_behind(bench.out)
    told = ended.line.partition("; ")[2]
    expected = "all outputs were written" if found == "new" else bench.case.interrupted
    word = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}[signal.Signals(by)]
    assert (told, word in ended.line) == (expected, True), f"{found}: {ended.line}"


def plan(bench: Bench, count: int, seed: int) -> list[dict[str, Any]]:
    """So many kills: two thirds at steps, the last of them one by one, the others at random."""
    rng = random.Random(seed)
    at_steps = 2 * count // 3
    last = range(max(0, bench.steps - at_steps // 2), bench.steps)
    first = forked.spread(at_steps - len(last), last[0], seed)
    names = list(forked.SIGNALS)
    rows: list[dict[str, Any]] = [
        {"step": step, "part": 0.0, "signal": names[n % 3], "older": n % 4 != 3}
        for n, step in enumerate([*first, *last])
    ]
    return rows + [
        {"step": None, "part": rng.uniform(0.02, 1.0), "signal": names[n % 3], "older": n % 4 != 3}
        for n in range(count - len(rows))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--cases", default="select,annotate,learn")
    parser.add_argument("--kills", type=int, default=210)
    parser.add_argument("--again", type=int, default=1, help="run again after each n-th kill")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = Rows(options.root, "kills")
    done = {(row["case"], row["number"]) for row in rows.read()}
    forked.ready()
    cases = make_cases(options.root)
    chosen = options.cases.split(",")
    for name in chosen:
        bench = Bench(cases[name], options.root)
        for number, planned in enumerate(plan(bench, options.kills // len(chosen), options.seed)):
            if (name, number) in done:
                continue
            signal_name = planned.pop("signal")
            row = {"case": name, "number": number, "signal": signal_name, "of": bench.steps}
            row |= {"part": planned["part"], "older": planned["older"]}
            row |= kill(bench, signal_name, **planned, again=number % options.again == 0)
            rows.add(row)
    rows.tell()


if __name__ == "__main__":
    main()
