"""Writes each notebook (.ipynb) from its readable form (.py, cells marked by `# %%`), and runs it.

    python -m notebooks.pair          # those whose sources changed
    python -m notebooks.pair --all    # all, such as after a change of the library

The readable form is the source: edit it, then run this. The notebook has the cell of `install.py`
before all other code, and its outputs, so that it can be read where it cannot be run. These are
the same every time: what goes to stderr (progress) is left out, and so is what a cell prints that
has the tag `times`. README.md names the notebooks between two comments, written here, too.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile

import jupytext
import nbclient
import nbformat

__all__ = [
    "FOLDER",
    "NAMES",
    "badge",
    "digest",
    "executed",
    "list_of_notebooks",
    "notebook",
    "repository",
    "with_list",
]

FOLDER = pathlib.Path(__file__).parent
NAMES = ("quickstart", "raw_to_training", "learn_parameters", "ablations", "scaling")

_LIST = re.compile(r"(?<=<!-- notebooks -->).*?(?=<!-- /notebooks -->)", re.DOTALL)
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def repository() -> str:
    """The address of the repository, told in install.py alone; "" if it is published nowhere."""
    tree = ast.parse((FOLDER / "install.py").read_text(encoding="utf-8"))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REPOSITORY"
    )


def badge(name: str, address: str) -> str:
    """The badge that opens a notebook in Colab.

    "" for a repository that is not on GitHub, or published nowhere: Colab opens no others.
    """
    if not (found := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", address)):
        return ""
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    page = f"https://colab.research.google.com/github/{found[1]}/blob/main/notebooks/{name}.ipynb"
    return f"[![Open in Colab]({image})]({page})"


def list_of_notebooks(address: str) -> str:
    """The names of all notebooks, with their badges if there are any, as README.md has them."""
    return ", ".join(f"`{name}` {badge(name, address)}".rstrip() for name in NAMES)


def with_list(page: str, address: str) -> str:
    """A page with the notebooks named between its two comments."""
    return _LIST.sub(list_of_notebooks(address), page)


def notebook(name: str, address: str | None = None) -> nbformat.NotebookNode:
    """The notebook that the readable form `name`.py stands for, with the install cell.

    It has no outputs. The address is that of the repository, as `install.py` tells it.
    """
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    found = jupytext.reads(source, fmt="py:percent")
    first_code = [cell.cell_type for cell in found.cells].index("code")
    install = (FOLDER / "install.py").read_text(encoding="utf-8").strip()
    found.cells.insert(first_code, nbformat.v4.new_code_cell(install))
    if shown := badge(name, repository() if address is None else address):
        title, _, text = found.cells[0].source.partition("\n")
        found.cells[0].source = f"{title}\n\n{shown}\n{text}"
    for number, cell in enumerate(found.cells):
        cell.id = f"{name}-{number}"  # Random by default: every run would write other bytes.
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
    found.metadata = {**_METADATA, "mig_jax": {"digest": digest(found)}}
    found.nbformat, found.nbformat_minor = 4, 5
    nbformat.validate(found)
    return found


def digest(found: nbformat.NotebookNode) -> str:
    """SHA-256 of the cells' sources: outputs that were made of others are stale."""
    sources = json.dumps([[cell.cell_type, cell.source] for cell in found.cells])
    return hashlib.sha256(sources.encode()).hexdigest()


def executed(name: str) -> nbformat.NotebookNode:
    """The notebook with its outputs, those that are the same every time.

    Raises:
      CellExecutionError: if a cell fails.
    """
    found = notebook(name)
    kept = [dict(cell.metadata) for cell in found.cells]
    path = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            found, timeout=1800, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute(env={**os.environ, "PYTHONPATH": path})
    for cell, metadata in zip(found.cells, kept, strict=True):
        cell.metadata = metadata
        if cell.cell_type == "code":
            times = "times" in metadata.get("tags", [])
            cell.outputs = [] if times else _kept(cell.outputs)
    found.metadata = notebook(name).metadata  # The kernel has put its version there.
    return found


def _kept(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs without progress; what is printed in parts is one output."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if found and found[-1].output_type == "stream":
                found[-1].text += output.text
                continue
        elif output.output_type in ("display_data", "execute_result"):
            output.metadata = {}
        found.append(output)
    return found


def _is_current(name: str) -> bool:
    path = FOLDER / f"{name}.ipynb"
    if not path.exists():
        return False
    written = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    return written.metadata.get("mig_jax") == notebook(name).metadata["mig_jax"]


def _main(words: list[str]) -> None:
    for name in NAMES:
        if words != ["--all"] and _is_current(name):
            continue
        print(f"running {name}", flush=True)
        text = nbformat.writes(executed(name)) + "\n"
        (FOLDER / f"{name}.ipynb").write_text(text, encoding="utf-8")
    readme = FOLDER.parent / "README.md"
    readme.write_text(with_list(readme.read_text(encoding="utf-8"), repository()), encoding="utf-8")
    if not repository():
        print("no badges: REPOSITORY in notebooks/install.py is empty")


if __name__ == "__main__":
    _main(sys.argv[1:])
