from . import plotting
from ._ablation_report import Row, describe, write_heat_maps, write_tables
from ._compared_ways import compared_ways, comparison_picture
from ._counts import counts_by_file, counts_by_value, told_counts
from ._enough_text import told_enough
from ._explanation_text import explanation_lines, scores_as_read, told_explanation
from ._learned_in_words import hardly_joined
from ._learning_notes import learning_notes
from ._learning_page import REPORT_FILES, write_report
from ._learning_plots import LabelChanges
from ._learning_report import (
    LearningReport,
    PastRunsReport,
    label_changes,
    most_changed,
    report_content,
)
from ._learning_text import comparison_lines, report_text
from ._limits import allowed_selections
from ._manifest import manifest, summary
from ._markdown import counted, markdown_table
from ._selected import Selected
from ._selection_page import selection_page
from ._told_numbers import proven_per_cent, told_information

__all__ = [
    "REPORT_FILES",
    "LabelChanges",
    "LearningReport",
    "PastRunsReport",
    "Row",
    "Selected",
    "allowed_selections",
    "compared_ways",
    "comparison_lines",
    "comparison_picture",
    "counted",
    "counts_by_file",
    "counts_by_value",
    "describe",
    "explanation_lines",
    "hardly_joined",
    "label_changes",
    "learning_notes",
    "manifest",
    "markdown_table",
    "most_changed",
    "plotting",
    "proven_per_cent",
    "report_content",
    "report_text",
    "scores_as_read",
    "selection_page",
    "summary",
    "told_counts",
    "told_enough",
    "told_explanation",
    "told_information",
    "write_heat_maps",
    "write_report",
    "write_tables",
]
