"""What a compiled program launches is counted from XLA's own list, and without a card."""

from __future__ import annotations

import csv
import importlib.util
import pathlib

import pytest

from experiments import compile_for_h100
from experiments.benchmarks.thunks import (
    Launches,
    Region,
    launches_of_a_turn,
    places_of,
    read_thunks,
    regions_of,
    walked,
)
from mig_jax.commands.main import main_of

# Of the pick loop, compiled by jaxlib 0.11.2, shortened: that thunks are told of deeper than their
# loop, conditions at the margin, and a branch on the line of an empty one, is XLA's way.
THUNKS = """\
000: kCommandBuffer [source       | next=006 (1)]
    001: kCopy         [source | sink] kCopy
    002: kCustomKernel [source | sink] loop_broadcast_fusion_3 grid: [8, 1, 1] threads: [128, 1, 1]
006: kWhile         [prev=000 (1) | next=077 (1)]
condition:
    007: kCustomKernel [source | sink] loop_compare_fusion grid: [1, 1, 1] threads: [1, 1, 1]
  body:
    000: kCommandBuffer [source       | next=015 (1)]
        008: kCopy [source       | next=009 (1)] kCopy
        009: kCopy [prev=008 (1) | sink        ] kCopy
    015: kWhile         [prev=000 (1) | next=046 (1)]
condition:
        016: kCustomKernel [source       | next=017 (1)] input_reduce_fusion grid: [1, 1, 1]
        017: kCustomKernel [prev=016 (1) | sink        ] loop_and_fusion grid: [1, 1, 1]
      body:
        000: kCommandBuffer [source       | next=029 (1)]
            018: kCopy         [source       | sink        ] kCopy
            020: kCustomKernel [source       | next=021 (1)] fusion_95 grid: [1, 1, 1]
        029: kWhile         [prev=000 (1) | next=000 (1)]
condition:
            030: kCustomKernel [source | sink] wrapped_compare grid: [1, 1, 1] threads: [1, 1, 1]
          body:
            031: kCustomKernel [source       | next=032 (1)] loop_add_fusion_1 grid: [1, 1, 1]
            033: kCopy         [prev=032 (1) | sink        ] kCopy
        000: kCommandBuffer [prev=029 (1) | sink        ]
            034: kCustomKernel [source        | next=035 (1)] input_reduce_fusion_9 grid: [1, 1, 1]
    046: kAsyncStart    [prev=015 (1) | sink        ] stream=computation_stream[0], async_id=46
        048: kDynamicSliceFusion [source | sink] params=1, results=1
            047: kCopy [source | sink] kCopy
    000: kCommandBuffer [prev=015 (2) | next=065 (1)]
        049: kCustomKernel [source       | next=055 (1)] loop_compare_fusion_1 grid: [1, 1, 1]
        055: kConditional  [prev=049 (1)  | next=056 (1)]
          false_branch:
            No thunks.          true_branch:
            050: kCopy         [source       | sink        ] kCopy
            051: kCustomKernel [source       | next=052 (1)] input_reduce_fusion_1 grid: [13, 1, 1]
        056: kCustomKernel [prev=055 (1) | next=064 (8)] loop_dynamic_update_slice_fusion_8
    060: kConditional  [prev=049 (1)  | next=072 (1)]
      branch_0:
        061: kCustomKernel [source       | sink        ] loop_add_fusion_7 grid: [1, 1, 1]
      branch_1:
        062: kCustomKernel [source       | next=063 (1)] loop_add_fusion_8 grid: [1, 1, 1]
        063: kCustomKernel [prev=062 (1) | sink        ] sort_12_1 grid: [1, 1, 1]
    072: kCustomKernel  [prev=000 (2) | sink        ] input_scatter_fusion_3 grid: [8, 1, 1]
    075: kAsyncDone     [source       | sink        ] async_id=46
077: kCopy          [prev=006 (1) | sink        ] kCopy
"""
METADATA = """\
thunk_metadata {
  thunk_info {
    profile_annotation: "command_buffer_1"
  }
  thunk_kind: "kCommandBuffer"
}
""" + "".join(
    f'thunk_metadata {{\n  thunk_info {{\n    profile_annotation: "{name}"\n'
    f'    thunk_id: {number}\n  }}\n  thunk_kind: "{kind}"\n}}\n'
    for name, number, kind in [
        ("while.84", 6, "kWhile"),
        ("while.50", 15, "kWhile"),
        ("while.5", 29, "kWhile"),
        ("conditional.0", 55, "kConditional"),
        ("copy.10", 33, "kCopy"),
        ("copy.11", 18, "kCopy"),
    ]
)
HLO = """\
HloModule jit_next_chunk, is_scheduled=true

FileNames
1 "_greedy.py"
2 "_pages.py"

FunctionNames
1 "_scan_lazily"
2 "page_sums"
3 "_scan_lazily.<locals>.pick"

FileLocations
1 {file_name_id=1 function_name_id=1 line=206 end_line=206 column=24 end_column=71}
2 {file_name_id=2 function_name_id=2 line=89 end_line=89 column=11 end_column=62}
3 {file_name_id=1 function_name_id=3 line=191 end_line=191 column=11 end_column=62}

StackFrames
7 {file_location_id=1 parent_frame_id=1}
8 {file_location_id=2 parent_frame_id=7}
9 {file_location_id=3 parent_frame_id=7}

%body.1 (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %copy.10 = f32[1024,3]{1,0} copy(%x), metadata={stack_frame_id=8}
  %copy.11 = pred[] copy(%y)
  %while.5 = (s32[], f32[8]{0}) while(%t.1), condition=%c, body=%b, metadata={stack_frame_id=8}
}

ENTRY %main () -> s32[] {
  %while.50 = (s32[], /*index=1*/f32[8]{0}) while(%t.2), condition=%c, body=%b
  %conditional.0 = (s32[]) conditional(%p, %a, %b), metadata={stack_frame_id=9}
  ROOT %while.84 = (s32[]) while(%t), metadata={op_name="a" stack_frame_id=7}, \
backend_config={"known_init_step":{"init":"0"},"known_trip_count":{"n":"1024"}}
}
"""


