"""The notebooks: in order as files, with outputs, and they run from top to bottom."""

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

# The pictures that each notebook draws, and how many of them show times, which are not kept.
PICTURES = {
    "quickstart": (4, 0),
    "raw_to_training": (2, 0),
    "learn_parameters": (4, 0),
    "ablations": (4, 0),
    "scaling": (2, 1),
}
SMALL = {"MIG_JAX_NOTEBOOK_RECORDS": "1200", "MIG_JAX_NOTEBOOK_STEPS": "10"}
LARGEST = 1_000_000  # Bytes of a notebook, so that it is shown without waiting.

each_notebook = pytest.mark.parametrize("name", pair.NAMES)


def read(name):
    return nbformat.read(pair.FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def code_cells(found):
    return [cell for cell in found.cells if cell.cell_type == "code"]


def pictures_of(found):
    outputs = [output for cell in code_cells(found) for output in cell.outputs]
    return [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]


def test_every_notebook_is_checked():
    assert {path.stem for path in pair.FOLDER.glob("*.ipynb")} == set(pair.NAMES) == set(PICTURES)


@each_notebook
def test_the_notebook_agrees_with_its_readable_form(name):
    """But for its outputs, byte for byte: and these are of the sources that stand there."""
    written = read(name)
    assert written.metadata.mig_jax.digest == pair.digest(written), "run: python -m notebooks.pair"
    for cell in code_cells(written):
        cell.outputs, cell.execution_count = [], None
    expected = pair.notebook(name)
    assert nbformat.writes(written) == nbformat.writes(expected), "run: python -m notebooks.pair"


@each_notebook
def test_outputs_are_there_and_metadata_minimal(name):
    path = pair.FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < LARGEST
    found = json.loads(path.read_text(encoding="utf-8"))
    assert set(found["metadata"]) == {"kernelspec", "language_info", "mig_jax"}
    assert found["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in found["cells"]:
        assert cell["metadata"] in ({}, {"tags": ["times"]})
        for output in cell.get("outputs", []):
            assert output["output_type"] in ("stream", "display_data", "execute_result")
            assert output.get("name") != "stderr"
        source = "".join(cell["source"])
        if "tags" in cell["metadata"]:
            assert cell["outputs"] == []  # They would be others every time.
        elif cell["cell_type"] == "code" and ("print(" in source or "plt.show()" in source):
            assert cell["outputs"] != []
    outputs = [output for cell in found["cells"] for output in cell.get("outputs", [])]
    printed = json.dumps([[o.get("text"), o.get("data", {}).get("text/plain")] for o in outputs])
    for machine in (str(pair.FOLDER.parent), "/tmp", "/home"):
        assert machine not in printed
    drawn, with_times = PICTURES[name]
    shown = pictures_of(read(name))
    assert len(shown) == drawn - with_times
    for picture in shown:
        assert is_drawn(picture)


@each_notebook
def test_installs_before_all_other_code(name):
    cells = [cell.source for cell in code_cells(read(name))]
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
    address = "https://example.org/mig_jax"
    exec(cell.replace(f'REPOSITORY = "{pair.repository()}"', f'REPOSITORY = "{address}"'), {})
    assert [words[1:4] for words in ran] == [["-m", "pip", "install"]] * 2
    of_pypi = "mig-jax[notebooks]"
    assert ran[0][-1] == of_pypi + (f" @ git+{pair.repository()}" if pair.repository() else "")
    assert ran[1][-1] == f"{of_pypi} @ git+{address}"


def test_badges_are_of_the_one_address():
    address = "https://github.com/someone/mig_jax"
    opened = "https://colab.research.google.com/github/someone/mig_jax/blob/main/notebooks/"
    for name in pair.NAMES:
        first = pair.notebook(name, address).cells[0].source
        title, _, shown, *_ = first.split("\n")
        assert title.startswith("# ")
        assert shown == pair.badge(name, address)
        assert f"]({opened}{name}.ipynb)" in shown
        assert shown in pair.list_of_notebooks(address)
        without = pair.notebook(name, "").cells[0].source
        assert first.replace(f"\n{shown}\n", "") == without
    for no_github in ("", "https://gitlab.com/someone/mig_jax"):
        assert pair.badge("quickstart", no_github) == ""


def test_the_readme_names_all_notebooks():
    readme = (pair.FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert pair.list_of_notebooks(pair.repository()) in readme, (
        "README.md: put <!-- notebooks --><!-- /notebooks --> where the notebooks are named, and"
        " run: python -m notebooks.pair"
    )
    assert pair.with_list(readme, pair.repository()) == readme
    # A comment that begins a line would make it HTML, whose Markdown is shown as it stands.
    assert all(not line.lstrip().startswith("<!-- notebooks") for line in readme.splitlines())
    assert "[![Open in Colab]" in pair.with_list(readme, "https://github.com/someone/mig_jax")


def test_the_documentation_has_all_notebooks():
    folder = pair.FOLDER.parent / "docs" / "examples"
    toctree = (folder / "index.md").read_text(encoding="utf-8").split("```{toctree}")[1]
    for name in pair.NAMES:
        assert (folder / f"{name}.ipynb").resolve() == (pair.FOLDER / f"{name}.ipynb").resolve()
        assert name in toctree.split()


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

    code = code_cells(found)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "Warning: " not in printed
    shown = pictures_of(found)
    assert len(shown) == PICTURES[name][0]
    for picture in shown:
        assert is_drawn(picture)
    assert list(tmp_path.iterdir()) == []


def is_drawn(png):
    """Whether the PNG, in base64, is of a sensible size and not of one colour."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(base64.b64decode(png)), format="png")[..., :3]
    return min(pixels.shape[:2]) > 150 and float(np.std(pixels)) > 0.01
