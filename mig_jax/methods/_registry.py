"""The methods by name: what each does, where it comes from, and what it has to be given."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError
from mig_jax.methods._candidates import Candidates, Limits, Method, take
from mig_jax.methods._car import car
from mig_jax.methods._compression import zip_stages
from mig_jax.methods._controls import random_lengths, random_order, random_quotas
from mig_jax.methods._deita import deita
from mig_jax.methods._ifd import ifd
from mig_jax.methods._importance import dsir, dsir_pooled
from mig_jax.methods._influence import influence, less
from mig_jax.methods._instag import instag
from mig_jax.methods._mig_influence import mig_influence
from mig_jax.methods._qdit import qdit
from mig_jax.methods._rds import rds
from mig_jax.methods._single_numbers import longest, top_score

__all__ = ["METHODS", "Need", "RegisteredMethod", "choose", "method_named"]

#: What a method looks at beside labels and scores, as `Candidates` names it.
Need = Literal["costs", "texts", "embeddings", "groups", "wanted", "response_losses", "gradients"]


@dataclasses.dataclass(frozen=True)
class RegisteredMethod:
    """A way to choose, and what one must know of it."""

    order: Method
    about: str  #: What it takes first, in a few words.
    source: str | None = None  #: The paper: its arXiv number.
    needs: frozenset[Need] = frozenset()

    def lacks(self, candidates: Candidates) -> list[Need]:
        """What it needs and is not there, by name."""
        return [name for name in sorted(self.needs) if getattr(candidates, name) is None]


def _needing(*needs: Need) -> frozenset[Need]:
    return frozenset(needs)


#: Every method, controls first.
METHODS: Final[dict[str, RegisteredMethod]] = {
    "random": RegisteredMethod(random_order, "records in random order"),
    "random_lengths": RegisteredMethod(
        random_lengths,
        "random records as long as the wanted ones",
        needs=_needing("costs", "wanted"),
    ),
    "random_quotas": RegisteredMethod(
        random_quotas, "random records, an equal share of each group", needs=_needing("groups")
    ),
    "top_score": RegisteredMethod(top_score, "the highest scores"),
    "longest": RegisteredMethod(longest, "the longest responses", "2402.04833", _needing("texts")),
    "zip": RegisteredMethod(
        zip_stages(), "texts that compress least together", "2407.06645", _needing("texts")
    ),
    "ifd": RegisteredMethod(
        ifd,
        "responses that the instruction helps least to say",
        "2308.12032",
        _needing("response_losses"),
    ),
    "deita": RegisteredMethod(
        deita,
        "the highest scores that are not near one before",
        "2312.15685",
        _needing("embeddings"),
    ),
    "car": RegisteredMethod(
        car, "the best of each cluster, then of all", "2402.18191", _needing("embeddings")
    ),
    "qdit": RegisteredMethod(
        qdit, "quality (0.7) and coverage of the pool", "2311.14736", _needing("embeddings")
    ),
    "qdit_0.9": RegisteredMethod(
        functools.partial(qdit, alpha=0.9),
        "quality (0.9) and coverage of the pool",
        "2311.14736",
        _needing("embeddings"),
    ),
    "rds": RegisteredMethod(
        rds,
        "the nearest to the wanted records, task by task",
        "2503.01807",
        _needing("embeddings", "wanted"),
    ),
    "less": RegisteredMethod(
        less,
        "gradients along those of any task's wanted records",
        "2402.04333",
        _needing("gradients", "wanted"),
    ),
    "influence": RegisteredMethod(
        influence,
        "what lowers the wanted losses most by a language model's gradients, task by task",
        needs=_needing("gradients", "wanted"),
    ),
    "mig_influence": RegisteredMethod(
        mig_influence,
        "most information for what is chosen, by what lowers the losses of groups of wanted ones",
        "2504.13835",
        _needing("gradients", "wanted"),
    ),
    "instag": RegisteredMethod(instag, "most tags first, each with a new tag", "2308.07074"),
    "dsir": RegisteredMethod(
        dsir,
        "texts likely among the wanted ones, task by task",
        "2302.03169",
        _needing("texts", "wanted"),
    ),
    "dsir_pooled": RegisteredMethod(
        dsir_pooled,
        "texts likely among the wanted ones",
        "2302.03169",
        _needing("texts", "wanted"),
    ),
}


def method_named(name: str) -> RegisteredMethod:
    """The method of this name.

    Raises:
      InputError: if there is none.
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, n=1)
    which = f"{near[0]} (the nearest) or " if near else ""
    raise InputError(f"method {name!r}: not known; expected {which}one of {', '.join(METHODS)}")


def choose(
    name: str,
    candidates: Candidates,
    limits: Limits,
    *,
    seed: int = 0,
    on_pick: Callable[[int], None] | None = None,
) -> npt.NDArray[np.int64]:
    """The records that a method takes first, within the limits: int64, no one twice.

    The method does not see records that have more tokens than all picks may have: none can be
    picked, and so none has a share, or keeps out what is near to it. The same seed gives the same
    picks. `on_pick` is called with each of them.

    Raises:
      InputError: if there is no such method, or it lacks what it needs.
    """
    method = method_named(name)
    if lacking := method.lacks(candidates):
        raise InputError(f"method {name}: needs {', '.join(lacking)}, which are not given")
    seen = np.arange(candidates.num_records)
    if limits.tokens is not None and (candidates.costs > limits.tokens).any():
        fits = candidates.costs <= limits.tokens
        seen, candidates = np.flatnonzero(fits), candidates.only(fits)
    if not len(seen):
        return np.zeros(0, np.int64)
    order = method.order(candidates, np.random.default_rng(seed), limits)
    told = None if on_pick is None else lambda record: on_pick(int(seen[record]))
    return seen[take(order, candidates.costs, limits, on_pick=told)]
