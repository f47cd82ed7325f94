"""Taggers that find their labels in the pool, or have them from another pool."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.taggers._discover import DiscoveredLabels, discover_labels
from mig_jax.annotation.texts import Encode, LabelTable, Sample, TextVectors
from mig_jax.data import files
from mig_jax.errors import InputError

__all__ = ["DiscoveredTagger", "DiscoveringTagger", "model_of_discovered", "read_discovered"]

# What of an instruction is embedded, in characters.
_CHARACTERS: Final = 4_000
# Texts of the sample that a model embeds, which takes hundreds of times as long as `TextVectors`.
_BY_A_MODEL: Final = 20_000
_AT_ONCE: Final = 64
_VECTORS: Final = ("terms", "weights", "axes")
_EXPECTED: Final = "expected a labels.npz that mig-jax annotate --tagger=discover wrote"


class DiscoveredTagger:
    """The labels nearest to what was asked, of those that were found in a pool."""

    def __init__(
        self, labels: DiscoveredLabels, encode: Encode, *, model: str | None = None, most: int = 5
    ) -> None:
        """`encode` is what embedded that pool: `model`, or `TextVectors` if there is none."""
        self._labels = labels
        self._encode = encode
        self._model = model
        self._most = most
        self.in_processes = isinstance(encode, TextVectors)

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        return self._labels.of(self._encode([_asked(sample) for sample in samples]), self._most)

    def label_table(self) -> LabelTable:
        """All labels, with their centres, and what gives the same labels to other records."""
        state: dict[str, npt.NDArray[Any]] = {"grain": self._labels.grain}
        if isinstance(self._encode, TextVectors):
            state |= self._encode.arrays()
        else:
            state["embedded_by"] = np.array(self._model or "", np.str_)
        return LabelTable(self._labels.names, self._labels.centres, state=state)


class DiscoveringTagger:
    """Finds labels in the records that it looks at, then gives them as `DiscoveredTagger` does."""

    def __init__(
        self,
        encode: Encode | None = None,
        *,
        model: str | None = None,
        most: int = 5,
        seed: int = 0,
    ) -> None:
        """`encode` embeds texts, by `model`; None for `TextVectors` of the pool."""
        self._given = encode
        self._model = model
        self._most = most
        self._seed = seed
        self._found: DiscoveredTagger | None = None
        #: Gets how many texts of the sample a model has embedded since it was last told.
        self.progress: Callable[[int], object] = _untold

    def look(self, samples: Sequence[Sample]) -> None:
        texts = [_asked(sample) for sample in samples if sample.asks]
        encode: Encode
        if self._given is None:
            encode = TextVectors.fit(texts, seed=self._seed)
            embeddings = encode(texts)
        else:
            # Evenly through the sample, which is a random one.
            texts = texts[:: -(-len(texts) // _BY_A_MODEL) or 1]
            embeddings = self._embedded(texts)
            encode = _Remembering(self._given, texts, embeddings)
        labels = discover_labels(texts, embeddings, seed=self._seed)
        self._found = DiscoveredTagger(labels, encode, model=self._model, most=self._most)

    def _embedded(self, texts: list[str]) -> npt.NDArray[np.float32]:
        assert self._given is not None
        found = []
        for start in range(0, len(texts), _AT_ONCE):
            found.append(self._given(texts[start : start + _AT_ONCE]))
            self.progress(len(found[-1]))
        return np.concatenate(found) if found else np.zeros((0, 1), np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "progress": _untold}  # A bar goes to no other process.

    @property
    def in_processes(self) -> bool:
        """Whether texts alone are looked at, and no model."""
        return self._after_looking().in_processes

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        return self._after_looking().tag(samples)

    def label_table(self) -> LabelTable:
        """As that of `DiscoveredTagger`."""
        return self._after_looking().label_table()

    def _after_looking(self) -> DiscoveredTagger:
        if self._found is None:
            raise ValueError("it has not looked at the pool")
        return self._found


def _untold(_: int) -> None:
    """Nobody is told."""


class _Remembering:
    """Embeds by a model, but for the texts whose embeddings are there."""

    def __init__(
        self, encode: Encode, texts: Sequence[str], embeddings: npt.NDArray[np.float32]
    ) -> None:
        self._encode = encode
        self._row = {text: row for row, text in reversed(list(enumerate(texts)))}
        self._known = embeddings

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        new = list(dict.fromkeys(text for text in texts if text not in self._row))
        if not new:
            return self._known[[self._row[text] for text in texts]]
        found = dict(zip(new, self._encode(new), strict=True))
        rows = [self._known[self._row[t]] if t in self._row else found[t] for t in texts]
        return np.array(rows, np.float32)


def model_of_discovered(path: str | os.PathLike[str]) -> str | None:
    """The name of the model that embeds texts for the labels of a file; None for none.

    What is wrong with the file is told by `read_discovered`.
    """
    try:
        return _model(os.fspath(path))
    except (OSError, SystemError):
        return None


def _model(path: str) -> str | None:
    try:
        return str(files.read_npz(path, ["embedded_by"])["embedded_by"])
    except ValueError:
        return None


def read_discovered(
    path: str | os.PathLike[str], encoder: Callable[[str], Encode], *, most: int = 5
) -> DiscoveredTagger:
    """The tagger that gives the labels of a file that `DiscoveringTagger.label_table` is in.

    Args:
      path: an .npz file with its names, embeddings and state.
      encoder: what embeds by a model of this name, if a model embedded that pool.
      most: labels of a record.

    Raises:
      InputError: if it is no such file.
    """
    name = os.fspath(path)
    try:
        arrays = files.read_npz(name, ["labels", "embeddings", "grain"])
        names, centres, grain = arrays["labels"], arrays["embeddings"], arrays["grain"]
        _check(names, centres, grain)
        labels = DiscoveredLabels(names.tolist(), centres, grain)
        model = _model(name)
        if model is None:
            vectors = TextVectors.of_arrays(files.read_npz(name, _VECTORS))
            _check_width(vectors.dimensions, centres)
            return DiscoveredTagger(labels, vectors, most=most)
    except OSError as error:
        raise InputError(f"{name}: {(error.strerror or str(error)).lower()}; {_EXPECTED}") from None
    except (ValueError, SystemError) as error:  # Numbers may be no characters.
        raise InputError(f"{name}: {error}; {_EXPECTED}") from None
    encode = encoder(model)
    try:
        _check_width(encode(["width"]).shape[1], centres)
    except ValueError as error:
        raise InputError(f"{name}: {error}; expected the model {model}") from None
    return DiscoveredTagger(labels, encode, model=model, most=most)


def _check(names: npt.NDArray[Any], centres: npt.NDArray[Any], grain: npt.NDArray[Any]) -> None:
    """Raises ValueError if these are no labels."""
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != len(names):
        raise ValueError("labels are no names of which no two are alike")
    if centres.dtype != np.float32 or centres.ndim != 2 or len(centres) != len(names):
        raise ValueError(f"embeddings are {centres.dtype} {centres.shape} for {len(names)} labels")
    if not len(names):
        raise ValueError("it has no labels")
    if not np.isfinite(centres).all():
        raise ValueError("embeddings are not finite")
    if (
        grain.dtype.kind != "i"
        or grain.shape != names.shape
        or not set(grain.tolist()) <= {0, 1, 2}
    ):
        raise ValueError("grain does not tell 0, 1 or 2 of each label")


def _check_width(width: int, centres: npt.NDArray[np.float32]) -> None:
    if width != centres.shape[1]:
        raise ValueError(f"its labels are {centres.shape[1]} wide and texts {width}")


def _asked(sample: Sample) -> str:
    return sample.instruction[:_CHARACTERS]
