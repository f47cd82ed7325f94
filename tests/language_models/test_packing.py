"""Rows of records: nothing lost, nothing twice, and exactly the responses asked for."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mig_jax.errors import InputError
from mig_jax.language_models import EncodedRecords, lay_out, pack

RECORDS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=30)


def encoded_of(parts):
    """Records of so many tokens of instruction and response, all tokens distinct."""
    lengths = [asked + said for asked, said in parts]
    return EncodedRecords(
        np.arange(1, sum(lengths) + 1, dtype=np.int32),
        np.cumsum([0, *lengths]),
        np.array([asked for asked, _ in parts], np.int32),
    )


@hypothesis.given(RECORDS, st.integers(12, 20), st.randoms(use_true_random=False))
def test_each_record_is_in_one_row_that_has_room(parts, row, random):
    encoded = encoded_of(parts)
    chosen = np.array(random.sample(range(len(parts)), random.randint(0, len(parts))), np.int64)
    rows = pack(encoded.lengths, chosen, row)
    assert sorted(n for one in rows for n in one) == sorted(chosen.tolist())
    filled = [int(encoded.lengths[one].sum()) for one in rows]
    assert max(filled, default=0) <= row
    assert all(rows)
    # No two rows could have been one.
    assert all(a + b > row for n, a in enumerate(filled) for b in filled[:n])


@hypothesis.given(RECORDS, st.integers(12, 20), st.integers(0, 3))
def test_a_batch_holds_every_token_and_asks_for_the_responses(parts, row, empty):
    encoded = encoded_of(parts)
    rows = pack(encoded.lengths, np.arange(len(parts)), row)
    count = len(rows) + empty
    batch = lay_out(encoded, rows, count, row)
    assert batch.tokens.shape == (count, row)
    flat = batch.tokens.reshape(-1)
    inside = batch.segments.reshape(-1) >= 0
    assert sorted(flat[inside]) == encoded.ids.tolist()
    assert not flat[~inside].any()
    asked = batch.owners >= 0
    assert np.array_equal(asked, batch.weights == 1)
    assert np.array_equal(~asked, batch.weights == 0)
    for record in range(len(parts)):
        ids, start = encoded.of(record), int(encoded.starts[record])
        own = batch.owners == record
        assert batch.targets[own].tolist() == ids[start:].tolist()
        places = batch.at[own]
        assert flat[places].tolist() == ids[start - 1 : -1].tolist()
        assert batch.positions.reshape(-1)[places].tolist() == list(range(start - 1, len(ids) - 1))
        # One number for the tokens of a record within its row, and for no others.
        [(b, where)] = [(b, one.index(record)) for b, one in enumerate(rows) if record in one]
        assert batch.tokens[b][batch.segments[b] == where].tolist() == ids.tolist()


def test_batches_have_few_shapes():
    sizes = set()
    for said in range(1, 100):
        batch = lay_out(encoded_of([(1, said)]), [[0]], 1, 128)
        sizes.add(len(batch.at))
    assert len(sizes) <= 8


def test_a_record_longer_than_a_row_is_refused():
    encoded = encoded_of([(2, 2), (5, 6)])
    with pytest.raises(InputError, match="record 1 has 11 tokens; expected at most 10"):
        pack(encoded.lengths, np.arange(2), 10)
