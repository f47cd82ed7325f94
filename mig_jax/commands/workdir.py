"""The folder of a command that writes many files and goes on where it was stopped."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from mig_jax.errors import InputError
from mig_jax.runs import open_run_file

__all__ = ["held_workdir"]


@contextlib.contextmanager
def held_workdir(name: str, command: str) -> Iterator[pathlib.Path]:
    """The folder of --workdir, made if it is not there; no other run may use it meanwhile.

    Args:
      name: of the folder.
      command: whose it is; `COMMAND.run.json` in the folder is the record of that.

    Raises:
      InputError: if it cannot be made, or another run is using it.
    """
    folder = pathlib.Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir: {folder}: {error.strerror}; expected a directory") from None
    with open_run_file(str(folder / f"{command}.run.json"), command, {}):
        yield folder
