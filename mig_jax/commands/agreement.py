"""What processes that select together must agree on: all that decides the result."""

from __future__ import annotations

import collections
import dataclasses
import os
import platform
from collections.abc import Callable
from typing import Any, Final

import jax
import jaxlib
import numpy as np

import mig_jax
from mig_jax import data
from mig_jax.commands.select_options import SelectOptions
from mig_jax.devices import told_by_all
from mig_jax.errors import InputError
from mig_jax.runs import digest, disagreement

__all__ = ["FILE_FLAGS", "OWN_FLAGS", "check_agreement", "told_of_flags"]

#: Flags that may differ from process to process. All others must not, those to come included.
OWN_FLAGS: Final = (
    "process_id",
    "process_timeout_seconds",
    "coordinator_address",  # A host may have several names.
    "cache",  # Not used by several processes.
    "output",  # Process 0 writes; names of the others' rejected records begin with theirs.
    "preset",  # The flags that it stands for are compared.
)

#: Flags that name files, perhaps by another path on each host: their contents must be the same.
#: A tokenizer may be on the hub, too.
FILE_FLAGS: Final = ("pool", "vocabulary", "label_embeddings", "quotas", "tokenizer")

_MOST_FILES_TOLD: Final = 1000  # Messages between processes are not made for megabytes.
_SETTINGS: Final = ("jax_enable_x64", "jax_default_matmul_precision", "jax_platforms")


def check_agreement(options: SelectOptions) -> None:
    """Compares what the processes were given, and what runs them: in each, right after joining.

    Raises:
      InputError: in all processes, with the same words, if two differ in anything that decides
        the result, or one cannot read a file.
    """
    form = {"what the name of --output stands for": options.form}
    _compare("flags", lambda: {**told_of_flags(options), **form, **_told_of_programs()})
    # Only once the settings agree: the devices of all processes wait for each other.
    kinds: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for device in jax.devices():
        kinds[device.process_index][device.device_kind] += 1
    devices = [
        {"what JAX runs on": ", ".join(f"{n} × {kind}" for kind, n in sorted(kinds[i].items()))}
        for i in range(options.num_processes)
    ]
    _refuse(disagreement(devices))
    _compare("files", lambda: _told_of_files(options))


def told_of_flags(options: SelectOptions) -> dict[str, Any]:
    """The flags that must be the same in all processes, as text for messages."""
    unread = {*OWN_FLAGS, *FILE_FLAGS}
    given = dataclasses.asdict(options)
    return {f"--{name}": _shown(given[name]) for name in given if name not in unread}


def _shown(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or None
    return None if value is None else str(value)


def _told_of_programs() -> dict[str, Any]:
    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        "the version of mig_jax": mig_jax.__version__,
        "the version of jax": jax.__version__,
        "the version of jaxlib": jaxlib.__version__,
        "the version of numpy": np.__version__,
        "the version of Python": platform.python_version(),
        **{name: _shown(getattr(jax.config, name)) for name in _SETTINGS},
        # Where XLA writes what it has compiled may differ.
        "XLA_FLAGS": _shown(sorted(f for f in flags if not f.startswith("--xla_dump_"))),
    }


def _told_of_files(options: SelectOptions) -> dict[str, Any]:
    found = data.pool_digests(options.sources)
    told = {"the number of files of --pool": str(len(found))}
    if len(found) <= _MOST_FILES_TOLD:
        told |= {f"file {number} of --pool": text for number, text in enumerate(found, 1)}
    else:
        told["all of --pool"] = f"files with the hash {digest(found)}"
    for name in FILE_FLAGS[1:]:
        path = getattr(options, name)
        if path is not None and name == "tokenizer":
            told["--tokenizer"] = f"a tokenizer with the hash {data.TokenCounter(path).digest}"
        elif path is not None:
            stamp = data.FileStamp.of(path)
            told[f"--{name}"] = f"a file of {stamp.size:,} bytes, hash {stamp.digests()[0]}"
    return told


def _compare(about: str, tell: Callable[[], dict[str, Any]]) -> None:
    own: dict[str, Any] = {}
    try:
        own["told"] = tell()
    except InputError as error:
        own["error"] = str(error)
    every = told_by_all(about, own)
    problems = [one.get("error") for one in every]
    for index, problem in enumerate(problems):
        if problem is not None:
            in_some = f"process {index}: " if len(set(problems)) > 1 else ""
            raise InputError(in_some + problem)
    _refuse(disagreement([one["told"] for one in every]))


def _refuse(differing: str) -> None:
    if differing:
        raise InputError(f"the processes disagree: {differing}; expected the same in all")
