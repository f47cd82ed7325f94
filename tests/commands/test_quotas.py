"""Quotas as users write them: every form is read as it is meant, all else is one line."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.commands.quotas import (
    RECORDS,
    SHARES,
    TOKENS,
    Bound,
    Quota,
    parse_quota,
    read_quotas,
    unit_of,
)
from mig_jax.errors import InputError

BOUNDS = {
    "100": Bound(100, RECORDS),
    "1,000": Bound(1000, RECORDS),
    "2e3": Bound(2000, RECORDS),
    "0": Bound(0, RECORDS),
    "5%": Bound(Fraction(1, 20), SHARES),
    "0.5%": Bound(Fraction(1, 200), SHARES),
    "33.3%": Bound(Fraction(333, 1000), SHARES),
    "100%": Bound(Fraction(1), SHARES),
    "20000t": Bound(20_000, TOKENS),
    "20,000t": Bound(20_000, TOKENS),
    "5e5t": Bound(500_000, TOKENS),
}
NAMES = st.sampled_from(["maths", "a=b", "meta.source", "flan-cot/aqua", "=", "", "a..b", "5%"])
TEXTS = st.sampled_from(list(BOUNDS))


@given(NAMES, TEXTS, st.sampled_from(["{}..", "..{}", "{}"]))
def test_forms_with_one_bound(name, text, form):
    minimum = None if form == "..{}" else BOUNDS[text]
    maximum = None if form == "{}.." else BOUNDS[text]
    assert parse_quota(f"{name}={form.format(text)}") == Quota(name, minimum, maximum)


@given(NAMES, TEXTS, TEXTS)
def test_a_minimum_and_a_maximum(name, low, high):
    word = f"{name}={low}..{high}"
    if BOUNDS[low].unit == BOUNDS[high].unit and BOUNDS[low].amount > BOUNDS[high].amount:
        with pytest.raises(InputError, match="is above the maximum"):
            parse_quota(word)
    else:
        assert parse_quota(word) == Quota(name, BOUNDS[low], BOUNDS[high])


@pytest.mark.parametrize(
    "word",
    [
        *("", "a", "a=", "a=..", "a=-1", "a=5..x", "a=1.5", "a=%", "a=t", "a=1..2..3"),
        *("a=5T", "a=1-2", "a=nan", "a=2x..", f"a=..{2**31 - 1}t"),
    ],
)
def test_words_that_say_none(word):
    with pytest.raises(InputError) as refusal:
        parse_quota(word)
    assert str(refusal.value).startswith(f"--quota: found {word or 'nothing'}, expected NAME=MIN..")


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 10**6))
def test_shares_hold_as_whole_numbers(one, two, budget):
    """A minimum is not below its share, a maximum not above; an exact share is next to both."""
    low, high = sorted([one, two])
    least, most = parse_quota(f"a={low / 10}%..{high / 10}%").numbers(budget)
    assert least is not None
    assert most is not None
    if low == high:
        assert least == low * budget // 1000
        assert most == -(-high * budget // 1000)
    else:
        assert least - 1 < Fraction(low * budget, 1000) <= least
        assert most <= Fraction(high * budget, 1000) < most + 1


@pytest.mark.parametrize("span", ["110%", "5%..110%", "110%.."])
def test_no_share_is_above_the_whole(span):
    with pytest.raises(
        InputError, match=r"^--quota: a: 110% is above 100%; expected at most that$"
    ):
        parse_quota(f"a={span}")


def test_one_unit_for_all():
    quotas = [parse_quota(word) for word in ("a=5%..", "b=..7%")]
    assert [unit_of(quotas, unit) for unit in (RECORDS, TOKENS)] == [RECORDS, TOKENS]
    assert unit_of([*quotas, parse_quota("c=3")], RECORDS) == RECORDS
    with pytest.raises(InputError, match="c has a bound in records and a one in tokens"):
        unit_of([*quotas, parse_quota("c=3")], TOKENS)
    with pytest.raises(InputError, match="expected records or tokens in all"):
        unit_of([parse_quota("a=1..2t")], RECORDS)


def test_a_file_of_quotas(tmp_path):
    path = tmp_path / "quotas.json"
    given = {"maths": "5%..20%", "a=b": "..7%", "é": 3, "": "1.."}
    path.write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")
    expected = [parse_quota(f"{name}={span}") for name, span in given.items()]
    assert read_quotas(str(path)) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "found a list; expected"),
        ("{}", "found an empty object; expected a JSON object"),
        ("3", "found 3; expected"),
        ("null", "found null; expected"),
        ('{"a": null}', "a: found null"),
        ('{"a": true}', "a: found true"),
        ('{"a": {"min": 1}}', "a: found an object"),
        ('{"a": 1.5}', "a: found 1.5"),
        ('{"a": "x"}', "found a=x, expected NAME=MIN..MAX"),
        ("\ufeff\xff", "Expecting value"),
    ],
)
def test_files_that_are_none(tmp_path, text, told):
    path = tmp_path / "quotas.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        read_quotas(str(path))
    assert str(refusal.value).startswith(f"--quotas: {path}: ")
    assert told in str(refusal.value)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="codec can't decode"):
        read_quotas(str(path))
