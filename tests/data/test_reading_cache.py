"""The cache of what was read: the same as reading, or passed over with a line."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mig_jax
from mig_jax.data import ReadingLimits, RecordTable, default_cache_folder, read_pool
from mig_jax.errors import InputError
from tests.tables import assert_same_table

Store = Callable[..., Path]

GOOD = [
    {"labels": ["pear", "apple", "pear"], "score": 2.5},
    {"labels": [], "score": 0.0},
    {"labels": ["\u0000", "é", "", "end\u0000", "👍"], "score": 1 / 3},
]
TEXT = b"".join(json.dumps(record).encode() + b"\n" for record in GOOD)
BAD = b'{"labels": ["\xff"], "score": 1}\n[]\n'


class Reader:
    """Reads with one cache; tells whether it was used, and what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.rejected = b""

    def __call__(self, *paths: Path, **options: Any) -> RecordTable:
        rejects = io.BytesIO()
        self.said = []
        options = {"cache": self.folder, "rejects": rejects, **options}
        table = read_pool(paths, on_cache=self.said.append, **options)
        self.rejected = rejects.getvalue()
        return table

    @property
    def hit(self) -> bool:
        assert len(self.said) <= 1
        return self.said[:1] == [f"the pool is unchanged: read from {self.files()[0]}"]

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "new" / "cache")


def test_a_second_reading_is_the_same(reader: Reader, store: Store, ending: str) -> None:
    text = TEXT if ending != ".parquet" else TEXT.replace(b"\\u0000", b"0")
    path = store(text, ending)
    expected = read_pool([path])
    assert_same_table(reader(path), expected)
    assert not reader.said
    seen: list[int] = []
    assert_same_table(reader(path, progress=seen.append), expected)
    assert reader.hit
    assert not seen  # Nothing is read.


