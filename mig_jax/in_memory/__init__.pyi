from ._picked_records import PickedRecords
from ._select_records import select_records

__all__ = [
    "PickedRecords",
    "select_records",
]
