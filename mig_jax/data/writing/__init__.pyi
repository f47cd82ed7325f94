from ._output_files import OutputFiles
from ._output_layouts import OUTPUT_LAYOUTS, RecordConverter, updated_dataset_info
from ._record_sink import OutputForm, RecordSink, output_form
from ._table_spool import check_one_table
from ._tables import write_json, write_selection_table
from ._written_records import write_records

__all__ = [
    "OUTPUT_LAYOUTS",
    "OutputFiles",
    "OutputForm",
    "RecordConverter",
    "RecordSink",
    "check_one_table",
    "output_form",
    "updated_dataset_info",
    "write_json",
    "write_records",
    "write_selection_table",
]
