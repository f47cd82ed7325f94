"""What is told of tokens, quotas, a given set and the rest, from manifests that are made up."""

from __future__ import annotations

import html.parser
import re

import numpy as np
import pytest

import mig_jax
from mig_jax import data
from mig_jax.devices import ALONE
from mig_jax.reports import Selected, allowed_selections, manifest, selection_page, summary
from mig_jax.selection import Constraints
from mig_jax.synthetic import BuiltinPool

GROUPS = [
    {"name": "web", "pool": 200, "minimum": None, "maximum": 8, "selected": 8, "price": 12.345},
    {"name": "books", "pool": 300, "minimum": None, "maximum": None, "selected": 9, "price": 0.0},
    {"name": "<b>", "pool": 60, "minimum": 3, "maximum": 3, "selected": 3, "price": -1.5},
]
LIMITS = {
    "budget": 20,
    "tokens": {"budget": 5000, "used": 4998, "pool": 81234, "counted_by": "bytes over 4"},
    "quotas": {"unit": "records", "by": "meta.source", "groups": GROUPS},
    "prices": {"record": 2.5, "token": 0.0123456},
    "given": {"files": ["old.jsonl"], "records": 30, "information": 100.0, "included": True},
    "prefixes": [
        {"records": 5, "tokens": 1200, "information": 60.0, "certified_ratio": 0.98769},
        {"records": 20, "tokens": 4998, "information": 190.5, "certified_ratio": 0.999},
    ],
    "extended": {"previous": "last.jsonl", "kept": 17, "reason": "a new record wins"},
    "changes": {"previous": "last.jsonl", "most": 4, "kept": 16, "new": 3},
    "run": {"pool": "0123"},
}


@pytest.fixture(scope="module")
def problem():
    """All that a page is made of, for a selection without limits."""
    source = BuiltinPool(records=560, labels=40, topics=5)
    table = source.table()
    pool = mig_jax.pool_from_table(table)
    graph = mig_jax.label_graph_from_edges(table.num_labels)
    measure = mig_jax.Measure()
    selection = mig_jax.select(pool, graph, 20, measure=measure)
    certificate = mig_jax.certify(pool, graph, measure, selection.picks)
    parameters = {"gain": "exact", "budget": 20}
    about = {
        **manifest(parameters, table, graph, selection, certificate, ALONE),
        "records_used": table.num_records,
        "labels_covered": 33,
        "random_choice": {"information": 80.0, "labels_covered": 21.0},
        "sources": [{"file": "pool.jsonl", "records": 560, "selected": 20}],
    }
    return about, (table, pool, graph, measure, selection, data.FieldNames.of(None))


def lines_of(about, **changed):
    return summary({**about, **changed}, "out.jsonl").splitlines()


def test_without_limits_there_is_no_word_of_them(problem):
    about, parts = problem
    lines = lines_of(about)
    assert len(lines) == 4
    assert lines[3].endswith(" of the best possible E")
    # Keys that are there and empty are as good as none.
    empty = {name: None for name in LIMITS if name != "budget"}
    assert lines_of(about, **empty) == lines
    page = selection_page(Selected({**about, **empty}, *parts)).decode()
    assert "No selection of 20 records can hold more than" in page
    for word in ("limits", "price", "quota", "Smaller budgets", "tokens"):
        assert word not in page.partition("Settings and counts")[0].partition("</style>")[2]


def test_the_summary_tells_every_limit(problem):
    about, _ = problem
    about = {**about, **LIMITS, "information": 190.5}
    lines = lines_of(about)
    for expected in (
        "  tokens          4,998 of 5,000   (the pool: 81,234; counted by bytes over 4)",
        "  given           30 records of E 100.0, written too; the picks add 90.5",
        "  extended        kept the first 17 picks of last.jsonl: a new record wins",
        "  changes         3 new, at most 4; 16 kept of last.jsonl",
        "  price           the bound on E rises by at most 2.5 for a further record, 12.4 for "
        "1,000 further tokens",
        "  quotas, records by meta.source; price: E for one more:",
        "    web    8 of 200  (at most 8)  price +12.3",
        "    <b>    3 of  60  (3)          price -1.5",
        "    books  9 of 300",
    ):
        assert expected in lines
    assert lines[3].endswith("of the best possible E within these limits")
    # Groups whose limits cost something come first.
    named = [line.split()[0] for line in lines if re.match(r"    \S", line)]
    assert named == ["web", "<b>", "books"]


