"""Compiled programs on disk, so that a second run need not compile them again.

JAX writes them and finds them, each by all that it is made of (its persistent compilation cache).
Here is what it leaves open: whose the folder is, which processor it is for, how large it grows,
and what becomes of a program that was written in part.

JAX bounds its folder by itself if it is told a size; then it needs filelock, waits for a lock at
every program, and in 0.10 a process killed between a program and its time of use stops all that
come later. Without a size it takes no lock and keeps no times. So the oldest go here, at the start;
a file written in part cannot be decompressed, and goes when it is met.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import platform
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

__all__ = ["kept_programs", "kind_of_programs"]

_MOST: Final = 512 << 20  # Bytes; a run of `select` on a CPU leaves half a megabyte.
_ROOT: Final = "compiled"
_KIND: Final = "jax-"  # What the names of the folders in it begin with.
_ENDING: Final = "-cache"  # JAX's, of a program.

# Whoever sets one of them takes care of compiled programs by himself: its name and JAX's value.
_OF_THE_USER: Final = {
    "jax_compilation_cache_dir": None,
    "jax_compilation_cache_max_size": -1,
    "jax_enable_compilation_cache": True,
}
# Name, JAX's value and ours, which counts if the user has set no other.
_SETTINGS: Final = (
    # JAX keeps what took a second. Ours take a hundredth to one, several dozen a run.
    ("jax_persistent_cache_min_compile_time_secs", 1.0, 0.0),
    # Files of XLA for GPUs, beside the programs: nobody bounds them, and their place would be part
    # of what a program is found by.
    ("jax_persistent_cache_enable_xla_caches", "xla_gpu_per_fusion_autotune_cache_dir", "none"),
)
_FAILED: Final = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '(.*?)'"
)

# Lines that say what a processor is and can do, not how fast it runs just now.
_OF_PROCESSOR: Final = re.compile(
    r"(vendor_id|cpu family|model|model name|stepping|flags|isa|uarch|Features|"
    r"CPU (?:implementer|architecture|variant|part|revision))\s*:"
)


@contextlib.contextmanager
def kept_programs(folder: str, tell: Callable[[str], None], *, most: int = _MOST) -> Iterator[None]:
    """Within, JAX finds what it compiled before in a folder inside `folder`, and adds to it.

    It does not if the user has set a folder of JAX's cache, its size, or none, or if several
    processes have joined. It does not either if somebody else could write there: compiled programs
    are run. Afterwards JAX's settings are as before. Nothing that fails here ends what runs within.

    Args:
      folder: where caches are; made if it is not there.
      tell: gets a line, at most one, if programs cannot be kept or read.
      most: bytes that programs of all kinds may have together at the start. If they have more,
        those that were not used for longest go, until they have three quarters of it.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    is_set = any(getattr(jax.config, name, usual) != usual for name, usual in _OF_THE_USER.items())
    together = jax.distributed.is_initialized()
    place = None if is_set or together else _place(folder, tell, most)
    if place is None:
        yield
        return
    before: dict[str, Any] = {"jax_compilation_cache_dir": None}
    try:
        jax.config.update("jax_compilation_cache_dir", place)
        for name, usual, ours in _SETTINGS:
            if name.upper() not in os.environ and getattr(jax.config, name, None) == usual:
                before[name] = usual
                jax.config.update(name, ours)
        # JAX opens a folder when it compiles, and stays with it until it is told to forget it.
        compilation_cache.reset_cache()
        with _failures_told(place, tell):
            yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def kind_of_programs(described: str | os.PathLike[str] = "/proc/cpuinfo") -> str:
    """A name for what compiled programs run on: versions of JAX, and what the processor can do.

    Hosts may share a folder. Whether JAX looks at the processor to find a program for CPUs depends
    on what XLA tells it, which no document promises; what was compiled for another one may end by
    an illegal instruction.

    Args:
      described: file that describes the processors, as Linux has it; it need not be there.
    """
    import jax
    import jaxlib

    about = [platform.machine(), platform.system()]
    try:
        with open(described, encoding="utf-8", errors="replace") as lines:
            text = lines.read(1 << 16)
    except OSError:
        text = ""
    first = text.partition("\n\n")[0].splitlines()
    about += [line for line in first if _OF_PROCESSOR.match(line)] or [platform.processor()]
    digest = hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
    return f"{_KIND}{jax.__version__}-{jaxlib.__version__}-{digest}"


