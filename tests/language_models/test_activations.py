"""What the lower layers make of records, on disk: once, whole, and of one run only."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.language_models import (
    Activations,
    JudgedRecords,
    TunedModel,
    Tuning,
    embed,
    lay_out,
    layers_between,
    pack,
    run_layers,
)
from tests.language_models.decoders import GEMMA, records_of, weights_of

ROW = 12
COUNT = 1100  # More than are kept at once, twice.
LENGTHS = [2 + n % 4 for n in range(COUNT)]
ENCODED = records_of(LENGTHS, [1] * COUNT, 31, GEMMA)
WEIGHTS = weights_of(GEMMA, 32)
EVERY = np.arange(COUNT)
RUN = {"model": "m", "records": "r"}


class KilledError(Exception):
    """Stands for the end of a process in the middle of its work."""


def opened(folder, run=RUN, layers=2):
    return Activations(folder, run, ENCODED, GEMMA, WEIGHTS, layers, ROW)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of all records, made at one go."""
    folder = tmp_path_factory.mktemp("whole")
    told = []
    with opened(folder) as activations:
        activations.ensure(EVERY, told.append)
        assert len(activations.missing(EVERY)) == 0
    assert max(told) == sum(LENGTHS)
    assert told == sorted(told)
    return folder


def contents(folder):
    return [(folder / name).read_bytes() for name in ("activations", "done")]


def test_they_are_what_the_lower_layers_leave(whole):
    records = np.array([3, 700, 1, 1099, 12, 5])
    rows = pack(ENCODED.lengths, records, ROW)
    batch = lay_out(ENCODED, rows, 3, ROW)
    x = embed(GEMMA, WEIGHTS, batch.tokens)
    own = layers_between(WEIGHTS, 0, 2)
    x = np.asarray(run_layers(GEMMA, own, x, batch.positions, batch.segments))
    with opened(whole) as activations:
        found = activations.of(rows, 3).astype(np.float32)
    inside = batch.segments >= 0
    assert found.shape == (3, ROW, GEMMA.width)
    assert not found[~inside].any()
    np.testing.assert_allclose(found[inside], x[inside], rtol=2**-7, atol=1e-3)


def test_a_killed_run_goes_on_to_the_same_bytes(whole, tmp_path):
    told = []

    def kill(done):
        told.append(done)
        if len(told) > 30 and len(killed.missing(EVERY)) < COUNT:
            raise KilledError

    killed = opened(tmp_path)
    with pytest.raises(KilledError):
        killed.ensure(EVERY, kill)
    killed.close()
    with opened(tmp_path) as activations:
        left = activations.missing(EVERY)
        assert 0 < len(left) < COUNT
        again = []
        activations.ensure(EVERY, again.append)
        assert max(again) == ENCODED.lengths[left].sum()
    assert contents(tmp_path) == contents(whole)
    with opened(tmp_path) as activations:
        activations.ensure(EVERY, pytest.fail)  # Nothing is computed twice.


def test_a_folder_of_another_run_is_refused(whole):
    before = contents(whole)
    for run, layers, part in ((RUN | {"model": "other"}, 2, "model"), (RUN, 1, "layers")):
        with pytest.raises(InputError, match=part):
            opened(whole, run, layers)
    assert contents(whole) == before


def test_a_folder_in_use_is_refused(whole):
    with opened(whole), pytest.raises(InputError, match="another run is using it"):
        opened(whole)


def test_a_record_longer_than_a_row_is_refused(tmp_path):
    with Activations(tmp_path, RUN, ENCODED, GEMMA, WEIGHTS, 2, 4) as activations:
        with pytest.raises(InputError, match="has 5 tokens; expected at most 4"):
            activations.ensure(np.array([0, 3]))
        activations.ensure(np.array([0, 1, 2]))


def test_models_are_judged_alike_from_what_is_kept(whole):
    records = EVERY[:40]
    full = TunedModel(GEMMA, WEIGHTS, Tuning())
    upper = TunedModel(GEMMA, WEIGHTS, Tuning(first=2))
    with opened(whole) as activations:
        kept = JudgedRecords(ENCODED, records, ROW, activations)
    computed = JudgedRecords(ENCODED, records, ROW, None)
    key = jax.random.key(0)
    found, wanted = kept.losses(upper, upper.start(key)), computed.losses(full, full.start(key))
    np.testing.assert_allclose(found.all, wanted.all, rtol=0.05, atol=0.05)
