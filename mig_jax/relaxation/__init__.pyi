from ._relaxed_selection import (
    LEAST_INFORMATION,
    RelaxedSelection,
    relaxed_selection,
    typical_gain,
)
from ._soft_greedy import softened_greedy
from ._soft_top import soft_top

__all__ = [
    "LEAST_INFORMATION",
    "RelaxedSelection",
    "relaxed_selection",
    "soft_top",
    "softened_greedy",
    "typical_gain",
]
