"""Sets of outputs: one run at a time, one moment of change, and manifests that can be checked."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator

import pytest

from mig_jax import runs
from mig_jax.data import OutputFiles, check_outputs
from mig_jax.errors import InputError
from tests.running import ROOT, mig, refused


def write(folder: pathlib.Path, text: str, name: str = "x.jsonl") -> None:
    """A set of three: records, a table and their manifest."""
    stem = name.partition(".")[0]
    with OutputFiles() as outputs:
        outputs.open(folder / name).write(text.encode())
        manifest = outputs.open_manifest(folder / f"{stem}.manifest.json", folder / name)
        outputs.open(folder / f"{stem}.table").write(text[::-1].encode())
        outputs.write_manifest(manifest, {"text": text}, folder / name)


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Names and places are tried before the work.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/dev/stdout", "is no file; expected a file name"),
        ("/dev/null", "is no file; expected a file name"),
        ("/dev/fd/1", "is no file; expected a file name"),
        ("/proc/self/fd/1", "is no file; expected a file name"),
        ("-", "is no file; expected a file name"),
        ("pipe", "is not a regular file; expected a file name"),
        ("folder", "is not a regular file; expected a file name"),
        ("loop", "is not a regular file; expected a file name"),
        ("x" * 256, "File name too long; expected another file name"),
        ("none/x", "does not exist; expected an existing one"),
        ("a\0b", "null byte"),
    ],
)
def test_a_name_that_can_be_no_file_is_refused_first(tmp_path, monkeypatch, name, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError) as caught, OutputFiles() as outputs:
        outputs.open(name)
    assert expected in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("length", [244, 250, 255])
def test_a_name_whose_others_are_too_long_is_refused_before_the_work(tmp_path, length):
    output = tmp_path / ("x" * (length - 6) + ".jsonl")
    line = refused("select", "--budget=5", f"--output={output}", "--pool=not_read.jsonl")
    assert line.endswith("File name too long; expected another file name")
    assert os.listdir(tmp_path) == []


def test_the_longest_name_can_be_written(tmp_path):
    with OutputFiles() as outputs:
        outputs.open(tmp_path / ("x" * 255)).write(b"text")
    assert os.listdir(tmp_path) == ["x" * 255]


def test_a_device_is_no_output_of_a_command(tmp_path):
    line = refused("make_pool", "--records=3", "--output=/dev/stdout")
    assert line.startswith("mig-jax: /dev/stdout: is no file; expected a file name")


def test_a_folder_that_cannot_be_written_to_is_refused_first(tmp_path, monkeypatch):
    def opened(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(InputError, match="Read-only file system; expected a writable folder"):
        OutputFiles().open(tmp_path / "x")


def test_claimed_names_that_are_not_used_stay_as_they_were(tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    with OutputFiles() as outputs:
        outputs.claim(tmp_path / "a", tmp_path / "b")
        outputs.open(tmp_path / "a").write(b"new")
    assert content(tmp_path) == {"a": b"new", "b": b"old"}


# One run at a time.


def test_a_second_run_of_an_output_is_refused_and_others_are_not(tmp_path):
    with OutputFiles() as outputs:
        outputs.open(tmp_path / "x.jsonl").write(b"first")
        for name in ("x.jsonl", "link.jsonl"):
            (tmp_path / "link.jsonl").unlink(missing_ok=True)
            (tmp_path / "link.jsonl").symlink_to("x.jsonl")
            with pytest.raises(InputError, match="another run is writing it"):
                OutputFiles().open(tmp_path / name)
        (tmp_path / "link.jsonl").unlink()
        with OutputFiles() as others:
            others.open(tmp_path / "y.jsonl").write(b"other")
            others.open(tmp_path / ("x" * 60 + "a")).write(b"other")
            with OutputFiles() as more:  # Names that begin alike are not the same.
                more.open(tmp_path / ("x" * 60 + "b")).write(b"other")
    assert (tmp_path / "x.jsonl").read_bytes() == b"first"
    assert len(os.listdir(tmp_path)) == 4


def test_where_there_are_no_locks_outputs_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # As on Windows.
    for text in ("old", "new"):
        write(tmp_path, text)
        check_outputs(tmp_path / "x.manifest.json")
    assert len(os.listdir(tmp_path)) == 3


def test_a_second_run_of_a_folder_is_refused(tmp_path):
    with runs.replace_own(tmp_path / "params", "parameters") as new:
        os.mkdir(new)
        with pytest.raises(InputError, match="another run is writing it"):
            runs.replace_own(tmp_path / "params", "parameters").__enter__()
        with runs.replace_own(tmp_path / "others", "parameters") as other:
            os.mkdir(other)
    assert sorted(os.listdir(tmp_path)) == ["others", "params"]


@pytest.mark.parametrize("locks", ["all", "as over NFS", "none"])
def test_a_reader_that_comes_by_takes_no_live_run_for_a_killed_one(tmp_path, monkeypatch, locks):
    """Before each step of its commit; NFS locks only what is open for writing."""
    flock = fcntl.flock

    def partly(descriptor, how):
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if locks == "none" or mode == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, how)

    if locks != "all":
        monkeypatch.setattr(fcntl, "flock", partly)
    steps, looks_at = 0, -1

    def looking(call):
        def looks(*words, **more):
            nonlocal steps
            steps += 1
            if steps - 1 == looks_at:
                runs.finish_commits(tmp_path)
            return call(*words, **more)

        return looks

    for name in ("replace", "link", "remove"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))
    write(tmp_path, "old")
    for number in range(60):
        steps, looks_at = 0, number
        write(tmp_path, text := f"text {number}")
        check_outputs(tmp_path / "x.manifest.json")
        assert (tmp_path / "x.jsonl").read_text() == text
        if steps <= number:
            break
    assert steps > 10
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may be others")
def test_what_a_killed_run_of_another_user_has_claimed_is_free():
    program = """
        import fcntl, os, signal, sys
        from mig_jax.data import OutputFiles

        os.setuid(int(sys.argv[2]))  # All is imported: nobody may read where that is from.
        with OutputFiles() as outputs:
            outputs.open(sys.argv[1]).write(b"theirs")
            if sys.argv[2] == "0":
                os.kill(os.getpid(), signal.SIGKILL)
    """
    with tempfile.TemporaryDirectory() as name:  # pytest's are their owner's alone.
        folder = pathlib.Path(name)
        folder.chmod(0o777)
        words = [sys.executable, "-c", textwrap.dedent(program), str(folder / "x")]
        assert subprocess.run([*words, "0"], cwd=ROOT).returncode == -signal.SIGKILL
        assert len(os.listdir(folder)) == 2
        assert subprocess.run([*words, "65534"], cwd=ROOT).returncode == 0
        assert (folder / "x").read_bytes() == b"theirs"


def test_a_link_at_the_name_of_a_temporary_file_is_not_followed(tmp_path):
    with OutputFiles() as outputs:
        outputs.open(tmp_path / "x")
        (name,) = tmp_path.glob(".mig_jax.x.*00000000.tmp")  # What claims it, always so named.
    (tmp_path / "theirs").write_bytes(b"theirs")
    os.symlink(tmp_path / "theirs", name)
    with pytest.raises(InputError, match="expected a writable folder"):
        OutputFiles().open(tmp_path / "x")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


# One moment.


@pytest.mark.parametrize("fails_at", range(6))
@pytest.mark.parametrize("old", [True, False])
def test_a_rename_that_fails_takes_all_back(tmp_path, monkeypatch, fails_at, old):
    if old:
        write(tmp_path, "old")
    before, left = content(tmp_path), fails_at

    def replace(source, target, replace=os.replace):
        nonlocal left
        left -= 1
        if left == -1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    if fails_at < (5 if old else 4):  # The record, the old manifest away, and three to come.
        with pytest.raises(OSError, match="ross-device"):
            write(tmp_path, "new")
        assert content(tmp_path) == before
    else:
        write(tmp_path, "new")
        assert sorted(content(tmp_path)) == ["x.jsonl", "x.manifest.json", "x.table"]


def write_params(folder: pathlib.Path, text: str) -> None:
    """A set of two: a folder and a file."""
    with OutputFiles() as outputs:
        outputs.open(folder / "x.jsonl").write(text.encode())
        with outputs.replace_folder(folder / "params", "parameters") as new:
            os.mkdir(new)
            pathlib.Path(new, "array").write_text(text)


KILLED = """
    import os, pathlib, signal, sys
    from tests.data.test_output_sets import {write} as write

    left = int(sys.argv[2])

    def hook(event, arguments):
        global left
        if event in ("os.rename", "os.link"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    write(pathlib.Path(sys.argv[1]), "new")
"""


def killed_at_rename(folder: pathlib.Path, number: int, write: str = "write") -> None:
    program = textwrap.dedent(KILLED).format(write=write)
    command = [sys.executable, "-c", program, str(folder), str(number)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL


@pytest.mark.parametrize("finish", ["the next run", "a reader", "a run of another output"])
def test_a_killed_run_is_finished_by_who_comes_next(tmp_path, finish):
    write(tmp_path, "old")
    old = content(tmp_path)
    killed_at_rename(tmp_path, 3)  # The record stands, the old manifest and records are away.
    assert not (tmp_path / "x.manifest.json").exists()
    if finish == "a reader":
        check_outputs(tmp_path / "x.manifest.json")
    else:
        name = "x.jsonl" if finish == "the next run" else "other"
        outputs = OutputFiles()
        outputs.open(tmp_path / name)
        outputs.__exit__(ValueError, ValueError(), None)
    check_outputs(tmp_path / "x.manifest.json")
    assert (tmp_path / "x.jsonl").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == sorted(old)


def test_what_a_reader_is_just_finishing_is_nobody_elses(tmp_path):
    """A run that starts meanwhile would empty, or remove, what the reader is about to rename."""
    write(tmp_path, "old")
    killed_at_rename(tmp_path, 3)
    manifest = tmp_path / "x.manifest.json"
    times = 0
    for _ in stops_at_renames(tmp_path):
        with pytest.raises(InputError, match="another run is writing it"):
            OutputFiles().open(tmp_path / "x.jsonl")
        OutputFiles().open(tmp_path / "other")
        times += 1
    assert times > 1
    check_outputs(manifest)
    assert (tmp_path / "x.jsonl").read_bytes() == b"new"
    write(tmp_path, "again")


def test_nor_is_a_folder_that_a_reader_is_just_finishing(tmp_path):
    write_params(tmp_path, "old")
    killed_at_rename(tmp_path, 1, "write_params")
    assert (tmp_path / "params" / "array").read_text() == "old"
    times = 0
    for _ in stops_at_renames(tmp_path):
        with pytest.raises(InputError, match="another run is writing it"):
            write_params(tmp_path, "mixed")
        with pytest.raises(InputError, match="another run is writing it"):
            runs.replace_own(tmp_path / "params", "parameters").__enter__()
        times += 1
    assert times > 1
    assert (tmp_path / "params" / "array").read_text() == "new"
    assert (tmp_path / "x.jsonl").read_bytes() == b"new"
    write_params(tmp_path, "again")
    assert sorted(os.listdir(tmp_path)) == ["params", "x.jsonl"]


def stops_at_renames(folder: pathlib.Path) -> Iterator[None]:
    """Finishes what killed runs have left there, and stops before each of its renames."""
    program = """
        import os, signal, sys
        from mig_jax.runs import finish_commits

        def hook(event, arguments):
            if event == "os.rename":
                os.kill(os.getpid(), signal.SIGSTOP)

        sys.addaudithook(hook)
        finish_commits(sys.argv[1])
    """
    reader = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(folder)])
    try:
        while os.WIFSTOPPED(os.waitpid(reader.pid, os.WUNTRACED)[1]):
            yield
            reader.send_signal(signal.SIGCONT)
    finally:
        reader.kill()


def test_files_in_several_folders_change_together(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()

    program = """
        import os, pathlib, signal, sys
        from mig_jax.data import OutputFiles

        sys.addaudithook(lambda event, paths: event == "os.rename" and
                         str(paths[1]).endswith("/one") and os.kill(os.getpid(), signal.SIGKILL))
        with OutputFiles() as outputs:
            outputs.open(pathlib.Path(sys.argv[1], "b", "two")).write(b"new")
            outputs.open(pathlib.Path(sys.argv[1], "a", "one")).write(b"new")
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert not (tmp_path / "a" / "one").exists()
    runs.finish_commits(tmp_path / "b")  # Where only a pointer to the record stands.
    for folder, name in (("a", "one"), ("b", "two")):
        assert content(tmp_path / folder) == {name: b"new"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"format": "mig_jax commit"}',
        b'{"format": "mig_jax commit", "steps": [["x.jsonl", "mine", "old", false]]}',
        b'{"format": "mig_jax commit", "steps": [["x.jsonl", "new", "mine", true]]}',
        b'{"format": "mig_jax commit", "see": "mine"}',
    ],
)
def test_what_is_no_record_of_ours_moves_nothing(tmp_path, text):
    write(tmp_path, "old")
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / ".mig_jax.x.0123456789abcdef.commit").write_bytes(text)
    os.mkfifo(tmp_path / ".mig_jax.y.0123456789abcdef.commit")
    before = {name: text for name, text in content_but_pipes(tmp_path).items() if name[0] != "."}
    runs.finish_commits(tmp_path)
    write(tmp_path, "old")
    after = {name: text for name, text in content_but_pipes(tmp_path).items() if name[0] != "."}
    assert after == before


