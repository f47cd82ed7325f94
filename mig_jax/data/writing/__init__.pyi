from ._dataset_info import dataset_info_entry, dataset_info_notes, updated_dataset_info
from ._output_files import OutputFiles
from ._output_layouts import OUTPUT_LAYOUTS, RecordConverter
from ._tables import write_json, write_selection_table
from ._trainer_notes import TrainerNotes
from ._written_records import write_records

__all__ = [
    "OUTPUT_LAYOUTS",
    "OutputFiles",
    "RecordConverter",
    "TrainerNotes",
    "dataset_info_entry",
    "dataset_info_notes",
    "updated_dataset_info",
    "write_json",
    "write_records",
    "write_selection_table",
]
