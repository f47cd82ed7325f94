"""Ranges and processes: however a pool is cut and whoever reads it, the table is the same."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.data import ReadingLimits, read_pool
from mig_jax.errors import InputError
from tests.tables import assert_same_table

Store = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


def line(number: int, filling: int = 0) -> bytes:
    labels = [f"label {number % 7}", f"é{number % 5}", f"label {number % 3}"]
    record = {"labels": labels, "score": number / 8, "text": "x" * filling}
    return json.dumps(record, ensure_ascii=False).encode()


# Good lines, blank ones, CRLF, a line longer than many ranges, and no line break at the end.
MIXED = b"\xef\xbb\xbf" + b"\n".join(
    [line(1), b"", line(2) + b"\r", b"  \r", line(3, 5000), *map(line, range(4, 40)), b"", line(40)]
)
BAD = [b"{", b'{"labels": [1], "score": 1}', b'{"labels": ["\xff"], "score": 1}', b"[]", b"null"]


def cut(size: int) -> ReadingLimits:
    """Has even a small pool read in ranges of so many bytes, and by several processes."""
    return ReadingLimits(range_size=size, parallel_from=0)


@contextlib.contextmanager
def decoded_here() -> Iterator[list[str]]:
    """Collects the calls of `decode_file`, by which any process decodes, in this process."""
    seen: list[str] = []

    def note(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "decode_file":
            seen.append(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(before)


def outcome(paths: list[Path], **options: Any) -> tuple[Any, bytes]:
    """The table or the error's message, and the rejects."""
    rejects = io.BytesIO()
    try:
        return read_pool(paths, rejects=rejects, **options), rejects.getvalue()
    except InputError as error:
        return str(error), rejects.getvalue()


def assert_same_outcome(found: tuple[Any, bytes], expected: tuple[Any, bytes]) -> None:
    if isinstance(expected[0], str):
        assert found[0] == expected[0]
    else:
        assert_same_table(found[0], expected[0])
    assert found[1] == expected[1]


