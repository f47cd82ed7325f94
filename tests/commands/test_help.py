"""What --help shows: examples that work, essential flags first, as wide as the terminal."""

from __future__ import annotations

import re

import pytest
from absl import flags

from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import File, adder, several
from mig_jax.commands.flag_words import read_flags, take_pool
from mig_jax.commands.help_text import help_text
from mig_jax.commands.main import COMMANDS, load
from tests.running import mig, refused


def flags_of(command):
    values = flags.FlagValues()
    load(command).define_flags(values)
    return values


def flags_told(text):
    return set(re.findall(r"^  --(\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_is_as_wide_as_the_terminal(command, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    for flag in ("--help", "--help_all"):
        told = mig(command, flag).stdout
        long = [line for line in told.splitlines() if len(line) > min(width, 100)]
        # What has no space is not broken: an address, the choices of a flag.
        assert all(" " not in line.strip() for line in long), long
        assert "repeat this option" not in told  # As absl says it.
        assert not re.search(r"^ *<", told, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_all_flags_are_told_and_the_essential_ones_first(command):
    values = flags_of(command)
    every = mig(command, "--help_all").stdout
    assert flags_told(every) == set(values)
    assert mig(command, "--help-all").stdout == every
    essential = mig(command, "--help").stdout
    shown = flags_told(essential)
    assert shown >= set(load(command).required)
    found = values.flags_by_module_dict()
    assert shown == {flag.name for flag in found[Section.ESSENTIAL]}
    assert mig("help", command).stdout == mig(command, "-h").stdout == essential
    left = {section: len(of) for section, of in found.items() if section != Section.ESSENTIAL}
    told = " ".join(essential.split())
    assert (f"lists {sum(left.values())} more flag" in told) == bool(left)
    for section, count in left.items():
        assert f"{section} ({count})" in told
        assert f"\n{section}:\n" in every


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_read(command, tmp_path, monkeypatch):
    """Their flags are there, with values that these take, and all that is required is given."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw.jsonl", "pool.jsonl", "annotated.jsonl"):
        (tmp_path / name).write_text("")
    told = mig(command, "--help").stdout
    shown, of_flags = told.partition("Examples:\n")[2].split("\n\n")[0], load(command)
    assert of_flags.examples
    whole = shown.replace("\\\n", "")
    for example in of_flags.examples:
        assert f"mig-jax {command} {example}" in re.sub(" +", " ", whole)
        values = flags_of(command)
        take_pool(values, read_flags(values, ["mig-jax", *example.split()]))
        assert all(values[name].value for name in of_flags.required)


def test_the_overview_has_an_example_and_all_commands(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    told = mig("--help").stdout
    assert max(map(len, told.splitlines())) <= 60
    first = told.index("mig-jax select raw.jsonl")
    places = [told.index(f"\n  {name} ") for name in (*COMMANDS, "completion")]
    assert [first, *places] == sorted([first, *places])
    assert mig().stdout == mig("help").stdout == mig("-h").stdout == told


def test_a_flag_without_a_section_is_essential():
    """So that a program with few flags shows them all."""
    values = flags.FlagValues()
    add = adder(values)
    add(flags.DEFINE_boolean, "fast", True, "Hurry.")
    add(several(File), "inputs", [], "What is read. May be repeated.")
    add.under(Section.LONG_RUNS)(flags.DEFINE_float, "every", 2.0, "Seconds.")
    assert help_text("program", values, width=80) == (
        "usage: program [--flag=value ...]\n\n"
        "Essential:\n"
        "  --fast, --nofast\n      Hurry. (default: on)\n"
        "  --inputs=FILE\n      What is read. May be repeated.\n\n"
        "`program --help_all` lists 1 more flag: Long runs (1)."
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["selct"], "selct: no such command, expected select"),
        (["version"], "version: no such command, expected --version"),
        (["make-pol"], "make-pol: no such command, expected make_pool"),
        (["--pool=a"], "--pool=a: expected a command first, such as: mig-jax select --pool=a"),
        (["setup.py"], "setup.py: is no command; expected one first, such as: mig-jax select "),
        (["help", "selct"], "selct: no such command, expected select"),
        (["completion"], "completion: found nothing, expected one of bash, zsh, fish, tcsh"),
        (["completion", "sh"], "completion: found sh, expected one of bash, zsh, fish, tcsh"),
    ],
)
def test_what_is_no_command(words, told):
    assert refused(*words).startswith(f"mig-jax: {told}")
