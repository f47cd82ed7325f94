"""The words behind a command: its flags, files of flags among them, and the files it is to read."""

from __future__ import annotations

import difflib
import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from absl import flags

from mig_jax import data
from mig_jax.commands.builtin_pool import BUILTIN
from mig_jax.commands.flag_values import Text, expected_of
from mig_jax.commands.terminal import listed
from mig_jax.errors import InputError

__all__ = ["near", "read_flags", "refuse_empty", "take_pool"]

_NO_VALUE: Final = "Missing value for flag "  # As absl says it.
_SHOWN: Final = 60  # Characters of a value that are told.
_FLAG: Final = re.compile(r"(--?)([A-Za-z][\w-]*)(=.*)?", re.DOTALL)
_FLAG_FILE: Final = "flagfile"
_EVERYWHERE: Final = ("help", "help_all", _FLAG_FILE)


class _Word(NamedTuple):
    text: str
    place: str | None = None  # The file of flags that it is from, and its line there.


def read_flags(
    values: flags.FlagValues,
    words: Sequence[str],
    *,
    others_with: Callable[[str], Sequence[str]] = lambda name: (),
) -> list[str]:
    """Reads the flags that a user gave; returns the words that are none.

    A flag may have hyphens in place of underscores, and files may stand before it. The lines of
    --flagfile=FILE are words in its place, but for blank ones and those that begin with # or //.

    Args:
      values: the flags that there are.
      words: how the command is called, then what the user gave.
      others_with: tells which other commands have a flag.

    Raises:
      InputError: if a flag is not known, or has a value that it cannot have, or none.
      flags.Error: if it cannot be read in another way.
    """
    usage, *given = words
    read = functools.partial(_read, values, usage, others_with)
    every = [word._replace(text=_by_name(values, word.text)) for word in _expanded(given, ())]
    values.set_gnu_getopt(True)  # What is no flag may stand before one.
    try:
        return read([word.text for word in every])
    except InputError as error:
        for word in every:
            if word.place is not None and _refusal_of(read, word.text) == str(error):
                raise InputError(f"{word.place}: {error}") from None
        raise


def _read(
    values: flags.FlagValues,
    usage: str,
    others_with: Callable[[str], Sequence[str]],
    words: Sequence[str],
) -> list[str]:
    try:
        return values([usage, *words])[1:]
    except flags.UnrecognizedFlagError as error:
        raise InputError(_unknown(values, error.flagname, others_with)) from None
    except flags.IllegalFlagValueError as error:
        raise InputError(_refusal(values, error)) from None
    except ValueError as error:
        raise InputError(str(error)) from None
    except flags.Error as error:
        name = str(error).removeprefix(_NO_VALUE).lstrip("-")
        if str(error).startswith(_NO_VALUE) and name in values:
            expected = expected_of(values[name])
            raise InputError(f"--{name}: found nothing, expected {expected}") from None
        raise


def _refusal_of(read: Callable[[Sequence[str]], list[str]], word: str) -> str | None:
    """Why a word alone cannot be read; None if it can."""
    try:
        read([word])
    except (InputError, flags.Error) as error:
        return str(error)
    return None


def _expanded(words: Iterable[str | _Word], within: tuple[str, ...]) -> Iterator[_Word]:
    """The words, with those of files of flags in the place of --flagfile."""
    left = iter(words)
    for given in left:
        word = given if isinstance(given, _Word) else _Word(given)
        found = _FLAG.fullmatch(word.text)
        if found is None or found[2] != _FLAG_FILE:
            yield word
            if word.text == "--":
                yield from (w if isinstance(w, _Word) else _Word(w) for w in left)
            continue
        following = next(left, "") if found[3] is None else found[3][1:]
        path = following.text if isinstance(following, _Word) else following
        yield from _words_of_file(path, within)


