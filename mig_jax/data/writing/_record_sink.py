"""Where records are written: lines, compressed lines or a table, as the name of the output says."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self

import zstandard

from mig_jax.data.files import Losses, TableRows
from mig_jax.data.writing._table_spool import TableSpool
from mig_jax.errors import InputError

__all__ = ["OutputForm", "RecordSink", "output_form", "text_stream"]

OutputForm = Literal["lines", "gzip", "zstd", "parquet"]

_ENDINGS: Final[dict[str, OutputForm]] = {
    ".gz": "gzip",
    ".json": "lines",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".parquet": "parquet",
    ".zst": "zstd",
}
# What other programs take these for, mig_jax does not write.
_OTHERS: Final = (
    " .7z .arrow .avro .br .bson .bz2 .csv .db .duckdb .feather .h5 .hdf5 .html .ipc .lance .lmdb "
    ".lz4 .mdb .msgpack .npy .npz .ods .orc .pb .pickle .pkl .pq .pt .pth .rar .rds .safetensors "
    ".snappy .sqlite .sqlite3 .tar .tfrecord .tgz .toml .tsv .xls .xlsx .xml .xz .yaml .yml "
    ".z .zip .zstd "
)
_EXPECTED: Final = (
    "expected .jsonl or .json (lines), .jsonl.gz, .jsonl.zst, .parquet, or an ending of no other "
    "kind of file"
)


def output_form(path: str, *, as_table: bool = False) -> OutputForm:
    """What a file of this name holds: lines if its ending says nothing.

    Args:
      path: the name of the output.
      as_table: whether a table is wanted, whatever the name says.

    Raises:
      InputError: if a file of this name is expected to hold something else.

    >>> output_form("picked.jsonl.gz"), output_form("picked"), output_form("a.PARQUET")
    ('gzip', 'lines', 'parquet')
    """
    base, ending = os.path.splitext(os.path.basename(path).lower())
    inner = os.path.splitext(base)[1] if ending in (".gz", ".zst") else ""
    for found in (ending, inner):
        if f" {found} " in _OTHERS or (found == inner == ".parquet"):
            raise InputError(
                f"--output: {path} ends in {found}{ending * (found == inner)}; {_EXPECTED}"
            )
    form = _ENDINGS.get(ending)
    if as_table and form not in (None, "parquet"):
        raise InputError(
            f"--output: {path} ends in {ending}, but a table is asked for; expected .parquet"
        )
    return form or ("parquet" if as_table else "lines")


@contextlib.contextmanager
def text_stream(stream: BinaryIO, form: OutputForm) -> Iterator[BinaryIO]:
    """Where lines go, to be compressed on their way to the stream; same lines, same bytes."""
    if form == "gzip":
        # Neither the time nor the name stands in it.
        with gzip.GzipFile(
            filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0
        ) as text:
            yield text  # type: ignore[misc]
    elif form == "zstd":
        with zstandard.ZstdCompressor().stream_writer(stream, closefd=False) as writer:
            yield writer  # type: ignore[misc]
    else:
        yield stream


class RecordSink:
    """Takes records one at a time, in order, and writes what the name of their output says.

    >>> import io
    >>> stream = io.BytesIO()
    >>> with RecordSink(stream, "lines") as sink:
    ...     sink.write(b'{"a": 1}')
    >>> stream.getvalue()
    b'{"a": 1}\\n'
    """

    def __init__(
        self,
        stream: BinaryIO,
        form: OutputForm,
        sources: Sequence[Any] = (),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`sources` are the files that the records come from; `tell` is as for `write_records`.

        Raises:
          InputError: if tables among the sources cannot be one table, which is wanted.
        """
        self._stream = stream
        self._tell = tell
        self._held = contextlib.ExitStack()
        #: What of tables JSON has not; whoever reads the records adds to it.
        self.losses = Losses()
        self._table: TableSpool | None = None
        self._text: BinaryIO | None = None
        self._index = {source.stamp.path: index for index, source in enumerate(sources)}
        self._tables = [isinstance(source, TableRows) for source in sources]
        if form == "parquet":
            self._table = self._held.enter_context(TableSpool(sources, self.losses))
        else:
            self._text = self._held.enter_context(text_stream(stream, form))

    def write(self, record: bytes, came: tuple[str, int, bytes] | None = None) -> None:
        """Writes one record, a JSON object on one line.

        `came` are the path, the line (from 1) and the JSON of the record as it was read: what
        is the same in both keeps its type if it comes from a table and goes to one.
        """
        if self._text is not None:
            self._text.write(record.rstrip(b"\n") + b"\n")
            return
        assert self._table is not None
        if came is None or not self._tables[self._index[came[0]]]:
            self._table.add(record, 0, -1)
        else:
            path, line, text = came
            self._table.add(record, self._index[path], line - 1, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._held:
            if kind is not None:
                return
            if self._table is not None:
                self._table.write(self._stream, tell=self._tell)
            elif self._tell is not None:
                for line in self.losses.told():
                    self._tell(line)
