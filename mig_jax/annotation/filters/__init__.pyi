from ._duplicates import ExactDuplicates, Filter, NearDuplicates, PreparedFilter, Turns, jaccard
from ._overlaps import Overlaps

__all__ = [
    "ExactDuplicates",
    "Filter",
    "NearDuplicates",
    "Overlaps",
    "PreparedFilter",
    "Turns",
    "jaccard",
]
