"""Multiple choice by likelihood: one token tells the answers of a record apart."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError

from ._encoding import ChatTemplate, EncodedRecords, encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["NO_CHOICES", "Choices", "choices_of", "shared_candidates"]

_OPTION = re.compile(r"\([A-Z]\)")


@dataclasses.dataclass(frozen=True, eq=False)
class Choices:
    """K records whose answer is one of a few, each told from the others by one token.

    What stands before that token is the same in all answers. So the logits that follow it in
    the record itself rank all of them, and no answer but the right one is ever run.
    """

    records: npt.NDArray[np.int64]  #: [K], ascending.
    places: npt.NDArray[np.int32]  #: [K]: where that token stands, from 0 in the record.
    tokens: npt.NDArray[np.int32]  #: [K, C]: the token of each answer, the right one first; or -1.
    left_out: int  #: Records with answers to choose from that no single token tells apart.


NO_CHOICES = Choices(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 1), np.int32), 0)


def choices_of(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    conversations: Sequence[tuple[str, str]],
    candidates: Sequence[Sequence[str]],
) -> Choices:
    """Which records can be judged by choice, and by which tokens.

    Args:
      tokenizer: as for `encode`.
      template: as for `encode`.
      conversations: instruction and right answer of each record.
      candidates: the answers of each record, the right one among them; records with fewer than
        two are no choices.

    Raises:
      InputError: if the right answer of a record is not among its candidates.
    """
    answers: list[tuple[int, list[str]]] = []
    for record, ((_, right), every) in enumerate(zip(conversations, candidates, strict=True)):
        if len(every) and right not in every:
            raise InputError(f"record {record}: expected its answer {right!r} among the candidates")
        others = [one for one in dict.fromkeys(every) if one != right]
        if others:
            answers.append((record, [right, *others]))
    asked = [conversations[record][0] for record, own in answers for _ in own]
    said = [one for _, own in answers for one in own]
    encoded = encode(tokenizer, template, list(zip(asked, said, strict=True)))
    found = []
    first = 0
    for record, own in answers:
        place, tokens = _apart(encoded, range(first, first + len(own)))
        first += len(own)
        if len(set(tokens) - {-1}) == len(own):
            found.append((record, place, tokens))
    most = max((len(tokens) for *_, tokens in found), default=1)
    padded = [tokens + [-1] * (most - len(tokens)) for *_, tokens in found]
    return Choices(
        np.array([record for record, *_ in found], np.int64),
        np.array([place for _, place, _ in found], np.int32),
        np.array(padded, np.int32).reshape(len(found), most),
        len(answers) - len(found),
    )


def _apart(encoded: EncodedRecords, rows: range) -> tuple[int, list[int]]:
    """The first place at which some records differ, and their tokens there; -1 after an end."""
    texts = [encoded.of(row) for row in rows]
    shortest = min(map(len, texts))
    same = np.all([text[:shortest] == texts[0][:shortest] for text in texts], axis=0)
    place = int(np.argmin(np.append(same, False)))
    return place, [int(text[place]) if place < len(text) else -1 for text in texts]


def shared_candidates(
    conversations: Sequence[tuple[str, str]], groups: Sequence[str], most: int = 12
) -> list[list[str]]:
    """The distinct answers of each record's group; none if they are more than `most`.

    Where the right answer is an option such as (A), they are the options that the instruction
    names; else they are those that are none. So one odd answer does not spoil its group.

    >>> asked = [("Is 1 odd?", "yes"), ("Is 2 odd?", "no"), ("(A) x (B) y", "(A)"), ("", "(C)")]
    >>> shared_candidates(asked, ["odd", "odd", "letters", "letters"])
    [['no', 'yes'], ['no', 'yes'], ['(A)'], ['(C)']]
    """
    distinct: dict[str, set[str]] = {}
    for (_, answer), group in zip(conversations, groups, strict=True):
        distinct.setdefault(group, set()).add(answer)
    found = []
    for (asked, right), group in zip(conversations, groups, strict=True):
        option = bool(_OPTION.fullmatch(right))
        every = [one for one in distinct[group] if bool(_OPTION.fullmatch(one)) == option]
        kept = [one for one in every if one == right or not option or one in asked]
        found.append(sorted(kept) if len(kept) <= most else [])
    return found
