"""A built-in pool: generated records that behave like a real instruction-tuning pool.

What is made alike: label popularity follows a power law; labels are grouped in topics,
and a record draws most of its labels from one; some records are near-copies of earlier
ones; scores are noisy, with a few outliers.

Records are made in blocks, each from its own random stream, so that a record depends on
the seed and its block only: any part can be made without the rest, and a smaller pool
with the same seed is the beginning of a larger one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data import RecordTable, sort_entries
from mig_jax.errors import InputError
from mig_jax.synthetic import _builtin_texts as builtin_texts

__all__ = ["BuiltinPool"]

_BLOCK_SIZE: Final = 4096
_EMBEDDING_WIDTH: Final = 64

# One random stream for each purpose: default_rng([seed, purpose, ...]).
_VOCABULARY_STREAM, _RECORD_STREAM, _TEXT_STREAM, _EMBEDDING_STREAM = range(4)

# Popularity of the label of rank r (from 0) is proportional to (r + shift) ** -exponent.
_POPULARITY_SHIFT: Final = 3.0
_POPULARITY_EXPONENT: Final = 1.0
# Share of records with 1, 2, ..., 6 labels: 3.5 on average.
_LABEL_COUNT_SHARES: Final = (0.08, 0.17, 0.25, 0.25, 0.16, 0.09)
_MAX_LABELS: Final = len(_LABEL_COUNT_SHARES)
# Labels are drawn with replacement; with this many draws few records fall short.
_DRAWS: Final = 14
_OWN_TOPIC_SHARE: Final = 0.8
_COPY_SHARE: Final = 0.15
_OUTLIER_SHARE: Final = 0.04
_SCORE_DECIMALS: Final = 4

# Labels of a topic fall in clusters of near-synonyms. The squared noise of a label tells
# whether it comes within cosine 0.9 of the others: (1 + a)(1 + b) <= 1 / 0.81.
_CLUSTER_SIZE: Final = 8
_CLUSTER_SPREAD: Final = 0.4
_MAX_NOISE: Final = 0.2
_LONER_SHARE: Final = 0.1
_LONER_NOISE: Final = 1.0


class _Vocabulary(NamedTuple):
    """The K labels of a pool in slots, topic after topic."""

    names: list[str]  # Sorted, all K.
    label_id: npt.NDArray[np.int32]  # [K]: index into names of the label of each slot.
    cumulative: npt.NDArray[np.float64]  # [K]: popularity of the slots up to this one.
    topic: npt.NDArray[np.int64]  # [K]: topic of each slot, ascending.
    first_slot: npt.NDArray[np.int64]  # [topics + 1]: first slot of each topic, then K.


class _Block(NamedTuple):
    """The records of one block, B = 4096 of them."""

    labels: npt.NDArray[np.int32]  # [B, 6]: label ids as drawn, then -1.
    scores: npt.NDArray[np.float64]  # [B]: rounded, so that text gives them back.
    original: npt.NDArray[np.int64]  # [B]: the record it is a copy of, or itself.


@dataclasses.dataclass(frozen=True)
class BuiltinPool:
    """A generated pool, the same for the same four numbers.

    Raises:
      InputError: for fewer than one record, label or topic, a negative seed, or more
        topics than labels.

    >>> BuiltinPool(records=5, labels=3, topics=1).table().label_names
    ['algebra basics', 'algebra budgeting', 'algebra planning']
    """

    records: int = 20_000
    labels: int = 600
    topics: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for field, least in (("records", 1), ("labels", 1), ("topics", 1), ("seed", 0)):
            if (value := getattr(self, field)) < least:
                raise InputError(
                    f"built-in pool, {field}: found {value}, expected at least {least}"
                )
        if self.topics > self.labels:
            raise InputError(
                f"built-in pool, topics: found {self.topics}, "
                f"expected at most the number of labels, {self.labels}"
            )

    def table(self) -> RecordTable:
        """The records as `read_pool` would give them, without making their text."""
        names = self._vocabulary.names
        counts = np.empty(self.records, np.int64)
        scores = np.empty(self.records, np.float32)
        entries = []
        for index in range(-(-self.records // _BLOCK_SIZE)):
            first = index * _BLOCK_SIZE
            block = self._block(index)
            labels = block.labels[: self.records - first]
            part = slice(first, first + len(labels))
            counts[part] = (labels >= 0).sum(axis=1)
            scores[part] = block.scores[: len(labels)]
            entries.append(labels[labels >= 0])
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        all_labels = np.concatenate(entries)
        # As from a file, labels that no record has do not exist.
        occurs = np.bincount(all_labels, minlength=len(names)) > 0
        new_id = (np.cumsum(occurs) - 1).astype(np.int32)
        record = np.arange(self.records, dtype=np.int64)
        return RecordTable(
            labels=sort_entries(new_id[all_labels], offsets, int(occurs.sum())),
            offsets=offsets,
            scores=scores,
            label_names=[names[label] for label in np.flatnonzero(occurs)],
            files=("built-in pool",),
            layouts=("mig_jax",),
            sources=(self,),
            file_index=np.zeros(self.records, np.int32),
            line=record + 1,
            position=record,
            records_read=self.records,
            records_skipped=0,
            labels_dropped=0,
        )

    def label_embeddings(self) -> tuple[list[str], npt.NDArray[np.float32]]:
        """All K labels, sorted, and their embeddings: float32 [K, 64] of unit length.

        Labels of one topic are similar. At threshold 0.9 a label has about 3
        neighbours, of its topic; about every sixth has none.
        """
        names, label_id, _, topic, first_slot = self._vocabulary
        rng = np.random.default_rng([self.seed, _EMBEDDING_STREAM])
        topics = _unit(rng.standard_normal((self.topics, _EMBEDDING_WIDTH)))
        # Dealt out in turn, so that a cluster has both popular and rare labels.
        place = np.arange(self.labels) - first_slot[topic]
        clusters_of_topic = -(-np.diff(first_slot) // _CLUSTER_SIZE)
        first_cluster = np.concatenate([[0], np.cumsum(clusters_of_topic)])
        cluster = first_cluster[topic] + place % clusters_of_topic[topic]
        centres = np.repeat(topics, clusters_of_topic, axis=0)
        centres = _unit(_add_noise(rng, centres, np.full(len(centres), _CLUSTER_SPREAD)))
        noise = rng.uniform(0.0, _MAX_NOISE, self.labels)
        noise[rng.random(self.labels) < _LONER_SHARE] = _LONER_NOISE
        embeddings = np.empty((self.labels, _EMBEDDING_WIDTH), np.float32)
        embeddings[label_id] = _unit(_add_noise(rng, centres[cluster], noise))
        return list(names), embeddings

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yields records [start, stop) as JSON lines of the layout mig_jax.

        Their fields are id, messages, and mig_jax with labels and score. No more than a block
        of records is held at a time.
        """
        stop = self.records if stop is None else min(stop, self.records)
        for record in self.read_records(np.arange(start, stop)):
            yield record + b"\n"

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the records at these indices, ascending, as JSON without line breaks."""
        block_of = positions // _BLOCK_SIZE
        for index in np.unique(block_of).tolist():
            start, stop = np.searchsorted(block_of, [index, index + 1])
            block = self._block(index)
            first = index * _BLOCK_SIZE
            rng = np.random.default_rng([self.seed, _TEXT_STREAM, index])
            wording = rng.integers(0, 1 << 16, (_BLOCK_SIZE, 2))
            for row in (positions[start:stop] - first).tolist():
                yield self._render(block, row, first, wording)

    def _render(self, block: _Block, row: int, first: int, wording: npt.NDArray[np.int64]) -> bytes:
        """One record as JSON; a copy takes the wording of its original, newly introduced."""
        original = int(block.original[row])
        labels = [self._vocabulary.names[label] for label in block.labels[row] if label >= 0]
        question, answer = builtin_texts.conversation(labels, *wording[original].tolist())
        if original != row:
            question = builtin_texts.introduction(int(wording[row, 0])) + question
        record = {
            "id": f"builtin-{first + row:08d}",
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
            "mig_jax": {"labels": labels, "score": float(block.scores[row])},
        }
        return msgspec.json.encode(record)

    @functools.cached_property
    def _vocabulary(self) -> _Vocabulary:
        rng = np.random.default_rng([self.seed, _VOCABULARY_STREAM])
        # Slots are dealt to topics evenly; popularity ranks fall on slots at random.
        topic = np.sort(np.arange(self.labels) % self.topics)
        first_slot = np.searchsorted(topic, np.arange(self.topics + 1))
        rank = rng.permutation(self.labels)
        popularity = (rank + _POPULARITY_SHIFT) ** -_POPULARITY_EXPONENT
        facet = np.arange(self.labels) - first_slot[topic]
        by_slot = [
            builtin_texts.label_name(*pair)
            for pair in zip(topic.tolist(), facet.tolist(), strict=True)
        ]
        names = sorted(by_slot)
        ids = {name: index for index, name in enumerate(names)}
        return _Vocabulary(
            names=names,
            label_id=np.array([ids[name] for name in by_slot], np.int32),
            cumulative=np.cumsum(popularity / popularity.sum()),
            topic=topic,
            first_slot=first_slot,
        )

    def _block(self, index: int) -> _Block:
        """All records of a block; the pool may end before them."""
        rng = np.random.default_rng([self.seed, _RECORD_STREAM, index])
        labels = self._draw_labels(rng)
        quality = np.clip(3.4 + 0.9 * rng.standard_normal(_BLOCK_SIZE), 1.0, 6.0)
        complexity = np.clip(3.3 + 0.8 * rng.standard_normal(_BLOCK_SIZE), 1.0, 6.0)
        scores = quality * complexity

        # A copy is made of a record before it in the block that is none itself.
        is_copy = rng.random(_BLOCK_SIZE) < _COPY_SHARE
        is_copy[0] = False
        own = np.flatnonzero(~is_copy)
        before = np.cumsum(~is_copy)
        chosen = own[(rng.random(_BLOCK_SIZE) * before).astype(np.int64)]
        original = np.where(is_copy, chosen, np.arange(_BLOCK_SIZE))
        close = 1.0 + 0.02 * rng.standard_normal(_BLOCK_SIZE)
        scores = scores[original] * np.where(is_copy, close, 1.0)

        is_outlier = rng.random(_BLOCK_SIZE) < _OUTLIER_SHARE
        factor = np.where(rng.random(_BLOCK_SIZE) < 0.5, 3.0, 0.1)
        scores = np.maximum(scores * np.where(is_outlier, factor, 1.0), 0.0)
        return _Block(labels[original], np.round(scores, _SCORE_DECIMALS), original)

    def _draw_labels(self, rng: np.random.Generator) -> npt.NDArray[np.int32]:
        """Label ids int32 [B, 6] of independent records, no two alike in a row, then -1."""
        vocabulary = self._vocabulary
        cumulative, first_slot = vocabulary.cumulative, vocabulary.first_slot
        last_slot = self.labels - 1

        def slot_at(share: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
            return np.minimum(np.searchsorted(cumulative, share, "right"), last_slot)

        topic = vocabulary.topic[slot_at(rng.random(_BLOCK_SIZE))]
        low = np.concatenate([[0.0], cumulative])[first_slot[topic]][:, None]
        high = cumulative[first_slot[topic + 1] - 1][:, None]
        share = rng.random((_BLOCK_SIZE, _DRAWS))
        in_topic = rng.random((_BLOCK_SIZE, _DRAWS)) < _OWN_TOPIC_SHARE
        drawn = slot_at(np.where(in_topic, low + share * (high - low), share))

        repeated = np.zeros(drawn.shape, bool)
        for draw in range(1, _DRAWS):
            repeated[:, draw] = (drawn[:, :draw] == drawn[:, draw, None]).any(axis=1)
        counts = rng.choice(_MAX_LABELS, _BLOCK_SIZE, p=_LABEL_COUNT_SHARES) + 1
        place = np.cumsum(~repeated, axis=1) - 1
        rows, draws = np.nonzero(~repeated & (place < counts[:, None]))
        labels = np.full((_BLOCK_SIZE, _MAX_LABELS), -1, np.int32)
        labels[rows, place[rows, draws]] = vocabulary.label_id[drawn[rows, draws]]
        return labels


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths: npt.NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def _add_noise(
    rng: np.random.Generator,
    vectors: npt.NDArray[np.float64],
    squared_length: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Adds to each vector noise of this expected squared length."""
    scale: npt.NDArray[np.float64] = np.sqrt(squared_length / vectors.shape[1])[:, None]
    return vectors + scale * rng.standard_normal(vectors.shape)
