"""Disks that are full, at many places of a command: one line, status 2, and nothing half there.

    python -m tests.reliability.full_disks --root=DIR

Folders are small file systems in memory (it takes root to mount them), or no file of a command may
be larger than some bytes, which fails as a full disk does. Each row of DIR/full_disks.jsonl is a
place: what was full, what the command said, and what was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from tests.reliability import forked
from tests.reliability.cases import Bench, Case, content, left_behind, make_cases


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size: int) -> Iterator[None]:
    """Within, the folder is a file system of so many bytes, with what was in it."""
    kept = folder.with_name(folder.name + "_kept")
    shutil.rmtree(kept, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    shutil.copytree(folder, kept)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def small_files(size: int) -> Callable[[], None]:
    """For `before`: no file may be larger."""

    def before() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return before


def full_stream(descriptor: int) -> Callable[[], None]:
    """For `before`: stdout or stderr leads to a full device."""
    return lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor) and None


def full_temporary_folder(folder: pathlib.Path) -> Callable[[], None]:
    """For `before`: where temporary files of no name stand."""

    def before() -> None:
        import tempfile

        tempfile.tempdir = str(folder)

    return before


def check(bench: Bench, ended: forked.Ended, *, keeps: bool = False) -> dict[str, Any]:
    """What was said, and what is wrong: of a command that found a disk full."""
    row: dict[str, Any] = {"status": ended.status, "line": ended.line[-200:]}
    try:
        assert "Traceback" not in ended.err, ended.err[-800:]
        assert ended.status == 2, f"status {ended.status}: {ended.line}"
        assert ended.line.startswith("mig-jax: "), ended.line
        assert bench.which(had_older=True) == "old"
        if not keeps:
            assert not left_behind(bench.out), left_behind(bench.out)
    except AssertionError as error:
        row["wrong"] = str(error)[:800]
    return row


def _next_run(bench: Bench, row: dict[str, Any]) -> dict[str, Any]:
    again = bench.run()
    if again.status or content(bench.out, bench.case) != bench.sets[False]:
        row.setdefault("wrong", f"the next run: {again.status} {again.line}")
    elif left := left_behind(bench.out):
        row.setdefault("wrong", f"left behind: {left}")
    return row


def places(
    benches: dict[str, Bench], root: pathlib.Path
) -> Iterator[tuple[str, Callable[[], dict]]]:
    """Each place with a function that tries it."""

    def limited(bench: Bench, size: int) -> dict:
        bench.older()
        return _next_run(bench, check(bench, bench.run(before=small_files(size))))

    def on_small_disk(bench: Bench, more: int, words: list[str], place: str) -> dict:
        """With so many bytes left in the folder of outputs, or in another that is named."""
        bench.older()
        folder = bench.out if place == "." else root / place
        if place != ".":
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        used = sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))
        with small_disk(folder, max(used + more, 4096)):
            row = check(bench, bench.run(*words))
        bench.older()
        return row

    select, annotate = benches["select"], benches["annotate"]
    for bench in benches.values():
        for size in (0, 100, 1000, 3000):
            # A journal or a state that could not be written stays as it was.
            yield f"{bench.case.name}: files of {size} bytes", lambda b=bench, s=size: limited(b, s)
        for more in (0, 4096, 12288, 24576):
            yield (
                f"{bench.case.name}: {more} bytes left in the folder of outputs",
                lambda b=bench, m=more: on_small_disk(b, m, [], "."),
            )
    yield (
        "select: checkpoints",
        lambda: on_small_disk(select, 16384, [f"--checkpoint_dir={root / 'ck'}"], "ck"),
    )
    yield (
        "select: --report in another folder",
        lambda: on_small_disk(select, 16384, [f"--report={root / 'rep'}"], "rep"),
    )

    def spool() -> dict:
        select.older()
        folder = root / "tmp"
        folder.mkdir(exist_ok=True)
        with small_disk(folder, 4096):
            (folder / "filler").write_bytes(b"x" * 4096)
            ended = select.run(before=full_temporary_folder(folder))
        return _next_run(select, check(select, ended))

    yield "select: the temporary folder", spool

    def stdout(bench: Bench) -> dict:
        bench.older()
        ended = bench.run(before=full_stream(1))
        row: dict[str, Any] = {"status": ended.status, "line": ended.line[-200:]}
        told = "standard output: No space left on device; all outputs were written"
        if ended.status != 2 or told not in ended.line or "Traceback" in ended.err:
            row["wrong"] = ended.err[-500:]
        elif bench.which(had_older=True) != "new":
            row["wrong"] = "the outputs are not there"
        return row

    def stderr(bench: Bench) -> dict:
        bench.older()
        ended = bench.run(before=full_stream(2))
        row: dict[str, Any] = {"status": ended.status, "line": "(nowhere to say anything)"}
        if ended.status != 0 or bench.which(had_older=True) != "new":
            row["wrong"] = f"status {ended.status}"
        return row

    for bench in (select, annotate):
        yield f"{bench.case.name}: stdout", lambda b=bench: stdout(b)
        yield f"{bench.case.name}: stderr, where the run goes on", lambda b=bench: stderr(b)

    def cache() -> dict:
        select.older()
        folder = root / "cache"
        folder.mkdir(exist_ok=True)
        with small_disk(folder, 4096):
            (folder / "filler").write_bytes(b"x" * 4096)
            ended = select.run(f"--cache={folder}")
        row: dict[str, Any] = {"status": ended.status, "line": ended.line[-200:]}
        if ended.status != 0 or select.which(had_older=True) != "new":
            row["wrong"] = ended.err[-500:]
        return row

    yield "select: the cache, where the run goes on", cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    options.root.mkdir(parents=True, exist_ok=True)
    log = options.root / "full_disks.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    done = {json.loads(line)["place"] for line in lines}
    forked.ready()
    cases: dict[str, Case] = make_cases(options.root)
    benches = {name: Bench(case, options.root) for name, case in cases.items()}
    for place, tried in places(benches, options.root):
        if place in done or options.only not in place:
            continue
        row = {"place": place, **tried()}
        with log.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    wrong = [row for row in rows if "wrong" in row]
    print(f"{len(rows)} places, {len(wrong)} with something wrong")
    for row in wrong:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
