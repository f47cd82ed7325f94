"""Work in several processes gives what it gives in one, whatever becomes of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mig_jax.devices import answers_of_processes, over_processes


class Doubling:
    """Doubles numbers, and can tell where."""

    def __init__(self, refused=None):
        self.refused = refused

    def __call__(self, number):
        if number == self.refused:
            raise ValueError(f"{number} is refused")
        return 2 * number

    def with_place(self, number):
        return self(number), os.getpid()

    def only_elsewhere(self, parent):
        return "done" if os.getpid() != parent else "here"


def test_results_come_in_order_from_several_processes():
    found = list(over_processes(Doubling().with_place, iter(range(40)), 3))
    assert [number for number, _ in found] == list(range(0, 80, 2))
    processes = {process for _, process in found}
    assert os.getpid() not in processes
    assert 1 < len(processes) <= 3


@pytest.mark.parametrize("workers", [0, 1])
def test_few_workers_are_none(workers):
    assert list(over_processes(Doubling().only_elsewhere, [os.getpid()], workers)) == ["here"]


def test_what_cannot_be_pickled_is_done_here():
    assert list(over_processes(lambda number: number + 1, [1, 2, 3], 2)) == [2, 3, 4]


def test_what_processes_cannot_import_is_done_here(monkeypatch):
    class Gone(Doubling):
        pass

    monkeypatch.setattr(sys.modules[__name__], "Gone", Gone, raising=False)
    Gone.__qualname__ = "Gone"
    assert list(over_processes(Gone(), [1, 2, 3], 2)) == [2, 4, 6]
    assert list(answers_of_processes(Gone(), [1, 2, 3], 2)) == [None] * 3


def test_an_error_of_the_work_is_raised_at_its_place():
    results = over_processes(Doubling(refused=3), range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="3 is refused"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_items_comes_behind_the_results_before_it(workers):
    def items():
        yield from range(3)
        raise ValueError("no more")

    results = over_processes(Doubling(), items(), workers)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="no more"):
        next(results)


def test_items_are_taken_as_results_are():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = over_processes(Doubling(), items(), 2)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(taken) <= 5 + 2 * 2
    results.close()


@pytest.mark.parametrize("killed", [1, 2])
def test_killed_processes_change_nothing(monkeypatch, killed):
    children = []
    start = subprocess.Popen

    def start_child(*arguments, **options):
        children.append(start(*arguments, **options))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", start_child)
    results = over_processes(Doubling(), range(50), 2)
    found = [next(results)]
    for child in children[:killed]:
        child.kill()
    assert found + list(results) == list(range(0, 100, 2))
    assert len(children) == 2
    assert all(child.returncode is not None for child in children)


def test_linear_algebra_has_a_thread_in_each():
    [found] = over_processes(_threads, ["OMP_NUM_THREADS"], 2)
    assert found == "1"


def _threads(name):
    return os.environ[name]
