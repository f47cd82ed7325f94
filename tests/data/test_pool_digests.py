"""Whether several processes see the same pool is told by the bytes of its files."""

from __future__ import annotations

import os
import shutil

import pytest

from mig_jax.data import pool_digests


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.jsonl"
    rows = [f'{{"labels": ["l{n % 7}"], "score": {n % 5}.25}}\n' for n in range(500_000)]
    path.write_text("".join(rows))
    return path


def change(path, place: int) -> None:
    """Other bytes; the size and the time of the last change stay as they were."""
    status = path.stat()
    with open(path, "r+b") as stream:
        stream.seek(place)
        (byte,) = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("whole_up_to", [1 << 32, 0])
def test_a_copy_of_another_name_is_the_same(pool, tmp_path, whole_up_to):
    copy = tmp_path / "b.jsonl"
    shutil.copy(pool, copy)
    found, again = (pool_digests([path], whole_up_to=whole_up_to) for path in (pool, copy))
    assert found == again
    assert f"{pool.stat().st_size:,} bytes" in found[0]


@pytest.mark.parametrize("whole_up_to", [1 << 32, 0])
@pytest.mark.parametrize("place", [0, -1])
def test_a_changed_file_is_another(pool, whole_up_to, place):
    before = pool_digests([pool], whole_up_to=whole_up_to)
    change(pool, place % pool.stat().st_size)
    assert pool_digests([pool], whole_up_to=whole_up_to) != before


def test_all_of_a_pool_counts_that_is_not_huge(pool):
    before = pool_digests([pool])
    change(pool, 100_001)  # Between the blocks that would be read of a huge one.
    sampled = pool_digests([pool], whole_up_to=0)
    change(pool, 100_001)
    assert pool_digests([pool], whole_up_to=0) == sampled
    change(pool, 100_001)
    assert pool_digests([pool]) != before


def test_the_order_of_files_counts(pool, tmp_path):
    small = tmp_path / "small.jsonl"
    small.write_text('{"labels": [], "score": 1}\n')
    assert pool_digests([pool, small]) == pool_digests([small, pool])[::-1]
    assert pool_digests([pool, small]) != pool_digests([small, pool])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("labels,score\tother\n[],1\t2\n", ("pool.csv", "pool.tsv")),
        ('{"labels": [], "score": 1}\n', ("pool.jsonl", "pool.csv")),
    ],
)
def test_what_a_file_is_read_as_counts(tmp_path, text, names):
    """The same bytes are other records under another name."""
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_text(text)
    one, other = pool_digests(paths)
    assert one != other
    assert one.partition(" of ")[2] == other.partition(" of ")[2]
