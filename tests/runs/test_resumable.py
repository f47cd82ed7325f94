"""What runs leave to go on from: what is ours, who holds it, and what a kill leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import mig_jax
from mig_jax import data, learning, runs
from mig_jax.annotation import Annotation, Journal
from mig_jax.errors import InputError
from mig_jax.selection import Checkpoints, Progress
from tests.running import ROOT, refused

RUN = {"pool": runs.digest([1]), "budget": 3, "names": ["a", "b"]}

# The four that save runs: each is opened at a path, and saves the next entry.


def checkpoints(path, run):
    return Checkpoints(path, run, every_seconds=0)


def save_checkpoint(opened):
    count = len(opened.restore(100) or ()) + 1
    row = np.arange(count, dtype=np.float32)
    z = np.ones(4, np.float32)
    opened.save(Progress(np.arange(count), row, row, z, (z,)))


FREE = learning.Free(
    learning.shared_start(threshold=0.75), 3, lowest_threshold=0.5, highest_threshold=1.0
)
STATE = learning.initial_state(
    mig_jax.label_graph_from_edges(3, [(0, 1, 0.8)]), FREE, jax.random.key(0), steps=3
)


def save_state(opened):
    found = opened.restore(STATE)
    step = 1 if found is None else int(found.step) + 1
    opened.save(dataclasses.replace(STATE, step=jnp.asarray(step)))


def cells(path, run):
    return runs.RunArrays(path / "cells", "cells", run)


def save_cell(opened):
    number = len(opened.restore(range(100), ["picks"]))
    opened.save(number, {"picks": np.arange(number + 3)})


@dataclasses.dataclass(frozen=True)
class Saver:
    open: Callable[[pathlib.Path, dict[str, Any]], Any]
    save: Callable[[Any], None]  # One more entry.
    place: str = "."  # What it keeps, within its path.


FOLDERS = {
    "checkpoints": Saver(checkpoints, save_checkpoint),
    "states": Saver(learning.LearningStates, save_state),
    "cells": Saver(cells, save_cell, "cells"),
}
SAVERS = {
    **FOLDERS,
    "journal": Saver(
        lambda path, run: Journal(str(path), run, 1),
        lambda opened: opened.append([Annotation(["label"], {"s": [1.0]})]),
    ),
}
for_all = pytest.mark.parametrize("saver", SAVERS.values(), ids=SAVERS)
for_folders = pytest.mark.parametrize("saver", FOLDERS.values(), ids=FOLDERS)


def content(path):
    """Every file and folder at a path or below, with bytes and time of change."""
    return {
        found.relative_to(path).as_posix(): (
            found.read_bytes() if found.is_file() else None,
            found.stat().st_mtime_ns,
        )
        for found in [path, *path.rglob("*")]
    }


@contextlib.contextmanager
def refusal(path: pathlib.Path) -> Iterator[list[str]]:
    """Expects one line of an InputError, and that all at the path is as it was."""
    before, told = content(path), []
    with pytest.raises(InputError) as caught:
        yield told
    told.append(str(caught.value))
    assert str(path) in told[0]
    assert "\n" not in told[0]
    assert content(path) == before


def begin(saver, path, run=RUN):
    with saver.open(path, run) as opened:
        saver.save(opened)


# Only what carries our record is ours.


def a_folder_of_digits(place):
    (place / "2023").mkdir()
    (place / "2023" / "photo.jpg").write_bytes(b"\xff\xd8 not to be lost")


def checkpoints_of_another_program(place):
    with ocp.CheckpointManager(place) as manager:
        manager.save(7, args=ocp.args.StandardSave({"weights": np.ones(3)}))
        manager.save(9, args=ocp.args.StandardSave({"weights": np.ones(3)}))


def what_earlier_versions_left(place):
    names = ("run", "state")
    with ocp.CheckpointManager(place, item_names=names) as manager:
        run, tree = ocp.args.JsonSave(RUN), ocp.args.StandardSave([np.ones(3)])
        manager.save(7, args=ocp.args.Composite(run=run, state=tree))
    (place / "00007.npz").write_bytes(b"")


def a_record_of_another_program(place):
    (place / "run.json").write_text('{"run": {"budget": 3}}\n')
    (place / "00001.npz").write_bytes(b"mine")


def a_record_cut_short(place):
    (place / "run.json").write_text('{"format": "mig_jax')


def an_empty_record(place):
    (place / "run.json").write_bytes(b"")


def a_record_of_another_kind(place):
    with runs.RunFolder(place, "another kind", RUN, ".npz"):
        pass


@for_folders
@pytest.mark.parametrize(
    "leave",
    [
        a_folder_of_digits,
        checkpoints_of_another_program,
        what_earlier_versions_left,
        a_record_of_another_program,
        a_record_cut_short,
        an_empty_record,
        a_record_of_another_kind,
    ],
    ids=lambda leave: leave.__name__,
)
def test_a_folder_that_is_not_ours_is_refused_and_stays(saver, leave, tmp_path):
    place = tmp_path / saver.place
    place.mkdir(exist_ok=True)
    leave(place)
    with refusal(tmp_path) as told:
        begin(saver, tmp_path)
    assert "record of mig_jax" in told[0]
    assert told[0].endswith("; choose another place, or delete this folder")


@for_folders
def test_what_is_not_ours_in_our_folder_stays(saver, tmp_path):
    """Entries come, go and are damaged beside it."""
    begin(saver, tmp_path)
    place = tmp_path / saver.place
    (place / "7.npz").write_bytes(b"mine")
    a_folder_of_digits(place)
    before = content(place / "2023")
    for _ in range(4):
        begin(saver, tmp_path)
    assert content(place / "2023") == before
    assert (place / "7.npz").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"half a li",
        b'{"run": {"budget": 3}}\n',
        b'{"format": "mig_jax cells", "run": {}}\n',
        b'{"format": "mig_jax journal", "run": {}}',
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_stays(foreign, tmp_path):
    pool, output = tmp_path / "pool.jsonl", tmp_path / "o.jsonl"
    pool.write_text('{"question": "q", "answer": "a", "labels": ["x"], "score": 1}\n')
    (tmp_path / "o.journal.jsonl").write_bytes(foreign)
    before = content(tmp_path)
    flags = ("--tagger=keep", "--scorer=keep")
    line = refused("annotate", f"--pool={pool}", f"--output={output}", *flags)
    assert "o.journal.jsonl: its first line is no record of mig_jax journal" in line
    assert line.endswith("; choose another place, or delete this file")
    after = content(tmp_path)
    # Outputs come and go beside it; what is there stays.
    assert {name: after[name] for name in after if name != "."} == {
        name: before[name] for name in before if name != "."
    }


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    def fsync(descriptor, fsync=os.fsync):
        (tmp_path / "j").write_bytes(b"mine")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)  # Called when a journal is about to get its name.
    with pytest.raises(InputError, match="its first line is no record of mig_jax journal"):
        begin(SAVERS["journal"], tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["j"]


def test_a_place_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    for saver in FOLDERS.values():
        with refusal(tmp_path) as told:
            begin(saver, tmp_path / "file" / "x")
        assert "expected a directory" in told[0]
    for path in (tmp_path / "folder", tmp_path / "nowhere" / "j"):
        with refusal(tmp_path) as told:
            begin(SAVERS["journal"], path)
        assert "expected a place to write to" in told[0]


@for_all
def test_another_run_is_refused_by_the_parts_that_differ(saver, tmp_path):
    path = tmp_path / "here"
    begin(saver, path)
    for other, expected in (
        ({**RUN, "budget": 4}, "budget (3; now 4) differs"),
        ({**RUN, "pool": runs.digest([2])}, "another run: pool differs"),
        ({**RUN, "names": ["a"], "more": 1}, "names (['a', 'b']; now ['a']), more differ"),
    ):
        with refusal(path) as told:
            begin(saver, path, other)
        assert expected in told[0]
    begin(saver, path, {**RUN, "names": ("a", "b")})  # The same in JSON.


# One run at a time.


@for_all
def test_a_second_run_in_the_same_place_is_refused(saver, tmp_path):
    path = tmp_path / "here"
    with saver.open(path, RUN) as opened:
        saver.save(opened)
        for run in (RUN, {**RUN, "budget": 4}):
            with refusal(path) as told:
                begin(saver, path, run)
            assert "another run is using it" in told[0]
        saver.save(opened)
    begin(saver, path)


@for_all
def test_where_there_are_no_locks_all_else_works(saver, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # As on Windows.
    path = tmp_path / "here"
    begin(saver, path)
    with saver.open(path, RUN):
        begin(saver, path)
    with refusal(path):
        begin(saver, path, {**RUN, "budget": 4})


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A program in a process of its own, which can be talked to."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


HOLD_BOTH = """
    import sys
    from mig_jax import runs

    folder, file, temporary = sys.argv[1:]
    with (
        runs.RunFolder(folder, "checkpoints", {}, ".checkpoint"),
        runs.open_run_file(file, "journal", {}),
        runs.open_temporary(temporary),
    ):
        print("held", flush=True)
        sys.stdin.read()
