"""One way to save, restore, lock and refuse what a run leaves to go on from.

A run leaves one file, or one folder that holds nothing else. The first line of the file, or
the file `run.json` in the folder, is our record: a mark of mig_jax, and what decides the
results of the run, part by part. Only what carries our record is ours. All else is refused,
and stays as it is.

Whoever opens a record holds it: a second run in the same place is refused. What is ours
appears whole, by renaming; what a disk damages later is passed over, told, and then deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from mig_jax.errors import InputError
from mig_jax.runs._commit import Change, claimed, commit, finish_commits, interrupts_held_back
from mig_jax.runs._fingerprints import differences
from mig_jax.runs._temporary_files import (
    hold,
    is_temporary,
    open_temporary,
    place_told,
    remove,
    remove_left_behind,
    temporary_name,
)

__all__ = [
    "RunFolder",
    "open_run_file",
    "refusal",
    "refuse_foreign",
    "replace_own",
    "sign_folder",
    "staged_folder",
]

_RECORD = "run.json"
_ANOTHER_RUN = "belongs to another run"
_LONGEST_RECORD = 1 << 24  # Bytes read of what may be anything.
_Read = TypeVar("_Read")


def open_run_file(path: str, kind: str, run: dict[str, Any]) -> BinaryIO:
    """Opens the file of a run for reading and writing, after its record; makes it if need be.

    Args:
      path: of the file; this process holds it until it is closed.
      kind: what is kept there: "journal".
      run: what decides the results, part by part, in types that JSON has.

    Raises:
      InputError: if the file is not ours, is of another run, is in use, or cannot be written.
    """
    return _open_record(os.path.realpath(path), path, kind, run)


class RunFolder:
    """A folder of one run, held by this process alone, with numbered entries.

    Entries are files or folders; others than these, the record and temporary ones are left
    alone. A `with` block lets go of the folder at its end.
    """

    def __init__(
        self, folder: str | os.PathLike[str], kind: str, run: dict[str, Any], ending: str
    ) -> None:
        """Opens the folder, or makes it.

        Args:
          folder: new, empty, or of the same run.
          kind: what is kept there: "checkpoints".
          run: what decides the results, part by part, in types that JSON has.
          ending: of the names of the entries: ".npz".

        Raises:
          InputError: if the folder is not ours, is of another run, is in use, or cannot be
            made or written to.
        """
        self.folder, self._ending = os.path.abspath(os.fspath(folder)), ending
        self._damaged: list[int] = []
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; expected a directory") from None
        refuse_foreign(self.folder, kind)
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(f"{folder}: expected a directory that can be written to")
        record = os.path.join(self.folder, _RECORD)
        self._held = _open_record(record, self.folder, kind, run)
        finish_commits(self.folder)
        remove_left_behind(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()

    def numbers(self) -> list[int]:
        """Of the entries, ascending."""
        names = set(os.listdir(self.folder))
        stems = [name.removesuffix(self._ending) for name in names]
        found = sorted({int(stem) for stem in stems if stem.isdecimal()})
        return [number for number in found if os.path.basename(self._path(number)) in names]

    def put(self, number: int, write: Callable[[str], None], keep: int | None = None) -> None:
        """Adds an entry, what `write` makes at the path that it is given; keeps the last `keep`."""
        temporary = temporary_name(self._path(number))
        try:
            with place_told(self.folder):
                write(temporary)
                os.replace(temporary, self._path(number))
        except BaseException:
            for name in os.listdir(self.folder):  # Orbax adds to the name while it writes.
                if name.startswith(os.path.basename(temporary)):
                    remove(os.path.join(self.folder, name))
            raise
        if keep is not None:
            for old in self.numbers()[:-keep]:
                self.delete(old)

    def delete(self, number: int) -> None:
        """Deletes an entry; killed on the way, it leaves the entry whole or none."""
        temporary = temporary_name(self._path(number))
        os.replace(self._path(number), temporary)
        remove(temporary)

    def whole(
        self, numbers: Iterable[int], read: Callable[[str], _Read]
    ) -> Iterator[tuple[int, _Read]]:
        """What `read` makes of each entry; entries that it cannot read are passed over."""
        for number in numbers:
            try:
                found = read(self._path(number))
            except (ImportError, MemoryError, PermissionError):
                raise  # Nothing is wrong with the entry.
            # Orbax and NumPy raise whatever the damage leads to: OSError, ValueError, their own.
            except Exception:
                self._damaged.append(number)
            else:
                yield number, found

    def delete_damaged(self, on_damaged: Callable[[int], None] | None) -> None:
        """Tells of each entry that was passed over, and deletes it."""
        for number in self._damaged:
            if on_damaged is not None:
                on_damaged(number)
            self.delete(number)
        self._damaged.clear()

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"{number:05d}{self._ending}")


def refusal(place: str | os.PathLike[str], what: str) -> InputError:
    """The error for a place that cannot be used, and what can be done."""
    kind = "folder" if os.path.isdir(place) else "file"
    return InputError(f"{place}: {what}; choose another place, or delete this {kind}")


def refuse_foreign(
    folder: str | os.PathLike[str], kind: str, known: dict[str, Any] | None = None
) -> None:
    """Refuses a folder that `replace_own` would not replace: before the work, not after.

    Args:
      folder: new, empty, or with a record of ours.
      kind: what is kept there.
      known: what decides the results, as far as it is known; nothing by default.

    Raises:
      InputError: if it holds anything, but no record of ours of this kind, or is no folder, or if
        its record has other parts than those known.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not is_temporary(name))
        if _RECORD in names:
            with open(os.path.join(folder, _RECORD), "rb") as stream:
                found = _read_record(stream, folder, kind)
            if told := differences(found, json.loads(_line(kind, known or {}))["run"]):
                raise refusal(folder, f"{_ANOTHER_RUN}: {told}")
        elif names:
            shown = ", ".join(names[:3]) + ", …" * (len(names) > 3)
            raise refusal(folder, f"holds {shown}, and no record of mig_jax {kind}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; expected a directory") from None


