"""A part of the fuzzing program, and that it finds what it looks for."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.fuzzing.kinds import KINDS
from tests.fuzzing.watched import Input, fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux")


def test_mutated_files_are_read_or_refused() -> None:
    """Each kind must be read now and then, and refused: else nothing is tested."""
    outcomes, failures = fuzz([Input(kind, 1, n) for kind in KINDS for n in range(40)])
    told = "\n".join(f"{failure.input}: {failure.what}" for failure in failures)
    assert not failures, told
    assert set(outcomes) == {(kind, outcome) for kind in KINDS for outcome in ("read", "refused")}


def test_each_way_to_fail_is_found_and_kept(tmp_path) -> None:
    expected = {
        "_reads": "read",
        "_hangs": "hang",
        "_waits": "hang",
        "_wrong": "wrong",
        "_raises": "exception",
        "_crashes": "crash",
        "_takes_memory": "memory",
    }
    # Only what never ends is given little time: to take a gigabyte may need more than a second.
    outcomes, failures = Counter(), []
    for hangs, seconds in ((True, 1.0), (False, 60.0)):
        inputs = [Input(kind, 0, 5) for kind in expected if (expected[kind] == "hang") == hangs]
        broken = "tests.fuzzing.broken_kinds"
        of_these, failed = fuzz(inputs, tmp_path, module=broken, seconds=seconds)
        outcomes += of_these
        failures += failed
    assert outcomes == dict.fromkeys(expected.items(), 1)
    assert len(failures) == 6
    kept = {path.name for path in tmp_path.iterdir()}
    assert {"_hangs_0_5.txt", "_hangs_0_5.told", "_crashes_0_5.txt"} <= kept
    assert "KeyError" in (tmp_path / "_raises_0_5.told").read_text()
