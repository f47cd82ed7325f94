"""The settings of the paper, said once."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PAPER", "USUAL_NEIGHBOURS", "PaperSettings"]


class PaperSettings(NamedTuple):
    """What arXiv 2504.13835 selects with: its sections 3.2 and 4.1."""

    family: str = "power"
    exponent: float = 0.8
    epsilon: float = 1e-6
    propagation: float = 1.0  # α
    threshold: float = 0.9  # T: labels this similar are joined.
    gain: str = "linear"


PAPER = PaperSettings()

#: How many neighbours a label has in the mean where the similarity threshold is to fit: as many as
#: the labels of the MIG paper have by all-MiniLM-L6-v2 at 0.65.
USUAL_NEIGHBOURS = 3.5
