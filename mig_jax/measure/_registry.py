"""Registries: dictionaries from names to classes, to which users add classes of their own."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["name_in"]


def name_in(registry: Mapping[str, type], member: object, where: str) -> str:
    """The name under which the class of `member` is registered.

    Args:
      registry: names and classes.
      member: an instance of one of them, not of a subclass.
      where: what users call the registry.

    Raises:
      ValueError: if its class is not registered.
    """
    for name, kind in registry.items():
        if type(member) is kind:
            return name
    raise ValueError(
        f"{type(member).__name__} has no name; expected one of {', '.join(registry)}, "
        f"or a line for it in {where}"
    )
