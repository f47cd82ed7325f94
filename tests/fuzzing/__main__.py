"""`python -m tests.fuzzing`: many inputs; what fails is kept, and told."""

from __future__ import annotations

import argparse
import pathlib
import time

from tests.fuzzing.kinds import KINDS, make_input
from tests.fuzzing.watched import fuzz


def main() -> int:
    """Fuzzes all kinds in turn; the status is 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("fuzzing_failures"))
    parser.add_argument("--replay", metavar="KIND:NUMBER", help="read one input in this process")
    options = parser.parse_args()
    if options.replay:
        kind, _, number = options.replay.partition(":")
        content = make_input(kind, options.seed, int(number))
        options.keep.mkdir(parents=True, exist_ok=True)
        path = options.keep / f"replay{KINDS[kind].ending}"
        path.write_bytes(content)
        print(path, KINDS[kind].check(str(path)))
        return 0
    failed = 0
    each = -(-options.inputs // len(options.kinds))
    for kind in options.kinds:
        start = time.monotonic()
        outcomes, failures = fuzz(kind, range(each), options.seed, options.keep)
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{kind:<8} {each:>7,} inputs in {time.monotonic() - start:4.0f} s: {told}")
        for failure in failures[:20]:
            print(f"  {failure.kind}:{failure.number}: {failure.what.strip().splitlines()[-1]}")
        failed += len(failures)
    if failed:
        print(f"{failed} failed; their inputs are in {options.keep}")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
