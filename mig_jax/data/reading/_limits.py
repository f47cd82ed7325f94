"""From which sizes on a pool is read in another way: never what is read."""

from __future__ import annotations

import dataclasses

__all__ = ["USUAL_LIMITS", "ReadingLimits"]


@dataclasses.dataclass(frozen=True)
class ReadingLimits:
    """Sizes in bytes; the table that is read, and what is said of it, do not depend on them."""

    #: Plain text is cut into ranges of so much. Small enough that all cores end at about the
    #: same time; started with some ten of them.
    range_size: int = 1 << 24
    #: Less text is read in this process almost before others have started.
    parallel_from: int = 1 << 27
    #: What another process answers may hold so much text of bad records; ranges are smaller.
    bad_text: int = 1 << 26
    #: A pool with more text of rejected records is not kept in the cache: it would have to be
    #: held.
    kept_rejects: int = 1 << 26


USUAL_LIMITS = ReadingLimits()
