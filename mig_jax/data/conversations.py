"""The texts of records: what was asked, and the response that training would teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from mig_jax.data.layouts import BadRecord
from mig_jax.data.record_table import RecordTable
from mig_jax.errors import InputError

__all__ = ["decode_conversation", "read_conversations"]

_EXPECTED = 'a list of turns {"role": ..., "content": ...}'
_RECORDS_A_REPORT = 1024


class _Turn(msgspec.Struct):
    content: str
    role: str = ""


class _Record(msgspec.Struct):
    messages: list[_Turn] | None = None
    dialogs: list[_Turn] | None = None


_DECODER = msgspec.json.Decoder(_Record)


def decode_conversation(line: bytes) -> tuple[str, str]:
    """The instruction and the response of one record.

    The conversation is `messages`, or `dialogs` as in the layout xsample. The response
    is the last turn whose role is assistant, or else the last; the instruction is all
    turns before it, joined by line breaks.

    Raises:
      BadRecord: where there is no conversation of at least two turns.

    >>> decode_conversation(b'{"messages": [{"content": "Hi"}, {"content": "Hello"}]}')
    ('Hi', 'Hello')
    """
    try:
        record = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"{str(error) or 'nested too deeply'}; expected {_EXPECTED}") from None
    turns = record.messages if record.messages is not None else record.dialogs
    if turns is None:
        raise BadRecord(f"found no conversation; expected {_EXPECTED}", "messages")
    last = len(turns) - 1
    spoken = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    if spoken and spoken[-1]:
        last = spoken[-1]
    if last < 1:
        field = "messages" if record.messages is not None else "dialogs"
        raise BadRecord(f"found {len(turns)} turns; expected a question and a response", field)
    return "\n".join(turn.content for turn in turns[:last]), turns[last].content


def read_conversations(
    table: RecordTable, *, progress: Callable[[int], None] | None = None
) -> Iterator[tuple[str, str]]:
    """Yields the instruction and the response of each record of a pool, in order.

    Reads the pool's files once more, whatever they are; holds one record at a time.

    Args:
      table: as `read_pool` or the built-in pool gives it.
      progress: gets the records read so far.

    Raises:
      InputError: where a file has changed, or a record has no conversation.
    """
    done = 0
    for index, source in enumerate(table.sources):
        rows = np.flatnonzero(table.file_index == index)
        records = source.read_records(table.position[rows])
        for line, record in zip(table.line[rows].tolist(), records, strict=True):
            try:
                yield decode_conversation(record)
            except BadRecord as bad:
                separator = ", " if bad.field else ": "
                raise InputError(f"{table.files[index]}, line {line}{separator}{bad}") from None
            done += 1
            if progress is not None and not done % _RECORDS_A_REPORT:
                progress(done)
