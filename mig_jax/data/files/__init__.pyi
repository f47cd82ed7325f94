from ._array_files import ArrayFile
from ._dataset_files import DatasetRows, is_dataset
from ._line_files import BYTE_ORDER_MARK, FileStamp, LineFile, bare_line
from ._npz_arrays import read_npz
from ._parquet_files import ParquetRows, write_rows

__all__ = [
    "BYTE_ORDER_MARK",
    "ArrayFile",
    "DatasetRows",
    "FileStamp",
    "LineFile",
    "ParquetRows",
    "bare_line",
    "is_dataset",
    "read_npz",
    "write_rows",
]
