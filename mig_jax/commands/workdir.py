"""The folder of a command that writes many files and goes on where it was stopped."""

from __future__ import annotations

import pathlib

from mig_jax.errors import InputError

__all__ = ["make_workdir"]


def make_workdir(name: str) -> pathlib.Path:
    """The folder of --workdir, made if it is not there.

    Raises:
      InputError: if it cannot be made.
    """
    folder = pathlib.Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir: {folder}: {error.strerror}; expected a directory") from None
    return folder