@given(
    lines=st.lists(
        st.sampled_from([b"", b" \r", line(1), line(2) + b"\r", line(3, 90), *BAD]), max_size=12
    ),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    end=st.sampled_from([b"", b"\n"]),
    size=st.integers(1, 300),
    how=st.sampled_from(["error", "skip"]),
)
def test_any_cut_gives_the_same(
    lines: list[bytes], mark: bytes, end: bytes, size: int, how: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pool.jsonl")
        path.write_bytes(mark + b"\n".join(lines) + end)
        options = {"layout": "plain", "on_bad_record": how, "vocabulary": ["label 1", "é2"]}
        expected = outcome([path], **options)
        limits = ReadingLimits(range_size=size)
        assert_same_outcome(outcome([path], workers=1, limits=limits, **options), expected)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("size", [50, 997])
def test_any_number_of_workers_gives_the_same(store: Store, workers: int, size: int) -> None:
    path = store(MIXED)
    with decoded_here() as seen:
        expected = read_pool([path], workers=1)
    assert len(seen) == 1
    assert expected.line.tolist() == [1, 3, *range(5, 42), 43]
    with decoded_here() as seen:
        table = read_pool([path], workers=workers, limits=cut(size))
    assert not seen  # The workers are what was tried.
    assert_same_table(table, expected)


@pytest.mark.parametrize("how", ["error", "skip"])
def test_bad_records_are_told_in_their_order(store: Store, how: str) -> None:
    lines = MIXED.split(b"\n")
    for place, bad in zip((7, 8, 20, 21, 40), BAD, strict=True):
        lines.insert(place, bad)
    path = store(b"\n".join(lines))
    expected = outcome([path], on_bad_record=how)
    if how == "error":
        assert ", line 8: JSON is truncated" in expected[0]
    else:
        told = [json.loads(reject)["line"] for reject in expected[1].splitlines()]
        assert told == [8, 9, 21, 22, 41]
    borders = {len(b"\n".join(lines[:place])) + 1 for place in (7, 8)}
    for size in (60, *borders, *(border + 1 for border in borders)):
        found = outcome([path], on_bad_record=how, workers=2, limits=cut(size))
        assert_same_outcome(found, expected)


def many_files(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    texts = [b"".join(line(n) + b"\n" for n in range(9 * i + 1, 9 * i + 9)) for i in range(5)]
    paths = [folder / name for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet", "e")]
    paths[0].write_bytes(texts[0])
    paths[1].write_bytes(gzip.compress(texts[1]))
    paths[2].write_bytes(zstandard.compress(texts[2]))
    pq.write_table(pa.Table.from_pylist([json.loads(x) for x in texts[3].splitlines()]), paths[3])
    paths[4].write_bytes(texts[4])
    return paths


def test_files_of_all_kinds(tmp_path: Path) -> None:
    paths = many_files(tmp_path)
    expected = read_pool(paths, workers=1)
    assert expected.num_records == 40
    seen: list[int] = []
    with decoded_here() as decoded:
        table = read_pool(paths, workers=3, progress=seen.append, limits=cut(100))
    assert not decoded
    assert_same_table(table, expected)
    assert seen == sorted(seen)
    assert seen[-1] == sum(path.stat().st_size for path in paths)


def test_trouble_with_a_file_comes_after_the_bad_record_before_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = many_files(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    told, _ = outcome(paths, workers=3, layout="plain", limits=cut(100))
    assert told.startswith(f"{paths[1]}: gzip data is corrupt or truncated (")
    paths[0].write_bytes(paths[0].read_bytes() + BAD[0])
    told, _ = outcome(paths, workers=3, layout="plain", limits=cut(100))
    assert told.startswith(f"{paths[0]}, line 9: JSON")
    assert not capfd.readouterr().err  # Of the workers.


@pytest.mark.parametrize("text", [b"", b"\n \r\n" * 30])
def test_no_records(store: Store, text: bytes) -> None:
    path = store(text)
    told, _ = outcome([path], layout="plain", workers=2, limits=cut(8))
    assert told == f"{path}: holds no records; expected at least one"


@pytest.mark.parametrize("killed", [1, 2])
def test_killed_workers_change_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    path = store(MIXED)
    expected = read_pool([path], workers=1)
    children: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def start_child(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        children.append(start(*arguments, **options))
        return children[-1]

    def kill(_: int) -> None:
        for child in children[:killed]:
            child.kill()

    monkeypatch.setattr(subprocess, "Popen", start_child)
    assert_same_table(read_pool([path], workers=2, progress=kill, limits=cut(200)), expected)
    assert len(children) == 2
    assert all(child.returncode == -signal.SIGKILL for child in children)


def test_where_no_process_can_be_started(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(MIXED)
    expected = read_pool([path], workers=1)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert_same_table(read_pool([path], workers=2, limits=cut(200)), expected)


@pytest.mark.parametrize(("most", "left"), [(1000, 0), (10, 1)])
def test_much_text_of_bad_records_is_left_to_the_parent(store: Store, most: int, left: int) -> None:
    good = b"".join(line(n) + b"\n" for n in range(9))
    path = store(good + b"\n".join(BAD))
    options = {"layout": "plain", "on_bad_record": "skip"}
    expected = outcome([path], **options)
    limits = ReadingLimits(range_size=len(good), parallel_from=0, bad_text=most)
    with decoded_here() as decoded:
        found = outcome([path], workers=2, limits=limits, **options)
    assert len(decoded) == left
    assert_same_outcome(found, expected)


SCRIPT = """
    import signal, subprocess, sys
    from mig_jax.data import ReadingLimits, read_pool
    limits = ReadingLimits(range_size=1000, parallel_from=0)
    class Told(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            print(self.pid, flush=True)
    subprocess.Popen = Told
"""


def script(folder: Path, more: str, **options: Any) -> subprocess.Popen[str]:
    """A program as people write them in a hurry: everything at the top of the file."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(SCRIPT) + textwrap.dedent(more))
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **options,
    )


def test_scripts_run_once_and_workers_do_not_import_jax(store: Store, tmp_path: Path) -> None:
    path = store(MIXED)
    for name in ("jax", "jaxlib"):
        trap = f"open({str(tmp_path / 'imported')!r}, 'w')"
        Path(tmp_path, "trap", name).mkdir(parents=True)
        Path(tmp_path, "trap", name, "__init__.py").write_text(trap)
    process = script(
        tmp_path,
        f"""
        sys.path.insert(0, {str(tmp_path / "trap")!r})
        def note(frame, event, _):
            if event == "call" and frame.f_code.co_name == "decode_file":
                print("decoded here")
        sys.setprofile(note)
        table = read_pool([{str(path)!r}], workers=2, limits=limits)
        print("records", table.num_records)
    """,
    )
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert said.splitlines()[2:] == ["records 40"]
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_program(store: Store, tmp_path: Path, how: signal.Signals) -> None:
    path = store(MIXED * 20)
    process = script(
        tmp_path,
        f"""
        def progress(consumed):
            print("reading", flush=True)
            signal.pause()
        read_pool(
            [{str(path)!r}], on_bad_record="skip", workers=2, progress=progress, limits=limits
        )
        """,
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    assert process.pid not in map(os.getpgid, pids)
    assert process.stdout.readline() == "reading\n"
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # As the terminal does it.
    else:
        process.kill()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -how
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == (how == signal.SIGINT)
    limit = time.monotonic() + 30
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # One that has ended stays in the list until its adopter asks for it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc").is_dir()