def test_tokens_have_prices_by_the_thousand(problem):
    about, _ = problem
    quotas = {"unit": "tokens", "by": "file", "groups": GROUPS}
    lines = lines_of(about, quotas=quotas, prices={"record": 0.0, "token": 0.5}, budget=None)
    assert "  quotas, tokens by file; price: E for 1,000 tokens more:" in lines
    assert "    web    8 of 200  (at most 8)  price +12,300" in lines
    assert not [line for line in lines if "the bound on E" in line]  # Neither is limited.


def test_of_many_groups_the_largest_are_told(problem):
    about, parts = problem
    groups = [
        {"name": f"g{n}", "pool": n, "minimum": 1, "maximum": None, "selected": 1, "price": None}
        for n in range(1, 131)
    ]
    quotas = {"unit": "records", "by": "g", "groups": groups}
    lines = lines_of(about, quotas=quotas)
    assert "    g130  1 of 130  (at least 1)" in lines
    assert lines[-1] == "    118 other groups"
    assert "  quotas, records by g:" in lines  # No word of prices if there is none.
    page = Page(selection_page(Selected({**about, "quotas": quotas}, *parts)))
    (table,) = [table for table in page.tables if table[0][0] == "g"]
    assert len(table) == 1 + 100 + 1
    assert table[-1] == ["30 others", "–", "–", f"{sum(range(1, 31)):,}", "30", "–"]


class Page(html.parser.HTMLParser):
    """The text of a page, and its tables."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self._cell = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = True
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.tables[-1][-1][-1] += data


def test_the_page_tells_every_limit(problem):
    about, parts = problem
    others = np.setdiff1d(np.arange(560), parts[4].picks)
    given = np.isin(np.arange(560), others[:30])
    about = {**about, **LIMITS, "information": 190.5, "upper_bound": 190.7}
    page = Page(selection_page(Selected(about, *parts, Constraints(given=given))))
    assert (
        "No selection of at most 20 records and 5,000 tokens that keeps to the quotas, with at "
        "most 4 that the last selection has not, together with the 30 records given, can hold more "
        "than 190.7 information by this measure; this one holds 190.5"
    ) in page.text
    assert "of the best possible within the limits, certified" in page.text
    limits, quotas, prefixes, settings = page.tables
    assert [row[0] for row in limits] == [
        *("tokens", "given", "extended", "changes", "price"),
    ]
    assert quotas[0] == [
        *("meta.source", "minimum", "maximum", "records in the pool", "selected"),
        "price of a record",
    ]
    assert quotas[1:] == [
        ["web", "–", "8", "200", "8", "+12.3"],
        ["<b>", "3", "3", "60", "3", "-1.5"],
        ["books", "–", "–", "300", "9", "–"],
    ]
    assert prefixes == [
        ["the first", "tokens", "information E", "certified"],
        ["5", "1,200", "60.0", "≥ 98.76 %"],  # Never rounded up.
        ["20", "4,998", "190.5", "≥ 99.90 %"],
    ]
    # Told above, they are not told again.
    assert not {row[0] for row in settings} & (LIMITS.keys() - {"budget"})


def test_prices_that_are_not_known_are_not_told_to_be_nothing(problem):
    about, parts = problem
    groups = [{name: group[name] for name in group if name != "price"} for group in GROUPS]
    about = {**about, "quotas": {**LIMITS["quotas"], "groups": groups}, "certified_ratio": None}
    page = Page(selection_page(Selected(about, *parts)))
    names, *rows = page.tables[0]
    assert names == ["meta.source", "minimum", "maximum", "records in the pool", "selected"]
    assert [row[0] for row in rows] == ["books", "web", "<b>"]
    assert "What each limit costs was not computed" in page.text
    assert "Without a price" not in page.text


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, "of 20 records"),
        ({"tokens": LIMITS["tokens"], "budget": None}, "of at most 5,000 tokens"),
        ({"tokens": {"budget": None}}, "of 20 records"),  # Counted only for the quotas.
        ({"quotas": LIMITS["quotas"]}, "of 20 records that keeps to the quotas"),
        ({"given": LIMITS["given"]}, "of 20 records, together with the 30 records given,"),
        (
            {"changes": LIMITS["changes"]},
            "of 20 records, with at most 4 that the last selection has not,",
        ),
        ({"extended": LIMITS["extended"]}, "of 20 records"),
    ],
)
def test_the_proof_names_what_it_compares_with(limits, expected):
    assert allowed_selections({"budget": 20, "records_selected": 20, **limits}) == expected
