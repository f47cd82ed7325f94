from ._array_files import ArrayFile
from ._contents import foreign_content, is_array_text, likely_form, lone_object
from ._csv_files import CsvFile
from ._dataset_files import DatasetRows, is_dataset
from ._file_stamps import FileStamp
from ._json_columns import JsonColumn
from ._json_values import JsonRows, Losses, parsed
from ._line_files import BYTE_ORDER_MARK, LineFile, TextLine, bare_line, end_of_blank_lines
from ._npz_arrays import read_npz
from ._parquet_files import ParquetRows
from ._places import expand, local_files, near_file
from ._remote_files import OnFetch, is_remote, local_copy
from ._row_spool import RowSpool
from ._table_rows import TableRows, features_of
from ._table_types import common_schema, with_features
from ._text_streams import LONGEST_RECORD, compression_of, name_of, open_text

__all__ = [
    "BYTE_ORDER_MARK",
    "LONGEST_RECORD",
    "ArrayFile",
    "CsvFile",
    "DatasetRows",
    "FileStamp",
    "JsonColumn",
    "JsonRows",
    "LineFile",
    "Losses",
    "OnFetch",
    "ParquetRows",
    "RowSpool",
    "TableRows",
    "TextLine",
    "bare_line",
    "common_schema",
    "compression_of",
    "end_of_blank_lines",
    "expand",
    "features_of",
    "foreign_content",
    "is_array_text",
    "is_dataset",
    "is_remote",
    "likely_form",
    "local_copy",
    "local_files",
    "lone_object",
    "name_of",
    "near_file",
    "open_text",
    "parsed",
    "read_npz",
    "with_features",
]
