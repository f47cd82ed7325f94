"""The taggers and scorers by name, and how each is made."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from mig_jax import data
from mig_jax.annotation.models import DEFAULT_EMBEDDING_MODEL, CausalLM, SentenceEncoder
from mig_jax.annotation.scorers import (
    DeitaScorer,
    Difficulty,
    Keep,
    Length,
    Relevance,
    Signals,
    TagCount,
)
from mig_jax.annotation.servers import (
    Endpoint,
    LlmScorer,
    LlmTagger,
    RequestLimits,
    ServedDeitaScorer,
    ServedInsTagger,
)
from mig_jax.annotation.taggers import (
    DiscoveringTagger,
    EmbeddingTagger,
    InsTagger,
    KeepLabels,
    read_discovered,
)
from mig_jax.annotation.texts import Rejected, Sample, Scorer, Tagger
from mig_jax.errors import InputError

__all__ = [
    "CAN_ASK_SERVER",
    "EMBEDDERS",
    "LANGUAGE_MODELS",
    "NEED_SERVER",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "MadeWhereUsed",
    "ModelOptions",
    "encoder_of",
    "scorer_weights",
]


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
    endpoint: str | None
    model: str | None
    max_answer_tokens: int
    parallel_requests: int
    request_timeout: float
    request_retries: int

    @functools.cached_property
    def server(self) -> Endpoint:
        """What --endpoint names, for all that ask it.

        Raises:
          InputError: if it is missing, or no address.
        """
        if self.endpoint is None:
            raise InputError("--endpoint: missing, expected the address of a server")
        limits = RequestLimits(self.parallel_requests, self.request_timeout, self.request_retries)
        return Endpoint(self.endpoint, limits)

    def embed_labels(self, labels: Sequence[str], encode: SentenceEncoder) -> Any:
        """The embeddings of a vocabulary: float32 [n, width]; commands keep them."""
        return encode(labels)


def _embedding(options: ModelOptions) -> Tagger:
    assert options.vocabulary is not None
    encode = encoder_of(options.embedding_model, options.device)
    return EmbeddingTagger(
        data.read_vocabulary(options.vocabulary),
        encode,
        most=options.max_tags,
        similarity=options.tag_similarity,
        margin=options.tag_margin,
        model=options.embedding_model or DEFAULT_EMBEDDING_MODEL,
        embed_labels=lambda labels: options.embed_labels(labels, encode),
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


def encoder_of(
    model: str | None, device: str = "auto", flag: str = "--embedding_model"
) -> SentenceEncoder:
    """One for all that embed; None for the default model. `flag` is what errors name.

    Raises:
      InputError: if the model cannot be used.
    """
    return _encoder_of(model or DEFAULT_EMBEDDING_MODEL, device, flag)


@functools.lru_cache(maxsize=1)
def _encoder_of(model: str, device: str, flag: str) -> SentenceEncoder:
    return SentenceEncoder(model, flag=flag, device=device)


def _language_model(options: ModelOptions, flag: str) -> CausalLM:
    model = getattr(options, flag)
    if not model:
        raise InputError(f"--{flag}: missing, expected a folder or the name of a model")
    return CausalLM(model, flag=f"--{flag}", device=options.device, max_tokens=options.max_tokens)


def _instag(options: ModelOptions) -> Tagger:
    if options.endpoint is None:
        return InsTagger(_language_model(options, "instag_model"))
    model = options.server.model_named(options.instag_model, "--instag_model")
    return ServedInsTagger(
        options.server,
        model,
        max_tokens=options.max_tokens,
        max_new_tokens=options.max_answer_tokens,
    )


def _deita(kind: Literal["complexity", "quality"], options: ModelOptions) -> Scorer:
    flag = f"deita_{kind}_model"
    if options.endpoint is None:
        return DeitaScorer(_language_model(options, flag), kind)
    model = options.server.model_named(getattr(options, flag), f"--{flag}")
    return ServedDeitaScorer(options.server, model, kind, max_tokens=options.max_tokens)


def _llm_tagger(options: ModelOptions) -> Tagger:
    return LlmTagger(
        options.server,
        options.server.model_named(options.model, "--model"),
        most=options.max_tags,
        max_tokens=options.max_tokens,
        max_answer_tokens=options.max_answer_tokens,
    )


def _llm_scorer(kind: Literal["complexity", "quality"], options: ModelOptions) -> Scorer:
    return LlmScorer(
        options.server,
        options.server.model_named(options.model, "--model"),
        kind,
        max_tokens=options.max_tokens,
        max_answer_tokens=options.max_answer_tokens,
    )


TAGGERS: Final[dict[str, Callable[[ModelOptions], Tagger]]] = {
    "discover": _discover,
    "embedding": _embedding,
    "instag": _instag,
    "keep": lambda options: KeepLabels(),
    "llm": _llm_tagger,
}
SCORERS: Final[dict[str, Callable[[ModelOptions], Scorer]]] = {
    "deita_quality": functools.partial(_deita, "quality"),
    "deita_complexity": functools.partial(_deita, "complexity"),
    "ifd": lambda options: Difficulty(_language_model(options, "ifd_model")),
    "keep": lambda options: Keep(),
    "length": lambda options: Length(),
    "llm_quality": functools.partial(_llm_scorer, "quality"),
    "llm_complexity": functools.partial(_llm_scorer, "complexity"),
    "relevance": lambda options: Relevance(encoder_of(options.embedding_model, options.device)),
    "signals": lambda options: Signals(seed=options.seed),
    "tag_count": lambda options: TagCount(),
}
#: Taggers and scorers that hold a language model, too large for every machine.
LANGUAGE_MODELS: Final = frozenset({"instag", "deita_quality", "deita_complexity", "ifd"})
#: Those by --embedding_model, whatever else is given.
EMBEDDERS: Final = frozenset({"embedding", "relevance"})
#: Names of several scorers that are used together.
SCORER_GROUPS: Final = {
    "deita": ("deita_quality", "deita_complexity"),
    "llm": ("llm_quality", "llm_complexity"),
}
#: Taggers and scorers that ask a server and nothing else, and those that can.
NEED_SERVER: Final = frozenset({"llm", "llm_quality", "llm_complexity"})
CAN_ASK_SERVER: Final = NEED_SERVER | {"instag", "deita_quality", "deita_complexity"}


class MadeWhereUsed:
    """A tagger or a scorer that is made when it is first used, in the process that uses it.

    It may be sent to another machine, which then loads the model.
    """

    def __init__(self, kind: Literal["tagger", "scorer"], name: str, options: ModelOptions) -> None:
        """Of the tagger or scorer `name`; paths in the options are made absolute."""
        values = {
            field.name: getattr(options, field.name) for field in dataclasses.fields(ModelOptions)
        }
        self._options = ModelOptions(**{key: _anywhere(value) for key, value in values.items()})
        self._kind, self._name = kind, name

    @functools.cached_property
    def _made(self) -> Any:
        made_by: Mapping[str, Callable[[ModelOptions], Any]]
        made_by = TAGGERS if self._kind == "tagger" else SCORERS
        return made_by[self._name](self._options)

    def tag(self, samples: Sequence[Sample]) -> Sequence[list[str] | Rejected]:
        """As the tagger does."""
        return self._made.tag(samples)

    def score(self, samples: Sequence[Sample]) -> Sequence[list[float] | Rejected]:
        """As the scorer does."""
        return self._made.score(samples)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._kind, self._name, self._options)


def _anywhere(value: Any) -> Any:
    """A path of this machine from any folder; all else as it is."""
    return os.path.abspath(value) if isinstance(value, str) and os.path.exists(value) else value


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
