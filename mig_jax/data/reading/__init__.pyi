from ._bad_records import BadRecords
from ._cache import default_cache_folder
from ._limits import ReadingLimits
from ._pool_files import open_files, stamp_of
from ._raw_records import RawRecord, read_conversations, read_texts
from ._readers import read_pool
from ._record_parts import Decoding, RecordFile
from ._record_table import RecordTable, sort_entries
from ._shares import PoolShare, share_of_pool
from ._validation_files import ValidationSet, read_validation
from ._vocabulary import read_vocabulary
from ._workers import serve

__all__ = [
    "BadRecords",
    "Decoding",
    "PoolShare",
    "RawRecord",
    "ReadingLimits",
    "RecordFile",
    "RecordTable",
    "ValidationSet",
    "default_cache_folder",
    "open_files",
    "read_conversations",
    "read_pool",
    "read_texts",
    "read_validation",
    "read_vocabulary",
    "serve",
    "share_of_pool",
    "sort_entries",
    "stamp_of",
]
