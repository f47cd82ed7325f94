"""Losses of records for IFD: against a plain decoder, after an interrupt, and by use."""

from __future__ import annotations

import contextlib
import json
import pathlib

import jax
import numpy as np
import pytest

from experiments import finetune
from experiments.finetuning.cells import read_kept
from experiments.finetuning.gradients import StudyGradients
from experiments.finetuning.study import Study
from mig_jax.commands.command import main_of
from mig_jax.language_models import RecordLosses, Tuning
from tests.experiments.studies import rows_of_pool, study_of, write_parts
from tests.language_models.decoders import nats_of

pytest.importorskip("tokenizers")
pytest.importorskip("jinja2")

_STEP_SIZE = 1e-2
_BLOCK = 15  # Three of them.


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    """The records of a study; one of the pool says nothing, the last two are too long."""
    rows = rows_of_pool()
    rows[3]["messages"] = [*rows[3]["messages"][:-1], {"role": "assistant", "content": ""}]
    for row in rows[38:40]:
        row["messages"] = [row["messages"][0] | {"content": "x y " * 200}, *row["messages"][1:]]
    return write_parts(tmp_path_factory.mktemp("pool"), rows)


def _weights(study: Study) -> dict:
    """Of the whole model, after the warm-up."""
    base, own = study.model.weights, study.warmed_up(_STEP_SIZE)
    lower = jax.tree.map(lambda w: w[: study.tuning.first], base["layers"])
    layers = jax.tree.map(lambda *w: np.concatenate(w), lower, own["layers"])
    return jax.tree.map(np.asarray, base | own | {"layers": layers})


@pytest.mark.parametrize(
    ("model", "tuning"), [("scratch:32x1", Tuning(0)), ("scratch:32x2", Tuning(1))]
)
def test_losses_are_those_of_a_plain_decoder(parts, model, tuning, tmp_path):
    seen = np.array([2, 3, 17, 37])
    with contextlib.closing(study_of(tmp_path, parts, model, tuning)) as study:
        assert study.fits.tolist() == list(range(38))
        behind, alone = RecordLosses(study, _STEP_SIZE, _BLOCK).of(seen)
        architecture, weights = study.model.architecture, _weights(study)
    heading = study.model.tokenizer.encode("<|im_start|>assistant\n").ids
    for record, *found in zip(seen.tolist(), behind, alone, strict=True):
        ids, start = study.encoded.of(record), int(study.encoded.starts[record])
        assert ids[start - len(heading) : start].tolist() == heading
        bare = ids[start - len(heading) :]
        for n, (tokens, first) in enumerate([(ids, start), (bare, len(heading))]):
            said = nats_of(architecture, weights, tokens, first)[:-1]
            expected = said.mean() if len(said) else np.nan
            # What lower layers make of a record is kept in half the bits.
            np.testing.assert_allclose(found[n], expected, rtol=1e-5 if tuning.whole else 1e-2)
    assert np.isnan(behind[1])
    assert (behind != alone).all()
    assert len(list((tmp_path / "losses").glob("*.npz"))) == 3


class _Interrupted:
    """A tuned model that is asked so many times."""

    def __init__(self, tuned, times: int) -> None:
        self._tuned, self._left = tuned, times

    def __getattr__(self, name: str):
        return getattr(self._tuned, name)

    def losses(self, *arguments):
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return self._tuned.losses(*arguments)


def test_interrupted_or_damaged_it_goes_on_to_the_same_bytes(parts, tmp_path):
    def entries(folder: pathlib.Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "losses").glob("*.npz")}

    study = study_of(tmp_path / "whole", parts)
    expected = RecordLosses(study, _STEP_SIZE, _BLOCK).of(study.fits)
    whole = entries(study.folder)
    assert len(whole) == 3

    study = study_of(tmp_path / "other", parts)
    tuned, study.tuned = study.tuned, _Interrupted(study.tuned, 3)
    with pytest.raises(KeyboardInterrupt):
        RecordLosses(study, _STEP_SIZE, _BLOCK).of(study.fits)
    first = entries(study.folder)
    assert first.items() < whole.items()
    (study.folder / "losses" / "00000.npz").write_bytes(first["00000.npz"][:-9])
    study.tuned = tuned
    found = RecordLosses(study, _STEP_SIZE, _BLOCK).of(study.fits)
    assert entries(study.folder) == whole
    np.testing.assert_array_equal(found, expected)
    # All is there: the model is not asked again.
    study.tuned = _Interrupted(tuned, 0)
    np.testing.assert_array_equal(RecordLosses(study, _STEP_SIZE, _BLOCK).of(study.fits), expected)


