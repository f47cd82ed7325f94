"""What learning sees and what it is judged on, held apart: what stands in both is counted."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from mig_jax.errors import InputError

__all__ = ["seen_and_judged"]


def seen_and_judged(seen: Iterable[Hashable], judged: Sequence[Hashable], what: str) -> str:
    """How many of the items judged on are among those learned from, in words; empty if none.

    Args:
      seen: what is learned from, items that are equal if they say the same.
      judged: what is judged on, the same kind of items.
      what: the items are called, in the plural.

    Raises:
      InputError: if all of them are: nothing is left to judge by.

    >>> seen_and_judged("abc", "cde", "records")
    '1 of the 3 test records is among the validation records, too: learning has seen it'
    >>> seen_and_judged("abc", "def", "records")
    ''
    """
    known = set(seen)
    count = sum(item in known for item in judged)
    if count and count == len(judged):
        raise InputError(
            f"--test: all {count:,} of its {what} are among those of --validation; expected "
            "others, which learning does not see"
        )
    if not count:
        return ""
    are, them = ("is", "it") if count == 1 else ("are", "them")
    return (
        f"{count:,} of the {len(judged):,} test {what} {are} among the validation {what}, too: "
        f"learning has seen {them}"
    )