@pytest.fixture
def program() -> Region:
    return regions_of(read_thunks(THUNKS), places_of(METADATA, HLO))


def test_a_program_is_the_tree_of_its_loops_and_branches(program: Region) -> None:
    found = [
        (depth, region.kind, region.name, region.turns, region.launches.steps)
        for depth, region in walked(program)
    ]
    assert found == [
        (0, "program", "program", 1, 3),
        # Its turns are known: nobody evaluates its condition. The search's, once: the last.
        (1, "loop", "_scan_lazily:206", 1024, 8),
        (2, "loop", "while.50", None, 6),
        (3, "loop", "page_sums:89", None, 3),
        (2, "choice", "_scan_lazily.pick:191", None, 0),
        (2, "branch", "_scan_lazily.pick:191, true_branch", None, 2),
        (2, "choice", "kConditional 60", None, 0),
        (2, "branch", "kConditional 60, branch_0", None, 1),
        (2, "branch", "kConditional 60, branch_1", None, 2),
    ]


def test_the_host_waits_for_what_decides_outside_of_graphs(program: Region) -> None:
    scan, search, sums = (region for _, region in walked(program) if region.kind == "loop")
    # The search's last condition, and the choice that is in no graph; the other one is in one.
    assert scan.launches == Launches(kernels=5, copies=3, in_graphs=4, graphs=2, host_waits=2)
    # Its own condition, and the sums' last one.
    assert search.launches == Launches(
        kernels=5, copies=1, in_graphs=3, graphs=2, host_waits=2, copied_bytes=1
    )
    assert sums.launches == Launches(kernels=2, copies=1, host_waits=1, copied_bytes=4 * 1024 * 3)


def test_kernels_that_sort_are_told_apart(program: Region) -> None:
    sorts = {region.name: region.launches.sorts for _, region in walked(program)}
    assert {name for name, count in sorts.items() if count} == {"kConditional 60, branch_1"}


def test_loops_within_a_graph_make_nobody_wait() -> None:
    inside = "".join(f"    {line}\n" for line in THUNKS.splitlines())
    whole = regions_of(
        read_thunks("000: kCommandBuffer [source | sink] \n" + inside), places_of(METADATA, HLO)
    )
    regions = [region for _, region in walked(whole)]
    assert sum(region.launches.host_waits for region in regions) == 0
    assert [region.launches.graphs for region in regions] == [1] + [0] * (len(regions) - 1)
    assert all(region.launches.in_graphs == region.launches.steps for region in regions)
    # A graph decides itself whether it goes on, even if the host knows.
    assert [region.launches.steps for region in regions[:2]] == [4, 9]


def test_a_pick_is_a_turn_with_all_that_is_in_it(program: Region) -> None:
    scan = program.inside[0]
    # Search: 6 a turn, with 3 for each of 2 turns of the sums. Choices: their larger branches.
    pick = launches_of_a_turn(scan, {"while.50": 5, "page_sums": 2})
    assert pick.steps == 8 + 5 * (6 + 2 * 3) + 2 + 2
    assert pick.host_waits == 2 + 5 * (2 + 2 * 1)
    rarely = {"while.50": 5, "page_sums": 2, "_scan_lazily.pick": 0.5}
    assert launches_of_a_turn(scan, rarely).steps == pick.steps - 1
    everything = launches_of_a_turn(program, rarely)
    assert everything.steps == 3 + 1024 * (pick.steps - 1)
    with pytest.raises(KeyError, match="while"):
        launches_of_a_turn(scan, {"page_sums": 2})


def test_a_list_without_thunks_is_refused() -> None:
    with pytest.raises(ValueError, match="no thunk"):
        read_thunks("nothing of the kind\n")


def test_without_the_plugin_one_line_says_what_is_missing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = [f"--workdir={tmp_path}"]
    assert main_of(compile_for_h100.COMMAND, words, called="compile_for_h100") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "jax_cuda13_plugin" in line
    assert "mig-jax[cuda]" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_selection_compiled_for_the_card(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("jax_cuda13_plugin", reason="extra `cuda` is not installed")
    import subprocess
    import sys

    command = [sys.executable, "-m", "experiments.compile_for_h100", f"--workdir={tmp_path}"]
    run = subprocess.run(
        [*command, "--pages=2000", "--labels=500"], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    with open(tmp_path / "compile_for_h100.csv") as stream:
        rows = list(csv.DictReader(stream))
    picks = [row for row in rows if row["part"] == compile_for_h100.A_PICK]
    assert {row["command_buffers"] for row in picks} == {"default", "loops too"}
    sets = [row for row in picks if row["program"] == "picks from a set"]
    assert len(sets) == 2
    for row in sets:  # All of a pick is in one graph, whatever else is.
        assert float(row["host_waits"]) == 0
        assert float(row["graphs"]) <= 1
        assert float(row["kernels"]) + float(row["copies"]) < 20
    for row in picks:
        # The pages' records alone are 0.4 MB: they are updated where they stand.
        assert float(row["copied_bytes"]) < 100_000
        steps = float(row["kernels"]) + float(row["copies"])
        assert 0 < steps < 300
        if row["command_buffers"] == "loops too":
            assert float(row["host_waits"]) == 0
            assert float(row["in_graphs"]) == pytest.approx(steps, abs=0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["compile_for_h100.csv"]
