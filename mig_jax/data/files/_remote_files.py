"""Files elsewhere, by their addresses: copied to a folder here, and read from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from mig_jax.data.files._text_streams import name_of
from mig_jax.errors import InputError
from mig_jax.runs import open_temporary

__all__ = ["OnFetch", "is_remote", "local_copy", "remote_files"]

#: Gets the address, the bytes copied so far, and how many there are, if that is known.
OnFetch = Callable[[str, int, int | None], None]

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Chains such as zip://a.jsonl::https://… begin with a scheme too.
_PACKAGES: Final = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "adl": "adlfs",
    "az": "adlfs",
    "oci": "ocifs",
    "oss": "ossfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
}
# What tells one version of a remote file from another, of all that stores say of it.
_TELLING: Final = frozenset(
    "blob_id content-md5 created crc32c digest etag generation last-modified "  # noqa: SIM905
    "last_modified lastmodified md5hash mtime sha256 updated version_id versionid xet_hash".split()
)
_LONGEST_NAME: Final = 60
_EXPECTED: Final = "expected the address of a file that can be read from here"


def is_remote(path: str) -> bool:
    """Whether a path is the address of a file elsewhere."""
    return _SCHEME.match(path) is not None


def remote_files(address: str, is_shard: Callable[[str], bool]) -> list[str]:
    """The files that an address stands for: those that match its pattern, or of its folder.

    Raises:
      InputError: if there are none, or they cannot be looked at.
    """
    scheme = address.partition("://")[0].lower()
    # In an address of the web, ? is where the query begins.
    magic = "*[" if scheme in ("http", "https") else "*?["
    with _telling_errors(address):
        files, path = _file_system(address)
        if any(sign in path for sign in magic):
            # Stores match names that begin with a dot too, files here are not matched so.
            hidden_too = os.path.basename(path).startswith(".")
            found = [
                name
                for name, about in files.glob(path, detail=True).items()
                if about.get("type") == "file"
                and (hidden_too or not os.path.basename(name).startswith("."))
            ]
            if not found:
                raise InputError(f"{address}: no file matches; expected at least one")
        elif scheme not in ("http", "https") and files.isdir(path):
            names = files.ls(path, detail=False)
            if any(os.path.basename(name) == "state.json" for name in names):
                raise InputError(
                    f"{address}: is a saved dataset; expected a copy of it on this machine"
                )
            found = [
                name for name in names if is_shard(os.path.basename(name)) and files.isfile(name)
            ]
            if not found:
                raise InputError(f"{address}: is a folder without files of records")
        else:
            return [address]
        return [files.unstrip_protocol(name) for name in sorted(found)]


def local_copy(address: str, folder: str, on_fetch: OnFetch | None = None) -> str:
    """A file here with the bytes of a remote one: that itself, or a copy in the folder.

    A copy is used again as long as what the store says of the file (time, ETag, …) is the same.
    It appears when it is whole.

    Raises:
      InputError: if the file cannot be read, or not be kept in the folder.
    """
    if name_of(address).startswith(("file://", "local://")) and "::" not in address:
        return address.partition("://")[2]
    with _telling_errors(address):
        files, path = _file_system(address)
        files.invalidate_cache()
        about = files.info(path)
        if about.get("type") == "directory":
            raise InputError(f"{address}: is a folder; expected a file of records")
        size = about.get("size")
        told = {key: str(value) for key, value in about.items() if key.lower() in _TELLING}
        name = os.path.basename(name_of(address))[-_LONGEST_NAME:]
        copy = os.path.join(
            folder, "remote", _digest(address), f"{_digest([told, size])}.{name or 'file'}"
        )
        if told and os.path.isfile(copy):
            return copy
        _fetch(files, path, copy, address, size, on_fetch)
    return copy


def _fetch(
    files: Any, path: str, copy: str, address: str, size: int | None, on_fetch: OnFetch | None
) -> None:
    from fsspec.callbacks import Callback

    class Told(Callback):
        def call(self, hook_name: str | None = None, **_: Any) -> None:
            if on_fetch is not None:
                on_fetch(address, self.value, size)

    try:
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        stream = open_temporary(copy)
    except OSError as error:
        raise InputError(
            f"{address}: cannot be kept in {os.path.dirname(copy)} ({error.strerror}); expected a "
            "folder that can be written to (--cache, or XDG_CACHE_HOME)"
        ) from None
    try:
        with stream:  # Held until it has its name.
            files.get_file(path, stream.name, callback=Told())
            got = os.path.getsize(stream.name)
            if size is not None and got != size:
                raise InputError(f"{address}: has {size:,} bytes, but {got:,} came; {_EXPECTED}")
            os.replace(stream.name, copy)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(stream.name)
        raise


def _file_system(address: str) -> tuple[Any, str]:
    import fsspec

    scheme = address.partition("://")[0].lower()
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        needed = f"pip install {package}" if package else str(error)
        raise InputError(
            f"{address}: a package is missing that reads {scheme}:// addresses: {needed}"
        ) from None
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise InputError(
            f"{address}: {scheme}:// is no protocol that fsspec knows; expected s3://, gs://, "
            "hf://, https:// or the like, or a file"
        ) from None


@contextlib.contextmanager
def _telling_errors(address: str) -> Iterator[None]:
    """Whatever fails inside is told as the fault of the address."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{address}: no such file, or no answer; {_EXPECTED}") from None
    except Exception as error:  # Stores are of many kinds, and so are their errors.
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{address}: cannot be read ({reason}); {_EXPECTED}") from None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]
