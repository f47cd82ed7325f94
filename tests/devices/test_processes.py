"""Several real processes on one host: they select what one selects, and tell whom they lose."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

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
        assert "Gloo" not in out + err
        found.append(json.loads(out.splitlines()[-1]))
    return found


_WRITES = """
import os, sys
from mig_jax.devices import joined
with joined(sys.argv[1], 1, 0, timeout_seconds=60):
    os.write(1, b"[Gloo] Rank [Gloo] Rank 0 is connected to 1 is connected to 33 peer ranks. ")
    os.write(1, b" peer ranks. Expected number of connected peer ranks is : 3\\n")
    os.write(1, b"Expected number of connected peer ranks is : 3\\n[Gloo] failed\\n12\\n")
"""


def test_lines_of_gloo_are_known_in_pieces():
    """Its threads write at once; what says anything else is passed on."""
    words = [sys.executable, "-c", _WRITES, f"localhost:{free_port()}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "peer ranks" not in done.stderr
    assert {"[Gloo] failed", "12"} <= set(done.stderr.splitlines())


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
        assert process.stdout.readline().strip() == "connected"
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


def start_at_work(*each: tuple[int, int]) -> list[subprocess.Popen]:
    """A process for each index and number of processes."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-c", _AT_WORK, *map(str, (index, count, port))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, count in each
    ]


@pytest.mark.parametrize(
    ("lost", "how", "words"),
    [
        (0, signal.SIGKILL, "the connection to process 0 broke"),
        (0, signal.SIGSTOP, "process 0 was not heard of for 5 s"),
        (1, signal.SIGKILL, "process 1 was not heard of for 5 s"),
    ],
)
def test_a_lost_process_is_told_in_one_line_at_any_work(lost, how, words):
    started = start_at_work((0, 3), (1, 3), (2, 3))
    try:
        for process in started:
            assert process.stdout.readline() == "connected\n", process.communicate()[1]
        started[lost].send_signal(how)
        for index in {0, 1, 2} - {lost}:
            _, err = started[index].communicate(timeout=60)
            assert started[index].returncode == 1
            said = f"mig-jax: process {index} of 3 has lost another process: {words}"
            assert err.splitlines()[1:] == [said]
            assert err.splitlines()[0].endswith("other.cc:80] of something else")
    finally:
        for process in started:
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_sigterm_ends_a_process():
    """JAX would take it as a notice of preemption, and go on."""
    (process,) = start_at_work((0, 1))
    assert process.stdout.readline() == "connected\n", process.communicate()[1]
    process.terminate()
    try:
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("each", "words"),
    [
        ([(0, 3), (1, 3), (1, 3)], "two processes have the id 1; expected each id once"),
        ([(0, 2), (2, 3)], "process 2 was told of 3 processes, process 0 of 2"),
    ],
)
def test_processes_that_cannot_be_right_are_refused_at_once(each, words):
    for process in start_at_work(*each):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1  # Of Python; a command makes it 2.
        assert err.splitlines()[-1] == f"mig_jax.errors.InputError: {words}"


def test_who_is_missing_is_told_to_all_who_came():
    for process in start_at_work((0, 4), (2, 4)):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "waited 5 s for the others" in err
        assert "process 1 and 3 is missing" in err


def test_strangers_do_not_disturb_a_meeting():
    port = free_port()
    words = [
        sys.executable,
        "-c",
        "from mig_jax.devices import joined\nimport sys\n"
        "with joined(sys.argv[1], 2, int(sys.argv[2]), timeout_seconds=20): pass\n",
    ]
    first = subprocess.Popen([*words, f"localhost:{port}", "0"], cwd=ROOT)
    for greeting in (b"GET / HTTP/1.0\r\n\r\n", b"[1, 2]\n", b""):
        while True:
            try:
                with socket.create_connection(("localhost", port)) as stranger:
                    stranger.sendall(greeting)
                break
            except ConnectionRefusedError:
                assert first.poll() is None
    second = subprocess.Popen([*words, f"localhost:{port}", "1"], cwd=ROOT)
    assert [first.wait(60), second.wait(60)] == [0, 0]


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


def test_what_answers_is_somebody_else():
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        address = f"localhost:{other.getsockname()[1]}"

        def answer() -> None:
            with other.accept()[0] as visitor:
                visitor.sendall(b"HTTP/1.0 400 Bad request\r\n")

        threading.Thread(target=answer).start()
        with pytest.raises(InputError, match="is not process 0"), joined(address, 2, 1):
            pass
