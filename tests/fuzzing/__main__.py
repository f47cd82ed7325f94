"""`python -m tests.fuzzing`: many inputs; what fails is kept, and told."""

from __future__ import annotations

import argparse
import pathlib
import time

from tests.fuzzing.kinds import KINDS
from tests.fuzzing.watched import Input, fuzz


def main() -> int:
    """Fuzzes the kinds one after another; the status is 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("fuzzing_failures"))
    parser.add_argument("--number", type=int, help="only this input, in this process")
    options = parser.parse_args()
    if options.number is not None:
        return _replayed(options)
    failed = 0
    for kind in options.kinds:
        start = time.monotonic()
        inputs = [Input(kind, options.seed, n) for n in range(options.inputs // len(options.kinds))]
        outcomes, failures = fuzz(inputs, options.keep)
        told = ", ".join(f"{count:,} {outcome}" for (_, outcome), count in sorted(outcomes.items()))
        seconds = time.monotonic() - start
        print(f"{kind:<8}{len(inputs):>7,} inputs in {seconds:4.0f} s: {told}", flush=True)
        for failure in failures[:20]:
            last = failure.what.strip().splitlines()[-1]
            print(f"  {kind} {failure.input.number}, {failure.outcome}: {last}", flush=True)
        failed += len(failures)
    if failed:
        print(f"{failed} failed; their inputs are in {options.keep}")
    return int(failed > 0)


def _replayed(options: argparse.Namespace) -> int:
    """Reads one input, with whatever it raises."""
    (kind,) = options.kinds
    options.keep.mkdir(parents=True, exist_ok=True)
    path = options.keep / f"replayed{KINDS[kind].ending}"
    path.write_bytes(Input(kind, options.seed, options.number).content(KINDS))
    print(path, KINDS[kind].check(str(path)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
