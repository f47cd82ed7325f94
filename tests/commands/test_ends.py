"""How commands end: full disks and streams, signals, and words that are safe to show."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from mig_jax.commands.terminal import exit_status, progress_bar, say, tell
from mig_jax.data import OutputFiles
from mig_jax.errors import InputError, printable

ESCAPES = "a\x1b[2Jb\x9bc\r\x07\u202ed\ud800"
SHOWN = r"a\x1b[2Jb\x9bc\r\x07\u202ed\ud800"


def test_control_characters_are_shown_escaped_and_letters_are_not(capsys):
    assert printable(ESCAPES) == SHOWN
    kept = "é 漢字 مرحبا 👩‍💻 a\u00a0b"
    assert printable(kept) == kept
    assert str(InputError(ESCAPES)) == SHOWN
    say(ESCAPES)
    tell(f"{ESCAPES}\nsecond line")
    with progress_bar("reading", 3) as bar:
        bar.update(3)
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\nsecond line\n"
    assert SHOWN in err
    assert "\x1b[2J" not in err

    def fails():
        raise OSError(errno.EACCES, "Permission denied", "x\x1b[2J")

    assert exit_status("name", fails, interrupted="nothing was written") == 2
    line = "name: x\\x1b[2J: Permission denied; nothing was written\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_an_error_of_the_system_is_one_line_with_its_place(tmp_path, monkeypatch, capsys, number):
    def command():
        def fsync(descriptor):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)
        with OutputFiles() as outputs:
            outputs.open(tmp_path / "x").write(b"text")

    assert exit_status("name", command, interrupted="no output was written") == 2
    told = f"name: {tmp_path / 'x'}: {os.strerror(number)}; no output was written\n"
    assert capsys.readouterr().err == told
    assert os.listdir(tmp_path) == []


PROGRAM = """
    import os, signal, sys, time
    from mig_jax.commands.terminal import exit_status, say, tell
    from mig_jax.data import OutputFiles

    {setting}

    def command():
        {body}

    sys.exit(exit_status("name", command, interrupted="no output was written"))
"""
WRITE = """
        with OutputFiles() as outputs:
            outputs.open(sys.argv[1]).write(b"text")
"""


def run(tmp_path, body: str, setting: str = "", **streams) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(setting=setting, body=body.strip())
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "x")]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, text=True, timeout=100, **streams)


full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")


@full_device
def test_a_full_stdout_is_told_and_outputs_stay(tmp_path):
    with open("/dev/full", "w") as full:
        ended = run(tmp_path, WRITE + "        tell('done')", stdout=full)
    told = "name: standard output: No space left on device; all outputs were written\n"
    assert (ended.returncode, ended.stderr) == (2, told)
    assert (tmp_path / "x").read_text() == "text"


@full_device
def test_a_full_stderr_ends_no_run(tmp_path):
    with open("/dev/full", "w") as full:
        ended = run(tmp_path, "say('reading')\n" + WRITE + "        tell('done')", stderr=full)
    assert (ended.returncode, ended.stdout) == (0, "done\n")
    assert (tmp_path / "x").read_text() == "text"


@pytest.mark.parametrize(
    ("name", "word"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung up")]
)
def test_a_signal_ends_the_command_by_itself_with_one_line(tmp_path, name, word):
    number = getattr(signal, name)
    send = f"os.kill(os.getpid(), {int(number)}); time.sleep(50)"
    within = WRITE + f"            {send}"
    ended = run(tmp_path, within)
    told = f"name: {word}; no output was written\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (-number, "", told)
    assert os.listdir(tmp_path) == []
    ended = run(tmp_path, WRITE + f"        {send}")
    told = f"name: {word}; all outputs were written\n"
    assert (ended.returncode, ended.stderr) == (-number, told)
    assert os.listdir(tmp_path) == ["x"]


def test_a_second_signal_ends_a_slow_end_at_once(tmp_path):
    body = """
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                tell("went on")
    """
    ended = run(tmp_path, body)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "")
    assert ended.stderr == "name: terminated; no output was written\n"


@pytest.mark.parametrize("error", ["RuntimeError('no lock')", "OSError(28, 'full')"])
def test_what_fails_on_the_way_out_hides_no_signal(tmp_path, error):
    body = f"""
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise {error}
    """
    ended = run(tmp_path, body)
    told = "name: terminated; no output was written\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "", told)
    body = body.replace("signal.raise_signal(signal.SIGTERM)", "pass")
    ended = run(tmp_path, body)
    assert ended.returncode == (1 if "Runtime" in error else 2)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As `nohup` ignores that the terminal is closed, and a shell Ctrl-C in the background."""
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    ended = run(tmp_path, "signal.raise_signal(signal.SIGHUP); tell('went on')", ignore)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")


def test_handlers_are_as_before_when_a_command_has_ended():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fails():
        raise InputError("wrong")

    for command, status in ((lambda: None, 0), (fails, 2)):
        assert exit_status("name", command, interrupted="") == status
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
