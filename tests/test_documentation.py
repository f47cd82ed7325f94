"""What the README and the documentation show works as it stands there.

Each command and each piece of Python runs as printed, page by page, in a folder that holds files of
the names that the pages use. What cannot run here is told in `tests/documentation/tables.py`, and
its flags are parsed.
"""

from __future__ import annotations

import re
import shutil

import pytest

import mig_jax
from tests.documentation import tables
from tests.documentation.meanings import MEANINGS, check_meaning
from tests.documentation.pages import blocks, pages
from tests.documentation.running import commands_of, run_page
from tests.documentation.shown import lines_not_said
from tests.documentation.stand_ins import make_stand_ins, presupposed


def commands_and_others(page: str):
    """The commands of a page, and the texts of its blocks that are something else."""
    commands, others = [], []
    for block in blocks(page):
        found = commands_of(block)
        commands += found or ()
        if not found:
            others.append(block)
    return commands, others


PAGES_THAT_SHOW = [
    page
    for page in pages()
    if any(block.is_commands or block.is_python or not block.language for block in blocks(page))
]


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand_ins")
    make_stand_ins(folder)
    return folder


@pytest.fixture
def registries_as_before():
    """What pages register goes again."""
    registries = (mig_jax.FAMILIES, mig_jax.GAIN_RULES, mig_jax.learning.PARAMETERISATIONS)
    before = [dict(registry) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        registry.clear()
        registry.update(names)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_THAT_SHOW)
@pytest.mark.usefixtures("registries_as_before")
def test_page_works_as_printed(page, stand_ins, tmp_path, monkeypatch):
    folder = tmp_path / "page"
    shutil.copytree(stand_ins, folder, symlinks=True)
    monkeypatch.chdir(folder)
    problems = run_page(page, presupposed(), after=check_meaning)
    assert not problems, "\n\n".join(["", *map(str, problems)])


def test_every_entry_of_the_tables_is_of_use():
    commands, others = [], []
    for page in pages():
        found = commands_and_others(page)
        commands += found[0]
        others += found[1]
    texts = [command.text for command in commands]
    everything = [*texts, *(block.text for block in others)]
    for table, where in (
        (tables.NOT_RUN, texts),
        (tables.REFUSED, texts),
        (tables.QUICKER, texts),
        (tables.SHOWN, [block.text for block in others if not block.language]),
        ({re.escape(name): "" for name in tables.SUBSTITUTED}, everything),
        ({re.escape(name): "" for name in MEANINGS}, everything),
    ):
        for pattern in table:
            assert any(re.search(pattern, text, re.MULTILINE) for text in where), (
                f"{pattern!r}: no page has it; take it out of its table"
            )


def test_lines_not_said():
    said = "selected 200 of 5,000\n  information E   10,831.9\nin 3.2 s\n"
    shown = "selected 200 of 5,000\n information E 10,831.2\nin 7 s\n\u2026\n"
    assert lines_not_said(shown, said) == []
    assert lines_not_said("selected 201 of 5,000", "selected 200 of 5,000") != []
    assert lines_not_said("information E 10,931.9", said) == ["information E 10,931.9"]
    assert lines_not_said("picked 200 of 5,000", said) == ["picked 200 of 5,000"]
