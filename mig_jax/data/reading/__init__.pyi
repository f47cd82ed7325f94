from ._bad_records import BadRecords
from ._cache import default_cache_folder, read_through_cache, store_arrays
from ._costs_and_groups import CostsAndGroups, CountTexts, bytes_over_4, costs_and_groups
from ._kept_costs import KeptCosts
from ._limits import ReadingLimits
from ._passes import each_record, field_values
from ._pool_digests import pool_digests
from ._pool_files import open_files, stamp_of
from ._raw_records import RawRecord, read_conversations, read_texts
from ._readers import read_pool
from ._record_parts import Decoding, RecordFile
from ._record_table import RecordTable, sort_entries
from ._shares import PoolShare, share_of_pool
from ._token_counter import TokenCounter
from ._unlabelled import ANNOTATED, AnnotatedRecord, Lacking, lacking, table_of_annotated
from ._validation_files import ValidationSet, read_validation
from ._vocabulary import read_vocabulary

__all__ = [
    "ANNOTATED",
    "AnnotatedRecord",
    "BadRecords",
    "CostsAndGroups",
    "CountTexts",
    "Decoding",
    "KeptCosts",
    "Lacking",
    "PoolShare",
    "RawRecord",
    "ReadingLimits",
    "RecordFile",
    "RecordTable",
    "TokenCounter",
    "ValidationSet",
    "bytes_over_4",
    "costs_and_groups",
    "default_cache_folder",
    "each_record",
    "field_values",
    "lacking",
    "open_files",
    "pool_digests",
    "read_conversations",
    "read_pool",
    "read_texts",
    "read_through_cache",
    "read_validation",
    "read_vocabulary",
    "share_of_pool",
    "sort_entries",
    "stamp_of",
    "store_arrays",
    "table_of_annotated",
]
