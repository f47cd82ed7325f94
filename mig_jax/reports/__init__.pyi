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
from ._manifest import at_least, manifest, summary

__all__ = [
    "LearningReport",
    "Row",
    "at_least",
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
