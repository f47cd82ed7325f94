"""A model of responses that is exact in the amounts selected: what bilevel learning trains.

Fine-tuning a model on a selection, and differentiating its loss on validation
records back to the amounts, is what one would like to do. Here the model is one
whose training has a closed form, so that nothing is unrolled or approximated:

- instructions are dealt softly to F clusters, a fixed f_d of sum 1 for each record;
- θ_f, the token distribution of the responses of cluster f, is the count of
  tokens selected there, backed off to the count of all selected, backed off to
  the uniform:

      θ_f(t) = (Σ_d w_d f_d(f) c_d(t) + a·θ(t)) / (Σ_d w_d f_d(f) + a),
      θ(t)   = (Σ_d w_d c_d(t) + b/V) / (Σ_d w_d + b);

- the loss of a record is −Σ_t c(t)·log Σ_f f(f)·θ_f(t), with c of sum 1.

The loss is smooth in the amounts w, so its gradient is every record's influence.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mig_jax.learning._token_bags import Conversations, TokenBags, fold, pad
from mig_jax.measure import Array, Scalar, as_pytree

__all__ = [
    "CountModel",
    "InstructionClusters",
    "ResponseBags",
    "cluster_instructions",
    "count_model",
    "response_bags",
    "response_losses",
]

# Instructions have more buckets than responses: the clusters never see one alone.
_INSTRUCTION_BUCKETS = 8192


@as_pytree
class TokenTables:
    """A fitted model."""

    theta: Array  #: float [V, F]: each column a distribution over tokens.


@as_pytree
class ResponseBags:
    """n records whose responses are to be predicted."""

    memberships: Array  #: float32 [n, F], rows of sum 1: f of the instructions.
    tokens: Array  #: int32 [n, width]
    shares: Array  #: float32 [n, width]: c, rows of sum 1; 0 if there is no token.


@as_pytree
class CountModel:
    """What a pool of P records offers to the model; see the module's docstring."""

    memberships: Array  #: float32 [P, F], rows of sum 1.
    tokens: Array  #: int32 [blocks, n]: token of each entry.
    records: Array  #: int32 [blocks, n]: record of each entry.
    shares: Array  #: float32 [blocks, n]: c; 0 if there is no entry.
    num_tokens: int = dataclasses.field(metadata={"static": True})  #: V
    to_all: Scalar = 20.0  #: a, in records.
    to_uniform: Scalar = 200.0  #: b, in records.

    def fit(self, amounts: Array) -> TokenTables:
        """The model of these amounts, float [P]; differentiable in them.

        Memory grows with P·F and V·F, and not with the entries times F.
        """
        weighted = jnp.asarray(amounts)[:, None] * self.memberships

        # Without the checkpoint, every entry's row would be kept for the way back.
        @jax.checkpoint
        def add(counts: jax.Array, block: Any) -> tuple[jax.Array, None]:
            tokens, records, shares = block
            return counts.at[tokens].add(weighted[records] * shares[:, None]), None

        counts = jnp.zeros((self.num_tokens, weighted.shape[1]), weighted.dtype)
        counts, _ = lax.scan(add, counts, (self.tokens, self.records, self.shares))
        of_all = jnp.sum(counts, axis=1) + self.to_uniform / self.num_tokens
        of_all = of_all / (jnp.sum(amounts) + self.to_uniform)
        selected = jnp.sum(weighted, axis=0)
        return TokenTables((counts + self.to_all * of_all[:, None]) / (selected + self.to_all))


