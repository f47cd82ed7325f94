"""The line that tells how many picks would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["told_enough"]


def told_enough(about: Mapping[str, Any]) -> str | None:
    """What a manifest tells of picks that add nothing or next to nothing; None if none does.

    >>> told_enough({"enough": {"picks": 18, "idle": 3, "records": 15, "share": 1.0, "of": "pool"}})
    '3 of 18 picks add nothing: 15 records hold all the information that this measure sees in the \
pool; --budget=15 would do'
    """
    enough = about.get("enough")
    if enough is None:
        return None
    picks, records = enough["picks"], enough.get("records")
    nothing = f"{enough['idle']:,} of {picks:,} picks add nothing: "
    if records is None:
        return nothing + "no record that the limits allow does"
    beside = ", with those given," if about.get("given") else ""
    seen = "the information that this measure sees in the pool"
    if not records:
        whose = "what is given holds" if about.get("given") else "no record adds to"
        return f"the picks add nothing: {whose} all {seen}"
    tokens = enough.get("tokens")
    flag = f"--budget={records}" if tokens is None else f"--budget_tokens={tokens}"
    if enough["of"] == "pool" and enough["share"] == 1:
        hold = "record holds" if records == 1 else "records hold"
        return f"{nothing}{records:,} {hold}{beside} all {seen}; {flag} would do"
    share = f"{np.floor(enough['share'] * 1e3 + 1e-6) / 10:g} %"
    first = "the first pick holds" if records == 1 else f"the first {records:,} picks hold"
    of = f"{seen}" if enough["of"] == "pool" else f"what all {picks:,} add"
    return f"{first}{beside} {share} of {of}; {flag} would nearly do"