def _place(folder: str, tell: Callable[[str], None], most: int) -> str | None:
    """The folder of this kind of programs, made if need be; None if it must not be used."""
    if not hasattr(os, "geteuid"):  # Windows does not say who may write where.
        return None
    # As it is now: whoever may change a link on the way cannot lead elsewhere later.
    root = os.path.realpath(os.path.join(folder, _ROOT))
    place = os.path.join(root, kind_of_programs())
    try:
        os.makedirs(os.path.dirname(root), exist_ok=True)
        for made in (root, place):
            with contextlib.suppress(FileExistsError):
                os.mkdir(made, 0o700)
        open_one = _open_to_others(place)
    except OSError as error:
        tell(f"{place}: {error.strerror or error}; compiled programs are not kept")
        return None
    if open_one is not None:
        tell(f"{open_one}: others may write there; compiled programs are not kept in {root}")
        return None
    _cut_back(root, most)
    return place


def _open_to_others(place: str) -> str | None:
    """The folder by which somebody else could exchange what is in `place`; None if there is none.

    The two innermost folders are ours alone. Further out is nobody else who may rename what is
    there: the owners of those folders we have to trust, as the system's.

    Raises:
      OSError: if one of the innermost is no folder, but a link, or if it is gone.
    """
    for depth, path in enumerate(_upwards(place)):
        found = os.stat(path, follow_symlinks=False)
        mode = found.st_mode
        if depth < 2:
            if not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            if found.st_uid != os.geteuid() or mode & 0o022:
                return path
        elif not mode & stat.S_ISVTX and (
            mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_own_group(found.st_gid))
        ):
            return path
    return None


def _upwards(path: str) -> Iterator[str]:
    yield path
    while (above := os.path.dirname(path)) != path:
        yield (path := above)


def _is_own_group(number: int) -> bool:
    """Whether it is the group that many systems make for each user, and nobody else is in it.

    There, what a user makes is often open to that group.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(number)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def _cut_back(root: str, most: int) -> None:
    """Removes what was not used for longest, of all kinds, if there are more than `most` bytes."""
    found = []
    for path in glob.iglob(os.path.join(glob.escape(root), f"{_KIND}*", f"*{_ENDING}")):
        with contextlib.suppress(OSError):  # Another process may have removed it.
            about = os.stat(path, follow_symlinks=False)
            # Many systems note when a file is read, if only once a day; all when it is written.
            found.append((max(about.st_atime, about.st_mtime), about.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= most:
        return
    for _, size, path in sorted(found):
        if total <= most * 3 // 4:
            break
        with contextlib.suppress(OSError):
            os.remove(path)
            total -= size
    for path in glob.iglob(os.path.join(glob.escape(root), f"{_KIND}*")):
        with contextlib.suppress(OSError):  # As it is not empty.
            os.rmdir(path)


@contextlib.contextmanager
def _failures_told(place: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Within, a program that JAX could not read or write is removed, and the first one told of.

    JAX compiles what it cannot read, and says so by a warning; it never writes where there is a
    file, be it half of one. So we remove it, before it is written.
    """
    with warnings.catch_warnings():
        show, told = warnings.showwarning, False

        def failed(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            nonlocal told
            about = _FAILED.match(str(message))
            if about is None:
                show(message, category, filename, lineno, file, line)
                return
            for path in glob.iglob(
                os.path.join(glob.escape(place), f"{glob.escape(about[2])}-*{_ENDING}")
            ):
                with contextlib.suppress(OSError):
                    os.remove(path)
            if not told:
                told = True
                reason = " ".join(str(message)[about.end() :].removeprefix(": ").split())
                verb = "be read, and are compiled" if about[1] == "reading" else "be kept"
                tell(f"{place}: some compiled programs cannot {verb} ({reason})")

        warnings.showwarning = failed  # type: ignore[assignment]
        warnings.filterwarnings("always", _FAILED.pattern)
        yield