def response_losses(tables: TokenTables, bags: ResponseBags) -> jax.Array:
    """−Σ_t c(t)·log p(t | instruction) of each record, in nats a token: float [n]."""
    of_tokens = jnp.asarray(tables.theta)[bags.tokens]
    likelihood = jnp.einsum("nwf,nf->nw", of_tokens, bags.memberships)
    present = jnp.asarray(bags.shares) > 0
    return -jnp.sum(bags.shares * jnp.log(jnp.where(present, likelihood, 1)), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class InstructionClusters:
    """Soft clusters of instructions, fitted to a pool's: latent semantic analysis and k-means."""

    seed: int  #: Of the buckets, the decomposition and the clusters.
    inverse_frequency: np.ndarray  #: float32 [buckets]: log(P / records with the bucket).
    decomposition: Any  #: scikit-learn's TruncatedSVD.
    centres: np.ndarray  #: float32 [F, dimensions], of unit length.
    temperature: float  #: Of the softmax over cosines.

    def assign(self, instructions: TokenBags) -> np.ndarray:
        """The memberships of n instructions, float32 [n, F], rows of sum 1."""
        matrix = _weighted_matrix(fold(instructions, _INSTRUCTION_BUCKETS, self.seed))
        vectors = _unit(self.decomposition.transform(matrix.multiply(self.inverse_frequency)))
        odds = vectors @ self.centres.T / self.temperature
        shares = np.exp(odds - odds.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def cluster_instructions(
    instructions: TokenBags,
    *,
    seed: int,
    clusters: int = 64,
    dimensions: int = 48,
    temperature: float = 0.1,
) -> InstructionClusters:
    """Fits clusters to the instructions of a pool; fewer if it has not enough records."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import TruncatedSVD

    matrix = _weighted_matrix(fold(instructions, _INSTRUCTION_BUCKETS, seed))
    frequency = np.bincount(matrix.indices, minlength=_INSTRUCTION_BUCKETS)
    inverse = np.log(len(instructions) / (1 + frequency)).clip(0).astype(np.float32)
    dimensions = min(dimensions, _INSTRUCTION_BUCKETS, len(instructions))
    decomposition = TruncatedSVD(dimensions, random_state=seed, n_iter=3)
    vectors = _unit(decomposition.fit_transform(matrix.multiply(inverse).tocsr()))
    means = MiniBatchKMeans(
        min(clusters, len(instructions)), random_state=seed, n_init=1, batch_size=4096
    )
    centres = _unit(means.fit(vectors).cluster_centers_)
    return InstructionClusters(seed, inverse, decomposition, centres, temperature)


def count_model(
    conversations: Conversations,
    clusters: InstructionClusters,
    *,
    buckets: int = 4096,
    entries_a_block: int = 1 << 16,
) -> CountModel:
    """The model of a pool's conversations, over so many buckets for response tokens.

    Args:
      conversations: P of them, whose instructions the clusters were fitted to.
      clusters: their seed is that of the buckets, too.
      buckets: V.
      entries_a_block: how many are added up at once; memory grows with it, times F.
    """
    bags = fold(conversations.responses, buckets, clusters.seed)
    size = min(entries_a_block, max(len(bags.tokens), 1))
    blocks = -(-len(bags.tokens) // size)

    def in_blocks(values: np.ndarray) -> jax.Array:
        return jnp.asarray(np.pad(values, (0, blocks * size - len(values))).reshape(blocks, size))

    return CountModel(
        jnp.asarray(clusters.assign(conversations.instructions)),
        in_blocks(bags.tokens),
        in_blocks(bags.records),
        in_blocks(bags.counts),
        buckets,
    )


def response_bags(
    conversations: Conversations,
    clusters: InstructionClusters,
    *,
    buckets: int = 4096,
    width: int = 256,
) -> ResponseBags:
    """n conversations whose responses a model with these clusters and buckets is to predict."""
    tokens, shares = pad(fold(conversations.responses, buckets, clusters.seed), width)
    kept = max(int((shares > 0).sum(axis=1).max(initial=1)), 1)
    memberships = clusters.assign(conversations.instructions)
    return ResponseBags(
        jnp.asarray(memberships), jnp.asarray(tokens[:, :kept]), jnp.asarray(shares[:, :kept])
    )


def _weighted_matrix(bags: TokenBags) -> Any:
    """Square roots of the shares, as a sparse SciPy matrix [n, buckets]."""
    import scipy.sparse

    return scipy.sparse.csr_matrix(
        (np.sqrt(bags.counts), bags.tokens, bags.offsets), shape=(len(bags), _INSTRUCTION_BUCKETS)
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
