"""Progress as people see it: a terminal of a size, a log, and neither."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
import pty
import re
import struct
import termios
import threading
import time
import types

import pytest

from mig_jax.commands import learning_steps
from mig_jax.commands.progress import bar_on, duration, passing_word
from mig_jax.learning import LearningStep
from tests.running import mig


class _Terminal:
    """A real terminal of 80 columns, with what was written to it."""

    def __init__(self, columns: int = 80) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream = open(theirs, "w", 1, encoding="utf-8")  # noqa: SIM115 - closed below
        self._found = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # Which is how the other end's closing is told.
            while piece := os.read(self._own, 1 << 16):
                self._found += piece

    def wait_for(self, word: str) -> None:
        """Until it was written, which a busy machine may take its time for."""
        deadline = time.monotonic() + 60
        while word.encode() not in self._found:
            assert time.monotonic() < deadline, self._found
            time.sleep(0.01)

    def text(self) -> str:
        """All that was written, after which nothing more can be."""
        self.stream.close()
        self._thread.join(10)
        os.close(self._own)
        return self._found.decode()


def _screen(text: str) -> list[str]:
    """The lines that stay, by what \\r, \\n, ESC[A and ESC[K do."""
    lines, row, column = [""], 0, 0
    for sign in re.findall(r"\x1b\[[AK]|[^\x1b]", text):
        if sign == "\r":
            column = 0
        elif sign == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif sign == "\x1b[A":
            row -= 1
        elif sign == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            lines[row] = f"{lines[row][:column]:<{column}}{sign}{lines[row][column + 1 :]}"
            column += 1
    return [line.rstrip() for line in lines]


@pytest.fixture
def clock(monkeypatch):
    """Seconds of a clock that stands still until it is told to go on."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def test_a_log_gets_a_line_every_ten_seconds(clock):
    log = io.StringIO()
    with bar_on(log, "selecting", 5000, unit="records") as bar:
        for _ in range(30):  # 100 records a second, told of each second.
            clock(1)
            bar.update(100)
        bar.set_postfix_str("at least 90 %")
        clock(20)
        bar.update(2000)
    assert log.getvalue().splitlines() == [
        "selecting: 1,000 of 5,000 records, 10 s, about 40 s left",
        "selecting: 2,000 of 5,000 records, 20 s, about 30 s left",
        "selecting: 3,000 of 5,000 records, 30 s, about 20 s left",
        "selecting: 5,000 records in 50 s; at least 90 %",
    ]


def test_a_log_gets_nothing_of_what_is_short(clock):
    log = io.StringIO()
    with bar_on(log, "reading", 3_000_000, unit="B") as bar:
        clock(9.9)
        bar.update(3_000_000)
    assert log.getvalue() == ""


def test_what_was_done_before_does_not_hasten_the_end(clock):
    log = io.StringIO()
    with bar_on(log, "annotating", 100, unit="records", initial=80) as bar:
        clock(10)
        bar.update(10)
        clock(10)
        bar.restart("annotating again")
        clock(15)
        bar.update(50)
    assert log.getvalue().splitlines() == [
        "annotating: 90 of 100 records, 10 s, about 10 s left",
        "annotating again: 50 of 100 records, 15 s, about 15 s left",
        "annotating again: 50 of 100 records in 35 s",
    ]


def test_getting_ready_does_not_delay_the_end(clock):
    log = io.StringIO()
    with bar_on(log, "learning", 120, unit="steps") as bar:
        clock(60)  # Compiling.
        bar.is_ready(1)
        bar.update(1)
        clock(10)
        bar.update(19)
        bar.total = 20  # It stopped early.
    assert log.getvalue().splitlines() == [
        "learning: 1 of 120 steps, 1 min 0 s",
        "learning: 20 of 120 steps, 1 min 10 s, about 53 s left",
        "learning: 20 steps in 1 min 10 s",
    ]


def test_a_log_tells_of_what_fails(clock):
    log = io.StringIO()
    with contextlib.suppress(KeyError), bar_on(log, "reading", 100, unit="records") as bar:
        bar.update(99)
        clock(10)
        raise KeyError
    assert log.getvalue() == "reading: 99 of 100 records given up after 10 s\n"


def test_bytes_and_what_nobody_counts(clock):
    log = io.StringIO()
    with bar_on(log, "fetching", None, unit="B") as one, bar_on(log, "writing", None) as other:
        clock(130)
        one.update(2_500_000)
        other.update()
    assert log.getvalue().splitlines() == [
        "fetching: 2.50MB, 2 min 10 s",
        "writing: 2 min 10 s",
        "writing: done in 2 min 10 s",
        "fetching: 2.50MB in 2 min 10 s",
    ]


def test_a_log_hears_of_what_gives_no_sign_itself(monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0.01")
    log = io.StringIO()
    with bar_on(log, "selecting", 5, unit="records"):
        for _ in range(500):
            if log.getvalue():
                break
            time.sleep(0.01)
    assert log.getvalue().startswith("selecting: 0 of 5 records, ")


@pytest.mark.parametrize("how", ["silent", "TQDM_DISABLE"])
def test_nothing_at_all(how, clock, monkeypatch):
    if how == "TQDM_DISABLE":
        monkeypatch.setenv(how, "1")
    log, terminal = io.StringIO(), _Terminal()
    for stream in (log, terminal.stream):
        with bar_on(stream, "reading", 2, unit="files", is_silent=how == "silent") as bar:
            clock(30)
            bar.update(2)
            bar.restart("again")
    assert log.getvalue() == terminal.text() == ""


def test_a_terminal_has_a_bar_that_goes_on_by_itself():
    terminal = _Terminal()
    with bar_on(terminal.stream, "selecting", 5000, unit="records") as bar:
        bar.update(2500)
        terminal.wait_for("selecting")  # One beat.
        bar.rename("selecting more")
        bar.update(2500)
    text = terminal.text()
    first = text.split("\r")[1]
    assert first.startswith("selecting:  50% |█")
    assert re.search(r"\| 2,500 of 5,000 records, (\d+) s, about \1 s left", first)
    assert len(first) <= 80
    last, after = _screen(text)
    assert last.startswith("selecting more: 100% |█")
    assert re.search(r"\| 5,000 of 5,000 records, \d+ s$", last)
    assert after == ""


def test_a_terminal_shows_nothing_of_what_is_short(clock):
    terminal = _Terminal()
    with bar_on(terminal.stream, "reading", 5, unit="files") as bar:
        clock(0.4)
        bar.update(5)
    assert terminal.text() == ""


def test_a_bar_that_leaves_is_gone_when_it_is_done():
    terminal = _Terminal()
    with bar_on(terminal.stream, "writing", None, leave=False):
        terminal.wait_for("writing")
    text = terminal.text()
    assert re.search(r"writing: \d+ s", text)
    assert _screen(text) == [""]


def test_a_terminal_that_does_not_tell_its_size_and_one_that_cannot_draw(monkeypatch):
    terminal = _Terminal(columns=0)
    with bar_on(terminal.stream, "reading", 5, unit="files"):
        terminal.wait_for("reading")
    assert "0 of 5 files" in terminal.text()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    terminal = _Terminal()
    with bar_on(terminal.stream, "reading", 5, unit="files") as bar:
        bar.update(5)
    assert re.fullmatch(r"reading: 5 files in \d+ s\r\n", terminal.text())


def test_a_word_that_passes():
    terminal, log = _Terminal(), io.StringIO()
    with passing_word(terminal.stream, "starting"), passing_word(log, "starting"):
        terminal.wait_for("starting")
    with passing_word(terminal.stream, "never seen"):
        pass
    text = terminal.text()
    assert "starting …" in text
    assert "never" not in text
    assert (_screen(text), log.getvalue()) == ([""], "")


def test_durations():
    found = [duration(seconds) for seconds in (0.4, 59.4, 59.6, 3599.7, 7380)]
    assert found == ["0 s", "59 s", "1 min 0 s", "1 h 0 min", "2 h 3 min"]


@pytest.mark.parametrize("with_parts", [False, True])
def test_one_bar_tells_which_start_and_which_learning_it_is(
    with_parts, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")

    def learn(inputs, task, starts, folder, settings, steps, on_step, on_match):
        on_match(1, 3)
        # Two starts of ten steps; the first stops after eight.
        for done, spared in ((3, 0), (8, 0), (8, 2), (10, 2), (18, 2)):
            on_step(LearningStep(done, 0.5, 0.25, temperature=0.1, spared=spared))
        return types.SimpleNamespace()

    monkeypatch.setattr(learning_steps, "learn_from_starts", learn)
    objective = types.SimpleNamespace(needs_selection=True)
    task = types.SimpleNamespace(past_runs=None, matches_gains=False, objective=objective)
    learning_steps.Learning(
        *(None, task, lambda by_label: ["one", "other"], tmp_path),
        settings={},
        steps=10,
        with_parts=with_parts,
    ).best()
    of_all = "learning weights and shapes" + " (1 of 4)" * with_parts
    beside = "loss 0.5000, on held-out data 0.2500"
    lines = [re.sub(r", \d+ s(, about \d+ s left)?", "", line) for line in _told(capsys)]
    assert lines == [
        f"{of_all}, start 1 of 2: 3 of 20 steps; {beside}",
        f"{of_all}, start 1 of 2: 8 of 20 steps; {beside}",
        f"{of_all}, start 1 of 2: 8 of 18 steps; {beside}, which falls no more",
        f"{of_all}, start 2 of 2: 10 of 18 steps; {beside}",
        f"{of_all}, start 2 of 2: 18 steps in 0 s; {beside}",
    ]


def _told(capsys):
    return capsys.readouterr().err.splitlines()


def _pool(folder: pathlib.Path) -> pathlib.Path:
    rows: list[object] = [{"labels": [f"l{i % 7}"], "score": 1 + i % 3} for i in range(40)]
    bad: list[object] = [
        {"labels": "l1", "score": 1},
        {"labels": ["l1"]},
        {"labels": "l2", "score": 2},
    ]
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *bad]) + "{\n")
    return path


def test_what_is_left_out_is_told_with_its_reason_and_its_file(tmp_path):
    words = ["select", f"--pool={_pool(tmp_path)}", "--budget=5", "--on_bad_record=skip"]
    words += [f"--output={os.path.relpath(tmp_path)}/out.jsonl", f"--cache={tmp_path / 'cache'}"]
    for _ in range(2):  # Read, and from the cache.
        done = mig(*words)
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("left out")]
        assert line == (
            "left out most often (2 times): field labels: found a string, expected a list of "
            f"strings; all are listed in {tmp_path / 'out.rejected.jsonl'}"
        )
        assert "4 bad records skipped" in done.stderr
        assert len((tmp_path / "out.rejected.jsonl").read_text().splitlines()) == 4


def test_what_comes_from_the_cache_shows_no_bar(tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    words = ["select", f"--pool={_pool(tmp_path)}", "--budget=5", "--on_bad_record=skip"]
    words += [f"--output={tmp_path / 'out.jsonl'}", f"--cache={tmp_path / 'cache'}"]
    first, second = (mig(*words).stderr for _ in range(2))
    assert "reading: " in first
    assert "reading: " not in second
    assert "the pool is unchanged: read from" in second
