from ._dataset_info import dataset_info_entry, dataset_info_notes, updated_dataset_info
from ._manifests import check_outputs, read_manifest
from ._output_files import OutputFiles
from ._output_layouts import OUTPUT_LAYOUTS, RecordConverter
from ._record_sink import OutputForm, RecordSink, output_form
from ._table_spool import check_one_table
from ._tables import write_json, write_selection_table
from ._trainer_notes import TrainerNotes, notes_of_rows
from ._written_records import write_records

__all__ = [
    "OUTPUT_LAYOUTS",
    "OutputFiles",
    "OutputForm",
    "RecordConverter",
    "RecordSink",
    "TrainerNotes",
    "check_one_table",
    "check_outputs",
    "dataset_info_entry",
    "dataset_info_notes",
    "notes_of_rows",
    "output_form",
    "read_manifest",
    "updated_dataset_info",
    "write_json",
    "write_records",
    "write_selection_table",
]
