"""Writes the report of learning: report.json for programs, report.md and pictures for people."""

from __future__ import annotations

import pathlib
from typing import Final

from mig_jax import data
from mig_jax.reports import _learning_plots as learning_plots
from mig_jax.reports._learning_report import (
    LearningReport,
    label_changes,
    most_changed,
    report_content,
)
from mig_jax.reports._learning_text import report_text

__all__ = ["REPORT_FILES", "write_report"]

#: What `write_report` writes into its folder.
REPORT_FILES: Final = (
    "report.json",
    "report.md",
    "loss.png",
    "parameters.png",
    "score_functions.png",
    "selected_by_label.png",
)

_NAMED = 8  # Of the labels that changed most, in the picture.


def write_report(outputs: data.OutputFiles, folder: pathlib.Path, report: LearningReport) -> None:
    """Writes report.json, report.md and the pictures it shows: `REPORT_FILES`.

    Args:
      outputs: of the command; all its files appear together. report.json is their manifest, so
        that all others are to be written before.
      folder: where to; files of these names are replaced.
      report: what to tell.

    Raises:
      InputError: if the folder cannot be written to.
    """
    changes = label_changes(report)
    pictures = {
        "loss.png": learning_plots.loss_figure(report.history, report.best_step),
        "parameters.png": learning_plots.parameters_figure(changes, most_changed(changes)[:_NAMED]),
        "score_functions.png": learning_plots.score_functions_figure(
            report.before.measure.score_function, report.after.measure.score_function, changes
        ),
        "selected_by_label.png": learning_plots.selected_figure(changes),
    }
    outputs.open(folder / "report.md").write(report_text(report, str(folder)).encode())
    for name, figure in pictures.items():
        figure.savefig(outputs.open(folder / name), format="png", dpi=learning_plots.DPI)
    manifest = outputs.open_manifest(folder / "report.json", folder / "report.md")
    outputs.write_manifest(manifest, report_content(report), folder / "report.md")
