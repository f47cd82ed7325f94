"""Several real processes on one host: they select what one selects, and tell whom they lose."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

import mig_jax
from mig_jax.devices import joined
from mig_jax.errors import InputError
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


# Within, JAX is never called: nothing but the others' signs of life tells that one is lost.
_AT_WORK = """
import os, sys, time
from mig_jax.devices import joined

index, count, port = map(int, sys.argv[1:])
with joined(f"localhost:{port}", count, index, timeout_seconds=5):
    os.write(2, b"E1125 21:24:11.704347   24826 other.cc:80] of something else\\n")
    os.write(2, b"W1125 21:24:11.704347   24826 coordination_service.cc:1] of processes\\n")
    print("connected", flush=True)
    while True:
        time.sleep(0.1)
"""


def start_at_work(count: int, ids: list[int]) -> list[subprocess.Popen]:
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-c", _AT_WORK, *map(str, (index, count, port))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in ids
    ]


@pytest.mark.parametrize(
    ("lost", "how", "words"),
    [
        (0, signal.SIGKILL, "has lost process 0: its connection broke"),
        (0, signal.SIGSTOP, "has lost process 0: not heard of for 5 s"),
        (1, signal.SIGKILL, "has lost process 1: not heard of for 5 s"),
    ],
)
def test_a_lost_process_is_told_in_one_line_at_any_work(lost, how, words):
    started = start_at_work(3, [0, 1, 2])
    try:
        for process in started:
            assert process.stdout.readline() == "connected\n", process.communicate()[1]
        started[lost].send_signal(how)
        for index in {0, 1, 2} - {lost}:
            _, err = started[index].communicate(timeout=60)
            assert started[index].returncode == 1
            assert err.splitlines()[1:] == [f"mig-jax: process {index} of 3 {words}"]
            assert err.splitlines()[0].endswith("other.cc:80] of something else")
    finally:
        for process in started:
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_sigterm_ends_a_process():
    """JAX would take it as a notice of preemption, and go on."""
    (process,) = start_at_work(1, [0])
    assert process.stdout.readline() == "connected\n", process.communicate()[1]
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_each_id_is_there_once():
    started = start_at_work(3, [0, 1, 1])
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    said = [err.splitlines()[-1] for err, _ in ends]
    twice = [status for (_, status), line in zip(ends, said, strict=True) if "each id once" in line]
    assert twice == [2], said
    assert sum("waited 5 s for the others" in line for line in said) == 2, said


def test_a_process_too_many():
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _AT_WORK, *map(str, (index, count, port))],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, count in ((0, 2), (2, 3))
    ]
    _, err = started[1].communicate(timeout=60)
    assert started[1].returncode == 2
    assert "process 2 of 3: process 0" in err.splitlines()[-1]
    assert "expects fewer processes" in err.splitlines()[-1]
    _, err = started[0].communicate(timeout=60)
    assert "process 0 of 2 waited 5 s" in err.splitlines()[-1]


@pytest.mark.parametrize("address", ["no-such-host.invalid:1234", "localhost:99999"])
def test_an_address_that_leads_nowhere(address):
    with (
        pytest.raises(InputError, match="process 1 cannot join the others at"),
        joined(address, 2, 1),
    ):
        pass


def test_a_port_that_is_in_use():
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        address = f"localhost:{other.getsockname()[1]}"
        with pytest.raises(InputError, match="in use"), joined(address, 2, 0):
            pass


def test_what_answers_is_no_coordinator():
    program = (
        "from mig_jax.devices import joined\n"
        "import sys\n"
        "with joined(sys.argv[1], 2, 1, timeout_seconds=3): pass\n"
    )
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        address = f"localhost:{other.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", program, address],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "where something else than process 0 answers" in done.stderr.splitlines()[-1]
