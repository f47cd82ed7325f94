"""What a selection of records that are held in memory gives."""

from __future__ import annotations

import dataclasses
import html
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mig_jax.measure import LabelGraph, Measure, Pool
from mig_jax.selection import Certificate, Selection

__all__ = ["PickedRecords"]

_SHOWN: Final = 10  # Records of the table that a notebook shows.


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PickedRecords:
    """The records that `select_records` picked, in the order picked, and what is known of them."""

    records: Any  #: The N records: what was given, cut down to them; a list of dicts for paths.
    picks: npt.NDArray[np.int64]  #: [N]: their numbers, from 0, in what was given.
    gains: npt.NDArray[np.floating]  #: [N]: what each added to the information, or its linear gain.
    labels: list[list[str]]  #: The labels of each, as they were read or made.
    scores: npt.NDArray[np.float32]  #: [N]: the quality of each, as it was read or made.
    information: float  #: E of all together.
    #: E is proven to be at least this share of the best possible E; None if nothing was proven.
    certified_ratio: float | None
    pool: Pool  #: What was selected from, for the functions of `mig_jax`.
    graph: LabelGraph  #: Its labels, joined by similarity.
    measure: Measure  #: By which E was computed.
    label_names: list[str]  #: By their ids in `pool` and `graph`.
    #: The picks of `pool`: `picks`, unless bad records were skipped.
    selection: Selection
    certificate: Certificate | None  #: With the upper bound and the prices.
    told: str  #: What `summary` gives.

    def __len__(self) -> int:
        return len(self.picks)

    def summary(self) -> str:
        """The lines that `mig-jax select` prints in the end."""
        return self.told

    def __repr__(self) -> str:
        return self.told

    def _repr_html_(self) -> str:
        """The summary and the first records, for notebooks."""
        head = "".join(f"<th>{name}</th>" for name in ("", "record", "labels", "score", "gain"))
        rows = "".join(
            f"<tr><td>{rank + 1}</td><td>{self.picks[rank]:,}</td>"
            f"<td style='text-align:left'>{html.escape(', '.join(self.labels[rank]))}</td>"
            f"<td>{self.scores[rank]:.3g}</td><td>{self.gains[rank]:.4g}</td></tr>"
            for rank in range(min(_SHOWN, len(self)))
        )
        more = len(self) - _SHOWN
        rest = f"<p>… and {more:,} more</p>" if more > 0 else ""
        return (
            f"<pre>{html.escape(self.told)}</pre>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"
        )
