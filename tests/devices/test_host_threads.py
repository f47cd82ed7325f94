"""Work in threads: in order, and no further ahead than is asked for."""

from __future__ import annotations

import pytest

from mig_jax.devices import ahead_in_threads


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_results_come_in_order_and_few_are_begun_before_they_are_taken(ahead):
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return -number

    for taken, result in enumerate(ahead_in_threads(work, range(20), ahead)):
        assert result == -taken
        # One more is begun as soon as this one is taken.
        assert len(begun) <= taken + 1 + ahead
    assert sorted(begun) == list(range(20))


def test_what_goes_wrong_is_told_where_results_are_taken():
    found = ahead_in_threads(lambda number: 1 // number, [1, 0, 1], 2)
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_nothing_gives_nothing():
    assert list(ahead_in_threads(abs, [])) == []
