"""The notebooks: in order as files, and they run from top to bottom with small settings."""

import base64
import io
import json
import os

import numpy as np
import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed: pip install -e '.[test]'")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install -e '.[test]'")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra `test`)")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra `test`)")

from notebooks import pair  # noqa: E402 - needs jupytext

# The pictures that each notebook shows.
PICTURES = {
    "quickstart": 4,
    "raw_to_training": 2,
    "learn_parameters": 4,
    "ablations": 2,
    "scaling": 2,
}
SMALL = {"MIG_JAX_NOTEBOOK_RECORDS": "1200", "MIG_JAX_NOTEBOOK_STEPS": "10"}

each_notebook = pytest.mark.parametrize("name", pair.NAMES)


def read(name):
    return nbformat.read(pair.FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def test_every_notebook_is_checked():
    assert {path.stem for path in pair.FOLDER.glob("*.ipynb")} == set(pair.NAMES) == set(PICTURES)


@each_notebook
def test_the_notebook_agrees_with_its_readable_form(name):
    written = (pair.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert written == pair.text(name), "run: python -m notebooks.pair"


@each_notebook
def test_outputs_are_stripped_and_metadata_minimal(name):
    found = json.loads((pair.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert set(found["metadata"]) == {"kernelspec", "language_info"}
    assert found["metadata"]["kernelspec"]["name"] == "python3"
    for cell in found["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@each_notebook
def test_installs_before_all_other_code(name):
    cells = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    assert cells[0] == (pair.FOLDER / "install.py").read_text(encoding="utf-8").strip()
    # The place to install from is told once.
    assert not any("pip" in cell for cell in cells[1:])


def test_the_install_cell_does_nothing_where_mig_jax_is_there(monkeypatch):
    import subprocess

    ran = []
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **_: ran.append(arguments[0]))
    cell = (pair.FOLDER / "install.py").read_text(encoding="utf-8")
    exec(cell, {})
    assert ran == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(cell, {})
    assert len(ran) == 1
    assert ran[0][1:4] == ["-m", "pip", "install"]
    assert ran[0][-1].startswith("mig-jax[notebooks]")


@pytest.mark.slow
@each_notebook
def test_runs_from_top_to_bottom(name, tmp_path, monkeypatch):
    for variable, value in SMALL.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # The kernel draws into the notebook.
    repository = str(pair.FOLDER.parent)
    path = os.pathsep.join([repository, *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    found = read(name)
    client = nbclient.NotebookClient(
        found,
        timeout=300,
        kernel_name="python3",
        # In an empty folder: a notebook needs no file.
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()  # Raises if a cell does.

    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "Warning: " not in printed
    pictures = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == PICTURES[name]
    for picture in pictures:
        assert is_drawn(picture)
    assert list(tmp_path.iterdir()) == []


def is_drawn(png):
    """Whether the PNG, in base64, is of a sensible size and not of one colour."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(base64.b64decode(png)), format="png")[..., :3]
    return min(pixels.shape[:2]) > 150 and float(np.std(pixels)) > 0.01