def content_but_pipes(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_signals_are_held_back_while_names_change(tmp_path, monkeypatch):
    came = []

    def replace(source, target, replace=os.replace):
        signal.raise_signal(signal.SIGINT)
        came.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    made = runs.commits_made()
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "new")
    assert len(came) == 4
    assert runs.commits_made() == made + 1
    check_outputs(tmp_path / "x.manifest.json")


# Manifests.


def test_a_manifest_tells_sizes_and_digests(tmp_path):
    write(tmp_path, "text")
    told = json.loads((tmp_path / "x.manifest.json").read_text())
    assert told["output"] == "x.jsonl"
    assert told["outputs"] == {
        name: {"bytes": 4, "sha256": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}
        for name in ("x.jsonl", "x.table")
    }


def test_outputs_that_are_others_are_found(tmp_path):
    manifest = tmp_path / "x.manifest.json"
    with pytest.raises(InputError, match="No such file or directory; expected the manifest"):
        check_outputs(manifest)
    write(tmp_path, "text")
    check_outputs(manifest)
    check_outputs(manifest, tmp_path / "x.table")
    with pytest.raises(InputError, match="does not tell of it; expected one of its outputs"):
        check_outputs(manifest, tmp_path / "other")
    check_outputs(manifest, tmp_path / "other", may_tell_nothing=True)
    (tmp_path / "x.jsonl").write_bytes(b"texu")
    with pytest.raises(InputError, match=r"x\.jsonl: is not what .* tells of"):
        check_outputs(manifest)
    check_outputs(manifest, tmp_path / "x.table")
    (tmp_path / "x.jsonl").unlink()
    with pytest.raises(InputError, match=r"x\.jsonl: No such file or directory"):
        check_outputs(manifest)
    for text in (b"{", b"[]", b'{"outputs": 3}', b"{}"):
        manifest.write_bytes(text)
        with pytest.raises(InputError, match="expected"):
            check_outputs(manifest)


