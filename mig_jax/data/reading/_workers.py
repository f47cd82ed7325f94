"""Decodes several files, or ranges of one, at the same time, on all cores."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from mig_jax.data.reading._limits import ReadingLimits
from mig_jax.data.reading._record_parts import Decoded, Decoding, decode_file
from mig_jax.devices import answers_of_processes

__all__ = ["decode_in_parallel"]

_Answer = list[Decoded] | None


def decode_in_parallel(
    decodings: Sequence[Decoding], workers: int, limits: ReadingLimits
) -> Iterator[_Answer]:
    """Yields for each decoding, in order, what `decode_file` yields, or None.

    None is for the caller to decode here, as it comes: a file that cannot be read to its
    end or has too much text of bad records to hold, or one whose process was killed. The
    `workers` processes are at most two decodings each ahead of the caller. Close the iterator
    to end all processes.
    """
    work = functools.partial(_answer, limits.bad_text)
    return answers_of_processes(work, decodings, workers)


def _answer(most_bad_text: int, decoding: Decoding) -> _Answer:
    parts = []
    bad_text = 0
    for part in decode_file(decoding):
        parts.append(part)
        bad_text += sum(len(bad.text) for bad in part.bad)
        if bad_text > most_bad_text:
            return None
    return parts
