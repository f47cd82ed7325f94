"""A selection that was stopped goes on as if it had not been."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import mig_jax
from mig_jax.errors import InputError
from mig_jax.selection import Checkpoints, Progress, fingerprint, initial_state, resumed_state
from tests import strategies
from tests.dying import at_file, dies

PARTS = ("picks", "gains", "increases", "z")


def assert_same_bits(found, expected):
    """Equal picks, gains, increases and z, to the last bit."""
    for part in PARTS:
        a, b = getattr(found, part), getattr(expected, part)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), part
        assert a.tobytes() == b.tobytes(), part


def progress_of(case, budget, **options):
    """The selection of a case and its progress after every chunk."""
    seen: list[Progress] = []
    result = mig_jax.select(case.pool, case.graph, budget, on_chunk=seen.append, **options)
    return result, seen


@hypothesis.settings(max_examples=8)
@hypothesis.given(strategies.problems(), st.sampled_from(list(mig_jax.GAIN_RULES.values())))
def test_every_cut_resumes_to_the_same_bits(problem, gain):
    (function, _, _), case = problem
    options = {"measure": mig_jax.Measure(function, case.alpha), "gain": gain, "chunk": 3}
    budget = case.pool.num_records
    straight, seen = progress_of(case, budget, **options)
    assert [len(progress) for progress in seen] == [*range(3, budget, 3), budget][: len(seen)]
    for progress in seen:
        resumed = mig_jax.select(case.pool, case.graph, budget, resume=progress, **options)
        assert_same_bits(resumed, straight)


@pytest.mark.parametrize("gain", mig_jax.GAIN_RULES.values(), ids=lambda rule: rule.name)
@pytest.mark.parametrize(
    "function", [f for f, _, _ in strategies.FUNCTIONS], ids=lambda f: f"{type(f).__name__}"
)
def test_larger_pools_resume_to_the_same_bits(function, gain):
    case = strategies.random_case(seed=1, records=600)
    measure = mig_jax.Measure(function)
    straight, seen = progress_of(case, 300, measure=measure, gain=gain, chunk=64)
    for progress in seen:
        resumed = mig_jax.select(
            case.pool, case.graph, 300, measure=measure, gain=gain, chunk=64, resume=progress
        )
        assert_same_bits(resumed, straight)
    assert np.array_equal(seen[0].picks, straight.picks[:64])  # What comes later changes nothing.


def test_goes_on_to_a_larger_budget_and_in_other_pages():
    case = strategies.random_case(seed=2, records=500)
    straight = mig_jax.select(case.pool, case.graph, 400)
    _, seen = progress_of(case, 150, chunk=100)
    for progress in seen:
        for area in (256, 1024):
            pages = mig_jax.lay_out(case.pool, case.graph, mig_jax.Measure(), 40, area=area)
            resumed = mig_jax.select(case.pool, case.graph, 400, resume=progress, pages=pages)
            assert_same_bits(resumed, straight)


@pytest.mark.parametrize("gain", mig_jax.GAIN_RULES.values(), ids=lambda rule: rule.name)
def test_the_table_is_not_computed_again(gain):
    # Computed again it differs in few last bits, which few of the pools above show in a gain.
    case = strategies.random_case(seed=4, records=60)
    _, (progress, *_) = progress_of(case, 30, gain=gain, chunk=10)
    table = tuple(np.nextafter(leaf, np.float32(0)) for leaf in progress.table)
    measure = mig_jax.Measure()
    pages = mig_jax.lay_out(case.pool, case.graph, measure, 30)
    fresh = initial_state(gain, measure, pages, jnp.asarray(progress.z))
    state = resumed_state(fresh, dataclasses.replace(progress, table=table))
    leaves = jax.tree_util.tree_leaves(state.table)
    assert [np.asarray(leaf).tobytes() for leaf in leaves] == [leaf.tobytes() for leaf in table]
    assert np.asarray(state.z).tobytes() == progress.z.tobytes()
    assert int(state.count) == 10


def test_what_does_not_fit_is_an_error():
    case = strategies.random_case(seed=2, records=50)
    _, (progress,) = progress_of(case, 20)
    with pytest.raises(ValueError, match="20 records are picked already"):
        mig_jax.select(case.pool, case.graph, 19, resume=progress)
    with pytest.raises(ValueError, match="table"):
        mig_jax.select(case.pool, case.graph, 30, resume=progress, gain=mig_jax.LINEAR)


@pytest.fixture
def saved(tmp_path):
    """A case, its fingerprint and a directory that holds checkpoints after 40 and 50 picks."""
    case = strategies.random_case(seed=3, records=80)
    straight, seen = progress_of(case, 50, chunk=10)
    run = fingerprint(case.pool, case.graph, mig_jax.Measure(), mig_jax.EXACT)
    with Checkpoints(tmp_path / "runs" / "a", run, every_seconds=0) as checkpoints:
        assert checkpoints.restore(50) is None
        for progress in seen:
            checkpoints.save(progress)
    return case, run, tmp_path / "runs" / "a", straight, seen


def saved_after(directory):
    """The picks of the checkpoints in a directory."""
    return sorted(int(path.stem) for path in directory.glob("*.checkpoint"))


def test_keeps_the_newest_two_and_restores_every_bit(saved):
    _, run, directory, _, seen = saved
    assert saved_after(directory) == [40, 50]
    with Checkpoints(directory, run) as checkpoints:
        found = checkpoints.restore(50)
    assert_same_bits(found, seen[-1])
    assert [leaf.tobytes() for leaf in found.table] == [leaf.tobytes() for leaf in seen[-1].table]


def test_saves_no_more_often_than_asked_unless_told_to(saved, tmp_path):
    _, run, _, _, seen = saved
    with Checkpoints(tmp_path / "b", run, every_seconds=3600) as checkpoints:
        checkpoints.save(seen[0])
        assert saved_after(tmp_path / "b") == []
        checkpoints.save(seen[1], now=True)
        checkpoints.save(seen[1], now=True)
        checkpoints.save(seen[2])
    assert saved_after(tmp_path / "b") == [20]


def test_nothing_is_saved_where_there_are_no_labels(saved, tmp_path):
    _, run, _, _, seen = saved
    with Checkpoints(tmp_path / "b", run, every_seconds=0) as checkpoints:
        checkpoints.save(dataclasses.replace(seen[0], z=np.zeros(0, np.float32), table=()))
    assert saved_after(tmp_path / "b") == []


def largest_file(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_byte(folder):
    path = largest_file(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES = {
    "a byte flipped": flip_a_byte,
    "arrays cut": lambda folder: os.truncate(largest_file(folder), 100),
    "arrays gone": lambda folder: shutil.rmtree(largest_file(folder).parent),
    "all gone": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_newest_is_passed_over(saved, damage):
    case, run, directory, straight, seen = saved
    damage(directory / "00050.checkpoint")
    told: list[int] = []
    with Checkpoints(directory, run, every_seconds=0) as checkpoints:
        found = checkpoints.restore(50, on_damaged=told.append)
        assert_same_bits(found, seen[-2])
        resumed = mig_jax.select(
            case.pool, case.graph, 50, resume=found, chunk=10, on_chunk=checkpoints.save
        )
    assert_same_bits(resumed, straight)
    assert saved_after(directory) == [40, 50]
    with Checkpoints(directory, run) as checkpoints:
        assert_same_bits(checkpoints.restore(50), seen[-1])


def test_none_that_can_be_read(saved):
    _, run, directory, _, _ = saved
    for folder in directory.glob("*.checkpoint"):
        flip_a_byte(folder)
    told: list[tuple[int, bool]] = []
    with Checkpoints(directory, run) as checkpoints:

        def on_damaged(picks):
            told.append((picks, (directory / f"{picks:05d}.checkpoint").exists()))

        assert checkpoints.restore(50, on_damaged=on_damaged) is None
    assert told == [(50, True), (40, True)]  # Told before it is deleted.
    assert saved_after(directory) == []


def test_another_run_is_refused_by_the_part_that_differs(saved):
    case, run, directory, _, _ = saved
    pool, graph, measure = case.pool, case.graph, mig_jax.Measure()
    exact, linear = mig_jax.EXACT, mig_jax.LINEAR
    scores = np.asarray(pool.scores).copy()
    scores[7] = np.nextafter(scores[7], np.float32(9e9))
    joined = mig_jax.label_graph_from_edges(case.num_labels, case.edges[1:])
    other = {
        "pool": (dataclasses.replace(pool, scores=scores), graph, measure, exact),
        "graph": (pool, joined, measure, exact),
        "parameters": (pool, graph, measure, linear),
    }
    others = [(name, fingerprint(*arguments)) for name, arguments in other.items()]
    for changed in (
        mig_jax.Measure(mig_jax.Power(0.7)),
        mig_jax.Measure(mig_jax.Log(0.8)),
        mig_jax.Measure(propagation=0.5),
        mig_jax.Measure(mig_jax.Power(weight=jnp.ones(case.num_labels))),
    ):
        others.append(("parameters", fingerprint(pool, graph, changed, exact)))
    others.append((f"versions ({run['versions']}; now jax 99)", {**run, "versions": "jax 99"}))
    others.append(("device", {**run, "device": "tpu"}))
    for part, another in others:
        assert another != run
        with pytest.raises(InputError) as caught:
            Checkpoints(directory, another)
        message = str(caught.value)
        assert message.startswith(f"{directory}: belongs to another run: {part}")
        assert message.endswith("; choose another place, or delete this folder")
        assert "differs" in message
    assert saved_after(directory) == [40, 50]


def test_a_smaller_budget_is_refused_and_a_file_is_no_directory(saved, tmp_path):
    _, run, directory, _, _ = saved
    flip_a_byte(directory / "00040.checkpoint")
    with (
        Checkpoints(directory, run) as checkpoints,
        pytest.raises(InputError, match="holds 50 picks, more than the budget of 49") as told,
    ):
        checkpoints.restore(49)
    assert "the first 49 picks of the larger selection are the smaller one" in str(told.value)
    assert saved_after(directory) == [40, 50]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a directory"):
        Checkpoints(tmp_path / "file", run)


# The command, in processes of its own.


def command(*arguments):
    return [sys.executable, "-m", "mig_jax", *map(str, arguments)]


def mig(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)


def outputs(folder):
    """Bytes of all outputs but the manifest, which has times in it."""
    return {name: (folder / name).read_bytes() for name in ("o.jsonl", "o.selection.parquet")}


@pytest.mark.slow
def test_killed_again_and_again_writes_what_an_uninterrupted_run_writes(tmp_path):
    pool, labels = tmp_path / "pool.jsonl", tmp_path / "labels.npz"
    made = mig("make_pool", "--records=30000", f"--output={pool}", f"--label_embeddings={labels}")
    assert made.returncode == 0, made.stderr
    select = (
        "select",
        f"--pool={pool}",
        f"--label_embeddings={labels}",
        "--similarity_threshold=0.65",
        "--gain=linear",
        "--budget=29000",
        "--certificate=false",
    )
    (tmp_path / "straight").mkdir()
    straight = mig(*select, f"--output={tmp_path / 'straight' / 'o.jsonl'}")
    assert straight.returncode == 0, straight.stderr
    manifest = json.loads((tmp_path / "straight" / "o.manifest.json").read_text())
    assert manifest["resumed_after"] == 0

    folder, checkpoints = tmp_path / "killed", tmp_path / "checkpoints"
    folder.mkdir()
    arguments = (
        *select,
        f"--output={folder / 'o.jsonl'}",
        f"--checkpoint_dir={checkpoints}",
        "--checkpoint_every_seconds=0",
    )
    rng = random.Random(0)
    for when in (  # There are 29 chunks. One and its save take about 0.04 s.
        at_file("os.rename", ".checkpoint", 3, rng.uniform(0, 0.08)),
        at_file("open", ".checkpoint/_METADATA"),  # As it resumes.
        at_file("os.rename", ".checkpoint", 2),
        at_file("os.rename", ".checkpoint", 1, rng.uniform(0, 0.08)),
        at_file("os.rename", ".checkpoint", 1, rng.uniform(0, 0.08)),
    ):
        before = saved_after(checkpoints)
        dies(when, *arguments)
        assert not (folder / "o.jsonl").exists()
        assert saved_after(checkpoints) >= before
    finished = mig(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert outputs(folder) == outputs(tmp_path / "straight")
    manifest = json.loads((folder / "o.manifest.json").read_text())
    assert manifest["resumed_after"] >= max(before)
    assert f"resuming after {manifest['resumed_after']:,} of 29,000 picks" in finished.stderr
    assert "WARNING" not in finished.stderr
    assert len(saved_after(checkpoints)) == 2

    again = mig(*arguments)
    assert again.returncode == 0, again.stderr
    assert outputs(folder) == outputs(tmp_path / "straight")
    assert "resuming after 29,000 of 29,000 picks" in again.stderr
    refused = mig(*arguments, "--gain=exact")
    assert refused.returncode == 2
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("mig-jax: ")]
    assert line.startswith(f"mig-jax: {checkpoints}: belongs to another run: parameters")
    assert outputs(folder) == outputs(tmp_path / "straight")
