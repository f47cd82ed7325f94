"""Dataclasses as pytrees that are told apart by their types.

`jax.tree_util.register_dataclass` leaves the type out when two structures are compared: those of
`Exponential` and `Log` are equal to JAX (0.10.2 to 0.12.0.1), and only their hashes differ. Of a
hash, the table of a function's compiled programs compares a few bits, so that now and then the
program of one family ran for another: for 44 to 46 of 300 types with one field (0.10.2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, cast, dataclass_transform

import jax

__all__ = ["as_pytree", "fields_told", "unchecked"]

_Class = TypeVar("_Class", bound=type)
_Tree = TypeVar("_Tree")


@dataclass_transform(
    frozen_default=True, eq_default=False, field_specifiers=(dataclasses.field, dataclasses.Field)
)
def as_pytree(cls: _Class) -> _Class:
    """Makes a class a frozen dataclass and a pytree, as a score function or an objective must be.

    Its fields are the children, but for those with `metadata={"static": True}`, which belong to
    the structure and must be hashable. Instances are equal if they are the same object: of
    arrays, `==` tells no more. Of an array, `repr` tells kind and shape. A class that is a
    dataclass already stays as it is.

    JAX puts whatever it works with in the place of a child. A tree that JAX builds is therefore
    built without `__init__` and `__post_init__`, which may refuse what a user gives.

    >>> @as_pytree
    ... class Scaled:
    ...     factor: float
    ...     times: int = dataclasses.field(metadata={"static": True})
    >>> jax.tree_util.tree_map(lambda x: 10 * x, Scaled(0.5, times=3))
    Scaled(factor=5.0, times=3)
    >>> Scaled(jax.numpy.ones((2, 5)), times=1)
    Scaled(factor=float32[2,5], times=1)

    Raises:
      TypeError: if `cls` cannot be made a dataclass.
    """
    if "__dataclass_fields__" not in vars(cls):
        if "__repr__" not in vars(cls):
            cls.__repr__ = fields_told  # type: ignore[assignment]
        cls = cast(_Class, dataclasses.dataclass(frozen=True, eq=False)(cls))
    fields = dataclasses.fields(cls)
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
        values = zip((*names, *static), (*children, *structure), strict=True)
        return unchecked(cls, **dict(values))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def fields_told(tree: Any) -> str:
    """What `repr` tells: the fields, and of an array, which may be a tracer, kind and shape."""
    fields = ((field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree))
    return f"{type(tree).__name__}({', '.join(f'{name}={_short(held)}' for name, held in fields)})"


def _short(held: Any) -> str:
    if getattr(held, "shape", ()) and hasattr(held, "dtype"):
        return f"{held.dtype}[{','.join(map(str, held.shape))}]"
    return repr(held)


def unchecked(cls: type[_Tree], **fields: Any) -> _Tree:
    """An instance of a class by `as_pytree` that holds anything, such as how leaves are sharded.

    Neither `__init__` nor `__post_init__` sees it, as none sees the trees that JAX builds.

    >>> @as_pytree
    ... class Scaled:
    ...     factor: float
    >>> unchecked(Scaled, factor="replicated")
    Scaled(factor='replicated')
    """
    tree = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(tree, name, value)
    return tree