def test_two_outputs_of_one_manifest_do_not_take_it_from_each_other(tmp_path):
    write(tmp_path, "old")
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"tells of x\.jsonl, which would lose its manifest"):
        write(tmp_path, "new", "x.json")
    assert content(tmp_path) == before
    write(tmp_path, "new")
    (tmp_path / "x.jsonl").unlink()
    write(tmp_path, "third", "x.json")
    check_outputs(tmp_path / "x.manifest.json")
    # Another program's file of that name is replaced, as any output is.
    (tmp_path / "x.manifest.json").write_text('{"output": 3}')
    write(tmp_path, "fourth", "x.json")


def test_select_refuses_the_manifest_of_another_output(tmp_path):
    common = ("select", "--budget=5", "--nocertificate")
    assert mig(*common, "--pool=builtin", f"--output={tmp_path / 'x.jsonl'}").returncode == 0
    check_outputs(tmp_path / "x.manifest.json")
    before = content(tmp_path)
    line = refused(*common, f"--output={tmp_path / 'x.json'}", "--pool=not_read.jsonl")
    assert "tells of x.jsonl, which would lose its manifest to x.json" in line
    assert content(tmp_path) == before


def test_an_output_is_checked_without_being_written(tmp_path):
    there, new = tmp_path / "there.jsonl", tmp_path / "new.jsonl"
    there.write_bytes(b"old")
    outputs = OutputFiles([there.with_name("in.jsonl")])
    there.with_name("in.jsonl").write_bytes(b"in")
    assert outputs.check(there)
    assert not outputs.check(new, manifest_of=there)
    for path, told in (
        (tmp_path / "in.jsonl", "is an input"),
        (tmp_path / "none" / "o", "does not exist"),
        (tmp_path, "is not a regular file"),
    ):
        with pytest.raises(InputError, match=told):
            outputs.check(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "there.jsonl"]
    assert there.read_bytes() == b"old"
