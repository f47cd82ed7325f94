from ._array_files import ArrayFile
from ._dataset_files import DatasetRows, is_dataset
from ._json_columns import JsonColumn
from ._json_values import JsonRows, Losses, parsed
from ._line_files import BYTE_ORDER_MARK, FileStamp, LineFile, bare_line
from ._parquet_files import ParquetRows
from ._row_spool import RowSpool
from ._table_rows import TableRows, features_of
from ._table_types import common_schema, with_features

__all__ = [
    "BYTE_ORDER_MARK",
    "ArrayFile",
    "DatasetRows",
    "FileStamp",
    "JsonColumn",
    "JsonRows",
    "LineFile",
    "Losses",
    "ParquetRows",
    "RowSpool",
    "TableRows",
    "bare_line",
    "common_schema",
    "features_of",
    "is_dataset",
    "parsed",
    "with_features",
]
