"""Validation and test sets: records to be answered well, with labels if there are any."""

from __future__ import annotations

import dataclasses
import functools
import json
import os

import numpy as np
import numpy.typing as npt

from mig_jax.data.reading._pool_files import open_files
from mig_jax.data.records import (
    BadRecord,
    decode_conversation,
    instruction_and_response,
    labels_and_score,
    parse_record,
)
from mig_jax.errors import InputError
from mig_jax.runs import digest

__all__ = ["ValidationSet", "read_validation"]


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationSet:
    """n records of a validation or test file."""

    path: str
    conversations: list[tuple[str, str]]  # Instruction and response.
    label_lists: list[list[str]]  # Labels of each record, without repeats; empty without.
    groups: npt.NDArray[np.str_]  # [n]: the field `task`, or "" if a record has none.
    #: [n]: the field `source` where it is a text, or else the task: a finer grouping.
    sources: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.conversations)

    @functools.cached_property
    def digest(self) -> str:
        """A digest of what the records say, and of how they are grouped."""
        sources = self.groups if self.sources is None else self.sources
        parts = [[*pair] for pair in self.conversations]
        text = json.dumps([parts, self.groups.tolist(), sources.tolist()])
        return digest([np.frombuffer(text.encode(), np.uint8)])

    def of_group(self, group: str) -> ValidationSet:
        """The records of one group.

        Raises:
          InputError: if there are none.
        """
        rows = np.flatnonzero(self.groups == group).tolist()
        if not rows:
            known = ", ".join(sorted(set(self.groups.tolist())))
            raise InputError(
                f"{self.path}: has no record of task {group!r}; expected one of {known}"
            )
        return ValidationSet(
            self.path,
            [self.conversations[row] for row in rows],
            [self.label_lists[row] for row in rows],
            self.groups[rows],
            None if self.sources is None else self.sources[rows],
        )

    def label_ids(self, label_names: list[str]) -> list[list[int]]:
        """The ids in `label_names` of each record's labels; others are left out.

        Raises:
          InputError: if no record has labels, or none that are in `label_names`.
        """
        ids = {name: index for index, name in enumerate(label_names)}
        found = [[ids[label] for label in row if label in ids] for row in self.label_lists]
        if not any(self.label_lists):
            raise InputError(
                f"{self.path}: no record has labels; expected the field labels, a list of strings"
            )
        if not any(found):
            raise InputError(
                f"{self.path}: none of its labels is a label of the pool; expected the same tags"
            )
        return found


def read_validation(path: str | os.PathLike[str]) -> ValidationSet:
    """Reads records with a conversation each, and `labels` and `task` if given.

    `path` is what `read_pool` takes. Scores are not needed.

    Raises:
      InputError: if the file cannot be read, has fewer than two records, or a record
        has no conversation, or labels or a task of another kind.
    """
    conversations, label_lists, groups, sources = [], [], [], []
    for line in (line for file in open_files([path]) for line in file.scan()):
        try:
            if line.problem is not None:
                raise line.problem
            record = parse_record(line.text)
            conversations.append(instruction_and_response(decode_conversation(record)))
            labels, _ = labels_and_score(record, score=False)
            task = record.get("task")
            if not isinstance(task, str | None):
                raise BadRecord("expected a string", "task")
        except BadRecord as bad:
            separator = ", " if bad.field else ": "
            raise InputError(f"{path}, line {line.number}{separator}{bad}") from None
        label_lists.append(labels or [])
        groups.append(task or "")
        source = record.get("source")
        sources.append(source if isinstance(source, str) else task or "")
    if len(conversations) < 2:
        raise InputError(f"{path}: holds {len(conversations)} records; expected at least 2")
    groupings = np.array(groups, np.str_), np.array(sources, np.str_)
    return ValidationSet(os.fspath(path), conversations, label_lists, *groupings)
