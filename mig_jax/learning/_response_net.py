"""A small network that predicts responses: it judges selections, and learning never sees it.

A conditional bag-of-words model in flax: hashed tokens of the instruction are
embedded and averaged, and a hidden layer predicts the tokens of the response. It is
trained afresh on the records selected, all alike, and its loss on other records is
what the selection is worth.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from mig_jax.learning._token_bags import Conversations, fold, pad
from mig_jax.measure import Array, as_pytree

__all__ = ["Judge", "PaddedConversations", "ResponseNet"]

_EVALUATED_AT_ONCE = 256
_INSTRUCTION_BUCKETS = 8192
_WIDTH = 128


class ResponseNet(nn.Module):
    """Logits over response tokens, from the tokens of the instruction."""

    num_tokens: int
    hidden: int

    @nn.compact
    def __call__(self, tokens: jax.Array, shares: jax.Array) -> jax.Array:
        """Float [n, num_tokens], for tokens int32 [n, width] with shares float [n, width]."""
        embedding = nn.Embed(
            _INSTRUCTION_BUCKETS, self.hidden, embedding_init=nn.initializers.normal(1.0)
        )
        # Square roots of shares: sums over different words keep about unit length.
        meaning = jnp.einsum("nw,nwh->nh", jnp.sqrt(shares), embedding(tokens))
        units = jnp.tanh(nn.Dense(self.hidden)(meaning))
        return nn.Dense(self.num_tokens, kernel_init=nn.initializers.zeros, name="output")(units)


@as_pytree
class PaddedConversations:
    """n conversations, in the buckets of one judge."""

    asked: Array  #: int32 [n, width]: tokens of the instruction.
    asked_shares: Array  #: float32 [n, width], rows of sum 1 or 0.
    answered: Array  #: int32 [n, width]: tokens of the response.
    answered_shares: Array  #: float32 [n, width]


@dataclasses.dataclass(frozen=True)
class Judge:
    """How a network is trained, and its seed: of its hashes, its start and its batches."""

    seed: int
    buckets: int = 4096  #: For response tokens.
    hidden: int = 64
    #: Chosen on random selections and the paper's, so that it favours no learned one: more
    #: overfits small selections.
    epochs: float = 10.0
    to_uniform: float = 200.0  #: Records that count as uniform in the unigram it starts from.
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3

    def prepare(self, conversations: Conversations) -> PaddedConversations:
        """The conversations in this judge's buckets, at most 128 of each text."""
        asked = fold(conversations.instructions, _INSTRUCTION_BUCKETS, self.seed)
        answered = fold(conversations.responses, self.buckets, self.seed)
        return PaddedConversations(*pad(asked, _WIDTH), *pad(answered, _WIDTH))

    def losses(self, selected: PaddedConversations, others: PaddedConversations) -> np.ndarray:
        """Trains on `selected`; the loss on each of `others`, in nats a token: float32 [n].

        Both come from `prepare`. Selections of one size compile once.
        """
        of_architecture = dataclasses.replace(self, seed=0)
        key = jax.random.key(self.seed)
        return np.asarray(_train_and_judge(of_architecture, key, selected, others))


def _loss(net: ResponseNet, params: Any, batch: PaddedConversations) -> jax.Array:
    logits: Any = net.apply(params, batch.asked, batch.asked_shares)
    of_tokens = jnp.take_along_axis(logits, batch.answered, axis=1)
    normaliser = jax.nn.logsumexp(logits, axis=1) * jnp.sum(batch.answered_shares, axis=1)
    return normaliser - jnp.sum(batch.answered_shares * of_tokens, axis=1)


@partial(jax.jit, static_argnums=0)
def _train_and_judge(
    judge: Judge, key: jax.Array, selected: PaddedConversations, others: PaddedConversations
) -> jax.Array:
    net = ResponseNet(judge.buckets, judge.hidden)
    count = selected.asked.shape[0]
    start_key, batch_key = jax.random.split(key)
    params = net.init(start_key, selected.asked[:1], selected.asked_shares[:1])
    # At the start every record gets the unigram of all that was selected.
    counts = jnp.zeros(judge.buckets).at[selected.answered].add(selected.answered_shares)
    smoothed = counts + judge.to_uniform / judge.buckets
    params["params"]["output"]["bias"] = jnp.log(smoothed / jnp.sum(smoothed))
    steps = int(judge.epochs * count // judge.batch)
    optimiser = optax.adamw(
        optax.cosine_decay_schedule(judge.learning_rate, max(steps, 1)),
        weight_decay=judge.weight_decay,
        mask=partial(jax.tree_util.tree_map, lambda leaf: leaf.ndim > 1),
    )

    def step(state: tuple, number: jax.Array) -> tuple[tuple, None]:
        params, optimiser_state = state
        rows = jax.random.randint(jax.random.fold_in(batch_key, number), (judge.batch,), 0, count)
        batch = jax.tree_util.tree_map(lambda leaf: leaf[rows], selected)
        gradient = jax.grad(lambda params: jnp.mean(_loss(net, params, batch)))(params)
        updates, optimiser_state = optimiser.update(gradient, optimiser_state, params)
        return (optax.apply_updates(params, updates), optimiser_state), None

    start = params, optimiser.init(params)
    (params, _), _ = lax.scan(step, start, jnp.arange(steps))

    def of_record(record: PaddedConversations) -> jax.Array:
        return _loss(net, params, jax.tree_util.tree_map(lambda leaf: leaf[None], record))[0]

    return lax.map(of_record, others, batch_size=_EVALUATED_AT_ONCE)
