"""Learned parameters in a directory, with what it takes to apply them.

They are saved by orbax: of
`Free` the values of each label by its name; of `FromFeatures` the module's own
parameters and the basis of its features, so that any pool's labels get theirs.

Orbax takes half a second to import, so it is imported where it is needed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.errors import InputError
from mig_jax.learning._label_features import FeatureBasis, label_features
from mig_jax.learning._parameters import (
    Free,
    FromFeatures,
    LearnedMeasure,
    Params,
)
from mig_jax.measure import FAMILIES, LabelGraph, Measure, Pool

__all__ = ["learned_threshold", "restore_learned", "save_learned"]

_FORMAT = 1
_EXPECTED = "expected a directory of parameters that mig-jax learn wrote"


def save_learned(
    directory: str | os.PathLike[str],
    parameterisation: Free | FromFeatures,
    params: Params,
    label_names: Sequence[str],
) -> None:
    """Saves parameters in a directory of their own; what it held before is replaced.

    Args:
      directory: where to.
      parameterisation: what the parameters are of.
      params: as learned.
      label_names: the K labels of the pool.

    Raises:
      InputError: where the directory cannot be written.
    """
    learned = parameterisation.learned(params)
    start = parameterisation.start.measure.score_function
    family = next(name for name, kind in FAMILIES.items() if isinstance(start, kind))
    about: dict[str, Any] = {
        "format": _FORMAT,
        "family": family,
        "threshold": float(learned.threshold),
        "lowest_threshold": float(parameterisation.lowest_threshold),
    }
    if isinstance(parameterisation, Free):
        about |= {"kind": "free", "labels": list(label_names)}
        # The values that labels share: those of a label at all offsets 0.
        nothing = {name: jnp.zeros_like(value) for name, value in params.items()}
        scalars = ("shape", "propagation", "threshold", "score_exponent")
        shared = parameterisation.learned(nothing | {name: params[name] for name in scalars})
        tree: dict[str, Any] = {
            "learned": dataclasses.asdict(learned),
            "shared": dataclasses.asdict(_of_label(shared, 0)),
        }
    else:
        about |= {"kind": "features", "hidden": parameterisation.hidden}
        about["highest_threshold"] = float(parameterisation.highest_threshold)
        tree = {
            "params": params,
            "start": dataclasses.asdict(parameterisation.start),
            "basis": dataclasses.asdict(parameterisation.basis),
        }
    tree = jax.tree_util.tree_map(np.asarray, tree)
    import orbax.checkpoint as ocp

    args = ocp.args.Composite(about=ocp.args.JsonSave(about), arrays=ocp.args.StandardSave(tree))
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(_absolute(directory), args=args, force=True)
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror or error}; expected a directory") from None


def learned_threshold(directory: str | os.PathLike[str]) -> float:
    """The learned similarity threshold T: build the graph to select with at this or less.

    For parameters of features it must be `lowest_threshold` exactly, as the degree of
    a label is a feature: so that is given for them.

    Raises:
      InputError: where the directory does not hold learned parameters.
    """
    about = _read(directory)["about"]
    return float(about["threshold" if about["kind"] == "free" else "lowest_threshold"])


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
      InputError: where the directory does not hold learned parameters, or embeddings are
        needed and not given, or are of another width.
    """
    found = _read(directory)
    about, tree = found["about"], found["arrays"]
    if about["kind"] == "free":
        learned = _measure(tree["learned"], about["family"])
        shared = _measure(tree["shared"], about["family"])
        row_of = {label: row for row, label in enumerate(about["labels"])}
        rows = np.array([row_of.get(label, -1) for label in label_names], np.int64)

        def of_labels(values: jax.Array, common: jax.Array) -> jax.Array:
            return jnp.where(rows >= 0, values[rows], common) if values.ndim else values

        return jax.tree_util.tree_map(of_labels, learned, shared)
    if embeddings is None:
        raise InputError(
            f"{directory}: these parameters are of label features; "
            "expected --label_embeddings, which they are computed from"
        )
    basis = FeatureBasis(**tree["basis"])
    try:
        features = label_features(basis, pool, graph, embeddings)
    except ValueError as error:
        raise InputError(f"{directory}: {error}") from None
    start = _measure(tree["start"], about["family"])
    low, high = about["lowest_threshold"], about["highest_threshold"]
    parameterisation = FromFeatures(start, features, basis, about["hidden"], low, high)
    return parameterisation.learned(tree["params"])


def _of_label(learned: LearnedMeasure, label: int) -> LearnedMeasure:
    """The parameters of one label, scalars all."""
    return jax.tree_util.tree_map(lambda leaf: leaf[label] if jnp.ndim(leaf) else leaf, learned)


def _measure(tree: Any, family: str) -> LearnedMeasure:
    measure = tree["measure"]
    phi = FAMILIES[family](**measure["score_function"])
    return LearnedMeasure(
        Measure(phi, measure["propagation"]), tree["threshold"], tree["score_exponent"]
    )


def _read(directory: str | os.PathLike[str]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    if not os.path.isdir(directory):
        raise InputError(f"{directory}: is no directory; {_EXPECTED}")
    args = ocp.args.Composite(about=ocp.args.JsonRestore(), arrays=ocp.args.StandardRestore())
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(_absolute(directory), args=args)
        about, arrays = found["about"], found["arrays"]
        known = about["format"] == _FORMAT and about["kind"] in ("free", "features")
    # Orbax raises whatever the damage leads to: OSError, ValueError, KeyError, its own.
    except Exception:
        known = False
    if not known:
        raise InputError(f"{directory}: does not hold learned parameters; {_EXPECTED}")
    return {"about": about, "arrays": jax.tree_util.tree_map(jnp.asarray, arrays)}


def _absolute(directory: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.fspath(directory))
