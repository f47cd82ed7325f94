"""The taggers and scorers by name, and how each is made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Final

from mig_jax import data
from mig_jax.annotation._causal_lm import CausalLM
from mig_jax.annotation._deita import DeitaScorer
from mig_jax.annotation._discovering import DiscoveringTagger, read_discovered
from mig_jax.annotation._embedding import EmbeddingTagger, Relevance
from mig_jax.annotation._ifd import Difficulty
from mig_jax.annotation._instag import InsTagger
from mig_jax.annotation._plain_scorers import Keep, KeepLabels, Length, TagCount
from mig_jax.annotation._samples import Scorer, Tagger
from mig_jax.annotation._sentence_encoder import DEFAULT_EMBEDDING_MODEL, SentenceEncoder
from mig_jax.annotation._signals import Signals
from mig_jax.errors import InputError

__all__ = ["SCORERS", "SCORER_GROUPS", "TAGGERS", "ModelOptions", "encoder_of", "scorer_weights"]


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What taggers and scorers are made of; `mig-jax annotate --help` explains each."""

    vocabulary: str | None
    labels_from: str | None
    embedding_model: str | None  # None for the default, or for none where none is needed.
    max_tags: int
    tag_similarity: float
    tag_margin: float
    instag_model: str | None
    deita_quality_model: str | None
    deita_complexity_model: str | None
    ifd_model: str | None
    max_tokens: int
    device: str
    seed: int


def _embedding(options: ModelOptions) -> Tagger:
    if options.vocabulary is None:
        raise InputError("--tagger=embedding: needs --vocabulary=FILE, a JSON list of labels")
    return EmbeddingTagger(
        data.read_vocabulary(options.vocabulary),
        encoder_of(options.embedding_model, options.device),
        most=options.max_tags,
        similarity=options.tag_similarity,
        margin=options.tag_margin,
        model=options.embedding_model or DEFAULT_EMBEDDING_MODEL,
    )


def _discover(options: ModelOptions) -> Tagger:
    model = options.embedding_model
    if options.labels_from is not None:
        return read_discovered(
            options.labels_from,
            lambda named: encoder_of(model or named, options.device),
            most=options.max_tags,
        )
    encode = None if model is None else encoder_of(model, options.device)
    return DiscoveringTagger(encode, model=model, most=options.max_tags, seed=options.seed)


def encoder_of(model: str | None, device: str) -> SentenceEncoder:
    """One for all that embed; None for the default model."""
    return _encoder_of(model or DEFAULT_EMBEDDING_MODEL, device)


@functools.lru_cache(maxsize=1)
def _encoder_of(model: str, device: str) -> SentenceEncoder:
    return SentenceEncoder(model, device=device)


def _language_model(options: ModelOptions, flag: str) -> CausalLM:
    model = getattr(options, flag)
    if not model:
        raise InputError(f"--{flag}: missing, expected a folder or the name of a model")
    return CausalLM(model, flag=f"--{flag}", device=options.device, max_tokens=options.max_tokens)


TAGGERS: Final[dict[str, Callable[[ModelOptions], Tagger]]] = {
    "discover": _discover,
    "embedding": _embedding,
    "instag": lambda options: InsTagger(_language_model(options, "instag_model")),
    "keep": lambda options: KeepLabels(),
}
SCORERS: Final[dict[str, Callable[[ModelOptions], Scorer]]] = {
    "deita_quality": lambda options: DeitaScorer(
        _language_model(options, "deita_quality_model"), "quality"
    ),
    "deita_complexity": lambda options: DeitaScorer(
        _language_model(options, "deita_complexity_model"), "complexity"
    ),
    "ifd": lambda options: Difficulty(_language_model(options, "ifd_model")),
    "keep": lambda options: Keep(),
    "length": lambda options: Length(),
    "relevance": lambda options: Relevance(encoder_of(options.embedding_model, options.device)),
    "signals": lambda options: Signals(),
    "tag_count": lambda options: TagCount(),
}
#: Names of several scorers that are used together.
SCORER_GROUPS: Final = {"deita": ("deita_quality", "deita_complexity")}


def scorer_weights(words: list[str]) -> dict[str, float]:
    """The scorers that the words name, each with its weight.

    Raises:
      InputError: for an unknown or repeated name, and a weight that is no number above 0.

    >>> scorer_weights(["deita:2", "length"])
    {'deita_quality': 2.0, 'deita_complexity': 2.0, 'length': 1.0}
    """
    weights: dict[str, float] = {}
    for word in words:
        name, colon, given = word.partition(":")
        try:
            weight = float(given) if colon else 1.0
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise InputError(f"--scorer: found {word}, expected a number above 0 behind the colon")
        for one in SCORER_GROUPS.get(name, (name,)):
            if one not in SCORERS:
                known = ", ".join(sorted([*SCORERS, *SCORER_GROUPS]))
                raise InputError(f"--scorer: found {name}, expected one of {known}")
            if one in weights:
                raise InputError(f"--scorer: {one} is given twice; expected each scorer once")
            weights[one] = weight
    if not weights:
        raise InputError("--scorer: missing, expected one at least")
    return weights
