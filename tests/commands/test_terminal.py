"""How commands end: the real thing in a process of its own, as an interrupt ends the process."""

import signal
import subprocess
import sys

from mig_jax.commands.terminal import progress_bar, say, silent

_PROGRAM = """
import functools, gc, hashlib, signal, sys, time
from mig_jax.commands.terminal import exit_status
{session}

def interrupted_in_a_callback(phase, info):
    if phase == "start":  # Python ignores what is raised from here.
        gc.callbacks.remove(interrupted_in_a_callback)
        signal.raise_signal(signal.SIGINT)

def command():
    gc.callbacks.append(interrupted_in_a_callback)
    gc.collect()
    {wait}
    print("went on")

status = exit_status("name", command, interrupted="nothing was written")
print("status", status)
"""


def _run(session: str, wait: str = "time.sleep(60)") -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(session=session, wait=wait)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def test_an_interrupt_that_python_ignores_ends_the_command():
    result = _run("")
    assert result.returncode == -signal.SIGINT  # As a shell expects, which ends its loop.
    assert (result.stdout, result.stderr) == ("", "name: interrupted; nothing was written\n")


def test_an_interrupt_just_before_a_wait_ends_the_command():
    # Within C all the way: no handler runs between what takes a while and the wait.
    busy = "functools.partial(hashlib.pbkdf2_hmac, 'sha256', b'', b'', 1_000_000)"
    waits = "functools.partial(time.sleep, 60)"
    result = _run("", f"list(map(functools.partial.__call__, [{busy}, {waits}]))")
    assert result.returncode == -signal.SIGINT
    assert (result.stdout, result.stderr) == ("", "name: interrupted; nothing was written\n")


def test_what_ends_a_wait_does_not_end_the_cleaning_up():
    cleaning_up = "[time.sleep(0.01) for _ in range(100)] and print('clean', flush=True)"
    result = _run("", f"try: time.sleep(60)\n    finally: {cleaning_up}")
    assert result.returncode == -signal.SIGINT
    assert (result.stdout, result.stderr) == (
        "clean\n",
        "name: interrupted; nothing was written\n",
    )


def test_an_interrupt_does_not_end_a_session():
    result = _run("sys.ps1 = '> '")
    assert result.returncode == 0
    assert result.stdout == "status 130\n"
    assert result.stderr == "name: interrupted; nothing was written\n"


def test_what_else_python_ignores_is_still_told():
    program = """
import sys
from mig_jax.commands.terminal import exit_status

class Thing:
    def __del__(self):
        raise ValueError("why")

def command():
    Thing()

sys.exit(exit_status("name", command, interrupted=""))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0
    assert "Exception ignored in" in result.stderr
    assert "ValueError: why" in result.stderr


def test_one_process_of_many_speaks(capsys, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")  # Each step is told.
    for is_silent in (True, False, True):
        with silent(is_silent):
            say("told")
            with progress_bar("working", 3, unit="steps") as bar:
                bar.update(3)
        told = capsys.readouterr().err
        assert ("told\n" in told) == ("3 steps" in told) == (not is_silent)
    say("afterwards")
    assert capsys.readouterr().err == "afterwards\n"
