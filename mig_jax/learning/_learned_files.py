"""Learned parameters in a directory, with what it takes to apply them.

They are saved by orbax, as their parameterisation says: of `Free` the values of each
label by its name; of `FromFeatures` the module's own parameters and the basis of its
features, so that any pool's labels get theirs.

Orbax takes half a second to import, so it is imported when it is needed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.data import OutputFiles, check_outputs
from mig_jax.errors import InputError
from mig_jax.learning._parameterisations import PARAMETERISATIONS
from mig_jax.learning._parameters import Labels, LearnedMeasure, Parameterisation, Params, Saved
from mig_jax.measure import FAMILIES, LabelGraph, Pool, family_name, name_in
from mig_jax.runs import disk_errors, refuse_foreign, replace_own

__all__ = [
    "learned_budgets",
    "learned_labels",
    "learned_threshold",
    "refuse_foreign_params",
    "restore_learned",
    "save_learned",
]

_FORMAT = 1
_KIND = "learned parameters"
_EXPECTED = "expected a directory of parameters that mig-jax learn wrote"


def save_learned(
    directory: str | os.PathLike[str],
    parameterisation: Parameterisation,
    params: Params,
    label_names: Sequence[str],
    *,
    budgets: Sequence[int] = (),
    outputs: OutputFiles | None = None,
) -> None:
    """Saves parameters in a directory of their own; parameters that it held are replaced.

    Args:
      directory: where to.
      parameterisation: what the parameters are of.
      params: as learned.
      label_names: the K labels of the pool.
      budgets: for how many records they were learned, to be told to who selects with them.
      outputs: of a command, to appear with them; by default they appear now.

    Raises:
      InputError: if the directory holds anything but learned parameters, or cannot be written.
      ValueError: if the parameterisation is not in `PARAMETERISATIONS`, or the family of
        score functions not in `FAMILIES`: they could not be found again.
    """
    kind = name_in(PARAMETERISATIONS, parameterisation, "mig_jax.learning.PARAMETERISATIONS")
    about, arrays = parameterisation.saved(params, label_names)
    learned = parameterisation.learned(params)
    phi: Any = learned.measure.score_function
    about |= {
        "format": _FORMAT,
        "kind": kind,
        "family": family_name(phi),
        "family_settings": {
            field.name: getattr(phi, field.name)
            for field in dataclasses.fields(phi)
            if field.metadata.get("static")
        },
        "threshold": float(learned.threshold),
        "budgets": sorted(int(budget) for budget in budgets),
    }
    arrays = jax.tree_util.tree_map(np.asarray, arrays)
    import orbax.checkpoint as ocp

    args = ocp.args.Composite(about=ocp.args.JsonSave(about), arrays=ocp.args.StandardSave(arrays))
    replace = replace_own if outputs is None else outputs.replace_folder
    try:
        with (
            replace(_absolute(directory), _KIND) as new,
            disk_errors(),
            ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
        ):
            checkpointer.save(new, args=args)
    except OSError as error:
        raise InputError(
            f"{directory}: {error.strerror or error}; expected a directory that can be written to"
        ) from None


def refuse_foreign_params(directory: str | os.PathLike[str]) -> None:
    """Raises InputError if `save_learned` would not replace what the directory holds."""
    refuse_foreign(directory, _KIND)


def learned_threshold(directory: str | os.PathLike[str]) -> float:
    """The learned similarity threshold T: build the graph to select with at this or less.

    For parameters of features it must be `lowest_threshold` exactly, as the degree of
    a label is a feature: so that is given for them.

    Raises:
      InputError: if the directory does not hold learned parameters.
    """
    about = _read(directory).about
    return PARAMETERISATIONS[about["kind"]].graph_threshold(about)


def learned_budgets(directory: str | os.PathLike[str]) -> list[int]:
    """For how many records the parameters were learned, ascending; empty where nobody said.

    Raises:
      InputError: if the directory does not hold learned parameters.
    """
    return [int(budget) for budget in _read(directory).about.get("budgets", [])]


def learned_labels(directory: str | os.PathLike[str]) -> list[str] | None:
    """The labels that have values of their own; None where features give those of any label.

    Raises:
      InputError: if the directory does not hold learned parameters.
    """
    return _read(directory).about.get("labels")


def restore_learned(
    directory: str | os.PathLike[str],
    label_names: Sequence[str],
    embeddings: Any,
    pool: Pool,
    graph: LabelGraph,
) -> LearnedMeasure:
    """What was learned, for the labels of a pool; `harden` applies it.

    Labels never seen get the values that all share, or those of their features.

    Args:
      directory: as `save_learned` wrote it.
      label_names: K labels.
      embeddings: float [K, width], needed for parameters of features only; or None.
      pool: P records, as read.
      graph: K labels, built at `learned_threshold`.

    Raises:
      InputError: if the directory does not hold learned parameters, or embeddings are
        needed and not given, or are of another width.
    """
    saved = _read(directory)
    labels = Labels(label_names, embeddings, pool, graph)
    try:
        return PARAMETERISATIONS[saved.about["kind"]].restored(saved, labels)
    except ValueError as error:
        raise InputError(f"{directory}: {error}") from None


def _read(directory: str | os.PathLike[str]) -> Saved:
    import orbax.checkpoint as ocp

    # What a killed run has left to be renamed is finished first.
    report = os.path.join(os.path.dirname(os.path.realpath(directory)), "report.json")
    check_outputs(report, directory, may_tell_nothing=True)
    if not os.path.isdir(directory):
        raise InputError(f"{directory}: is no directory; {_EXPECTED}")
    args = ocp.args.Composite(about=ocp.args.JsonRestore(), arrays=ocp.args.StandardRestore())
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(_absolute(directory), args=args)
        about, arrays = found["about"], found["arrays"]
        known = about["format"] == _FORMAT
        named = (("parameterisation", about["kind"]), ("score function", about["family"]))
    # Orbax raises whatever the damage leads to: OSError, ValueError, KeyError, its own.
    except Exception:
        known = False
    if not known:
        within = os.path.join(directory, "params")
        perhaps = f", such as {within}" if os.path.isdir(within) else ""
        raise InputError(f"{directory}: does not hold learned parameters; {_EXPECTED}{perhaps}")
    for (what, name), registry in zip(named, (PARAMETERISATIONS, FAMILIES), strict=True):
        if name not in registry:
            raise InputError(
                f"{directory}: holds parameters of the {what} {name}, which is not registered "
                f"here; expected one of {', '.join(registry)}"
            )
    return Saved(about, jax.tree_util.tree_map(jnp.asarray, arrays))


def _absolute(directory: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.fspath(directory))
