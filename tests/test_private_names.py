"""Names that begin with an underscore stay where they are made: tests go by what all may use."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# With an underscore in front for want of a better place, and documented.
DOCUMENTED = {"_asdict", "_exit", "_fields", "_make", "_replace", "_repr_html_"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def names_imported(tree: ast.AST) -> Iterator[str]:
    """Every name that is imported, in full: of a module, or of something in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def private_names_used(source: str) -> list[str]:
    """What a test takes from elsewhere though its name begins with an underscore.

    Programs and names of attributes in strings count, as `monkeypatch.setattr` takes them.
    """
    tree = ast.parse(source)
    found = [name for name in names_imported(tree) if any(map(is_private, name.split(".")))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of_its_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found += [] if of_its_own else [ast.unparse(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += re.findall(r"\bmig_jax(?:\.\w+)*\._(?!_)\w+", node.value)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            if name in ("getattr", "setattr", "delattr", "object"):
                found += [word for word in words if isinstance(word, str) and is_private(word)]
    return found


def test_what_counts_as_private():
    assert private_names_used("from mig_jax.data import _cache") == ["mig_jax.data._cache"]
    assert private_names_used("import mig_jax.data._cache as c") == ["mig_jax.data._cache"]
    assert private_names_used("thing._size += 1") == ["thing._size"]
    assert private_names_used("patch.setattr(thing, '_size', 1)") == ["_size"]
    assert private_names_used("run('from ' 'mig_jax.data._cache import x')") == [
        "mig_jax." + "data._cache"
    ]
    fine = "self._size = thing.__name__; row._replace(a=1); os._exit(1); _own = mig_jax.__version__"
    assert private_names_used(fine) == []


@pytest.mark.parametrize(
    "path", sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("tests/**/*.py"))
)
def test_tests_reach_no_private_name(path):
    if path == "tests/test_private_names.py":
        pytest.skip("its examples do")
    assert private_names_used((ROOT / path).read_text()) == []


def test_private_files_are_imported_within_their_room_only():
    """`mig_jax.room._file` belongs to those in the folder `mig_jax/room`."""
    reached = []
    paths = [
        p
        for place in ("mig_jax", "experiments", "notebooks")
        for p in ROOT.glob(f"{place}/**/*.py")
    ]
    assert ROOT / "mig_jax/measure/_pool.py" in paths
    for path in paths:
        for name in names_imported(ast.parse(path.read_text())):
            words = name.split(".")
            private = [number for number, word in enumerate(words) if is_private(word)]
            if words[0] == "mig_jax" and private:
                room = ROOT.joinpath(*words[: private[0]])
                if room not in path.parents:
                    reached.append(f"{path.relative_to(ROOT)} imports {name}")
    assert reached == []
