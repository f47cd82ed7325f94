"""Influences that a study keeps, and the proxies that are made of them."""

from __future__ import annotations

import json
import math
import os
import types

import numpy as np
import pytest

from experiments import proxies
from experiments.finetuning.cells import KeptLines
from experiments.finetuning.influences import (
    Influences,
    keep_influences,
    read_influences,
    run_of_influences,
)
from experiments.finetuning.proxies import OF_INFLUENCES, PROXIES, Selected, proxies_of
from mig_jax.commands.command import main_of
from mig_jax.errors import InputError

TASKS = ["a", "b", "c"]
RUN = {"model": "small", "step_size": 0.01, "asked": 12, "tuning": {"first": 1}}


def _influences() -> Influences:
    rng = np.random.default_rng(0)
    taught = rng.normal(size=(12, 3)) * [100, 1, 0.01] + [5, 0, 0.02]
    taught[:, 1] = -2.0  # Which no record differs in.
    records = rng.permutation(20)[:12]
    return Influences(records, TASKS, taught.astype(np.float32), rng.random(12).astype(np.float32))


def _selected(picks: list[int]) -> Selected:
    return Selected("random", 0, np.array(picks), np.zeros(3), 900, 500)


def _proxies(influences: Influences | None) -> dict:
    inputs = types.SimpleNamespace(pool=types.SimpleNamespace(scores=np.ones(20)))
    # Texts and judges are looked at by other proxies, when these are made.
    found = proxies_of(inputs, [], None, None, influences)
    return {proxy.name: proxy for proxy in found}


def test_sums_over_the_records_asked_about_stand_for_the_others():
    found = _influences()
    made = _proxies(found)
    assert list(made) == list(PROXIES)
    asked = found.records.tolist()
    others = sorted(set(range(20)) - set(asked))
    for ours, theirs in ((asked[2:8], []), (asked[:3], others[:3]), ([asked[5]], [])):
        sums = []
        for task in range(3):
            own = [float(found.taught[n, task]) for n in range(12)]
            mean = sum(own) / 12
            spread = math.sqrt(sum((x - mean) ** 2 for x in own) / 12) or 1.0
            of_picks = [own[asked.index(record)] / spread for record in ours]
            sums.append(sum(of_picks) + len(theirs) * sum(of_picks) / len(of_picks))
        value = made["influence"].values(_selected([*theirs, *ours]))
        expected = dict(zip(TASKS, sums, strict=True)) | {"all tasks": sum(sums) / 3}
        assert value == pytest.approx(expected, rel=1e-5)
        lost = sum(float(found.losses[asked.index(record)]) for record in ours) / len(ours)
        assert made["loss"].values(_selected([*theirs, *ours])) == {
            "all tasks": pytest.approx(lost, rel=1e-6)
        }
    for name in OF_INFLUENCES:  # Fewer than half, and none.
        for picks in ([*asked[:3], *others[:4]], others[:4]):
            assert math.isnan(made[name].values(_selected(picks))["all tasks"])
    assert set(PROXIES) - set(_proxies(None)) == set(OF_INFLUENCES)


def test_what_is_kept_is_read_by_its_own_study_alone(tmp_path):
    assert read_influences(tmp_path, RUN) is run_of_influences(tmp_path) is None
    found = _influences()
    keep_influences(tmp_path, RUN, found)
    assert os.listdir(tmp_path) == ["influences.npz"]
    assert run_of_influences(tmp_path) == RUN
    # What decides cells is more, and lacks what only gradients need.
    read = read_influences(tmp_path, {"epochs": 1} | {n: v for n, v in RUN.items() if n != "asked"})
    assert read is not None
    assert read.tasks == TASKS
    for name in ("records", "taught", "losses"):
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name))
        assert getattr(read, name).dtype == getattr(found, name).dtype
    with pytest.raises(InputError, match=r"another study .*: step_size \(0.01; now 0.02\) differs"):
        read_influences(tmp_path, RUN | {"step_size": 0.02})
    keep_influences(tmp_path, RUN | {"asked": 5}, found)
    assert run_of_influences(tmp_path) == RUN | {"asked": 5}


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other arrays"])
def test_what_is_none_of_ours_is_refused_and_stays(tmp_path, damage):
    path = tmp_path / "influences.npz"
    keep_influences(tmp_path, RUN, _influences())
    if damage == "other arrays":
        np.savez(path, told=np.array(json.dumps({"format": "other"})))
    else:
        whole = path.read_bytes()
        path.write_bytes({"cut": whole[:-40], "text": b"mine\n", "empty": b""}[damage])
    before = path.read_bytes()
    for read in (run_of_influences, lambda folder: read_influences(folder, RUN)):
        with pytest.raises(InputError, match=r"influences\.npz: damaged, or no file of mig_jax"):
            read(tmp_path)
    assert path.read_bytes() == before


def test_names_of_proxies_are_checked_and_those_that_cannot_be_made_are_told(tmp_path, capsys):
    """Before the pool is read: there is none."""
    words = [f"--workdir={tmp_path / 'w'}", f"--study={tmp_path}", "--model=scratch:32x1"]
    words += [f"--{name}={tmp_path / name}" for name in ("pool", "validation", "test")]
    words += [f"--label_embeddings={tmp_path / 'emb.npz'}", "--tokens=900"]
    with (
        KeptLines(tmp_path / "selections.jsonl", "selections", {}) as chosen,
        KeptLines(tmp_path / "cells.jsonl", "cells", {"step_sizes": [0.02, 0.1]}) as cells,
    ):
        cell = {"content": [1.0], "tokens": 900, "response_tokens": 500}
        for seed in range(8):
            chosen.put(f"random | 900 tokens | {seed}", [seed])
            cells.put(f"random | 900 tokens | {seed}", cell)

    def told(*more: str) -> str:
        assert main_of(proxies.COMMAND, [*words, *more], called="proxies") == 2
        return capsys.readouterr().err

    assert "--proxies: scores: expected one of influence, loss, score" in told("--proxies=scores")
    lacks = "--proxies: influence, loss: "
    assert f"{lacks}{tmp_path} has no influences.npz" in told("--proxies=loss,influence")
    keep_influences(tmp_path, RUN, _influences())
    assert "of another study than the cells: step_size (0.01; now 0.02)" in told()
    assert not (tmp_path / "w").exists()
