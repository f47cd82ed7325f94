"""Signals to programs as people start them, from the imports to the interpreter's end.

    python -m tests.reliability.starts --root=DIR [--signals=60]

The other campaigns fork their commands when all is imported. Each row of DIR/starts.jsonl is a
signal: when it came, how the program ended, and what was wrong.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import Any

from tests.reliability.cases import left_behind, make_cases
from tests.reliability.rows import Rows
from tests.running import ROOT

_PYTHON_STARTS = 0.06  # Seconds, at least: what comes before is the interpreter's.


def sent(command: list[str], out: pathlib.Path, after: float, number: int) -> dict[str, Any]:
    """One program with one signal."""
    for path in out.iterdir():
        path.unlink()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    line = said.replace("\r", "\n").strip().splitlines()[-1] if said.strip() else ""
    row: dict[str, Any] = {"after": after, "status": process.returncode, "line": line[-160:]}
    is_written = (out / "x.jsonl").exists()
    told = "all outputs were written" if is_written else "no output was written"
    if "Traceback" in said or "Exception ignored" in said:
        row["wrong"] = said[-600:]
    elif process.returncode not in (0, -number):
        row["wrong"] = f"status {process.returncode}"
    elif process.returncode == 0 and not is_written:
        row["wrong"] = "nothing is written"
    elif process.returncode and not line.endswith(told):
        row["wrong"] = f"written: {is_written}"
    elif left := left_behind(out):
        row["wrong"] = f"left behind: {left}"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--signals", type=int, default=60)
    parser.add_argument("--cases", default="annotate,select")
    options = parser.parse_args()
    rows = Rows(options.root, "starts")
    cases = make_cases(options.root)
    names = options.cases.split(",")
    rng = random.Random(0)
    for name in names:
        out = options.root / f"{name}_out"
        out.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "mig_jax", *cases[name].of(out)]
        begun = time.monotonic()
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
        seconds = time.monotonic() - begun
        for _ in range(options.signals // len(names)):
            number = rng.choice([signal.SIGINT, signal.SIGTERM])
            after = rng.uniform(_PYTHON_STARTS, 1.05 * seconds)
            row = {"case": name, "signal": number.name, **sent(command, out, after, number)}
            rows.add(row)
    rows.tell()


if __name__ == "__main__":
    main()
