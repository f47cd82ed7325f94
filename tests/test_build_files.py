"""The BUILD files name every Python file once, and what each target imports."""

from __future__ import annotations

import ast
import collections
import dataclasses
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = ("mig_jax", "experiments", "notebooks", "tests")
PLACES = ("*.py", *(f"{folder}/**/*.py" for folder in (*OURS, "docs")))


@dataclasses.dataclass
class Target:
    sources: list[str]  # Paths from the root.
    deps: list[str]  # Labels, as //package:name.
    is_python: bool


def targets_of(package: pathlib.Path) -> dict[str, Target]:
    """What a BUILD file says. It is Starlark, of which Python runs what is used here."""
    here = package.relative_to(ROOT).as_posix().removeprefix(".")
    found: dict[str, Target] = {}

    def label(name: str) -> str:
        if name.startswith("//"):
            return name if ":" in name else f"{name}:{name.rpartition('/')[2]}"
        return f"//{here}:{name.removeprefix(':')}"

    def rule(name, srcs=(), deps=(), is_python=True, **_):
        sources = [(package / source).relative_to(ROOT).as_posix() for source in srcs]
        found[label(name)] = Target(sources, [label(dep) for dep in deps], is_python)

    def glob(patterns, exclude=()):
        def below(pattern):
            return {
                path.relative_to(package).as_posix()
                # For pathlib, unlike for Bazel, `**` at the end is folders only.
                for path in package.glob(pattern + "/*" * pattern.endswith("**"))
                if path.is_file()
                and not any((folder / "BUILD").exists() for folder in parents_below(path))
            }

        def parents_below(path):
            return [folder for folder in path.parents if package in folder.parents]

        kept = set().union(*map(below, patterns)) - set().union(*map(below, exclude))
        return sorted(kept)

    def pytest_tests(deps=(), test_deps=(), **_):
        tests = glob(["test_*.py"])
        beside = [] if here == "tests" else ["//tests:support"]
        rule(
            "support",
            [source for source in glob(["*.py"]) if source not in tests],
            [*deps, *beside],
        )
        for test in tests:
            rule(test[:-3], [test], [*deps, *test_deps, ":support"])

    def nothing(*_, **__):
        pass

    known = dict.fromkeys(("py_library", "py_binary"), rule)
    known |= dict.fromkeys(("load", "package", "exports_files"), nothing)
    known["filegroup"] = functools.partial(rule, is_python=False)
    known["alias"] = lambda name, actual: rule(name, deps=[actual])
    known["glob"] = glob
    known["pytest_tests"] = pytest_tests  # As in tests/pytest_tests.bzl.
    exec((package / "BUILD").read_text(), known)
    return found


@pytest.fixture(scope="module")
def targets() -> dict[str, Target]:
    places = [ROOT, *(path.parent for folder in OURS for path in (ROOT / folder).rglob("BUILD"))]
    return {label: target for place in places for label, target in targets_of(place).items()}


@pytest.fixture(scope="module")
def owners(targets) -> dict[str, list[str]]:
    found = collections.defaultdict(list)
    for label, target in targets.items():
        for source in target.sources:
            found[source].append(label)
    return found


def modules_imported(source: str) -> set[str]:
    """Paths of our own files that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / source).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            path = name.replace(".", "/")
            found |= {f"{path}.py", f"{path}/__init__.py"}
    return {path for path in found if path.startswith(OURS) and (ROOT / path).exists()}


def test_every_python_file_belongs_to_one_target(owners):
    files = {path.relative_to(ROOT).as_posix() for place in PLACES for path in ROOT.glob(place)}
    assert {"setup.py", "mig_jax/measure/_pool.py", "tests/test_build_files.py"} <= files
    assert {file: owners.get(file, []) for file in files if len(owners.get(file, [])) != 1} == {}


def test_targets_name_files_and_targets_that_exist(targets, owners):
    assert [source for source in owners if not (ROOT / source).exists()] == []
    assert {dep for target in targets.values() for dep in target.deps} - targets.keys() == set()


def test_targets_depend_on_what_they_import(targets, owners):
    def reached(label: str, seen: set[str]) -> set[str]:
        if label not in seen:
            seen.add(label)
            for dep in targets[label].deps:
                reached(dep, seen)
        return seen

    missing = []
    for label, target in targets.items():
        within = reached(label, set())
        for source in target.sources:
            if target.is_python:
                needed = modules_imported(source)
                missing += [
                    f"{label} lacks {owners[path]}: {source} imports {path}"
                    for path in sorted(needed)
                    if not within.intersection(owners[path])
                ]
    assert missing == []