def test_the_records_can_be_had_again(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    reader(path)
    table = reader(path)
    assert reader.hit
    lines = list(table.sources[0].read_records(table.position[1:]))
    assert lines == TEXT.splitlines()[1:]


def test_rejects_come_again(reader: Reader, store: Store) -> None:
    path = store(TEXT + BAD)
    first = reader(path, on_bad_record="skip")
    rejected = reader.rejected
    assert [json.loads(reject)["line"] for reject in rejected.splitlines()] == [4, 5]
    assert_same_table(reader(path, on_bad_record="skip"), first)
    assert reader.hit
    assert reader.rejected == rejected
    # Another name stands in the rejects, so these are not the same.
    other = path.rename(path.with_name("other.jsonl"))
    reader(other, on_bad_record="skip")
    assert not reader.said
    assert json.loads(reader.rejected.splitlines()[0])["file"] == str(other)


def test_a_pool_with_much_rejected_text_is_not_kept(reader: Reader, store: Store) -> None:
    path, limits = store(TEXT + BAD), ReadingLimits(kept_rejects=10)
    reader(path, on_bad_record="skip", limits=limits)
    assert len(reader.rejected.splitlines()) == 2
    assert not reader.files()
    reader(path, on_bad_record="skip", rejects=None, limits=limits)
    assert reader.files()


def test_a_bad_pool_is_an_error_every_time(reader: Reader, store: Store) -> None:
    path = store(TEXT + BAD)
    for _ in range(2):
        with pytest.raises(InputError, match="line 4"):
            reader(path)
    assert not reader.files()


def test_content_counts_and_not_names_or_times(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    expected = reader(path, rejects=None)
    moved = path.rename(path.with_name("moved.jsonl"))
    os.utime(moved, ns=(1, 1))
    table = reader(moved, rejects=None)
    assert reader.hit
    assert table.files == (str(moved),)
    assert list(table.sources[0].read_records(table.position)) == TEXT.splitlines()
    np.testing.assert_array_equal(table.labels, expected.labels)


def test_the_ending_counts_as_it_tells_how_a_file_is_stored(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    reader(path, rejects=None)
    with pytest.raises(InputError, match="holds no gzip data"):
        reader(path.rename(path.with_name("pool.jsonl.gz")), rejects=None)


def test_changed_content_of_the_same_size_and_time_is_read(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    reader(path)
    before = path.stat()
    path.write_bytes(TEXT.replace(b"2.5", b"7.5"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reader(path).scores[0] == 7.5
    assert not reader.said


def test_another_way_of_reading_misses(reader: Reader, store: Store) -> None:
    both = {"annotation": {"instag": {"content": ["x"]}, "deita": {"quality_scores": [1.0],
            "complexity_scores": [2.0]}}, "labels": ["y"], "score": 5.0}  # fmt: skip
    path = store(json.dumps(both).encode())
    ways: list[dict[str, Any]] = [
        {},
        {"layout": "plain"},
        {"layout": "xsample"},
        {"vocabulary": ["x"]},
        {"vocabulary": []},
        {"on_bad_record": "skip"},
        {"on_bad_record": "skip", "rejects": None},
    ]
    for _ in range(2):
        for way in ways:
            assert_same_table(reader(path, **way), read_pool([path], **way | {"rejects": None}))
    assert len(reader.files()) == len(ways)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mig_jax, "__version__", "0.0.1")
        reader(path)
        assert not reader.said
    reader(path)
    assert reader.said
    # The order of a vocabulary, repeats in it and the number of workers change nothing.
    reader(path, vocabulary=["x", "x"], workers=2)
    assert reader.said


def test_order_of_files_counts(reader: Reader, store: Store) -> None:
    first, second = store(TEXT), store(b'{"labels": ["fig"], "score": 1}', ".json")
    for _ in range(2):
        for paths in ([first, second], [second, first], [first]):
            assert_same_table(reader(*paths), read_pool(paths))
    assert len(reader.files()) == 3


def test_damage_is_told_and_repaired(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    expected = reader(path)
    (kept,) = reader.files()
    whole = kept.read_bytes()
    damaged = [b"", whole[:100], whole[: len(whole) // 2], whole[:-1], b"x" * len(whole)]
    places = np.random.default_rng(0).integers(0, len(whole), 100).tolist()
    damaged += [whole[:n] + bytes([whole[n] ^ 0x55]) + whole[n + 1 :] for n in places]
    passed_over = 0
    for content in damaged:
        kept.write_bytes(content)
        assert_same_table(reader(path), expected)
        (said,) = reader.said
        if not reader.hit:  # Some bytes of a zip file mean nothing.
            passed_over += 1
            assert said.startswith(f"{kept}: is damaged or cannot be read (")
            assert len(said.splitlines()) == 1
            assert len(kept.read_bytes()) == len(whole)
            reader(path)
            assert reader.hit
    assert passed_over > len(damaged) / 2


def test_it_never_unpickles(reader: Reader, store: Store, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "sprung"), "w")

    path = store(TEXT)
    reader(path)
    (kept,) = reader.files()
    with np.load(kept) as members:
        content: dict[str, Any] = dict(members)
    np.savez(kept, **content | {"labels": np.array([Trap()], object)})
    reader(path)
    assert not reader.hit
    assert not (tmp_path / "sprung").exists()


def test_all_of_it_can_be_deleted(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    expected = reader(path)
    reader.files()[0].unlink()
    assert_same_table(reader(path), expected)
    assert not reader.said
    reader.files()[0].unlink()
    reader.folder.rmdir()
    reader(path)
    reader(path)
    assert reader.hit


def test_a_folder_that_cannot_be_written_costs_a_line(reader: Reader, store: Store) -> None:
    path = store(TEXT)
    reader.folder.parent.write_bytes(b"a file")
    assert_same_table(reader(path), read_pool([path]))
    assert reader.said == [f"{reader.folder}: Not a directory; what was read is not kept there"]


def test_a_write_that_fails_leaves_nothing(
    reader: Reader, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: io.BufferedWriter, **_: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    path = store(TEXT)
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        reader(path)
    assert reader.said == [
        f"{reader.folder}: No space left on device; what was read is not kept there"
    ]
    assert not reader.files()


def test_a_pool_that_changes_while_it_is_read_is_not_kept(reader: Reader, store: Store) -> None:
    path = store(TEXT)

    def change(_: int) -> None:
        path.write_bytes(TEXT + TEXT)

    with pytest.raises(InputError, match="has changed since it was read"):
        reader(path, progress=change)
    assert not reader.files()


def test_two_runs_at_once(reader: Reader, store: Store) -> None:
    path = store(TEXT * 500)
    expected = read_pool([path])
    readers = [Reader(reader.folder) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for table in threads.map(lambda each: each(path, rejects=None), readers):
            assert_same_table(table, expected)
    assert len(reader.files()) == 1
    reader(path, rejects=None)
    assert reader.hit


def test_no_cache_by_default(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    said: list[str] = []
    for _ in range(2):
        read_pool([store(TEXT)], on_cache=said.append)
    assert not said
    assert not (tmp_path / "caches").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other places")
def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == str(tmp_path / "mig_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == str(tmp_path / ".cache" / "mig_jax")
    assert not list(tmp_path.iterdir())
