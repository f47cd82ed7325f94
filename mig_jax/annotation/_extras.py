"""Packages that only annotation needs, imported when they are used."""

from __future__ import annotations

import contextlib
import importlib.metadata
from typing import Any, Final

from mig_jax import errors

__all__ = ["package_versions", "require"]

# What decides how taggers and scorers round, and which texts models see.
_PACKAGES: Final = (
    *("model2vec", "numpy", "scikit-learn", "scipy", "sentence-transformers", "torch"),
    "transformers",
)


def package_versions() -> dict[str, str]:
    """The versions of all packages that annotations depend on; empty for one that is not there."""
    found = dict.fromkeys(_PACKAGES, "")
    for package in found:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def require(module: str, purpose: str) -> Any:
    """The module, imported now.

    Raises:
      InputError: if it is not installed.
    """
    return errors.require(module, purpose, "annotate")
