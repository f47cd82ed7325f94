from ._manifests import check_outputs
from ._output_files import OutputFiles
from ._output_layouts import OUTPUT_LAYOUTS, RecordConverter, updated_dataset_info
from ._tables import write_json, write_selection_table
from ._written_records import write_records

__all__ = [
    "OUTPUT_LAYOUTS",
    "OutputFiles",
    "RecordConverter",
    "check_outputs",
    "updated_dataset_info",
    "write_json",
    "write_records",
    "write_selection_table",
]
