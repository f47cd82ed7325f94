"""Loses one process of two to four, again and again, and counts how the others end.

    python -m tests.reliability.lost_processes [--runs=24] [--seed=0] [--timeout=10]

Every run starts `mig-jax select` in some processes on this host, waits until process 0 has come
to some stage, and then kills one process (SIGKILL), freezes it (SIGSTOP) or ends it (SIGTERM).
Each survivor must end with status 1 and one line of ours on stderr, in time; nothing may stand
where the outputs would. If all was done before, the survivors must have ended well.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

from tests.running import mig, start_together

#: What process 0 says when it comes to a stage; None for before it says anything.
STAGES = {
    "starting": None,
    "comparing": "have joined",
    "reading": "reading",
    "graph": "label graph",
    "selecting": "selecting",
    "certifying": "certifying",
    "late in certifying": "certifying: 1",
}
SIGNALS = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]
SLACK_SECONDS = 15  # For starting, on a machine with other work, what the time-out counts from.


@dataclasses.dataclass(frozen=True)
class Loss:
    """One run: who is lost, when and how."""

    count: int
    victim: int
    stage: str
    signal: signal.Signals
    delay: float  # Seconds after the stage has begun.

    def __str__(self) -> str:
        return (
            f"{self.signal.name} to process {self.victim} of {self.count}, {self.delay:.2f} s "
            f"after {self.stage}"
        )


def losses(runs: int, seed: int) -> list[Loss]:
    """Stages and signals in turn; numbers of processes and victims at random, process 0 often."""
    draw = random.Random(seed)
    every = itertools.cycle(itertools.product(STAGES, SIGNALS))
    found = []
    for stage, number in itertools.islice(every, runs):
        count = draw.choice([2, 2, 3, 4])
        victim = draw.choice([0, draw.randrange(1, count)])
        found.append(Loss(count, victim, stage, number, draw.random()))
    return found


def run(loss: Loss, pool: pathlib.Path, folder: pathlib.Path, timeout: int) -> list[str]:
    """Runs it; what was wrong, or how it ended well in its last word."""
    output = folder / "out.jsonl"
    words = [
        *(f"--pool={pool}", f"--label_embeddings={pool.with_suffix('.npz')}", "--budget=40"),
        *(f"--output={output}", f"--process_timeout_seconds={timeout}"),
    ]
    os.environ["TQDM_MININTERVAL"] = "0"  # Each step is told, by which stages are known.
    started = start_together(*[words] * loss.count)
    told = [_Text(process) for process in started]
    marker = STAGES[loss.stage]
    while marker is not None and marker not in told[0].text and started[0].poll() is None:
        time.sleep(0.01)
    time.sleep(loss.delay if marker is not None else 1 + 2 * loss.delay)
    victim = started[loss.victim]
    done = victim.poll() is not None
    victim.send_signal(loss.signal)
    begin, wrong = time.monotonic(), []
    for index, process in enumerate(started):
        if index == loss.victim and loss.signal == signal.SIGSTOP:
            continue
        left = begin + timeout + SLACK_SECONDS - time.monotonic()
        try:
            process.wait(max(left, 0.1))
        except subprocess.TimeoutExpired:
            wrong.append(f"process {index} went on for more than {timeout + SLACK_SECONDS} s")
            process.kill()
    took = time.monotonic() - begin
    if loss.signal == signal.SIGSTOP:
        victim.send_signal(signal.SIGCONT)
        try:
            victim.wait(timeout + SLACK_SECONDS)
        except subprocess.TimeoutExpired:
            wrong.append("the frozen process did not end when it went on")
            victim.kill()
    others = [process.returncode for process in started if done or process is not victim]
    if not any(others):
        return wrong or (["done before"] if output.exists() else ["all done, but no output"])
    for index, process in enumerate(started):
        ours = told[index].lines()
        if index == loss.victim and loss.signal != signal.SIGSTOP:
            if process.returncode not in (-loss.signal, 128 + loss.signal):
                wrong.append(f"the victim ended with {process.returncode}: {ours}")
        elif process.returncode != 1 or len(ours) != 1 or ours[0] != told[index].last_line():
            wrong.append(f"process {index} ended with {process.returncode}: {ours}")
    wrong += [f"{path.name} is there" for path in folder.glob("out*")]
    return wrong or [f"ended in {took:.1f} s"]


class _Text:
    """What a process writes to stderr, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.text, self._stream = "", process.stderr.fileno()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while found := os.read(self._stream, 1 << 16):
            self.text += found.decode(errors="replace")

    def lines(self) -> list[str]:
        """All but bars and remarks: what is ours, and whatever looks like a trace."""
        every = self._all()
        signs = ("Traceback", "***", "terminate called", "    @", "Error", "Aborted", "mig-jax:")
        glog = [line for line in every if line[:1] in "EF" and line[1:5].isdigit()]
        return [line for line in every if line.startswith(signs)] + glog

    def last_line(self) -> str:
        return self._all()[-1]

    def _all(self) -> list[str]:
        self._thread.join(5)
        return [line for line in self.text.replace("\r", "\n").split("\n") if line.strip()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=int, default=10)
    given = parser.parse_args()
    ends: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pool = folder / "pool.jsonl"
        made = mig(
            "make_pool",
            "--records=300",
            f"--output={pool}",
            f"--label_embeddings={folder}/pool.npz",
        )
        assert made.returncode == 0, made.stderr
        for number, loss in enumerate(losses(given.runs, given.seed)):
            place = folder / str(number)
            place.mkdir()
            found = run(loss, pool, place, given.timeout)
            well = found[0].startswith(("ended in", "done before"))
            ends["well" if well else "wrong"] += 1
            print(f"{loss}: {'; '.join(found)}", flush=True)
    print(f"{given.runs} losses: {ends['well']} ended well, {ends['wrong']} did not")
    return 1 if ends["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