@contextlib.contextmanager
def replace_own(folder: str | os.PathLike[str], kind: str) -> Iterator[str]:
    """A path for a new folder, which takes the place of `folder` at the end of the block.

    The block makes a folder at the path, which gets our record. An error in it changes nothing.

    Raises:
      InputError: as `refuse_foreign`, or if the folder around it cannot be written to.
    """
    with staged_folder(folder, kind) as change:
        yield change.new
        sign_folder(change.new, kind)
        commit([change])


@contextlib.contextmanager
def staged_folder(folder: str | os.PathLike[str], kind: str) -> Iterator[Change]:
    """The change that `replace_own` makes, to be made with others before the block ends.

    Make the folder `new` of the change, then call `sign_folder` for it.

    Raises:
      InputError: as `replace_own`.
    """
    target = os.path.realpath(folder)
    around, own = temporary_name(target), contextlib.ExitStack()
    try:
        try:
            finish_commits(os.path.dirname(target))
            refuse_foreign(folder, kind)
            with interrupts_held_back():  # Until it is known what is to be removed.
                os.makedirs(os.path.dirname(target), exist_ok=True)
                own.enter_context(claimed(target, folder))
                remove_left_behind(*os.path.split(target))
                own.callback(remove, around)
                os.mkdir(around)
                if os.name == "posix":  # Windows opens no folders, and has no locks.
                    held = os.open(around, os.O_RDONLY)
                    own.callback(os.close, held)
                    hold(held)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; expected a directory") from None
        with place_told(target):
            yield Change(target, os.path.join(around, "new"))
    finally:
        with interrupts_held_back():
            own.close()


def sign_folder(folder: str, kind: str) -> None:
    """Writes our record into a new folder."""
    with open(os.path.join(folder, _RECORD), "wb") as stream:
        stream.write(_line(kind, {}))
        stream.flush()
        os.fsync(stream.fileno())


def _line(kind: str, run: dict[str, Any]) -> bytes:
    return json.dumps({"format": f"mig_jax {kind}", "run": run}).encode() + b"\n"


def _open_record(path: str, place: str, kind: str, run: dict[str, Any]) -> BinaryIO:
    was_there = os.path.exists(path)
    try:
        if was_there:
            # Killed when it was made, it has a second name.
            remove_left_behind(*os.path.split(path))
        else:
            _create(path, _line(kind, run))
        stream = open(path, "r+b")  # noqa: SIM115 - given away, or closed below
    except OSError as error:
        if was_there and isinstance(error, FileNotFoundError):
            raise _in_use(place) from None
        raise InputError(
            f"{place}: {error.strerror or error}; expected a place to write to"
        ) from None
    try:
        found = _read_record(stream, place, kind)
        if hold(stream.fileno()) is False or not os.fstat(stream.fileno()).st_nlink:
            raise _in_use(place)
        # As JSON has it: tuples are lists there.
        if told := differences(found, json.loads(_line(kind, run))["run"]):
            raise refusal(place, f"{_ANOTHER_RUN}: {told}")
        return stream
    except BaseException:
        stream.close()
        raise


def _in_use(place: str) -> InputError:
    """Told of a record that another run holds, or has just removed at its end."""
    return InputError(
        f"{place}: another run is using it; wait for its end, or choose another place"
    )


def _create(path: str, line: bytes) -> None:
    """Makes a file, whole from its beginning, unless there is one."""
    with interrupts_held_back():  # It would have two names.
        stream = open_temporary(path)
        try:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
            try:
                os.link(stream.name, path)  # Unlike a renamed file, a link replaces nothing.
            except FileExistsError:
                pass
            except OSError:  # A file system without links.
                os.rename(stream.name, path)
        finally:
            remove(stream.name)
            with contextlib.suppress(OSError):  # Closing flushes, and fails if the disk is full.
                stream.close()


def _read_record(stream: BinaryIO, place: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """The run in a record; refuses any other line."""
    line = stream.readline(_LONGEST_RECORD)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(line)
        if found["format"] == f"mig_jax {kind}" and line.endswith(b"\n"):
            return dict(found["run"])
    where = _RECORD if os.path.isdir(place) else "first line"
    raise refusal(place, f"its {where} is no record of mig_jax {kind}")
