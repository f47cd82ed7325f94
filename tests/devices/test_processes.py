"""Several real processes on one host select what one process selects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import mig_jax
from tests.devices.part_of_selection import select, whole_pool
from tests.running import ROOT, free_port


def start(index: int, count: int, port: int, *rest: object, devices: int = 1) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices}"
    words = [str(word) for word in (port, count, index, *rest)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.devices.part_of_selection", *words],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(*started: subprocess.Popen) -> list[dict]:
    found = []
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        found.append(json.loads(out.splitlines()[-1]))  # Gloo prints a line before.
    return found


@pytest.mark.parametrize(
    ("count", "devices", "gain", "records", "area"),
    [
        (2, 1, "exact", 500, 64),
        (2, 2, "linear", 201, 256),
        (4, 1, "linear", 60, 1024),
        pytest.param(4, 2, "exact", 300, 64, marks=pytest.mark.slow),
    ],
)
def test_picks_are_those_of_one_process(count, devices, gain, records, area):
    case = (5, records, gain, records // 4, area)
    lists, scores, graph = whole_pool(5, records)
    pool = mig_jax.pool_from_label_lists(lists, scores)
    alone = select(pool, graph, gain, records // 4, area, mesh=None)
    port = free_port()
    found = answers(*(start(i, count, port, *case, devices=devices) for i in range(count)))
    ratio = alone.pop("certified_ratio")
    for ours in found:
        assert ours.pop("certified_ratio") == pytest.approx(ratio, rel=1e-6)
        assert ours == alone


def test_a_process_that_dies_ends_the_others():
    """Processes 0 and 1 wait for a selection that process 2 will never join."""
    port = free_port()
    case = (5, 20_000, "exact", 10_000, 1024)
    started = [start(i, 3, port, *case) for i in range(3)]
    for process in started:
        while (line := process.stdout.readline()).strip() != "connected":  # Gloo prints one before.
            assert line, process.communicate()[1]
    started[2].send_signal(signal.SIGKILL)
    for index, process in enumerate(started[:2]):
        _, err = process.communicate(timeout=90)
        assert process.returncode == 1
        assert f"mig-jax: process {index} of 3 has lost another process" in err


def test_a_process_that_never_comes(tmp_path):
    program = (
        "from mig_jax.devices import joined\n"
        f"with joined('localhost:{free_port()}', 2, 0, timeout_seconds=3): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "process 0 of 2 waited 3 s for the others" in done.stderr.splitlines()[-1]
