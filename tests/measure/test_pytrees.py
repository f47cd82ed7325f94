"""Structures of different types differ, so that no program runs for another type's arguments."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import pkgutil
from typing import Any

import jax
import numpy as np
import pytest

import mig_jax
from mig_jax import learning, measure, relaxation, selection
from mig_jax.learning import objectives


def _classes() -> list[type]:
    """Every dataclass of the rooms that use JAX that is a pytree."""
    found = set()
    for room in (measure, selection, relaxation, learning, objectives):
        for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and dataclasses.is_dataclass(value):
                    found.add(value)
    return sorted((cls for cls in found if not _is_leaf(cls)), key=lambda cls: cls.__qualname__)


def _blank(cls: type) -> Any:
    blank = object.__new__(cls)
    for field in dataclasses.fields(cls):
        object.__setattr__(blank, field.name, 0)
    return blank


def _is_leaf(cls: type) -> bool:
    return jax.tree_util.all_leaves([_blank(cls)])


def test_structures_of_different_classes_differ():
    classes = _classes()
    known = {mig_jax.Log, mig_jax.Pool, mig_jax.Measure, mig_jax.Cell, objectives.Target}
    assert known | {learning.Free, mig_jax.RelaxedSelection} < set(classes)
    structures = [jax.tree_util.tree_structure(_blank(cls)) for cls in classes]
    for (one, its), (other, others) in itertools.combinations(
        zip(classes, structures, strict=True), 2
    ):
        assert its != others, f"{one} and {other}"


def test_no_program_runs_for_another_type():
    """With JAX's own registration (0.10.2), about 45 of 300 types got another's answer."""
    answer = jax.jit(lambda tree: tree.answer())
    for number in range(100):

        @mig_jax.as_pytree
        @dataclasses.dataclass(frozen=True)
        class Shifted:
            x: Any
            by = number

            def answer(self):
                return self.x + self.by

        assert answer(Shifted(np.float32(0))) == number


@mig_jax.as_pytree
@dataclasses.dataclass(frozen=True)
class _Mixed:
    first: Any
    kind: str = dataclasses.field(metadata={"static": True})
    second: Any = 2.0


def test_children_and_structure():
    tree = _Mixed({"a": 1, "b": [2, 3]}, "k")
    leaves, structure = jax.tree_util.tree_flatten(tree)
    assert leaves == [1, 2, 3, 2.0]
    assert jax.tree_util.tree_unflatten(structure, leaves) == tree
    assert structure == jax.tree_util.tree_structure(_Mixed({"a": 5, "b": [6, 7]}, "k"))
    assert structure != jax.tree_util.tree_structure(_Mixed({"a": 1, "b": [2, 3]}, "other"))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    assert paths == [".first['a']", ".first['b'][0]", ".first['b'][1]", ".second"]


def test_one_decorator_makes_a_frozen_dataclass_that_is_equal_to_itself_alone():
    @mig_jax.as_pytree
    class Pair:
        first: Any
        second: Any = 2.0

    pair = Pair(np.arange(3))
    assert pair == pair
    assert pair != Pair(np.arange(3))
    assert len({pair, pair, Pair(0)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.first = 0
    assert jax.tree_util.tree_leaves(Pair(1)) == [1, 2.0]


def test_pools_and_graphs_can_be_compared_and_hashed():
    pool = mig_jax.pool_from_label_lists([[0], [1]], [1.0, 3.0])
    graph = mig_jax.label_graph_from_edges(2, [(0, 1, 0.5)])
    again = mig_jax.pool_from_label_lists([[0], [1]], [1.0, 3.0])
    assert pool == pool
    assert pool != again
    assert {pool: 1, graph: 2}[graph] == 2


def test_a_tree_is_rebuilt_without_the_checks_of_its_class():
    @mig_jax.as_pytree
    class Positive:
        number: Any
        root: Any = dataclasses.field(init=False)

        def __post_init__(self):
            if not self.number > 0:
                raise ValueError("expected a number above 0")
            object.__setattr__(self, "root", self.number**0.5)

    with pytest.raises(ValueError, match="above 0"):
        Positive(-1.0)
    placed = jax.tree_util.tree_map(lambda _: None, Positive(4.0))
    assert placed.number is None
    doubled = jax.jit(lambda tree: jax.tree_util.tree_map(lambda leaf: 2 * leaf, tree))(
        Positive(4.0)
    )
    assert (float(doubled.number), float(doubled.root)) == (8.0, 4.0)


def test_what_cannot_be_a_dataclass_is_refused():
    with pytest.raises(TypeError):
        mig_jax.as_pytree(dict)