def _words_of_file(path: str, within: tuple[str, ...]) -> Iterator[_Word]:
    expected = "expected a file of flags, one a line, as --budget=5000"
    if not path:
        raise InputError(f"--{_FLAG_FILE}: found nothing, {expected}")
    place = os.path.expanduser(path)
    if (real := os.path.realpath(place)) in within:
        raise InputError(f"--{_FLAG_FILE}: {path} names itself; {expected}")
    try:
        with open(place, encoding="utf-8-sig") as stream:
            lines = stream.read().split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise InputError(f"--{_FLAG_FILE}: {path}: {reason}; {expected}") from None
    words = [
        _Word(line.strip(), f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.strip().startswith(("#", "//"))
    ]
    yield from _expanded(words, (*within, real))


def _by_name(values: flags.FlagValues, word: str) -> str:
    """A flag with hyphens as it is defined, with underscores; any other word as it is.

    --no-NAME and --no_NAME are --noNAME.
    """
    found = _FLAG.fullmatch(word)
    if found is None:
        return word
    name = found[2].replace("-", "_")
    negated = name.removeprefix("no_")
    if name not in values and negated in values and values[negated].boolean:
        name = f"no{negated}"
    is_known = name in values or name.removeprefix("no") in values
    return f"{found[1]}{name}{found[3] or ''}" if is_known else word


def refuse_empty(values: flags.FlagValues) -> None:
    """Raises InputError if a flag is given, but no text, or an empty list."""
    for name in values:
        flag = values[name]
        if not flag.present:
            continue
        given = flag.value if isinstance(flag.value, list) else [flag.value]
        is_text = isinstance(flag.parser, Text) or type(flag.parser) is flags.ArgumentParser
        if (is_text and "" in given) or (isinstance(flag.parser, flags.ListParser) and not given):
            raise InputError(f"--{name}: found nothing, expected {expected_of(flag)}")


def take_pool(values: flags.FlagValues, words: Sequence[str]) -> None:
    """Adds the words that are no flags to --pool, behind what it names.

    Raises:
      InputError: if the command reads no pool, or a word is no file that could be one.
    """
    for word in words:
        name, is_value, value = word.partition("=")
        meant = near(name.replace("-", "_"), values) if is_value else None
        if meant and not os.path.lexists(word):
            raise InputError(f"{word}: is no flag; expected --{meant}={value}")
        if "pool" not in values:
            raise InputError(f"{word}: expected flags only, as --flag=value")
        if not _may_be_records(word):
            raise InputError(f"{word}: there is no such file to read; {_instead_of(values, word)}")
    if words:
        # A word is a file, of whatever name: `*` may find one that is named as the built-in pool.
        files = [f"./{word}" if word == BUILTIN else word for word in words]
        values["pool"].value = [*values.pool, *files]
        values["pool"].present += 1


def _instead_of(values: flags.FlagValues, word: str) -> str:
    """What is expected in place of a word that names no file."""
    if word == BUILTIN:
        return f"--pool={word} is the built-in pool"
    if meant := data.files.near_file(word):
        return f"perhaps {meant} is meant"
    lists = [
        f"--{name}={','.join(value)},{word}"
        for name, value in values.flag_values_dict().items()
        if values[name].present
        and isinstance(values[name].parser, flags.ListParser)
        and isinstance(value, list)
    ]
    if len(lists) == 1 and "/" not in word:  # Of several, who knows which goes on.
        return f"expected files of records, or {lists[0]}"
    is_output = "output" in values and not values["output"].present
    such_as = f", such as --output={word}" if is_output else ""
    return f"expected files of records, and all else as --flag=value{such_as}"


def _may_be_records(word: str) -> bool:
    """Whether a word names files of records that are there, as far as can be told here."""
    is_elsewhere = word.startswith("hub:") or data.files.is_remote(word)
    return word == "-" or is_elsewhere or glob.has_magic(word) or os.path.lexists(word)


def near(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The name that may be meant by one that is not known; None if none is like it."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def _unknown(
    values: flags.FlagValues, name: str, others_with: Callable[[str], Sequence[str]]
) -> str:
    if others := others_with(name.replace("-", "_")):
        whose = listed([f"`mig-jax {other}`" for other in others])
        return f"--{name}: no flag of this command, but of {whose}"
    # A flag that is no slip, as --quiet, is not like --quota.
    found, known = name.replace("-", "_"), [*values, *_EVERYWHERE]
    first, is_longer, _ = found.partition("_")
    alike = [one for one in known if is_longer and one.startswith(f"{first}_")]
    meant = near(found, known, cutoff=0.65) or near(found, alike, cutoff=0.5)
    expected = f"--{meant}" if meant else "one of those that --help_all lists"
    return f"--{name}: no such flag, expected {expected}"


def _refusal(values: flags.FlagValues, error: flags.IllegalFlagValueError) -> str:
    """What was found and what is expected; absl says `flag --NAME=VALUE: REASON`."""
    name, is_of_value, rest = str(error).removeprefix("flag --").partition("=")
    if not is_of_value or name not in values:
        return str(error)
    found = rest.removesuffix(f": {error.__context__}")
    shown = found if len(found) <= _SHOWN else found[:_SHOWN] + "..."
    return f"--{name}: found {shown or 'nothing'}, expected {expected_of(values[name])}"
