"""Label embeddings: one vector for each label, in a NumPy .npz file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import read_npz
from mig_jax.data.writing import OutputFiles
from mig_jax.errors import InputError

__all__ = ["embedding_model_of", "read_label_embeddings", "unit_rows", "write_label_embeddings"]

_EXPECTED = (
    "expected an .npz file with labels (strings, [n]) and embeddings (numbers, [n, width]), "
    "saved without pickle"
)


def read_label_embeddings(
    path: str | os.PathLike[str],
    label_names: Sequence[str],
    *,
    missing: Literal["error", "isolate"] = "error",
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Reads the embeddings of the labels named, scaled to unit length.

    Args:
      path: an .npz file with `labels` (fixed-width strings [n]) and `embeddings`
        (numbers [n, width]). Labels that are not asked for are ignored.
      label_names: K labels, no two alike.
      missing: what to do about labels without an embedding. "error" refuses them;
        "isolate" gives them a row of zeros, similar to nothing.

    Returns:
      float32 [K, width], rows of unit length or zero; and bool [K], which labels have
      an embedding.

    Raises:
      InputError: if the file is not of this form, has two different embeddings of
        one label, or has no usable one for a label asked for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_label_embeddings(f"{folder}/labels.npz", ["code", "maths"], [[3, 4], [0, 2]])
    ...     read_label_embeddings(f"{folder}/labels.npz", ["maths"])
    (array([[0., 1.]], dtype=float32), array([ True]))
    """
    if missing not in ("error", "isolate"):
        raise ValueError(f"missing is {missing!r}, expected error or isolate")
    name = os.fspath(path)
    labels, embeddings = _load(name)
    _check_repeats(name, labels, embeddings)
    row_of = {label: row for row, label in enumerate(labels)}
    rows = np.array([row_of.get(label, -1) for label in label_names], np.int64)
    present = rows >= 0
    if missing == "error" and not present.all():
        absent = [label for label, row in zip(label_names, rows, strict=True) if row < 0]
        raise InputError(
            f"{name}: {_some(absent, len(label_names))} have no embedding; expected one each "
            "(--missing_embeddings=isolate keeps them as isolated nodes)"
        )
    found, usable = unit_rows(embeddings[rows[present]])
    if not np.all(usable):
        bad = [label_names[index] for index in np.flatnonzero(present)[~usable]]
        raise InputError(
            f"{name}: {_some(bad, len(label_names))} have an embedding that is zero or not "
            "finite; expected finite numbers, not all zero"
        )
    unit = np.zeros((len(label_names), embeddings.shape[1]), np.float32)
    unit[present] = found
    return unit, present


def unit_rows(embeddings: npt.ArrayLike) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Rows scaled to unit length, float32 [n, width]; and which could be: bool [n].

    A row that is zero, or not finite, has no direction.

    >>> unit_rows([[3.0, 4.0], [0.0, 0.0]])[1].tolist()
    [True, False]
    """
    # float64, as squares of large float32 entries overflow.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = np.asarray(embeddings).astype(np.float64)
        lengths = np.linalg.norm(found, axis=1)
        if extreme := np.flatnonzero(~np.isfinite(lengths) | (lengths == 0)).tolist():
            # As the squares of large and small float64 ones do.
            found[extreme] /= np.abs(found[extreme]).max(axis=1, initial=0.0, keepdims=True)
            lengths[extreme] = np.linalg.norm(found[extreme], axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        return (found / lengths[:, None]).astype(np.float32), usable


def write_label_embeddings(
    place: str | os.PathLike[str] | BinaryIO,
    labels: Sequence[str],
    embeddings: npt.ArrayLike,
    *,
    model: str | None = None,
    more: Mapping[str, npt.ArrayLike] | None = None,
) -> None:
    """Writes an .npz file that `read_label_embeddings` reads; `embeddings` are [n, width].

    `place` is the file's name, or a stream of `OutputFiles`, for it to appear with others.
    `model` is the name of what embeds, for `embedding_model_of`; `more` are arrays by other names.

    Raises:
      InputError: if the file cannot be written there.
      ValueError: if the shapes do not match, or a label ends in a NUL character,
        which fixed-width strings cannot hold.
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or len(embeddings) != len(labels):
        raise ValueError(f"{len(labels)} labels but embeddings {embeddings.shape}")
    names = np.array(list(labels), np.str_)
    if names.tolist() != list(labels):
        raise ValueError("a label ends in a NUL character")
    with OutputFiles() as outputs:
        stream = outputs.open(place) if isinstance(place, (str, os.PathLike)) else place
        arrays: dict[str, Any] = {"labels": names, "embeddings": embeddings}
        if model is not None:
            arrays["model"] = np.array(model, np.str_)
        arrays |= more or {}
        np.savez_compressed(stream, **arrays)


def embedding_model_of(path: str | os.PathLike[str]) -> str | None:
    """The model that the embeddings of an .npz file are of, if the file says so."""
    try:
        model = read_npz(path, ["model"])["model"]
    except (OSError, ValueError):  # What is wrong with it is told by who needs it.
        return None
    if model.shape != () or model.dtype.kind != "U":
        return None
    try:
        return str(model)
    except (ValueError, SystemError):  # Numbers that are not all characters.
        return None


def _load(path: str) -> tuple[list[str], npt.NDArray[np.generic]]:
    """The labels, one at least, and a row of numbers for each."""
    try:
        arrays = read_npz(path, ["labels", "embeddings"])
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}; {_EXPECTED}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; {_EXPECTED}") from None
    labels, embeddings = arrays["labels"], arrays["embeddings"]
    if labels.ndim != 1 or labels.dtype.kind != "U":
        raise InputError(f"{path}: labels are {labels.dtype} {labels.shape}; {_EXPECTED}")
    if embeddings.dtype.kind not in "fiu" or embeddings.shape[:-1] != labels.shape:
        raise InputError(
            f"{path}: embeddings are {embeddings.dtype} {embeddings.shape} for {len(labels)} "
            f"labels; {_EXPECTED}"
        )
    if not labels.size:
        raise InputError(f"{path}: has no labels; {_EXPECTED}")
    try:
        return labels.tolist(), embeddings
    except (ValueError, SystemError):  # Fixed-width strings are numbers, not all characters.
        raise InputError(f"{path}: labels are no text; {_EXPECTED}") from None


def _check_repeats(path: str, labels: list[str], embeddings: npt.NDArray[np.generic]) -> None:
    first: dict[str, int] = {}
    rows = np.array([first.setdefault(label, row) for row, label in enumerate(labels)], np.int64)
    repeats = np.flatnonzero(rows != np.arange(len(labels)))
    ours, others = embeddings[repeats], embeddings[rows[repeats]]
    # NaN is like NaN here: whether it can be used is another question.
    differs = np.any((ours != others) & ((ours == ours) | (others == others)), axis=1)
    if differs.any():
        label = labels[repeats[differs][0]]
        raise InputError(
            f"{path}: label {label!r} has two different embeddings; expected one a label"
        )


def _some(labels: list[str], total: int) -> str:
    shown = ", ".join(map(repr, labels[:5]))
    more = ", ..." if len(labels) > 5 else ""
    return f"{len(labels)} of {total} labels ({shown}{more})"
