"""Packages that only annotation needs, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from mig_jax.errors import InputError

__all__ = ["require"]


def require(module: str, purpose: str) -> Any:
    """The module, imported now.

    Raises:
      InputError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there and lacks one of its own is another matter.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise InputError(
            f"{purpose}: {error.name} is not installed; expected the extra annotate "
            "(pip install 'mig-jax[annotate]')"
        ) from None
