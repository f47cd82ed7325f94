"""The output files of a command: all of them appear at one moment, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self

from mig_jax.data.writing._manifests import check_names, described
from mig_jax.data.writing._tables import write_json
from mig_jax.errors import InputError
from mig_jax.runs import (
    Change,
    claimed,
    commit,
    interrupts_held_back,
    open_temporary,
    place_told,
    sign_folder,
    staged_folder,
)

__all__ = ["OutputFiles"]

# Where names are no files, whatever stands there: of streams, devices and processes.
_NOT_FOR_FILES = ("/dev", "/dev/fd", "/proc")


class OutputFiles:
    """The output files of a command, which all appear together once it has succeeded.

    Each is written under a temporary name in its own folder; one run at a time can claim it.
    Leaving the `with` block renames them all at one moment, the manifests last: killed on the
    way, they are renamed by the next run of one of them, or by whoever reads them. An exception,
    KeyboardInterrupt included, removes them all and leaves files of these names as they were;
    so does a rename that fails.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with OutputFiles() as outputs:
    ...         _ = outputs.open(os.path.join(folder, "picks.txt")).write(b"3")
    ...     os.listdir(folder)
    ['picks.txt']
    """

    def __init__(self, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        """`inputs` are files that no output may overwrite; names of no file are passed over."""
        self._inputs = [os.fspath(path) for path in inputs]
        self._streams: dict[str, BinaryIO] = {}  # By the path that the file will have.
        self._claimed: set[str] = set()  # Paths that are not opened yet.
        self._manifests: set[str] = set()
        self._folders: list[Change] = []
        self._held = contextlib.ExitStack()

    def claim(self, *paths: str | os.PathLike[str]) -> None:
        """Tries names before the work; `open` gives their streams afterwards, or they go unused.

        Raises:
          InputError: as `open` does.
        """
        for path in paths:
            self.open(path)
            self._claimed.add(os.path.realpath(path))

    def check(
        self, path: str | os.PathLike[str], *, manifest_of: str | os.PathLike[str] | None = None
    ) -> bool:
        """Whether a file is there that an output at `path` would replace; nothing is written.

        `manifest_of` is the file that it tells of first of all, if it is a manifest.

        Raises:
          InputError: as `open` does, or `open_manifest`; but for what another run is writing.
        """
        target = self._target(os.fspath(path))
        folder = os.path.dirname(target)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{os.fspath(path)}: Permission denied; expected a writable folder")
        if manifest_of is not None:
            check_names(path, manifest_of)
        return os.path.exists(target)

    def open(self, path: str | os.PathLike[str]) -> BinaryIO:
        """A stream for the bytes of the output that will stand at `path`.

        Raises:
          InputError: if the folder does not exist or cannot be written to, the name is too long,
            the path is an input, an earlier output, a directory or a device, or another run is
            writing it.
        """
        given = os.fspath(path)
        target = self._target(given)
        if target in self._claimed:
            self._claimed.remove(target)
            return self._streams[target]
        if target in self._streams:
            raise InputError(f"{given}: is an output already; expected another file to write to")
        try:
            with interrupts_held_back():  # Until it is known what is to be removed.
                self._held.enter_context(claimed(target, given))
                self._streams[target] = open_temporary(target)
        except OSError as error:
            raise InputError(f"{given}: {error.strerror}; expected a writable folder") from None
        return self._streams[target]

    def _target(self, given: str) -> str:
        """The file that stands at the path, or will."""
        if "\0" in given:
            raise InputError(f"{given}: holds a null byte; expected a file name")
        # A link stays a link: what it points to is replaced.
        target = os.path.realpath(given)
        if target in self._claimed:
            return target
        _check_place(given, target)
        if os.path.exists(target):
            for source in self._inputs:
                if os.path.exists(source) and os.path.samefile(source, target):
                    raise InputError(f"{given}: is an input; expected another file to write to")
        return target

    def open_manifest(
        self, path: str | os.PathLike[str], output: str | os.PathLike[str]
    ) -> BinaryIO:
        """As `open`, for the file that tells of the others: see `write_manifest`.

        Args:
          path: of the manifest.
          output: the file that it tells of first of all.

        Raises:
          InputError: as `open` does, or if there is a manifest of another file, which is still
            there: `x.jsonl` and `x.json` have one manifest.
        """
        stream = self.open(path)
        check_names(path, output)
        self._manifests.add(os.path.realpath(path))
        return stream

    def write_manifest(
        self,
        stream: BinaryIO,
        about: dict[str, Any],
        output: str | os.PathLike[str],
        of: Iterable[BinaryIO] | None = None,
    ) -> None:
        """Writes what is told of outputs, with their sizes and SHA-256; `check_outputs` reads it.

        Args:
          stream: from `open_manifest`.
          about: what JSON takes, with `output` and `outputs` added.
          output: as for `open_manifest`.
          of: streams, to which nothing may be written afterwards; by default all others, and
            the folders.
        """
        path = next(path for path, found in self._streams.items() if found is stream)
        unused = [self._streams[target] for target in self._claimed]
        wanted = [one for one in self._streams.values() if one is not stream and one not in unused]
        wanted = wanted if of is None else list(of)
        places: dict[str, str] = {}
        for target, found in self._streams.items():
            if any(found is one for one in wanted):
                with place_told(target):
                    found.flush()
                places[target] = found.name
        if of is None:
            places |= {change.target: change.new for change in self._folders}
        write_json(stream, about | described(path, os.path.realpath(output), places))

    @contextlib.contextmanager
    def replace_folder(self, folder: str | os.PathLike[str], kind: str) -> Iterator[str]:
        """A path for a new folder, which appears with the files: as `mig_jax.runs.replace_own`.

        Raises:
          InputError: as that does.
        """
        change = self._held.enter_context(staged_folder(folder, kind))
        with place_told(change.target):
            yield change.new
            sign_folder(change.new, kind)
        self._folders.append(change)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
        except BaseException:
            self._let_go()
            raise
        with interrupts_held_back():
            try:
                if kind is None:
                    # Held until they have their names: nobody takes them for left behind.
                    files = [
                        Change(target, stream.name, target in self._manifests)
                        for target, stream in self._streams.items()
                    ]
                    commit([*self._folders, *files])
            finally:
                self._let_go()

    def _flush(self) -> None:
        """All that was opened is on the disk before the first takes its name."""
        for target in self._claimed:
            self._discard(target)
        for target, stream in self._streams.items():
            with place_told(target):
                stream.flush()
                os.fsync(stream.fileno())
            if os.name == "nt":
                stream.close()  # Windows renames no open files.

    def _let_go(self) -> None:
        with interrupts_held_back():
            for target in list(self._streams):
                self._discard(target)
            self._held.close()

    def _discard(self, target: str) -> None:
        stream = self._streams.pop(target)
        with contextlib.suppress(OSError):
            os.remove(stream.name)
        with contextlib.suppress(OSError):  # Closing flushes, and fails again if the disk is full.
            stream.close()


def _check_place(given: str, target: str) -> None:
    """Raises InputError if no file can have this name."""
    folder = os.path.dirname(target)
    placed = os.path.dirname(os.path.abspath(given))
    if given == "-" or any(
        place in _NOT_FOR_FILES or place.startswith("/proc/") for place in (placed, folder)
    ):
        raise InputError(
            f"{given}: is no file; expected a file name, as outputs appear together when all are "
            "written"
        )
    if not os.path.isdir(folder):
        raise InputError(f"{given}: folder {folder} does not exist; expected an existing one")
    try:
        os.lstat(target)
    except FileNotFoundError:
        pass
    except OSError as error:  # As if it is too long.
        raise InputError(f"{given}: {error.strerror}; expected another file name") from None
    else:
        if not os.path.isfile(target):
            raise InputError(f"{given}: is not a regular file; expected a file name")
