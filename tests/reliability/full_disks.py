"""Disks that are full, at many places of a command: one line, status 2, and nothing half there.

    python -m tests.reliability.full_disks --root=DIR

Folders are small file systems in memory (it takes root to mount them). Each row of
DIR/full_disks.jsonl is a place: what was full, what the command said, and what was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from tests.reliability import forked
from tests.reliability.cases import Bench, left_behind, make_cases
from tests.reliability.rows import Rows


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


def full_stream(descriptor: int) -> Callable[[], None]:
    """For `before`: stdout or stderr leads to a full device."""
    return lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor) and None


def full_temporary_folder(folder: pathlib.Path) -> Callable[[], None]:
    """For `before`: where temporary files of no name stand."""

    def before() -> None:
        import tempfile

        tempfile.tempdir = str(folder)

    return before


def check(bench: Bench, ended: forked.Ended) -> dict[str, Any]:
    """What was said, and what is wrong: of a command that found a disk full."""
    row: dict[str, Any] = {"status": ended.status, "line": ended.line[-200:]}
    try:
        assert "Traceback" not in ended.err, ended.err[-800:]
        assert ended.status == 2, f"status {ended.status}: {ended.line}"
        assert ended.line.startswith("mig-jax: "), ended.line
        assert bench.which(had_older=True) == "old"
        assert not left_behind(bench.out), left_behind(bench.out)
    except AssertionError as error:
        row["wrong"] = str(error)[:800]
    return row


def places(bench: Bench, root: pathlib.Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Each place of a case with a function that tries it."""
    name = bench.case.name

    def on_small_disk(more: int, words: list[str], place: str) -> dict[str, Any]:
        """With so many bytes left in the folder of outputs, or in another that is named."""
        bench.older()
        folder = bench.out if place == "." else root / place
        if place != ".":
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        files = [path for path in folder.rglob("*") if path.is_file()]
        used = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)
        with small_disk(folder, used + more):
            return check(bench, bench.run(*words))

    for more in bench.case.full_at:
        yield (
            f"{name}: {more} bytes left in the folder of outputs",
            lambda more=more: on_small_disk(more, [], "."),
        )

    def full(folder: pathlib.Path, words: list[str], before: Callable[[], None]) -> forked.Ended:
        bench.older()
        folder.mkdir(exist_ok=True)
        with small_disk(folder, 4096):
            (folder / "filler").write_bytes(b"x" * 4096)
            return bench.run(*words, before=before)

    def goes_on(ended: forked.Ended) -> dict[str, Any]:
        row: dict[str, Any] = {"status": ended.status, "line": ended.line[-200:]}
        if ended.status or "Traceback" in ended.err or bench.which(had_older=True) != "new":
            row["wrong"] = ended.err[-500:]
        return row

    def stdout() -> dict[str, Any]:
        bench.older()
        ended = bench.run(before=full_stream(1))
        row: dict[str, Any] = {"status": ended.status, "line": ended.line[-200:]}
        told = "standard output: No space left on device; all outputs were written"
        if ended.status != 2 or told not in ended.line or "Traceback" in ended.err:
            row["wrong"] = ended.err[-500:]
        elif bench.which(had_older=True) != "new":
            row["wrong"] = "the outputs are not there"
        return row

    def stderr() -> dict[str, Any]:
        bench.older()
        return goes_on(bench.run(before=full_stream(2)))

    yield f"{name}: stdout", stdout
    yield f"{name}: stderr, where the run goes on", stderr
    if name != "select":
        return
    yield (
        "select: checkpoints",
        lambda: on_small_disk(16384, [f"--checkpoint_dir={root / 'ck'}"], "ck"),
    )
    yield (
        "select: --report in another folder",
        lambda: on_small_disk(16384, [f"--report={root / 'rep'}"], "rep"),
    )
    spool = root / "tmp"
    yield (
        "select: the temporary folder",
        lambda: check(bench, full(spool, [], full_temporary_folder(spool))),
    )
    cache = root / "cache"
    yield (
        "select: the cache, where the run goes on",
        lambda: goes_on(full(cache, [f"--cache={cache}"], lambda: None)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--cases", default="select,annotate,learn")
    options = parser.parse_args()
    rows = Rows(options.root, "full disks")
    done = {row["place"] for row in rows.read()}
    forked.ready()
    cases = make_cases(options.root)
    for name in options.cases.split(","):
        bench = Bench(cases[name], options.root)
        for place, tried in places(bench, options.root):
            if place not in done:
                rows.add({"place": place, **tried()})
    rows.tell()


if __name__ == "__main__":
    main()
