"""In which parts processes differ, in words."""

from __future__ import annotations

from mig_jax.runs import disagreement


def test_nothing_differs():
    told = {"--gain": "exact", "--vocabulary": None}
    assert disagreement([told]) == disagreement([told, dict(told), dict(told)]) == ""


def test_what_only_one_has_differs():
    told = [{"--budget": "5"}, {"--budget": "5", "file 2": "b"}]
    assert disagreement(told) == "file 2 is not given in process 0, b in process 1"
    assert disagreement(told[::-1]) == "file 2 is b in process 0, not given in process 1"


def test_the_first_process_that_differs_is_told():
    told = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert (
        disagreement(told)
        == "a is 1 in process 0, 3 in process 2; b is 1 in process 0, 2 in process 1"
    )


def test_a_line_stays_a_line():
    ones, twos = ({str(n): value for n in range(50)} for value in "12")
    assert disagreement([ones, twos]).count(";") == 4
    assert disagreement([ones, twos]).endswith("; and 46 more")