"""


def test_another_process_is_refused_until_it_is_killed(tmp_path):
    folder, journal, output = tmp_path / "ck", tmp_path / "o.journal.jsonl", tmp_path / "o.jsonl"
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"question": "q", "answer": "a", "labels": ["x"], "score": 1}\n')
    process = python(HOLD_BOTH, folder, journal, output)
    assert process.stdout.readline() == "held\n"
    (temporary,) = tmp_path.glob(".mig_jax.o.jsonl.*.tmp")
    in_use = "another run is using it; wait for its end, or choose another place"
    annotate = ("annotate", f"--pool={pool}", "--tagger=keep", "--scorer=keep")
    line = refused(*annotate, f"--output={output}")
    assert line == f"mig-jax: {journal}: {in_use}"
    select = ("select", f"--pool={pool}", "--budget=1", f"--checkpoint_dir={folder}")
    line = refused(*select, f"--output={tmp_path / 's.jsonl'}")
    assert line == f"mig-jax: {folder}: {in_use}"
    names = {"ck", "o.journal.jsonl", "pool.jsonl", temporary.name}
    assert {path.name for path in tmp_path.iterdir()} == names
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with (
        runs.RunFolder(folder, "checkpoints", {}, ".checkpoint"),
        runs.open_run_file(str(journal), "journal", {}),
    ):
        pass
    with data.OutputFiles() as outputs:
        outputs.open(output)
    assert not temporary.exists()


def test_temporary_files_of_the_dead_go_and_others_stay(tmp_path):
    output = str(tmp_path / "o.jsonl")
    with runs.open_temporary(output) as left_behind:  # Not renamed, and let go.
        dead = tmp_path / left_behind.name
    stay = {"x.mig_jax.o.jsonl.0123456789abcdef.tmp", ".mig_jax.o.jsonl.tmp", "o.jsonl"}
    stay |= {".mig_jax.p.jsonl.0123456789abcdef.tmp", ".mig_jax.oxjsonl.0123456789abcdef.tmp"}
    for name in stay:
        (tmp_path / name).write_bytes(b"half")
    with runs.open_temporary(output) as first:
        assert not dead.exists()
        with runs.open_temporary(output) as second:
            assert first.name != second.name
            for stream in (first, second):
                assert os.path.dirname(stream.name) == str(tmp_path)
                os.remove(stream.name)  # Still there.
    assert {path.name for path in tmp_path.iterdir()} == stay
    # Names may be as long as ever.
    with data.OutputFiles() as outputs:
        outputs.open(tmp_path / ("é" * 125))


def test_another_run_of_the_same_output_takes_none_of_its_files(tmp_path, monkeypatch):
    """Even if it starts when the outputs are about to get their names."""
    output = tmp_path / "o.jsonl"

    def replace(source, target, replace=os.replace):
        with runs.open_temporary(str(target)) as another:
            os.remove(another.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with data.OutputFiles() as outputs:
        outputs.open(output).write(b"first")
    assert output.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["o.jsonl"]


# Damage.


def damage_bytes(path):
    found = [file for file in [path, *path.rglob("*")] if file.is_file()]
    largest = max(found, key=lambda file: file.stat().st_size)
    changed = bytearray(largest.read_bytes())
    middle = len(changed) // 2
    changed[middle : middle + 8] = bytes(byte ^ 0x55 for byte in changed[middle : middle + 8])
    largest.write_bytes(changed)


def all_gone(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.mkdir() if path.suffix != ".npz" else path.write_bytes(b"")


@for_folders
@pytest.mark.parametrize("damage", [damage_bytes, all_gone])
def test_damaged_entries_are_passed_over_told_and_deleted(saver, damage, tmp_path):
    for _ in range(2):
        begin(saver, tmp_path)
    *_, older, newest = sorted((tmp_path / saver.place).glob("0*"))
    whole = content(older)
    damage(newest)
    told = []

    def on_damaged(number):
        told.append((number, newest.exists()))

    arguments = {"checkpoints": [9], "states": [STATE], "cells": [range(9), ["picks"]]}
    (name,) = (name for name, found in FOLDERS.items() if found is saver)
    with saver.open(tmp_path, RUN) as opened:
        assert opened.restore(*arguments[name], on_damaged=on_damaged)
        assert not newest.exists()
        saver.save(opened)
        assert newest.exists()
        assert opened.restore(*arguments[name], on_damaged=on_damaged)
    assert told == [(int(newest.stem), True)]
    assert content(older) == whole


# Kills: a process of its own stops itself before the n-th thing that it does to files, for all n.

KILLED_AT_EVERY_STEP = """
    import itertools, os, pathlib, signal, sys

    root, what = pathlib.Path(sys.argv[1]), sys.argv[2]
    from mig_jax import runs
    from mig_jax.annotation import Annotation, Journal

    runs.RunFolder, runs.replace_own, runs.open_run_file  # Imported before steps are counted.
    EVENTS = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.listdir",
              "os.scandir", "shutil.rmtree", "os.truncate", "fcntl.flock"}

    def write(path, text):
        os.mkdir(path)
        for name in "ab":
            with open(os.path.join(path, name), "w") as stream:
                stream.write(text)

    def read(path):
        texts = {pathlib.Path(path, name).read_text() for name in "ab"}
        assert len(texts) == 1, texts
        return texts.pop()

    def save_entry(turn):
        with runs.RunFolder(root / "f", "test", {"a": 1}, ".entry") as folder:
            newest = max(folder.numbers(), default=0)
            folder.put(newest + 1, lambda path: write(path, str(newest + 1)), keep=2)

    def check_entries():
        with runs.RunFolder(root / "f", "test", {"a": 1}, ".entry") as folder:
            numbers = folder.numbers()
            found = [int(text) for _, text in folder.whole(numbers, read)]
        assert found == numbers, (found, numbers)  # All are whole.
        assert numbers == list(range(*(numbers[0], numbers[-1] + 1) if numbers else (0,)))
        left = {name for name in os.listdir(root / "f") if not name.endswith(".entry")}
        assert left == {"run.json"}, left
        return max(numbers, default=0)

    def replace(turn):
        with runs.replace_own(root / "p", "test") as new:
            write(new, str(turn))

    def check_replaced():
        if not (root / "p").exists():
            return 0
        runs.refuse_foreign(root / "p", "test")
        return int(read(root / "p"))

    def annotate(turn):
        with Journal(str(root / "j"), {"a": 1}, 2) as journal:
            journal.append([Annotation([str(journal.done + n)], {}) for n in range(2)])

    def check_journal():
        with Journal(str(root / "j"), {"a": 1}, 2) as journal:
            labels = [one.labels for one in journal.read()]
            assert labels == [[str(n)] for n in range(journal.done)], labels
            return journal.done

    save, check = {"entries": (save_entry, check_entries), "replaced": (replace, check_replaced),
                   "journal": (annotate, check_journal)}[what]

    def killed_at(step, turn):
        child = os.fork()
        if child:
            return os.WIFSIGNALED(os.waitpid(child, 0)[1])
        left = step

        def hook(event, arguments):
            nonlocal left
            if event in EVENTS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            save(turn)
        except BaseException as error:
            print("the child failed:", repr(error), flush=True)
        os._exit(0)

    kills, newest = 0, 0
    for begun in (False, True, True):  # From nothing, and with what is there.
        for step in itertools.count():
            if not begun:
                os.system(f"rm -rf '{root}'/* '{root}'/.mig*")
                newest = 0
            turn = kills + 1
            if not killed_at(step, turn):
                break
            kills += 1
            found = check()
            assert found >= newest or what == "replaced", (found, newest)
            newest = found
        assert check() > newest, "what was not killed is not there"
        newest = check()
    save(kills + 9)
    assert what != "entries" or len(list(root.glob("f/*.entry"))) == 2
    print(kills, check(), sorted(name for name in os.listdir(root) if name[0] == "."))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("what", ["entries", "replaced", "journal"])
