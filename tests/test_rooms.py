"""The rooms of the package: arrows point down, doors show public names, and nothing loads early."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import types

import pytest

import mig_jax
from tests.running import ROOT

LONGEST = 400  # Lines of a module.
ROOMS = sorted(
    module.name
    for module in pkgutil.walk_packages(mig_jax.__path__, "mig_jax.")
    if module.ispkg and module.name != "mig_jax.commands"  # Its files are programs.
)


def test_arrows_point_down():
    cli = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0


def test_no_module_is_too_long():
    files = [*ROOT.glob("mig_jax/**/*.py"), *ROOT.glob("experiments/*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert "mig_jax/measure/_pool.py" in lengths
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize("room", ["mig_jax", *ROOMS])
def test_a_room_shows_public_names_that_are_there(room):
    door = importlib.import_module(room)
    assert sorted(door.__all__) == sorted(set(door.__all__))
    assert not [name for name in dir(door) if name.startswith("_")]
    for name in door.__all__:
        found = getattr(door, name)
        if isinstance(found, types.ModuleType):
            assert found.__name__ == f"{room}.{name}"
        else:  # No module hides behind a function of its name.
            assert importlib.util.find_spec(f"{room}.{name}") is None, name


def imported_by(program: str) -> set[str]:
    """The modules that a process of its own has in the end."""
    told = f"{program}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", told]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return set(result.stdout.split())


def test_nothing_is_imported_before_it_is_used(tmp_path):
    at_first = imported_by("import mig_jax; dir(mig_jax)")
    assert "mig_jax" in at_first
    assert not at_first & {"jax", "numpy", "mig_jax.measure"}
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"labels": ["a"], "score": 1}\n')
    assert "jax" not in imported_by(
        "from mig_jax import data, synthetic; synthetic.BuiltinPool(records=10).table(); "
        f"data.write_json(open({str(tmp_path / 'x')!r}, 'wb'), 1); data.read_pool([{str(pool)!r}])"
    )
    assert "jax" not in imported_by(
        "from mig_jax.commands.main import main; "
        f"main(['make_pool', '--records=1', {f'--output={tmp_path}/made.jsonl'!r}])"
    )
    assert "jax" not in imported_by("from mig_jax.commands.main import load; load('annotate')")
    assert "jax" in imported_by("import mig_jax; mig_jax.select")