def test_gradients_along_directions_that_were_lost_are_asked_for_anew(parts, tmp_path):
    """Blocks are products with projections: with others beside them they would mean nothing."""
    study = study_of(tmp_path, parts)
    expected = StudyGradients(study, 30, _STEP_SIZE).found
    folder = tmp_path / "gradients"
    kept = dict(np.load(folder / "00001.npz"))
    np.savez(folder / "00001.npz", **(kept | {"gradients": kept["gradients"] + 1}))
    np.testing.assert_array_equal(
        StudyGradients(study, 30, _STEP_SIZE).found.gradients, expected.gradients + 1
    )
    (folder / "00000.npz").write_bytes((folder / "00000.npz").read_bytes()[:-9])
    found = StudyGradients(study, 30, _STEP_SIZE).found
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_ifd_takes_the_hardest_of_a_study(parts, tmp_path):
    folder = pathlib.Path(parts["pool"]).parent
    words = [f"--{name}={path}" for name, path in parts.items()]
    words += [f"--label_embeddings={folder / 'emb.npz'}", f"--workdir={tmp_path}"]
    words += ["--model=scratch:32x1", "--layers=0", "--rows=2", "--test_records=8", "--seeds=1"]
    words += ["--methods=ifd", "--records=6", f"--step_sizes={_STEP_SIZE}"]
    assert main_of(finetune.COMMAND, words, called="finetune") == 0
    with np.load(tmp_path / "losses" / "00000.npz") as kept:
        ratios = kept["behind"] / kept["alone"]
    _, chosen = read_kept(tmp_path / "selections.jsonl", "selections")
    [picks] = chosen.values()
    # A seed sees four fifths of the 38.
    order = [n for n in np.argsort(-ratios, kind="stable").tolist() if ratios[n] < 1]
    ranks = [order.index(pick) for pick in picks]
    assert ranks == sorted(ranks)
    assert len(ranks) == 6
    assert ranks[-1] < 6 + 8


def test_heeded_and_clean_methods_choose_among_fewer(parts, tmp_path, capsys, monkeypatch):
    folder = pathlib.Path(parts["pool"]).parent
    pool = tmp_path / "pool.jsonl"
    rows = [json.loads(line) for line in pathlib.Path(parts["pool"]).read_text().splitlines()]
    rows = [row | {"corrupted": number % 3 == 0} for number, row in enumerate(rows)]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--{name}={path}" for name, path in (parts | {"pool": pool}).items()]
    words += [f"--label_embeddings={folder / 'emb.npz'}", f"--workdir={tmp_path / 'w'}"]
    words += ["--model=scratch:32x1", "--layers=0", "--rows=2", "--test_records=8", "--seeds=1"]
    words += [f"--step_sizes={_STEP_SIZE}"]
    names = ["heeded_random", "clean_random", "heeded_clean_mig_exact", "lengths_of_heeded_random"]
    first = [*words, f"--methods={names[0]}", "--records=9"]
    assert main_of(finetune.COMMAND, first, called="finetune") == 0
    # A model that is hardly trained finds nearly all heeded: every fourth is made to be another's.
    kept = tmp_path / "w" / "losses" / "00000.npz"
    losses = dict(np.load(kept))
    losses["behind"][::4] = 2 * losses["alone"][::4]
    np.savez(kept, **losses)
    for name in ("selections.jsonl", "cells.jsonl"):
        (tmp_path / "w" / name).unlink()
    every = [*words, f"--methods={','.join(names)}"]
    assert main_of(finetune.COMMAND, [*every, "--records=20"], called="finetune") == 2
    assert "--records: 20: a seed sees " in capsys.readouterr().err
    assert main_of(finetune.COMMAND, [*every, "--records=9"], called="finetune") == 0
    heeded = set(np.flatnonzero(losses["behind"] < losses["alone"]).tolist())
    clean = {number for number in range(len(rows)) if number % 3}
    assert heeded.isdisjoint(range(0, len(rows), 4))
    _, chosen = read_kept(tmp_path / "w" / "selections.jsonl", "selections")
    picks = {name: set(own) for name, own in zip(names, chosen.values(), strict=True)}
    for name, among in zip(names, [heeded, clean, heeded & clean], strict=False):
        assert picks[name] <= among
        assert len(picks[name]) == 9
    assert not picks["clean_random"] <= heeded
    assert not picks["lengths_of_heeded_random"] <= heeded
    # With the selections at hand, be they another study's, the model is not asked.
    (tmp_path / "w" / "cells.jsonl").unlink()
    monkeypatch.setattr(RecordLosses, "of", lambda *_: pytest.fail("the model was asked"))
    assert main_of(finetune.COMMAND, [*every, "--records=9"], called="finetune") == 0
