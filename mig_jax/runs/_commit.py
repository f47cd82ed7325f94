"""The one moment at which the outputs of a run change, whatever ends the process on the way.

What is new lies under temporary names, on the disk. Then a record of all renames gets its name:
from that moment on the outputs are decided to be the new ones. The manifests, which tell of the
others, go first and come last, so that no old one stands beside new records. If a rename fails,
all are taken back. Nothing old or new is deleted before the end: from any state on the way both
can be reached.

Who finds the record of a process that is gone makes the renames that are left. One that is held
is of a run that lives, which makes them itself.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mig_jax.errors import InputError
from mig_jax.runs._temporary_files import (
    hold,
    is_temporary,
    locked,
    open_temporary,
    remove,
    remove_left_behind,
    temporary_name,
)

__all__ = [
    "Change",
    "claimed",
    "commit",
    "commits_made",
    "finish_commits",
    "interrupts_held_back",
]

_FORMAT = "mig_jax commit"
_ENDING = "commit"
_LONGEST_SECONDS = 60.0  # That renames take.
_LONGEST_RECORD = 1 << 24  # Bytes read of what may be anything.
_SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK", "SIGINT")
_made = 0


class Change(NamedTuple):
    """A file or folder that takes the place of what is at `target`, if there is anything."""

    target: str  # An absolute path, and no link.
    new: str  # Under a temporary name beside it, or in a folder of such a name.
    is_manifest: bool = False  # Tells of the others: never beside others than its own.


class _Step(NamedTuple):
    """A change with the name that the old file or folder has meanwhile."""

    target: str
    new: str
    old: str
    is_manifest: bool

    def make(self) -> None:
        """Puts what is new in place, and keeps what was there; done before, it does nothing."""
        if os.path.lexists(self.new):
            self.set_aside()
            os.replace(self.new, self.target)

    def set_aside(self) -> None:
        if not os.path.lexists(self.target):
            return
        was_folder, is_folder = os.path.isdir(self.target), os.path.isdir(self.new)
        if was_folder != is_folder:  # It has changed since it was looked at, and is not ours.
            number = errno.EISDIR if was_folder else errno.ENOTDIR
            raise OSError(number, os.strerror(number), self.target)
        if not self.is_manifest and not was_folder:
            with contextlib.suppress(OSError):  # A second name: readers find the old until the new.
                os.link(self.target, self.old)
                return
        os.replace(self.target, self.old)

    def take_back(self) -> None:
        """As it was before, whatever was done of `make`; what is new is left to be removed."""
        if not os.path.lexists(self.new) and os.path.lexists(self.target):
            os.replace(self.target, self.new)
        if os.path.lexists(self.old):
            os.replace(self.old, self.target)
        remove(self.old)  # Still there if both were names of one file.


def commits_made() -> int:
    """How often this process has changed outputs: what an interrupt says depends on it."""
    return _made


def commit(changes: Sequence[Change]) -> None:
    """Makes all changes, or none. Signals are held back meanwhile, and delivered afterwards.

    Args:
      changes: their new files are on the disk, and held.

    Raises:
      OSError: if a rename fails; then all is as it was.
    """
    global _made
    if not changes:
        return
    steps = [
        _Step(target, new, temporary_name(target), is_manifest)
        for target, new, is_manifest in sorted(changes, key=lambda change: change.is_manifest)
    ]
    with interrupts_held_back(), contextlib.ExitStack() as held:
        records = _write_records(steps, held)
        try:
            _make_all(steps)
        except OSError:
            if not _are_stuck(steps):
                _discard(*records)
            raise
        _discard(*(step.old for step in steps), *records)
        _made += 1


def _make_all(steps: Sequence[_Step]) -> None:
    try:
        for step in steps:
            if step.is_manifest and os.path.lexists(step.new):
                step.set_aside()
        for step in steps:
            step.make()
    except BaseException:
        with contextlib.ExitStack() as each:  # All are tried, whichever cannot be.
            for step in steps:
                each.callback(step.take_back)
        raise
    for folder in {os.path.dirname(step.target) for step in steps}:
        _sync(folder)


def _are_stuck(steps: Sequence[_Step]) -> bool:
    """Whether a rename failed that should take another back: the record is needed still."""
    return any(os.path.lexists(step.old) for step in steps)


@contextlib.contextmanager
def claimed(target: str, given: str | os.PathLike[str]) -> Iterator[None]:
    """Within, no other run writes to the target, or has left anything of it to be renamed.

    Args:
      target: an absolute path, and no link.
      given: how the user named it.

    Raises:
      InputError: if another run is writing it, or what one has left cannot be finished.
      OSError: if the folder cannot be written to.
    """
    with contextlib.ExitStack() as own:
        try:
            # Locked first: no other run can leave anything from then on.
            own.enter_context(locked(target))
            _finish_all(os.path.dirname(target), target)
        except BlockingIOError:
            raise InputError(
                f"{os.fspath(given)}: another run is writing it; wait for its end, or choose "
                "another output"
            ) from None
        yield


def finish_commits(folder: str | os.PathLike[str]) -> None:
    """Makes the renames in a folder, and in others with it, that killed processes have left.

    Raises:
      InputError: if that cannot be done.
    """
    _finish_all(folder, None)


def _finish_all(folder: str | os.PathLike[str], to_write: str | None) -> None:
    """As `finish_commits`; BlockingIOError if another process just renames `to_write`."""
    try:
        names = [name for name in os.listdir(folder) if is_temporary(name, ending=_ENDING)]
    except OSError:
        return  # Nothing to find.
    for name in names:
        _finish(os.path.join(folder, name), to_write)


def _finish(path: str, to_write: str | None, *, is_seen: bool = False) -> None:
    """Does what is left of a record, unless it is held, or not ours; `is_seen` by a pointer."""
    flags = os.O_RDWR  # NFS locks nothing else.
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"):  # It may be anything: a pipe, a link.
        flags |= getattr(os, name, 0)
    try:
        stream = open(path, "rb", opener=lambda path, _: os.open(path, flags))  # noqa: SIM115
    except OSError:
        return  # Just finished by another, or another user's.
    with stream, interrupts_held_back():
        about = os.fstat(stream.fileno())
        # Whoever may write here could tell us to rename anything.
        if hasattr(os, "geteuid") and about.st_uid != os.geteuid():
            return
        held = hold(stream.fileno())
        # Where there are no locks, nobody knows: a run that lives is done within a minute.
        is_held = not held and (held is False or time.time() - about.st_mtime < _LONGEST_SECONDS)
        if not os.path.exists(path):
            return
        found = _read(stream.read(_LONGEST_RECORD), path)
        if isinstance(found, str):  # The record itself stands in another folder.
            if os.path.exists(found) and not is_seen:
                _finish(found, to_write, is_seen=True)
            if not is_held and not os.path.exists(found):
                _discard(path)
        elif is_held:
            # By the run itself, or by who finishes it: what it renames must not be removed.
            if any(step.target == to_write for step in found or ()):
                raise BlockingIOError(errno.EWOULDBLOCK, "another run is writing it", to_write)
        elif found is not None:
            try:
                _make_all(found)
            except OSError as error:  # All is as it was before the killed run, or as it left it.
                if _are_stuck(found):
                    told = f"a killed run has left this to be renamed: {error.strerror}"
                    expected = "expected a folder that can be written to"
                    raise InputError(f"{error.filename}: {told}; {expected}") from None
            _discard(*(step.old for step in found), *(step.new for step in found))
            for step in found:  # The killed run has claimed them.
                with contextlib.suppress(OSError):
                    remove_left_behind(*os.path.split(step.target))
            _discard(path)


def _write_records(steps: Sequence[_Step], held: contextlib.ExitStack) -> list[str]:
    """Writes the record beside the last file, and into the other folders what points to it."""
    beside = {os.path.dirname(step.target): step.target for step in steps}  # The last of each.
    targets = sorted(beside.values(), key=lambda target: target != steps[-1].target)
    paths = [temporary_name(target, _ENDING) for target in targets]
    try:
        # The record comes last: with its name all is decided.
        for path, target in reversed(list(zip(paths, targets, strict=True))):
            text = _text(steps, path) if path == paths[0] else _pointer(paths[0])
            stream = held.enter_context(open_temporary(target))
            held.callback(_discard, stream.name)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
            if os.name == "nt":
                stream.close()  # Windows renames no open files.
            os.replace(stream.name, path)
            _sync(os.path.dirname(path))
    except BaseException:
        _discard(*paths)
        raise
    return paths


def _discard(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # It is only left behind.
            remove(path)


def _text(steps: Sequence[_Step], path: str) -> bytes:
    folder = os.path.dirname(path)

    def told(name: str) -> str:
        """Within the folder, which may be moved, a name; else the path."""
        return os.path.relpath(name, folder) if name.startswith(folder + os.sep) else name

    rows = [[*map(told, step[:3]), step.is_manifest] for step in steps]
    return json.dumps({"format": _FORMAT, "steps": rows}).encode()


def _pointer(path: str) -> bytes:
    return json.dumps({"format": _FORMAT, "see": path}).encode()


def _read(text: bytes, path: str) -> list[_Step] | str | None:
    """The steps of a record, or the path of the record; None if it is not ours."""
    folder = os.path.dirname(path)
    try:
        found = json.loads(text)
        if found["format"] != _FORMAT:
            return None
        if "see" in found:
            see = str(found["see"])
            return see if is_temporary(os.path.basename(see), ending=_ENDING) else None
        steps = []
        for *names, is_manifest in found["steps"]:
            target, new, old = (os.path.join(folder, name) for name in names)
            beside, name = os.path.split(target)
            for temporary in (new, old):
                first, *_ = os.path.relpath(temporary, beside).split(os.sep)
                if not is_temporary(first, name):
                    return None
            steps.append(_Step(target, new, old, bool(is_manifest)))
        return steps
    except (ValueError, KeyError, TypeError):
        return None


def _sync(folder: str) -> None:
    """The names in a folder are on the disk, if its file system can tell."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Signals that would end the process are noted within, and delivered at the end."""
    came: list[int] = []
    before: dict[int, Any] = {}
    try:
        # Handlers are of the main thread, which alone is interrupted.
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                handler = signal.getsignal(number)
                if handler not in (None, signal.SIG_IGN):
                    before[number] = handler
                    signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
