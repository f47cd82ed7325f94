"""The pool: which labels each record has, and how good the record is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from mig_jax.measure._arrays import Array, Indices
from mig_jax.measure._picks import whole_picks
from mig_jax.measure._pytrees import as_pytree, fields_told

__all__ = ["Pool", "amounts_of_picks", "pool_from_label_lists", "pool_from_table"]


@as_pytree
class Pool:
    """P records as flat arrays, one entry for each (record, label) pair.

    Entries are sorted by record, and by label within a record; a label stands
    once in a record at most (v_d of Eq. 4 is a 0/1 vector). A record without
    labels has no entry, only a score.

    Raises:
      AssertionError: if `labels` and `records` differ in shape.
    """

    labels: Int[Array, " entries"]  #: Label id in [0, K).
    records: Int[Array, " entries"]  #: Record index in [0, P), ascending.
    scores: Float[Array, " records"]  #: Quality s_d, finite and at least 0.

    def __post_init__(self) -> None:
        message = "labels, records: expected one of each for each entry"
        chex.assert_equal_shape([self.labels, self.records], custom_message=message)

    @property
    def num_records(self) -> int:
        return int(self.scores.shape[0])

    def __repr__(self) -> str:
        # Stacked, or built by JAX of anything, it is not as many records as it seems.
        if not all(getattr(array, "ndim", 0) == 1 for array in (self.labels, self.scores)):
            return fields_told(self)
        mean = self.labels.shape[0] / max(self.num_records, 1)
        return f"Pool({self.num_records:,} records, {mean:.1f} labels each)"


def pool_from_label_lists(
    label_lists: Sequence[Iterable[int | np.integer] | Int[Array, " _"]], scores: ArrayLike
) -> Pool:
    """Builds a `Pool` from one list of label ids a record; repeated ids count once.

    Raises:
      ValueError: if the two arguments differ in length, or an id is not a whole number of at
        least 0, or a score is not a number of at least 0 that float32 can hold.

    >>> pool = pool_from_label_lists([[2, 0, 2], [], [1]], [1.0, 3.0, 0.5])
    >>> pool.labels.tolist(), pool.records.tolist()
    ([0, 2, 1], [0, 0, 2])
    >>> pool
    Pool(3 records, 1.0 labels each)
    """
    given = np.asarray(scores).reshape(-1)
    if len(label_lists) != len(given):
        raise ValueError(f"{len(label_lists)} label lists but {len(given)} scores")
    is_real = np.can_cast(given.dtype, np.float32, "same_kind")
    with np.errstate(over="ignore"):  # What is too large is infinite, and refused.
        scores = given.astype(np.float32) if is_real else np.full(len(given), np.nan, np.float32)
    if not np.all(np.isfinite(scores) & (scores >= 0)):
        raise ValueError("every score must be a finite number of at least 0")
    # An array's own numbers: those of JAX have no hash.
    lists = [row.tolist() if isinstance(row, Array) else row for row in label_lists]
    rows = [sorted(set(row)) for row in lists]
    found = np.array([label for row in rows for label in row])
    # A truth value is no id: a row of them says which labels, and not their ids.
    if found.size and (found.dtype.kind not in "iu" or not 0 <= found.min() <= found.max() < 2**31):
        raise ValueError("every label id must be a whole number, from 0 to 2147483647")
    records = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
    return Pool(found.astype(np.int32), records.astype(np.int32), scores)


@runtime_checkable
class _Table(Protocol):
    """What `mig_jax.data.RecordTable` has, among other things."""

    @property
    def labels(self) -> Int[Array, " entries"]: ...  # Ascending within a record.

    @property
    def offsets(self) -> Int[Array, " records+1"]: ...  # Each record's first entry; the end.

    @property
    def scores(self) -> Float[Array, " records"]: ...


def pool_from_table(table: _Table) -> Pool:
    """The `Pool` of records read from files, as `mig_jax.data.read_pool` gives them.

    Args:
      table: `labels` int32 [entries], ascending within a record; `offsets` int64
        [P + 1], the first entry of each record and then the end; `scores` float32 [P].

    >>> from mig_jax.synthetic import BuiltinPool
    >>> pool_from_table(BuiltinPool(records=100).table()).num_records
    100
    """
    counts = np.diff(np.asarray(table.offsets))
    records = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Pool(np.asarray(table.labels, np.int32), records, np.asarray(table.scores, np.float32))


def amounts_of_picks(pool: Pool, picks: Indices) -> Float[Array, " records"]:
    """How much of each record is selected: 1 for the picks, else 0, of the scores' dtype.

    Args:
      pool: P records.
      picks: record indices; may be traced. A traced pick that is outside the pool
        counts as none, and so does −1, which stands where a scan has picked nothing.

    Raises:
      ValueError: if picks that are not traced are no whole numbers, or one is outside the pool.

    >>> amounts_of_picks(pool_from_label_lists([[0], [], [1]], [1.0, 3.0, 0.5]), [2, 0]).tolist()
    [1.0, 0.0, 1.0]
    """
    if isinstance(picks, jax.core.Tracer):
        inside = jnp.where(picks < 0, pool.num_records, picks)
        return jnp.zeros(pool.num_records, pool.scores.dtype).at[inside].set(1, mode="drop")
    amounts = np.zeros(pool.num_records, pool.scores.dtype)
    amounts[whole_picks(picks, pool.num_records)] = 1
    return amounts
