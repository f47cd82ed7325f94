from . import plotting
from ._ablation_report import Row, describe, write_heat_maps, write_tables
from ._learning_page import write_report
from ._learning_plots import LabelChanges
from ._learning_report import LearningReport, label_changes, most_changed, report_content
from ._learning_text import comparison_lines, report_text
from ._manifest import at_least, manifest, summary

__all__ = [
    "LabelChanges",
    "LearningReport",
    "Row",
    "at_least",
    "comparison_lines",
    "describe",
    "label_changes",
    "manifest",
    "most_changed",
    "plotting",
    "report_content",
    "report_text",
    "summary",
    "write_heat_maps",
    "write_report",
    "write_tables",
]
