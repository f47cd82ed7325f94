"""Small files that hold very much: bounded memory, progress all the time, one line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.data import ReadingLimits, open_files, read_pool
from mig_jax.errors import InputError

RECORD = b'{"labels": ["a"], "score": 1}\n'
_BLOCK = 1 << 17

# Reads the files named, and prints for each what is said and the most memory so far, in MB.
PROGRAM = """
import re, sys
from mig_jax.data import read_pool
from mig_jax.errors import InputError
for path in sys.argv[1:]:
    calls = []
    try:
        told = read_pool([path], progress=calls.append).num_records
    except InputError as error:
        told = str(error).removeprefix(path)
    most = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
    print(most >> 10, len(calls), told, sep="|")
"""


def zstd_of(byte: bytes, blocks: int, end: bytes = b"") -> bytes:
    """A zstd frame (RFC 8878) whose text is a byte many times: four bytes for 128 KiB."""
    repeated = (_BLOCK << 3 | 1 << 1).to_bytes(3, "little") + byte
    raw = (len(end) << 3 | 1).to_bytes(3, "little") + end
    return bytes.fromhex("28b52ffd0038") + repeated * blocks + raw


def gzip_of(start: bytes, byte: bytes, count: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(start)]
    parts += [packer.compress(byte * (1 << 24)) for _ in range(count >> 24)]
    return b"".join([*parts, packer.flush()])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory used")
def test_memory_is_bounded(tmp_path: Path) -> None:
    blocks = 3000  # 375 MiB.
    files = {
        "lines.jsonl.zst": zstd_of(b"\n", blocks, RECORD),
        "line.jsonl.zst": zstd_of(b"a", blocks),
        "line.jsonl.gz": gzip_of(b"", b"a", 1 << 28),
        "array.json.gz": gzip_of(b'[{"a": "', b"a", 1 << 28),
        "deep.json.gz": gzip_of(b"[", b"[", 1 << 27),
        "row.csv.gz": gzip_of(b"labels,score\n", b",", 1 << 27),
        "quoted.csv.gz": gzip_of(b'labels,score\n"', b"\n", 1 << 27),
        "blank.csv.gz": gzip_of(b"labels,score\n", b"\n", 1 << 27),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in files]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=True
    )
    found = [line.split("|") for line in ran.stdout.splitlines()]
    told = dict(zip(files, (what for _, _, what in found), strict=True))
    too_long = "is longer than 16 MiB; expected one record a line (--longest_record=MIB allows"
    assert told.pop("lines.jsonl.zst") == "1"
    assert told.pop("quoted.csv.gz").startswith(", line 2: found more than 2,097,152 separators")
    assert told.pop("blank.csv.gz") == ": holds no records; expected at least one"
    assert all(too_long in what for what in told.values()), told
    # The bytes of blank lines alone would be more.
    assert int(found[0][0]) < 150
    assert max(int(megabytes) for megabytes, _, _ in found) < 400
    assert int(found[0][1]) > 100  # Progress was told all the while.


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_line_may_be_as_long_as_is_said(tmp_path: Path, ending: str) -> None:
    text = RECORD + json.dumps({"labels": ["a"], "score": 2, "text": "x" * 1000}).encode() + b"\n"
    longest = len(text.splitlines()[1])
    pack = {".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.compress}.get(ending, bytes)
    path = tmp_path / f"pool{ending}"
    for content in (text * 3, (text * 3)[:-1]):
        path.write_bytes(pack(content))
        table = read_pool([path], limits=ReadingLimits(longest_record=longest))
        assert table.num_records == 6
        found = list(table.sources[0].read_records(table.position))
        assert found == content.splitlines()
        for layout in ("auto", "plain"):
            limits = ReadingLimits(longest_record=longest - 1)
            with pytest.raises(InputError) as caught:
                read_pool([path], limits=limits, layout=layout)  # type: ignore[arg-type]
            assert str(caught.value).startswith(
                f"{path}: the record that starts at byte {len(RECORD)} of the text is longer than "
            )


@given(
    texts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    level=st.integers(-5, 19),
    checksum=st.booleans(),
    size=st.booleans(),
    gap=st.binary(max_size=40),
)
def test_zstd_frames_of_all_kinds_are_what_zstandard_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[bytes],
    level: int,
    checksum: bool,
    size: bool,
    gap: bytes,
) -> None:
    packer = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=size)
    skipped = bytes.fromhex("5e2a4d18") + len(gap).to_bytes(4, "little") + gap
    frames = [packer.compress(text * 700) for text in texts]
    path = tmp_path_factory.mktemp("zstd") / "pool.zst"
    content = RECORD + b"\n".join(text * 700 for text in texts)
    path.write_bytes(packer.compress(RECORD) + skipped.join([b"", *frames]))
    (file,) = open_files([path])
    found = b"".join(bytes(block.buffer[: block.end]) for block in file.blocks())  # type: ignore[union-attr]
    content = RECORD + b"".join(text * 700 for text in texts)
    assert found in (content, content + b"\n")
    whole = path.read_bytes()
    for cut in {1, 2, len(frames[-1]) // 2, len(frames[-1]) - 1} & {*range(1, len(frames[-1]))}:
        path.write_bytes(whole[:-cut])
        (file,) = open_files([path])
        with pytest.raises(InputError, match="zstd data is corrupt or truncated"):
            list(file.scan())


def test_a_window_that_would_be_held_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl.zst"
    path.write_bytes(bytes.fromhex("28b52ffd00a8") + (1).to_bytes(3, "little"))  # 2 GiB.
    with pytest.raises(InputError, match="zstd data is corrupt or truncated"):
        read_pool([path])
