"""The page of `mig-jax select --report` in a real browser: found, opened and read as people do."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tests.browser import Browser, browser_path
from tests.reports.selection_pages import ATTACK, attacked_pool, select

_PATH = browser_path()
pytestmark = pytest.mark.skipif(
    _PATH is None, reason="no browser is here: the page is tested in Chromium, if it is installed"
)

BUDGET = 45
RANKS = "[...document.querySelectorAll('.record .rank')].map(one => one.textContent)"


@pytest.fixture(scope="module")
def browser():
    with Browser(str(_PATH)) as started:
        yield started


@pytest.fixture(scope="module")
def selection(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("page")
    words = [*attacked_pool(folder), f"--budget={BUDGET}", f"--report={folder}"]
    assert select(folder, *words).returncode == 0
    return folder


@pytest.fixture(scope="module")
def picked(selection) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (selection / "out.jsonl").read_text().splitlines()]


def ranks(picked, is_wanted) -> list[str]:
    return [str(rank) for rank, row in enumerate(picked, 1) if is_wanted(row)]


def test_it_opens_with_the_first_picks_and_runs_nothing_of_theirs(browser, selection):
    browser.open(selection / "index.html")
    assert browser.said == []
    assert browser.value(RANKS) == [str(rank) for rank in range(1, 21)]
    assert browser.value("document.getElementById('first')") is None
    # All of it drawn, with what records and labels bring.
    browser.value("document.querySelectorAll('.record').forEach(one => one.open = true)")
    browser.value("new Promise(done => setTimeout(done, 50))")
    assert ATTACK in browser.value("document.querySelector('.record .turn').textContent")
    assert browser.value("window.attacked") is None
    assert browser.value("document.querySelectorAll('img, .record svg').length") == 0
    assert browser.value("document.scripts.length") == 2
    assert browser.value("performance.getEntriesByType('resource').length") == 0


def test_the_page_lets_no_other_program_run(browser, selection):
    browser.open(selection / "index.html")
    browser.value(
        "(() => { const one = document.createElement('script');"
        " one.textContent = 'window.attacked = 1'; document.body.append(one);"
        " document.body.insertAdjacentHTML('beforeend',"
        " '<img src=x onerror=\"window.attacked = 1\">'); })()"
    )
    browser.value("new Promise(done => setTimeout(done, 50))")
    assert browser.value("window.attacked") is None
    assert any("Content Security Policy" in line for line in browser.said)


def test_records_are_searched_filtered_and_sorted(browser, selection, picked):
    browser.open(selection / "index.html")
    text = picked[30]["messages"][0]["content"]
    *_, file, number = text.split()
    browser.type("#q", f" {number.upper()}  {file}")
    wanted = ranks(picked, lambda row: f"{file} {number}" in row["messages"][0]["content"])
    assert "31" in wanted
    assert browser.value(RANKS) == wanted
    marked = browser.value("[...document.querySelectorAll('mark')].map(one => one.textContent)")
    assert {number, file} <= set(marked)
    told = f"{len(wanted)} of {BUDGET} records"
    assert browser.value("document.getElementById('count').textContent") == told

    browser.click("#reset")
    assert browser.value("document.activeElement.id") == "q"
    browser.type("#label", "plain")
    wanted = ranks(picked, lambda row: "plain" in row["labels"])
    assert browser.value(RANKS) == wanted[:20]
    assert browser.value("document.getElementById('count').textContent") == (
        f"{len(wanted)} of {BUDGET} records"
    )

    # Beside the label, the file and the order.
    files = [row["messages"][0]["content"].removeprefix(ATTACK).split()[0] for row in picked]
    names = browser.value("[...document.querySelectorAll('#file option')].map(one => one.text)")
    browser.choose("#file", str([name.endswith("second.jsonl") for name in names].index(True) - 1))
    browser.choose("#sort", "score")
    both = [
        (row["score"], rank)
        for rank, (row, file) in enumerate(zip(picked, files, strict=True), 1)
        if "plain" in row["labels"] and file == "second"
    ]
    expected = [str(rank) for _, rank in sorted(both, key=lambda pair: -pair[0])]
    assert browser.value(RANKS) == expected[:20]

    # The address is of what is shown.
    address = browser.value("location.hash")
    browser.open(selection / "index.html", address)
    assert browser.value(RANKS) == expected[:20]
    browser.type("#q", "nothing has these words")
    assert browser.value("document.getElementById('list').textContent") == "No record matches."
    assert browser.said == []


def test_pages_are_turned(browser, selection):
    browser.open(selection / "index.html")
    browser.click("#next")
    browser.click("#next")
    assert browser.value(RANKS) == [str(rank) for rank in range(41, BUDGET + 1)]
    assert browser.value("document.getElementById('page').textContent") == "Page 3 of 3"
    assert browser.value("document.getElementById('next').disabled")
    browser.click("#previous")
    assert browser.value(RANKS)[0] == "21"


def test_a_record_has_an_address_and_tells_why_it_was_picked(browser, selection, picked):
    browser.open(selection / "index.html", "#23")
    told = browser.value("document.querySelector('.record[open]').textContent")
    assert picked[22]["messages"][0]["content"] in told
    for expected in ("Why it was picked", "As the first pick it would have added", "#23"):
        assert expected in told
    for name in picked[22]["labels"]:
        before = sum(name in row["labels"] for row in picked[:22])
        assert f"{name} ({before})" in told
    browser.open(selection / "index.html", "#1")
    first = browser.value("document.querySelector('.record[open]').textContent")
    assert "No record before it has these labels" in first
    # A click on a label shows its records; a key opens one.
    name = browser.value("document.querySelector('.record[open] button.label').textContent")
    browser.click(".record[open] button.label")
    assert browser.value(RANKS) == ranks(picked, lambda row: name in row["labels"])[:20]
    browser.value("document.querySelector('.record summary').focus()")
    browser.press("Enter")
    browser.value("new Promise(done => setTimeout(done, 50))")
    assert browser.value("document.querySelectorAll('.record[open] .turn').length") == 2


def test_who_came_near_and_who_took_their_gain_name_each_other(browser, selection):
    browser.open(selection / "index.html", "#near-1")
    told = browser.value("document.querySelector('.record[open]').textContent")
    assert "Not selected. It came nearest at pick" in told
    assert "Most of its gain was taken by earlier picks" in told
    pick = browser.value("document.querySelector('.record[open] .why a').getAttribute('href')")
    browser.click(".record[open] .why a")
    browser.value("new Promise(done => setTimeout(done, 100))")
    assert browser.value("location.hash") == pick
    told = browser.value("document.querySelector('.record[open]').textContent")
    assert "It took gain from records that came near to being selected" in told


def test_labels_of_charts_show_their_records(browser, selection, picked):
    browser.open(selection / "index.html")
    name = browser.value("document.querySelector('.bars button').dataset.label")
    browser.click(".bars button")
    assert browser.value("document.getElementById('label').value") == name
    assert browser.value(RANKS) == ranks(picked, lambda row: name in row["labels"])[:20]
    browser.click(".dot")
    said = browser.value("document.querySelector('.said button').parentNode.textContent")
    assert "of the information of the selection" in said
    browser.click(".said button")
    dot = browser.value("document.querySelector('.dot').dataset.label")
    assert browser.value("document.getElementById('label').value") == dot


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(browser, selection, width, dark):
    browser.open(selection / "index.html", "#2", width=width, dark=dark)
    assert browser.said == []
    browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    browser.value("new Promise(done => setTimeout(done, 50))")
    assert browser.value("document.documentElement.scrollWidth") <= width
    background, *colours = browser.value(
        "[getComputedStyle(document.body).backgroundColor, ...[...document.querySelectorAll("
        "'body, p, .tick, .label, .amounts, .axis, a, .legend li, .why p, input')].map("
        "one => getComputedStyle(one)).map(style => style[style.fontSize === '12px' ? 'fill' :"
        " 'color'])]"
    )
    assert (luminance(background) < 0.1) == dark
    for colour in set(colours):
        low, high = sorted([luminance(background), luminance(colour)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, colour
    smallest = browser.value(
        "Math.min(...[...document.querySelectorAll('.tick')].map("
        "one => one.getBoundingClientRect().height))"
    )
    assert smallest >= 10


def test_huge_numbers_fit_a_phone(browser, tmp_path):
    rows = [{"labels": [name], "score": 10.0**power} for name, power in (("a", 30), ("b", -30))]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget=2", f"--report={tmp_path}"]
    assert select(tmp_path, *words).returncode == 0
    browser.open(tmp_path / "index.html", width=400)
    edges = browser.value(
        "[...document.querySelectorAll('.amounts b')].map(one => {"
        " const words = document.createRange(); words.selectNodeContents(one);"
        " return words.getBoundingClientRect().right; })"
    )
    assert len(edges) == 2
    assert max(edges) <= 400


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2 of a colour such as rgb(1, 2, 3)."""
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
