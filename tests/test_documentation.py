"""What the README and the documentation show works as it stands there.

Each command and each piece of Python runs as printed, page by page, in a folder that holds files of
the names that the pages use. What cannot run here is told in `tests/documentation/tables.py`, and
its flags are parsed.
"""

from __future__ import annotations

import re
import shutil

import pytest
from absl import flags

import mig_jax
from mig_jax.commands import main
from tests.documentation import tables
from tests.documentation.meanings import MEANINGS, check_meaning
from tests.documentation.pages import blocks, inline_code, pages
from tests.documentation.running import commands_of, run_page
from tests.documentation.shown import lines_not_said
from tests.documentation.stand_ins import make_stand_ins, presupposed
from tests.running import ROOT


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


def all_flags():
    """Names of the flags of all commands and experiments, without hyphens."""
    known = set()
    commands = [main.load(name) for name in main.COMMANDS]
    modules = sorted(path.stem for path in (ROOT / "experiments").glob("[!_]*.py"))
    sources = [(ROOT / "experiments" / f"{module}.py").read_text() for module in modules]
    for command in commands:
        values = flags.FlagValues()
        command.define_flags(values)
        known |= set(values) | {f"no{name}" for name in values if values[name].boolean}
    for source in sources:
        known |= set(re.findall(r"""(?:DEFINE_\w+\(|flags\.DEFINE_\w+,)\s*"(\w+)\"""", source))
    return known


def test_flags_that_sentences_name_exist():
    known = all_flags()
    unknown = [
        f"{page}:{line}: `{code}` names --{name}, which no command has"
        for page in pages()
        for line, code in inline_code(page)
        for name in re.findall(r"(?<![\w-])--([a-zA-Z][\w-]*)", code)
        if name.replace("-", "_") not in known and f"--{name}" not in tables.FLAGS_OF_OTHERS
    ]
    assert not unknown, "\n".join(["", *unknown])


def test_every_entry_of_the_tables_is_of_use():
    commands, others = [], []
    for page in pages():
        found = commands_and_others(page)
        commands += found[0]
        others += found[1]
    texts = [command.text for command in commands]
    shown = [block.text for block in others]
    everything = [*texts, *shown]
    unused = [
        pattern
        for table, where in (
            (tables.NOT_RUN, texts),
            (tables.NEEDED, texts),
            (tables.REFUSED, texts),
            (tables.QUICKER, texts),
            (tables.SHOWN, shown),
            (map(re.escape, tables.SUBSTITUTED), everything),
            (map(re.escape, MEANINGS), everything),
        )
        for pattern in table
        if not any(re.search(pattern, text, re.MULTILINE) for text in where)
    ]
    assert not unused, f"no page has these any more; take them out of their tables: {unused}"


PAGE = """
    mig-jax make_pool --records=60 --output=pool.jsonl  # A comment.
    mig-jax select --pool=pool.jsonl --budget=5 \\
        --output=few.jsonl && cat few.jsonl | wc -l > lines

```text
selected 5 of 60 records -> few.jsonl
```

```text
selected 6 of 60 records -> few.jsonl
```

```console
$ mig-jax select --pool=pool.jsonl --budget=5 --nonsense=1 --output=few.jsonl
5 records
```

```python
import mig_jax
table = mig_jax.data.read_pool(["few.jsonl"])
```

```python
assert len(table.scores) == 5
assert len(table.scores) == 6
```

    frobnicate

and

    pip install -e '.[nonsense,test]'
    mig-jax annotate … --endpoint=http://localhost:8000/v1 --model=NAME --parallel_requests=many

and

    --tagger=nonsense
"""


def test_what_does_not_hold_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(PAGE)
    problems = run_page(str(tmp_path / "page.md"), {})
    assert (tmp_path / "lines").read_text().strip() == "5"
    found = {int(problem.where.rpartition(":")[2]): problem.said for problem in problems}
    expected = {
        11: "selected 6 of 60",
        15: "nonsense",
        25: "assert len(table.scores) == 6",
        29: "what is 'frobnicate'?",
        33: "['nonsense']",
        34: "parallel_requests",  # Not run, but read.
        38: "parallel_requests",
    }
    assert list(found) == list(expected)
    for line, part in expected.items():
        assert part in found[line], line


def test_lines_not_said():
    said = "selected 200 of 5,000\n  information E   10,831.9\nin 3.2 s\n"
    shown = "selected 200 of 5,000\n information E 10,831.2\nin 7 s\n\u2026\n"
    assert lines_not_said(shown, said) == []
    assert lines_not_said("information E \u2026", said) == []
    assert lines_not_said("information E 9,831.9 \u2026", said) != []
    assert lines_not_said("selected 201 of 5,000", "selected 200 of 5,000") != []
    assert lines_not_said("information E 10,931.9", said) == ["information E 10,931.9"]
    assert lines_not_said("picked 200 of 5,000", said) == ["picked 200 of 5,000"]
