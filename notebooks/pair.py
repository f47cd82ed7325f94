"""Writes each notebook (.ipynb) from its readable form (.py, cells marked by `# %%`).

    python -m notebooks.pair

The readable form is the source: edit it, then run this. The notebook has no outputs, the
same bytes every time, and the cell of `install.py` before all other code.
"""

from __future__ import annotations

import pathlib

import jupytext
import nbformat

__all__ = ["FOLDER", "NAMES", "notebook", "text"]

FOLDER = pathlib.Path(__file__).parent
NAMES = ("quickstart", "raw_to_training", "learn_parameters", "ablations", "scaling")

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(name: str) -> nbformat.NotebookNode:
    """The notebook that the readable form `name`.py stands for, with the install cell."""
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    found = jupytext.reads(source, fmt="py:percent")
    first_code = [cell.cell_type for cell in found.cells].index("code")
    install = (FOLDER / "install.py").read_text(encoding="utf-8").strip()
    found.cells.insert(first_code, nbformat.v4.new_code_cell(install))
    for number, cell in enumerate(found.cells):
        cell.id = f"{name}-{number}"  # Random by default: every run would write other bytes.
        cell.metadata = {}
    found.metadata = _METADATA
    found.nbformat, found.nbformat_minor = 4, 5
    nbformat.validate(found)
    return found


def text(name: str) -> str:
    """The .ipynb file of a notebook."""
    return nbformat.writes(notebook(name)) + "\n"


if __name__ == "__main__":
    for each in NAMES:
        (FOLDER / f"{each}.ipynb").write_text(text(each), encoding="utf-8")
