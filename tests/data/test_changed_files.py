"""A pool that is no longer what was read: never are other records written."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mig_jax.data import FileStamp, RecordTable, open_files, read_conversations, read_pool
from mig_jax.data import write_records as write
from mig_jax.errors import InputError

RECORDS = [
    {
        "labels": [label],
        "score": 1.0,
        "messages": [{"role": "user", "content": label}, {"role": "assistant", "content": "x"}],
    }
    for label in "abcdefgh"
]
# As many bytes, however it is stored, if nothing is compressed: two records have changed places.
OTHERS = [*RECORDS[:3], RECORDS[4], RECORDS[3], *RECORDS[5:]]
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".csv", ".parquet")
CHANGED = "has changed since it was read"


def stored(path: Path, records: list[dict[str, Any]]) -> Path:
    name = path.name
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    if ".csv" in name:
        rows = [f'"{json.dumps(r["labels"]).replace(chr(34), chr(34) * 2)}",1.0' for r in records]
        text = "\n".join(["labels,score", *rows, ""]).encode()
    elif ".json" in name and ".jsonl" not in name:
        text = json.dumps(records).encode()
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(records), path, compression="none")
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(text, 0, mtime=0))
    elif name.endswith(".zst"):
        # One byte a block at most would be too much: stored as it is, in one raw block.
        header = bytes.fromhex("28b52ffd") + bytes([0b10100000]) + len(text).to_bytes(4, "little")
        path.write_bytes(header + (len(text) << 3 | 1).to_bytes(3, "little") + text)
        assert zstandard.decompress(path.read_bytes()) == text
    else:
        path.write_bytes(text)
    return path


def written(table: RecordTable, picks: list[int]) -> list[Any]:
    stream = io.BytesIO()
    write(table, picks, stream)
    return [json.loads(line)["labels"] for line in stream.getvalue().splitlines()]


def copied_over(path: Path, other: Path) -> None:
    """As `cp -p other path`."""
    with open(path, "r+b") as stream:
        stream.write(other.read_bytes())
    shutil.copystat(other, path)


def moved_over(path: Path, other: Path) -> None:
    """As `mv other path`, and as `rsync -t` does it."""
    os.replace(other, path)


@pytest.mark.parametrize("replace", [copied_over, moved_over])
@pytest.mark.parametrize("with_cache", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_another_file_of_the_same_size_and_time_is_refused(
    tmp_path: Path, ending: str, with_cache: bool, replace: Callable[[Path, Path], None]
) -> None:
    path = stored(tmp_path / f"pool{ending}", RECORDS)
    other = stored(tmp_path / f"other{ending}", OTHERS)
    assert path.stat().st_size == other.stat().st_size
    for file in (path, other):
        os.utime(file, ns=(1_700_000_000_000_000_000,) * 2)
    table = read_pool([path], cache=tmp_path / "cache" if with_cache else None)
    assert written(table, [4, 3]) == [["e"], ["d"]]
    replace(path, other)
    assert path.stat().st_mtime_ns == 1_700_000_000_000_000_000
    with pytest.raises(InputError, match=CHANGED):
        written(table, [4, 3])


def test_the_same_content_in_another_file_is_the_pool_if_it_was_hashed(tmp_path: Path) -> None:
    path = stored(tmp_path / "pool.jsonl", RECORDS)
    table = read_pool([path], cache=tmp_path / "cache")
    path.chmod(0o400)
    assert written(table, [4]) == [["e"]]
    os.replace(shutil.copy2(path, tmp_path / "copy"), path)
    os.utime(path, ns=(0, 0))
    assert written(table, [4]) == [["e"]]
    table = read_pool([path])
    path.chmod(0o600)
    with pytest.raises(InputError, match=rf"{CHANGED} \(another file of the same size and time"):
        written(table, [4])


def test_a_hash_of_something_else_is_not_taken_for_the_content(tmp_path: Path) -> None:
    path = stored(tmp_path / "pool.jsonl", RECORDS)
    stamp = FileStamp.of(str(path))
    moved_over(path, stored(tmp_path / "other.jsonl", OTHERS))
    stamp.digests()  # The first time: of the other file.
    with pytest.raises(InputError, match=CHANGED):
        stamp.check_unchanged()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path, ending: str) -> None:
    path = stored(tmp_path / f"pool{ending}", RECORDS)
    other = stored(tmp_path / f"other{ending}", OTHERS)

    def replace(_: int) -> None:
        if other.exists():
            moved_over(path, other)

    with pytest.raises(InputError, match=CHANGED):
        read_pool([path], progress=replace)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_replaced_while_it_is_written_is_refused(
    tmp_path: Path, ending: str
) -> None:
    path = stored(tmp_path / f"pool{ending}", RECORDS)
    table = read_pool([path])
    records = table.sources[0].read_records(table.position)
    next(records)
    moved_over(path, stored(tmp_path / f"other{ending}", OTHERS))
    with pytest.raises(InputError, match=CHANGED):
        list(records)


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != ".csv"])
def test_passes_over_open_files_read_the_same_or_nothing(tmp_path: Path, ending: str) -> None:
    path = stored(tmp_path / f"pool{ending}", RECORDS)
    files = open_files([path])
    for _ in range(2):
        assert [record.labels for record in read_conversations(files)][3:5] == [["d"], ["e"]]
    moved_over(path, stored(tmp_path / f"other{ending}", OTHERS))
    with pytest.raises(InputError, match=CHANGED):
        list(read_conversations(files))


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path: Path, ending: str) -> None:
    records = [{**RECORDS[0], "text": "x" * 1000}] * 10_000  # More than is read at a time.
    path = stored(tmp_path / f"pool{ending}", records)

    def cut(_: int) -> None:
        os.truncate(path, 1 << 22)

    with pytest.raises(InputError):
        read_pool([path], progress=cut, workers=1)
    path = stored(path, records)
    table = read_pool([path])
    read = table.sources[0].read_records(table.position)
    next(read)
    os.truncate(path, 1 << 22)
    with pytest.raises(InputError):
        list(read)
