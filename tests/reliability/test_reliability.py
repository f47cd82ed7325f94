"""What docs/guides/reliability.md promises, on annotate: it needs neither JAX nor models.

The campaigns beside this file try the same on select and learn, and at many more moments.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.reliability.cases import left_behind
from tests.running import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks commands")

CAMPAIGN = """
    import json, pathlib, sys
    from tests.reliability import forked, kills
    from tests.reliability.cases import Bench, make_cases

    root, what = pathlib.Path(sys.argv[1]), sys.argv[2]
    forked.load("annotate")
    bench = Bench(make_cases(root)["annotate"], root)
    rows = []
    if what == "kills":
        # The next run after all moments from the first rename on, and after some before.
        for number, step in enumerate(range(bench.steps)):
            name = list(forked.SIGNALS)[number % 3]
            how = {"older": number % 4 != 3, "again": step % 5 == 0 or step >= bench.steps - 40}
            rows.append(kills.kill(bench, name, step=step, part=0.0, **how))
    else:
        from tests.reliability import pairs

        # The one ends at its last 40 steps or so; the other claims the output at its first.
        rows = [
            pairs.crossed(bench, [], [], step, second)
            for step in range(bench.steps - 40, bench.steps, 5)
            for second in range(1 + step % 4, 25, 4)
        ]
        rows += [pairs.pair(bench, [], [], later) for later in (0.0, 0.05, 0.1, 0.2)]
    print(json.dumps(rows))
"""


def campaign(tmp_path, what: str) -> list[dict]:
    """In a process of its own, which has no threads when it forks."""
    command = [sys.executable, "-c", textwrap.dedent(CAMPAIGN), str(tmp_path), what]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.slow
def test_killed_at_any_step_a_set_is_old_or_new(tmp_path):
    rows = campaign(tmp_path, "kills")
    assert [row for row in rows if "wrong" in row] == []
    assert {row["set"] for row in rows} == {"old", "new", "none"}
    steps = " ".join(row["step"] for row in rows)
    assert "os.rename" in steps
    assert "os.link" in steps
    assert {row["status"] for row in rows} >= {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}


@pytest.mark.slow
def test_of_two_runs_of_one_output_one_is_refused_or_both_do_all(tmp_path):
    rows = campaign(tmp_path, "pairs")
    assert [row for row in rows if "wrong" in row] == []
    assert any(row["statuses"] == [0, 2] for row in rows)


START = """
    import sys
    sys.argv = ["mig-jax", "annotate"]  # Its flags are missing.
    from mig_jax.__main__ import main

    seen = 0

    def hook(event, arguments):
        global seen
        seen += event == "import"
        if event == "import" and seen == {at}:
            import os
            os.kill(os.getpid(), {number})

    sys.addaudithook(hook)
    sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 5, 60, 150])
def test_a_signal_while_importing_is_one_line(number, at):
    program = textwrap.dedent(START).format(at=at, number=int(number))
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert (ended.returncode, ended.stdout) == (-number, "")
    assert ended.stderr == f"mig-jax: {word}; no output was written\n"


def _wait_for_the_program(process: subprocess.Popen[str]) -> None:
    """The interpreter's own start, however long it takes, is not ours: it catches no TERM."""
    caught, told = 0, pathlib.Path(f"/proc/{process.pid}/status")
    if not told.exists():
        time.sleep(0.15)
        return
    while not caught >> (signal.SIGTERM - 1) & 1 and process.poll() is None:
        [line] = [one for one in told.read_text().splitlines() if one.startswith("SigCgt")]
        caught = int(line.split()[1], 16)
        time.sleep(0.002)


@pytest.mark.slow
def test_a_signal_at_any_time_is_one_line_and_leaves_nothing(tmp_path):
    """The program as people start it, stopped at ten times until its end."""
    words = ["make_pool", "--records=3000", f"--output={tmp_path / 'x.jsonl'}"]
    command = [sys.executable, "-m", "mig_jax", *words]
    begun = time.monotonic()
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    seconds = time.monotonic() - begun
    (tmp_path / "x.jsonl").unlink()
    for part in range(1, 10):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        _wait_for_the_program(process)
        time.sleep((seconds - 0.15) * part / 10)
        process.send_signal(signal.SIGTERM if part % 2 else signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert "Traceback" not in said
        assert process.returncode in (0, -signal.SIGTERM, -signal.SIGINT)
        if process.returncode and said:
            is_written = said.rstrip().endswith("; all outputs were written")
            assert is_written or said.rstrip().endswith("; no output was written")
            assert (tmp_path / "x.jsonl").exists() == is_written
        assert left_behind(tmp_path) == []
        (tmp_path / "x.jsonl").unlink(missing_ok=True)
