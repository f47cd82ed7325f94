"""Turns that stand in a list alone, where a record is an object: what makes one of them."""

from __future__ import annotations

from typing import Any

__all__ = ["told_list"]


def told_list(found: Any) -> str:
    """What is said of a list in the place of a record, beside that; "" if it is none of turns.

    >>> told_list([{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}])
    ": `jq -c '{messages: .}'` makes one of each list of turns"
    """
    if not isinstance(found, list) or len(found) < 2:
        return ""
    if all(isinstance(turn, dict) for turn in found):
        field = "conversations" if "from" in found[0] else "messages"
    elif all(isinstance(turn, str) for turn in found):
        field = "conversations"
    else:
        return ""
    return f": `jq -c '{{{field}: .}}'` makes one of each list of turns"
