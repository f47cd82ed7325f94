from . import plotting
from ._ablation_report import Row, describe, write_heat_maps, write_tables
from ._learning_page import (
    LearningReport,
    label_changes,
    most_changed,
    report_content,
    report_text,
    write_report,
)
from ._manifest import manifest, proven_per_cent, summary
from ._selection_page import PAGE_LIBRARIES, Selected, selection_page

__all__ = [
    "PAGE_LIBRARIES",
    "LearningReport",
    "Row",
    "Selected",
    "describe",
    "label_changes",
    "manifest",
    "most_changed",
    "plotting",
    "proven_per_cent",
    "report_content",
    "report_text",
    "selection_page",
    "summary",
    "write_heat_maps",
    "write_report",
    "write_tables",
]
