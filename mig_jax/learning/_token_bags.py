"""Texts as bags of hashed tokens: what the proxies of `count_model` and `response_net` read.

On the host, in NumPy. A token is a run of letters, or any other character that is
no space; Chinese, Japanese and Korean characters stand for themselves. Tokens are
kept as 32-bit hashes, so that there is no vocabulary; a model folds them into its
own buckets by its own seed.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Iterable

import numpy as np

__all__ = ["Conversations", "TokenBags", "conversation_bags", "fold", "pad", "take", "token_bags"]

_TOKEN = re.compile(r"[^\W\d_\u3040-\u9fff\uac00-\ud7af]+|\S")
_LONGEST_TOKEN = 12  # Characters read for each token wanted, at most.


@dataclasses.dataclass(frozen=True, eq=False)
class TokenBags:
    """The tokens of n texts; the entries of text d are offsets[d] to offsets[d + 1]."""

    tokens: np.ndarray  #: uint32 [entries]: hashes, or int32 buckets after `fold`.
    counts: np.ndarray  #: float32 [entries], above 0.
    offsets: np.ndarray  #: int64 [n + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def records(self) -> np.ndarray:
        """int32 [entries]: the text of each entry."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))


@dataclasses.dataclass(frozen=True, eq=False)
class Conversations:
    """What was asked and what was answered, in n conversations."""

    instructions: TokenBags
    responses: TokenBags

    def __len__(self) -> int:
        return len(self.responses)

    def take(self, rows: np.ndarray) -> Conversations:
        """The conversations at these indices (integers, 1-D), in this order."""
        return Conversations(take(self.instructions, rows), take(self.responses, rows))


def token_bags(texts: Iterable[str], *, longest: int = 256, ngrams: int = 1) -> TokenBags:
    """The bags of the first `longest` tokens of each text, and of its n-grams up to a length.

    >>> bags = token_bags(["No, no!", ""])
    >>> bags.counts.tolist(), bags.offsets.tolist()
    ([2.0, 1.0, 1.0], [0, 3, 3])
    """
    ids: dict[str, int] = {}
    rows = [_tokens(text, longest, ids) for text in texts]
    return _bags(rows, ids, ngrams)


def conversation_bags(
    pairs: Iterable[tuple[str, str]], *, longest: int = 256, ngrams: int = 1
) -> Conversations:
    """The bags of (instruction, response) pairs; only these are held, not the texts.

    `ngrams` is of instructions: responses are predicted token by token.
    """
    ids: dict[str, int] = {}
    asked, answered = [], []
    for instruction, response in pairs:
        asked.append(_tokens(instruction, longest, ids))
        answered.append(_tokens(response, longest, ids))
    return Conversations(_bags(asked, ids, ngrams), _bags(answered, ids, 1))


def fold(bags: TokenBags, buckets: int, seed: int) -> TokenBags:
    """The bags over `buckets` buckets, int32, that the seed deals the tokens to.

    Each text's counts are made to sum to 1; a text without tokens has no entry.
    """
    key = np.uint64(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    mixed = bags.tokens.astype(np.uint64) ^ key
    # The finaliser of splitmix64: every bit of the hash and the seed reaches every bit.
    with np.errstate(over="ignore"):
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bucket = ((mixed ^ (mixed >> np.uint64(31))) % np.uint64(buckets)).astype(np.int64)
    return _merge(bags.records, bucket, bags.counts, len(bags), buckets)


def take(bags: TokenBags, rows: np.ndarray) -> TokenBags:
    """The bags of these texts (integers, 1-D), in this order."""
    rows = np.asarray(rows, np.int64)
    counts = np.diff(bags.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    entries = np.arange(offsets[-1]) + np.repeat(bags.offsets[rows] - offsets[:-1], counts)
    return TokenBags(bags.tokens[entries], bags.counts[entries], offsets)


def pad(bags: TokenBags, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Buckets int32 [n, width] and their shares float32 [n, width], 0 if there is no token.

    Of a text with more buckets, those with the largest counts are kept. Shares sum to 1.
    """
    records = bags.records
    order = np.lexsort((-bags.counts, records))
    place = np.arange(len(order)) - bags.offsets[records]
    kept, place = order[place < width], place[place < width]
    buckets = np.zeros((len(bags), width), np.int32)
    shares = np.zeros((len(bags), width), np.float32)
    buckets[records[kept], place] = bags.tokens[kept]
    shares[records[kept], place] = bags.counts[kept]
    return buckets, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-30)


def _tokens(text: str, longest: int, ids: dict[str, int]) -> np.ndarray:
    found = _TOKEN.findall(text[: longest * _LONGEST_TOKEN].lower())[:longest]
    return np.array([ids.setdefault(token, len(ids)) for token in found], np.int32)


def _bags(rows: list[np.ndarray], ids: dict[str, int], ngrams: int) -> TokenBags:
    hashes = np.array([zlib.crc32(token.encode("utf-8", "replace")) for token in ids], np.uint64)
    lengths = np.array([len(row) for row in rows], np.int64)
    flat = np.concatenate([*rows, np.zeros(0, np.int32)])
    single = hashes[flat]
    records = np.repeat(np.arange(len(rows)), lengths)
    all_records, all_tokens, running = [records], [single], single
    for length in range(2, ngrams + 1):
        # An n-gram ends where the text that it starts in still goes on.
        inside = records[length - 1 :] == records[: max(len(records) - length + 1, 0)]
        following = single[length - 1 :]
        running = running[: len(following)] * np.uint64(0x01000193) + following
        running &= np.uint64(0xFFFFFFFF)
        all_records.append(records[: len(following)][inside])
        all_tokens.append(running[inside])
    tokens = np.concatenate(all_tokens).astype(np.int64)
    ones = np.ones(len(tokens), np.float32)
    bags = _merge(np.concatenate(all_records), tokens, ones, len(rows), 1 << 32, normalise=False)
    return dataclasses.replace(bags, tokens=bags.tokens.astype(np.uint32))


def _merge(
    records: np.ndarray,
    tokens: np.ndarray,
    counts: np.ndarray,
    num_texts: int,
    num_tokens: int,
    *,
    normalise: bool = True,
) -> TokenBags:
    """Bags from (text, token, count) entries: equal tokens of a text are added up."""
    keys, inverse = np.unique(records.astype(np.int64) * num_tokens + tokens, return_inverse=True)
    sums: np.ndarray = np.bincount(inverse, counts, len(keys))
    of_text, kept = np.divmod(keys, num_tokens)
    if normalise:
        sums = sums / np.bincount(of_text, sums, num_texts)[of_text]
    offsets = np.searchsorted(of_text, np.arange(num_texts + 1))
    kind = np.int32 if num_tokens <= 1 << 31 else np.int64
    return TokenBags(kept.astype(kind), sums.astype(np.float32), offsets)
