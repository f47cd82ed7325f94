"""What a manifest tells of the other outputs of its run, and whether they are still those."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from mig_jax.errors import InputError
from mig_jax.runs import finish_commits

__all__ = ["check_names", "check_outputs", "described", "read_manifest"]

_LONGEST = 1 << 26  # Bytes read of what may be anything.


def described(manifest: str, output: str, places: dict[str, str]) -> dict[str, Any]:
    """The part of a manifest that `check_outputs` checks.

    Args:
      manifest: its path.
      output: the file that it tells of first of all.
      places: for each output, where its bytes are now.
    """
    folder = os.path.dirname(manifest)
    return {
        "output": os.path.relpath(output, folder),
        "outputs": {
            os.path.relpath(target, folder): _digest(place) for target, place in places.items()
        },
    }


def check_outputs(
    manifest: str | os.PathLike[str], *paths: str | os.PathLike[str], may_tell_nothing: bool = False
) -> None:
    """Checks that outputs are those that a manifest tells of, to the byte.

    If the run that wrote them was killed while they got their names, they get them now.

    Args:
      manifest: as a command wrote it: `picked.manifest.json`, `pool.annotation.json`,
        `report.json`.
      paths: of the outputs that are to be checked; all that the manifest tells of by default.
      may_tell_nothing: whether a path passes that no manifest tells of, as a copy elsewhere.

    Raises:
      InputError: if it is no such manifest, or an output is not there, is another, or is none
        that the manifest tells of.
    """
    manifest = os.path.realpath(manifest)
    folder = os.path.dirname(manifest)
    finish_commits(folder)
    if may_tell_nothing and not os.path.exists(manifest):
        return
    expected = "expected a manifest that mig-jax wrote, with the digests of its outputs"
    outputs = read_manifest(manifest).get("outputs", {} if may_tell_nothing else None)
    if not isinstance(outputs, dict):
        raise InputError(f"{manifest}: tells of no outputs; {expected}")
    for name in [os.path.relpath(os.path.realpath(path), folder) for path in paths] or outputs:
        path = os.path.join(folder, name)
        if name not in outputs and may_tell_nothing:
            continue
        if name not in outputs:
            raise InputError(f"{path}: {manifest} does not tell of it; expected one of its outputs")
        try:
            is_same = _digest(path) == outputs[name]
        except OSError as error:
            told = error.strerror or error
            raise InputError(f"{path}: {told}; {manifest} tells of it") from None
        if not is_same:
            raise InputError(
                f"{path}: is not what {manifest} tells of: it was changed, or is of another run; "
                "expected the outputs of one run"
            )


def check_names(manifest: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Raises InputError if the manifest that is there is of another output, which is there too."""
    try:
        other = read_manifest(os.path.realpath(manifest)).get("output")
    except InputError:
        return  # No manifest of ours: replaced, as any output is.
    if not isinstance(other, str):
        return
    path = os.path.join(os.path.dirname(os.path.realpath(manifest)), other)
    if os.path.exists(path) and os.path.realpath(path) != os.path.realpath(output):
        raise InputError(
            f"{os.fspath(manifest)}: tells of {other}, which would lose its manifest to "
            f"{os.path.basename(output)}; choose another name, or delete {path}"
        )


def read_manifest(manifest: str) -> dict[str, Any]:
    """What a manifest tells, of whatever command.

    Raises:
      InputError: if there is none that can be read.
    """
    try:
        with open(manifest, "rb") as stream:
            found = json.loads(stream.read(_LONGEST))
    except OSError as error:
        raise InputError(f"{manifest}: {error.strerror}; expected the manifest of a run") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{manifest}: {error}; expected the manifest of a run") from None
    if not isinstance(found, dict):
        raise InputError(f"{manifest}: holds no object; expected the manifest of a run")
    return found


def _digest(path: str) -> dict[str, Any]:
    """The size of a file and its SHA-256, as `sha256sum` gives it; of a folder, of all in it."""
    if not os.path.isdir(path):
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return {"bytes": os.fstat(stream.fileno()).st_size, "sha256": digest}
    size, together = 0, hashlib.sha256()
    for folder, below, names in os.walk(path):
        below.sort()
        for name in sorted(names):
            found = _digest(os.path.join(folder, name))
            size += found["bytes"]
            inside = os.path.relpath(os.path.join(folder, name), path)
            together.update(f"{found['sha256']}  {inside}\n".encode("utf-8", "surrogateescape"))
    return {"bytes": size, "sha256": together.hexdigest()}
