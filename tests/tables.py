"""What two readings of the same pool must have in common: everything."""

from __future__ import annotations

import dataclasses

import numpy as np

from mig_jax.data import RecordTable


def assert_same_table(table: RecordTable, expected: RecordTable) -> None:
    for field in dataclasses.fields(RecordTable):
        found, wanted = getattr(table, field.name), getattr(expected, field.name)
        if isinstance(wanted, np.ndarray):
            assert found.dtype == wanted.dtype, field.name
            np.testing.assert_array_equal(found, wanted, err_msg=field.name)
        else:
            assert found == wanted, field.name