def test_killed_at_every_step_leaves_what_is_whole(what, tmp_path):
    process = python(KILLED_AT_EVERY_STEP, tmp_path, what)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    kills, newest, left = out.split(maxsplit=2)
    assert int(kills) > 10
    assert int(newest) > 1
    assert left == "[]\n"


def test_an_entry_that_cannot_be_written_leaves_nothing(tmp_path):
    def write(path):
        for ending in ("", ".orbax-checkpoint-tmp"):  # As orbax names what it is writing.
            os.mkdir(path + ending)
        raise OSError(errno.ENOSPC, "No space left on device")

    with runs.RunFolder(tmp_path, "test", RUN, ".entry") as folder:
        with pytest.raises(OSError, match="No space left on device") as caught:
            folder.put(1, write)
        assert caught.value.filename == str(tmp_path)
        assert os.listdir(tmp_path) == ["run.json"]


# Learned parameters are replaced, and nothing else is.


def test_learned_parameters_replace_only_their_own(tmp_path):
    def save():
        learning.save_learned(tmp_path / "params", FREE, FREE.init(jax.random.key(0)), "abc")

    save()
    save()
    assert json.loads((tmp_path / "params" / "run.json").read_text())["run"] == {}
    assert os.listdir(tmp_path) == ["params"]
    assert learning.learned_threshold(tmp_path / "params") == pytest.approx(0.75)
    for leave in (a_folder_of_digits, checkpoints_of_another_program, a_record_of_another_kind):
        shutil.rmtree(tmp_path / "params")
        (tmp_path / "params").mkdir()
        leave(tmp_path / "params")
        with refusal(tmp_path) as told:
            save()
        assert told[0].endswith("; choose another place, or delete this folder")


def test_an_error_on_the_way_replaces_nothing(tmp_path):
    def replace(error=None):
        with runs.replace_own(tmp_path / "p", "test") as new:
            os.mkdir(new)
            pathlib.Path(new, "file").write_text(f"{error}")
            if error is not None:
                raise error

    replace()
    before = content(tmp_path / "p")
    for error in (OSError("disk full"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            replace(error)
        assert content(tmp_path / "p") == before
        assert os.listdir(tmp_path) == ["p"]
