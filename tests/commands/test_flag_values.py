"""Nonsense in each flag of each command is told in one line that names the flag."""

from __future__ import annotations

import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.commands.flag_values import AmountParser, adder, amount_of
from mig_jax.commands.flag_words import read_flags
from mig_jax.commands.main import COMMANDS, load
from mig_jax.errors import InputError
from tests.running import refused

WHOLE = [
    "10%",
    "0.1",
    "-1",
    "1e-4",
    "1e400",
    "nan",
    "inf",
    "one",
    "1,00",
    "0x",
    "9" * 5000,
    "",
    "2**3",
    "5kk",
    "1.0005k",
    "k",
    "1e2k",
    "5 k",
    "5B",
]
NUMBERS = ["10%", "nan", "inf", "-inf", "1e999", "0,5", "one", "", "1 2", "0x10"]
OF_TYPE = {
    "int": WHOLE,
    "float": NUMBERS,
    "bool": ["maybe", "2", ""],
    "string enum": ["nonsense", ""],
    "amount": [*WHOLE[1:], "0", "0%", "101%", "%", "1e1%", "-5%", "1/2%", "10%%"],
    "similarity": [*NUMBERS, "Auto", "0", "-0.5", "1.01"],
}


def flags_of(command: str) -> list[flags.Flag]:
    values = flags.FlagValues()
    load(command).define_flags(values)
    return [values[name] for name in sorted(values)]


EVERY = [(command, flag.name) for command in COMMANDS for flag in flags_of(command)]
TEXTS = {"string", "multi string", "comma separated list of strings"}


def test_all_types_of_flags_are_met():
    met = {flag.flag_type() for command in COMMANDS for flag in flags_of(command)}
    assert met == set(OF_TYPE) | TEXTS


@pytest.mark.parametrize(("command", "name"), EVERY)
def test_nonsense_is_one_line_that_names_the_flag(command, name):
    (flag,) = (flag for flag in flags_of(command) if flag.name == name)
    for value in OF_TYPE.get(flag.flag_type(), []):
        if value == "-1" and getattr(flag.parser, "lower_bound", 0) < 0:
            continue
        shown = value if len(value) <= 60 else value[:60] + "..."
        told = refused(command, f"--{name}={value}")
        assert told.startswith(f"mig-jax: --{name}: found {shown or 'nothing'}, expected ")
    if flag.flag_type() in TEXTS:
        required = [
            f"--{other.name}={(getattr(other.parser, 'enum_values', None) or ['1'])[0]}"
            for other in flags_of(command)
            if other.name in load(command).required and other.name != name
        ]
        told = refused(command, f"--{name}=", *required)
        assert told.startswith(f"mig-jax: --{name}: ")
        assert "expected" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_that_are_not_there(command):
    assert refused(command, "--outptu=x").startswith("mig-jax: --outptu: no such flag, expected ")
    told = refused(command, "--zzzzzzzz")
    assert told == "mig-jax: --zzzzzzzz: no such flag, expected one of those that --help_all lists"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nocertificate=1"], "--nocertificate=1 does not take an argument"),
        (["--budget"], "--budget: found nothing, expected a whole number of at least 1, "),
        (["--flagfile=/nowhere/flags"], "/nowhere/flags"),
    ],
)
def test_words_that_are_no_flags(words, told):
    assert told in refused("select", "--output=x.jsonl", *words)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e4", 10_000),
        ("10_000", 10_000),
        ("10,000", 10_000),
        ("1,234,567", 1_234_567),
        ("5.0", 5),
        ("1.5e3", 1500),
        (" 7 ", 7),
        ("0x10", 16),
        ("007", 7),
        ("500,000", 500_000),
        ("5e5", 500_000),
        ("5k", 5_000),
        ("5K", 5_000),
        ("1.5M", 1_500_000),
        (".5k", 500),
        (" 0.001k ", 1),
        ("2B", 2_000_000_000),
    ],
)
def test_whole_numbers_that_are_exact(text, number):
    values = flags.FlagValues()
    add = adder(values)
    add(flags.DEFINE_integer, "budget", None, "How many.", lower_bound=1)
    add(AmountParser, "budget_tokens", None, "How many.")
    read_flags(values, ["program", f"--budget={text}", f"--budget_tokens={text}"])
    assert values.budget == values.budget_tokens == amount_of(values.budget_tokens, 9) == number


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.sampled_from(["{}%", " {} % "]))
def test_shares_are_rounded_down_and_at_least_1(total, thousandths, form):
    values = flags.FlagValues()
    adder(values)(AmountParser, "budget", None, "How many.")
    read_flags(values, ["program", f"--budget={form.format(thousandths / 1000)}"])
    assert amount_of(values.budget, total) == max(1, total * thousandths // 10**5)


def test_bounds_are_told():
    values = flags.FlagValues()
    add = adder(values)
    add(flags.DEFINE_float, "share", 0.5, "How much.", lower_bound=0.0, upper_bound=1.0)
    add(flags.DEFINE_integer, "count", 2, "How many.", lower_bound=2)
    add(flags.DEFINE_float, "any", 1.0, "Anything.")
    for word, told in (
        ("--share=2", "--share: found 2, expected a finite number of at least 0 and at most 1"),
        (
            "--count=1",
            "--count: found 1, expected a whole number of at least 2 and at most 2,147,483,647",
        ),
        ("--any=x=y", "--any: found x=y, expected a finite number"),
    ):
        with pytest.raises(InputError) as refusal:
            read_flags(values, ["program", word])
        assert str(refusal.value) == told
