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
      command: whose it is; `COMMAND.run.json` in the folder says so until the end.

    Raises:
      InputError: if it cannot be made, or another run is using it.
    """
    folder = pathlib.Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir: {folder}: {error.strerror}; expected a directory") from None
    record = folder / f"{command}.run.json"
    with open_run_file(str(record), command, {}):
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                record.unlink()  # While it is held: nobody else's by now.
