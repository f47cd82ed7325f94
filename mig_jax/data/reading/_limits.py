"""How large things may be that are held while a pool is read."""

from __future__ import annotations

import dataclasses

from mig_jax.data.files import LONGEST_RECORD

__all__ = ["USUAL_LIMITS", "ReadingLimits"]


@dataclasses.dataclass(frozen=True)
class ReadingLimits:
    """Sizes in bytes. What is read does not depend on them, but that longer records are refused."""

    #: A record of a text may have; a longer one is refused, as it would have to be held.
    longest_record: int = LONGEST_RECORD

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
