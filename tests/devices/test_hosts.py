"""What processes exchange through `Hosts`: one alone, and several real ones."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from mig_jax.devices import ALONE, Hosts, pool_mesh
from mig_jax.errors import InputError
from tests.running import ROOT, free_port

_PROGRAM = """
import json, sys
import numpy as np
from mig_jax.devices import Hosts, joined, pool_mesh
from mig_jax.errors import InputError

index, count, port = map(int, sys.argv[1:])

def step(fails):
    if fails:
        raise InputError(f"process {index} found it")
    return index

with joined(f"localhost:{port}", count, index):
    hosts = Hosts(pool_mesh())
    found = {
        "index": hosts.index,
        "is_first": hosts.is_first,
        "count": hosts.count,
        "num_devices": hosts.num_devices,
        "gathered": [part.tolist() for part in hosts.gather(np.arange(index, dtype=np.int64))],
        "sum": hosts.sum(2**40 + index),
        "together": hosts.together(lambda: step(False)),
    }
    try:
        hosts.together(lambda: step(index > 0))
    except InputError as error:
        found["error"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.parametrize("hosts", [ALONE, Hosts(pool_mesh(1))])
def test_one_process_is_first_and_alone(hosts):
    assert (hosts.count, hosts.index, hosts.is_first, hosts.num_devices) == (1, 0, True, 1)
    (part,) = hosts.gather(np.array([3, 1], np.int64))
    assert part.tolist() == [3, 1]
    assert hosts.sum(2**40) == 2**40
    assert hosts.together(lambda: "done") == "done"
    error = InputError("bad input")
    with pytest.raises(InputError) as raised:
        hosts.together(lambda: (_ for _ in ()).throw(error))
    assert raised.value is error


def test_several_processes_exchange_and_stop_together():
    count, port = 3, free_port()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *map(str, (index, count, port))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    for index, process in enumerate(started):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        found = json.loads(out)  # Alone: nothing of Gloo's is beside it.
        devices = found.pop("num_devices")
        assert devices % count == 0
        assert devices >= count
        assert found == {
            "index": index,
            "is_first": index == 0,
            "count": count,
            "gathered": [[], [0], [0, 1]],
            "sum": 3 * 2**40 + 3,
            "together": index,
            "error": "process 1 found it",
        }


class _Two(Hosts):
    """Two processes of which this is one; the other has nothing to say."""

    @property
    def count(self) -> int:
        return 2

    def gather(self, array):
        return [array, np.zeros(0, np.uint8)]


def test_a_full_disk_in_one_process_is_told_in_all():
    def fails():
        raise OSError(errno.ENOSPC, "No space left on device", "x.jsonl")

    with pytest.raises(InputError, match=r"^x\.jsonl: No space left on device$"):
        _Two().together(fails)
    assert _Two().together(lambda: 3) == 3
