"""Methods that ask a language model what each record would teach: by its gradients.

`Candidates.gradients` are sums over a record's response tokens, projected to few dimensions, at
one model. To first order, a training step on record n lowers the loss of wanted record v by their
inner product (TracIn, arXiv 2002.08484).
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError
from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._curvature import DAMPING, along, damped_fisher
from mig_jax.methods._turns import take_turns

__all__ = ["Asked", "asked_about", "influence", "influences", "less", "means_of_groups"]


def influences(
    gradients: npt.NDArray[np.float32],
    wanted: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
    *,
    damping: float = DAMPING,
) -> npt.NDArray[np.float64]:
    """How much each record would lower each wanted loss, curvature accounted for: [N, T].

    g (C + λ·c̄·I)⁻¹ v for a record's gradient g and a wanted one v, with C the mean of g gᵀ a
    token (the Fisher matrix of the projected gradients, as influence functions have it:
    Koh and Liang, arXiv 1703.04730; TRAK, arXiv 2303.14186) and c̄ its mean diagonal. What most
    records would teach alike counts for less than what tells records apart.

    Args:
      gradients: [N, F]; rows of zeros are records that nobody asked the model about.
      wanted: [T, F].
      tokens: [N], at least 1: of each record.
      damping: λ, above 0.
    """
    return along(gradients, damped_fisher(gradients, tokens, damping=damping), wanted)


def means_of_groups(
    rows: npt.NDArray[np.float32], groups: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """The mean row of each group, groups in their order: rows [V, F] to [K, F]."""
    return np.stack([rows[groups == group].mean(axis=0) for group in np.unique(groups)])


def influence(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records by their influence on each task's wanted records; the tasks take turns.

    Influence is for each token if tokens are limited: a budget buys tokens. Next is always the
    task that has had the least so far. Records without gradients come last.
    """
    asked = asked_about(candidates)
    yield from _in_turns(asked.influences, asked, limits)


def less(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """LESS (arXiv 2402.04333): the largest cosine with the mean gradient of any task first.

    The paper takes gradients of adapters at several checkpoints, by Adam's rule; here it is one
    model and the gradient itself. Records without gradients come last; ties go to the lowest index.
    """
    asked = asked_about(candidates)
    cosines = _unit(asked.gradients) @ _unit(asked.means(asked.tasks)).T
    best = np.where(asked.known, cosines.max(axis=1), -np.inf)
    yield from np.argsort(-best, kind="stable").tolist()


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What a model says of N records and of the V wanted ones that it was asked about."""

    gradients: npt.NDArray[np.float32]  #: [N, F].
    wanted: npt.NDArray[np.float32]  #: [V, F].
    tasks: npt.NDArray[np.str_]  #: [V].
    costs: npt.NDArray[np.int64]  #: [N]: tokens.

    @functools.cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """[N]: whether the model was asked about the record."""
        return np.asarray(self.gradients.any(axis=1))

    @functools.cached_property
    def fisher(self) -> npt.NDArray[np.float64]:
        """The damped Fisher matrix, [F, F]."""
        return damped_fisher(self.gradients, self.tokens)

    @functools.cached_property
    def root(self) -> npt.NDArray[np.float64]:
        """Its lower Cholesky factor, [F, F]."""
        return np.asarray(np.linalg.cholesky(self.fisher), np.float64)

    @functools.cached_property
    def influences(self) -> npt.NDArray[np.float64]:
        """`influences` of each record on each task, tasks by name: [N, T]."""
        return along(self.gradients, self.fisher, self.means(self.tasks))

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """[N], at least 1."""
        return np.maximum(self.costs, 1)

    def means(self, groups: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The mean gradient of the wanted records of each group, groups in their order: [K, F]."""
        return means_of_groups(self.wanted, groups)


#: What is dear to make of candidates, as long as they live: methods and limits share it.
_KNOWN: weakref.WeakKeyDictionary[Candidates, Asked] = weakref.WeakKeyDictionary()


def asked_about(candidates: Candidates) -> Asked:
    """The candidates' gradients, without wanted records that the model was not asked about.

    Raises:
      InputError: if it was asked about none of them.
    """
    if candidates in _KNOWN:
        return _KNOWN[candidates]
    assert candidates.gradients is not None
    assert candidates.wanted is not None
    gradients, wanted = candidates.gradients()
    known = wanted.any(axis=1)
    if not known.any():
        raise InputError(
            "gradients: those of all wanted records are zero; expected some that are not"
        )
    asked = Asked(gradients, wanted[known], candidates.wanted.groups[known], candidates.costs)
    return _KNOWN.setdefault(candidates, asked)


def _in_turns(found: npt.NDArray[np.float64], asked: Asked, limits: Limits) -> Iterator[int]:
    """Records by how much they would lower each task's loss, `found` [N, T]; tasks take turns."""
    if limits.tokens is not None:
        found = found / asked.tokens[:, None]
    found = np.where(asked.known[:, None], found, -np.inf)
    orders = [np.argsort(-one, kind="stable").tolist() for one in found.T]
    yield from take_turns(orders, None if limits.tokens is None else asked.costs)


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, where=lengths > 0, out=np.zeros_like(rows))
