from ._output_layouts import OUTPUT_LAYOUTS, RecordConverter, updated_dataset_info
from ._writers import OutputFiles, write_json, write_records, write_selection_table

__all__ = [
    "OUTPUT_LAYOUTS",
    "OutputFiles",
    "RecordConverter",
    "updated_dataset_info",
    "write_json",
    "write_records",
    "write_selection_table",
]
