"""What each record would teach of each task, and how hard it is: a small file of a study.

The gradients that it is made from are 16 KB a record, and stay where they were made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError
from mig_jax.runs import differences, open_temporary, refusal

__all__ = ["Influences", "keep_influences", "read_influences", "run_of_influences"]

_KIND = "mig_jax influences"
_NAME = "influences.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Influences:
    """Of the N records that a model was asked about, on T tasks."""

    records: npt.NDArray[np.int64]  #: [N], in the pool.
    tasks: list[str]
    taught: npt.NDArray[np.float32]  #: [N, T], `mig_jax.methods.influences`.
    losses: npt.NDArray[np.float32]  #: [N], before training: nats a token of the response.


def keep_influences(folder: pathlib.Path, run: dict[str, Any], found: Influences) -> None:
    """Writes them into the folder of a study; whole, or not at all.

    Args:
      folder: of the study.
      run: what decides them, part by part, in types that JSON has.
      found: what is kept.
    """
    told = {"format": _KIND, "run": run}
    with open_temporary(str(folder / _NAME)) as stream:
        np.savez(
            stream,
            told=np.array(json.dumps(told)),
            records=found.records,
            tasks=np.array(found.tasks),
            taught=found.taught,
            losses=found.losses,
        )
        stream.flush()
        os.fsync(stream.fileno())
        os.replace(stream.name, folder / _NAME)


def run_of_influences(folder: pathlib.Path) -> dict[str, Any] | None:
    """What decided those in a folder, as JSON has it; None if there are none.

    Raises:
      InputError: if the file of their name is none of ours, or damaged.
    """
    found = _read(folder / _NAME)
    return None if found is None else found[0]


def read_influences(study: str | os.PathLike[str], run: dict[str, Any]) -> Influences | None:
    """The influences in a study's folder; None if it has none.

    Args:
      study: the folder.
      run: what decides the study's cells. What it has in common with what decided the
        influences must be the same.

    Raises:
      InputError: if they are of another study, damaged, or none of ours.
    """
    path = pathlib.Path(study) / _NAME
    found = _read(path)
    if found is None:
        return None
    was, influences = found
    common = {name: run[name] for name in was if name in run}
    if told := differences(was, common):
        raise InputError(f"{path}: of another study than the cells: {told}; expected its own")
    return influences


def _read(path: pathlib.Path) -> tuple[dict[str, Any], Influences] | None:
    try:
        with np.load(path) as arrays:
            told = json.loads(str(arrays["told"]))
            if told["format"] != _KIND:
                raise ValueError
            return told["run"], Influences(
                arrays["records"], arrays["tasks"].tolist(), arrays["taught"], arrays["losses"]
            )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise refusal(path, f"damaged, or no file of {_KIND}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a file to read") from None
