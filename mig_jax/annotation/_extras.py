"""Packages that only annotation needs, imported when they are used."""

from __future__ import annotations

from typing import Any

from mig_jax import errors

__all__ = ["require"]


def require(module: str, purpose: str) -> Any:
    """The module, imported now.

    Raises:
      InputError: if it is not installed.
    """
    return errors.require(module, purpose, "annotate")
