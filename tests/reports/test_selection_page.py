"""`mig-jax select --report`: the real command, its page read by another parser."""

from __future__ import annotations

import json
import os
import re

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from mig_jax.learning import Free, save_learned, shared_start
from mig_jax.selection import Constraints, random_choices
from tests.reports.selection_pages import ATTACK, LABELS, Page, attacked_pool, select
from tests.running import mig


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> list[str]:
    return attacked_pool(tmp_path_factory.mktemp("pool"))


def test_page_tells_what_the_manifest_tells(pool, tmp_path):
    words = [*pool, "--budget=25", f"--report={tmp_path / 'report'}"]
    done = select(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    path = tmp_path / "report" / "index.html"
    assert done.stdout.endswith(f"\nreport -> {path}\n")
    page = Page(path)
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    ratio = np.floor(about["certified_ratio"] * 1e4) / 1e2
    by_chance = about["random_choice"]["information"] / about["upper_bound"]
    for expected in (
        "25 of 60 records selected",
        f"at least {ratio:.2f} % of the best",
        f"{about['information']:,.1f}",
        f"{about['edges']:,}pairs of labels joined",
        f"{about['labels_covered']:,}of {about['labels']:,} labels covered"
        f"{about['random_choice']['labels_covered']:,.0f} at random",
        f"information E{about['random_choice']['information']:,.1f} at random",
        f"certified{np.floor(1e4 * by_chance) / 1e2:.2f} % at random",
        "The first 20 records",
        "its gain: ",
        "Nearest to being selected",
        "would have been enough",
        "taken by pick 1",
        "By file",
    ):
        assert expected in page.text
    # Texts are there as texts, without the page's program too, and nothing is fetched.
    assert f"{ATTACK} " in page.text
    assert "long …" not in page.text
    assert "…" in page.text
    tags = [tag for tag, _ in page.tags]
    assert not {"link", "iframe", "object", "img"} & set(tags)
    assert tags.count("script") == 2
    assert not {"src", "onerror", "onload"} & {name for _, given in page.tags for name in given}
    picked = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    places = [page.text.find(row["messages"][0]["content"] + "assistant") for row in picked[:20]]
    assert places == sorted(places)
    assert places[0] > 0

    again = tmp_path / "again"
    again.mkdir()
    assert select(again, *pool, "--budget=25", f"--report={again / 'report'}").returncode == 0
    own = (again / "report" / "index.html").read_bytes()
    assert own.replace(str(again).encode(), str(tmp_path).encode()) == path.read_bytes()


def test_records_to_explore_are_those_selected(pool, tmp_path):
    """Rank by rank what the table beside the selection has, and what the pool's files have."""
    assert select(tmp_path, *pool, "--budget=25", f"--report={tmp_path}").returncode == 0
    data = Page(tmp_path / "index.html").data
    rows = pq.read_table(tmp_path / "out.selection.parquet").to_pylist()
    picked = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(data["picks"]) == len(data["texts"]["picks"]) == 25
    assert data["given"] == []
    assert (
        "<"
        not in (tmp_path / "index.html")
        .read_text()
        .partition('id="data">')[2]
        .partition("</script>")[0]
    )
    for told, row, record, turns in zip(
        data["picks"], rows, picked, data["texts"]["picks"], strict=True
    ):
        file, line, score, labels, more, gain, at_first, most, parts, reached = told
        assert (data["files"][file], line) == (row["file"], row["line"])
        assert [data["labels"][label] for label in labels] == sorted(record["labels"])
        assert more == 0
        np.testing.assert_allclose([score, gain], [record["score"], row["gain"]], rtol=1e-4)
        assert at_first >= gain * (1 - 1e-4)
        assert parts == sorted(parts, reverse=True)
        # At most five labels: all are told.
        assert reached == len(most) == len(parts)
        assert {data["labels"][label] for label in most} >= set(record["labels"])
        np.testing.assert_allclose(sum(parts), gain, rtol=1e-2)
        (_, asked), (_, answer) = turns
        assert asked == record["messages"][0]["content"]
        assert (answer[:-1], answer[-1]) == (record["messages"][1]["content"][:1499], "…")
    # The gain of a record is its best if it is the first.
    assert data["picks"][0][5] == data["picks"][0][6]
    # Of those that came near, none was picked; what a pick took of one is not more than it had.
    places = {(told[0], told[1]) for told in data["picks"]}
    ratios = [told[5] for told in data["near"]]
    assert not places & {(told[0], told[1]) for told in data["near"]}
    assert ratios == sorted(ratios, reverse=True)
    for told in data["near"]:
        taken = told[9]
        assert all(1 <= rank <= told[6] for rank, _, _ in taken)
        for _, amount, labels in taken:
            np.testing.assert_allclose(sum(part for _, part in labels), amount, rtol=1e-2)


def test_charts_have_the_numbers_of_the_selection(pool, tmp_path):
    assert select(tmp_path, *pool, "--budget=25", f"--report={tmp_path}").returncode == 0
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    text = Page(tmp_path / "index.html").text
    rows = pq.read_table(tmp_path / "out.selection.parquet").to_pylist()
    read = dict(re.findall(r"picks (\d+): selected ([\d.]+)", text))
    assert len(read) == 25
    for row in rows:
        np.testing.assert_allclose(float(read[str(row["rank"])]), row["information"], rtol=1e-3)
    [(best, by_chance)] = re.findall(
        r"picks 25: selected [\d.]+, highest scores ([\d.]+), a random choice ([\d.]+)", text
    )
    np.testing.assert_allclose(float(by_chance), about["random_choice"]["information"], rtol=1e-3)
    assert float(by_chance) < float(best) < about["information"]
    gains = dict(re.findall(r"pick (\d+): gain ([\d.]+)", text))
    np.testing.assert_allclose(float(gains["7"]), rows[6]["gain"], rtol=1e-3)
    # Each label has its bars, and its dot is told by the same shares.
    bars = re.findall(r"(\d+\.\d\d) %(\d+\.\d\d) %", text)
    assert len(bars) == len(LABELS)
    np.testing.assert_allclose(np.sum(np.array(bars, float), axis=0), 100, atol=0.1)
    for pool_share, held_share in bars:
        told = f": {held_share}% of the information of the selection, {pool_share}% of the pool's"
        assert told in text


def test_shares_are_those_of_the_scores_if_no_labels_are_joined(tmp_path):
    rows = [{"labels": ["a"], "score": 3.0}, {"labels": ["a"], "score": 2.0}]
    rows += [{"labels": ["b"], "score": 1.5}, {"labels": ["c"], "score": 1.0}]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget=2", f"--report={tmp_path}"]
    assert select(tmp_path, *words).returncode == 0
    text = Page(tmp_path / "index.html").text
    for name, of_pool, held in (("a", 5 / 7.5, 3 / 4.5), ("b", 1.5 / 7.5, 1.5 / 4.5)):
        assert f"{name}{100 * of_pool:.2f} %{100 * held:.2f} %" in text
    assert "c: 0.00% of the information of the selection, 13.33% of the pool's" in text


def test_a_page_of_large_records_is_below_10_mb_and_tells_what_it_left_out(tmp_path):
    """Names and texts of three bytes a symbol: neither all numbers nor all texts have room."""
    rng = np.random.default_rng(0)
    with (tmp_path / "pool.jsonl").open("w") as out:
        for number in range(560):
            turns = [{"role": "user", "content": f"{number} " + "数" * 1400}] * 4
            labels = [f"{number} {k} " + "签" * 200 for k in range(40)]
            row = {"messages": turns, "labels": labels, "score": float(rng.random()) + 1}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget=540", f"--report={tmp_path}"]
    done = select(tmp_path, *words, "--nocertificate", "--similarity_threshold=0.9")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "index.html"
    assert 8e6 < path.stat().st_size < 1e7
    page = Page(path)
    rows, texts = len(page.data["picks"]), len(page.data["texts"]["picks"])
    assert 0 < texts < rows < 540
    assert f"Of the 540 records the first {rows:,} are on this page." in page.text
    assert f"The first {texts:,} have their texts here." in page.text
    assert {len(row[3]) for row in page.data["picks"]} == {30}
    assert {row[4] for row in page.data["picks"]} == {10}


def test_given_records_are_not_counted_as_what_may_be_selected(pool, tmp_path):
    assert select(tmp_path, *pool, "--budget=7", f"--output={tmp_path / 'have.jsonl'}").stdout
    given = f"--given={tmp_path / 'have.jsonl'}"
    done = select(tmp_path, *pool, "--budget=5", given, f"--report={tmp_path / 'report'}")
    assert done.returncode == 0, done.stderr
    page = Page(tmp_path / "report" / "index.html")
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    assert sum(row["records"] for row in about["sources"]) == 53
    for row in about["sources"]:
        assert f"{row['file']}{row['records']}{row['selected']}" in page.text.replace("\n", "")
    assert "in the pool and in the selection and what is given" in page.text
    assert len(page.data["given"]) == 7
    have = [json.loads(line) for line in (tmp_path / "have.jsonl").read_text().splitlines()]
    texts = [turns[0][1] for turns in page.data["texts"]["given"]]
    assert sorted(texts) == sorted(row["messages"][0]["content"] for row in have)
    counts = dict(zip(page.data["labels"], page.data["timesGiven"], strict=True))
    for name, times in counts.items():
        assert times == sum(name in row["labels"] for row in have)


def test_a_resumed_selection_has_the_page_of_an_uninterrupted_one(pool, tmp_path):
    pages = []
    for name, budgets in (("whole", [25]), ("parts", [10, 25])):
        folder = tmp_path / name
        folder.mkdir()
        words = [*pool, f"--report={folder}", f"--checkpoint_dir={folder / 'checkpoint'}"]
        for budget in budgets:
            done = select(folder, *words, f"--budget={budget}")
            assert done.returncode == 0, done.stderr
        pages.append((folder / "index.html").read_bytes().replace(str(folder).encode(), b"."))
    assert "resuming after 10" in done.stderr
    assert pages[0] == pages[1]


def test_what_is_given_is_not_near_and_more_is_told_by_the_command(pool, tmp_path):
    """Beside a number of records, only what is given leaves records that come nearest."""
    first = tmp_path / "first"
    first.mkdir()
    assert select(first, *pool, "--budget=10").returncode == 0
    rows = [json.loads(line) for line in (first / "out.jsonl").read_text().splitlines()]
    told = "mig-jax explain tells why any record was picked or not"
    for words, has_nearest in (
        ([f"--given={first / 'out.jsonl'}"], True),
        (["--group_field=file", f"--quota={pool[0].removeprefix('--pool=')}=2.."], False),
        ([f"--extend={first / 'out.jsonl'}"], True),
    ):
        done = select(tmp_path, *pool, *words, "--budget=15", f"--report={tmp_path}")
        assert done.returncode == 0, done.stderr
        text = Page(tmp_path / "index.html").text
        assert told in text
        assert ("Nearest to being selected" in text) == has_nearest
        assert ("Within these limits" in text) != ("--extend" in words[0])
        if "--given" in words[0]:
            assert "50records in the pool, beside those given" in text
            for row in rows:
                assert row["messages"][0]["content"] + "assistant" not in text


def test_learned_parameters_have_a_page(pool, tmp_path):
    start = shared_start(threshold=0.6)
    parameterisation = Free(start=start, lowest_threshold=0.5, num_labels=2)
    learned = parameterisation.init(jax.random.key(0))
    save_learned(tmp_path / "learned", parameterisation, learned, ["plain", "$x$"])
    words = [word for word in pool if "threshold" not in word]
    words += ["--budget=5", f"--params={tmp_path / 'learned'}", f"--report={tmp_path}"]
    done = select(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    page = Page(tmp_path / "index.html")
    assert "5 of 60 records selected" in page.text
    assert str(tmp_path / "learned") in page.text


@pytest.mark.parametrize(
    "words", [["--budget=1", "--nocertificate"], ["--budget=3", "--score_function=log"]]
)
def test_small_selections_have_a_page(words, tmp_path):
    rows = [{"labels": ["a"], "score": 1.0, "note": "no turns"}] * 3
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = select(tmp_path, f"--pool={pool}", *words, f"--report={tmp_path}")
    assert done.returncode == 0, done.stderr
    page = Page(tmp_path / "index.html")
    assert '"no turns"' in page.text
    assert "By file" not in page.text
    assert ("not computed" in page.text) == ("--nocertificate" in words)


def test_picks_that_would_do_are_told_as_the_summary_tells_them(tmp_path):
    rows = [{"labels": ["a"], "score": 1.0}, *[{"labels": ["a"], "score": 0.0}] * 4]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget=4", f"--report={tmp_path}"]
    done = select(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    hint = "3 of 4 picks add nothing: 1 record holds all the information that this measure sees"
    assert hint in done.stdout
    assert hint in Page(tmp_path / "index.html").text


def test_other_ways_are_told_as_the_summary_tells_them(pool, tmp_path):
    words = [*pool, "--budget=25", f"--report={tmp_path}", "--compare=random"]
    done = select(tmp_path, *words)
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    _, random = about["compare"]["ways"]
    seen = [line.partition(" -> ")[2] for line in done.stdout.splitlines()[-2:]]
    assert seen == [f"{tmp_path / 'out.compare.svg'}", f"{tmp_path / 'index.html'}"]
    assert all(map(os.path.exists, seen))
    text = Page(tmp_path / "index.html").text
    assert f"random{random['information']:,.1f}{100 * random['share_of_this']:.1f} %" in text
    assert "Random is the mean of 5 choices." in text
    assert "random is the mean of 5 choices" in done.stdout


def test_this_selection_has_the_certificates_own_number_among_the_other_ways(tmp_path):
    scores = [1e30, *np.random.default_rng(0).random(30)]
    rows = [{"labels": [f"{i % 7}"], "score": score} for i, score in enumerate(scores)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget=9", "--compare=random"]
    assert select(tmp_path, *words).returncode == 0
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    own = about["compare"]["ways"][0]
    assert own["information"] == about["information"]
    assert own["share_of_bound"] == about["certified_ratio"]


def test_few_gains_are_drawn_one_by_one_though_they_rise_and_fall(tmp_path):
    rows = [
        {
            "text": "word " * (40 * (1 + number % 5)),
            "labels": [str(number)],
            "score": 1 + number % 5,
        }
        for number in range(30)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget_tokens=2500", f"--report={tmp_path}"]
    assert select(tmp_path, *words).returncode == 0
    gains = pq.read_table(tmp_path / "out.selection.parquet")["gain"].to_numpy()
    assert 1 < len(gains) <= 100
    assert np.count_nonzero(np.diff(gains) > 0) > 0.05 * len(gains)
    page = (tmp_path / "index.html").read_text()
    chart = page[page.index("What each pick adds") : page.index("Information of the picks so far")]
    (line,) = re.findall(r'<path class="line selected" d="M([^"]*)"', chart)
    assert line.count("L") == len(gains) - 1


@pytest.mark.parametrize("most_records", [None, 25])
def test_under_a_budget_of_tokens_all_are_held_against_each_other_at_equal_tokens(
    tmp_path, most_records
):
    """Each record has a label of its own, so E is a sum over records that a line computes."""
    rng = np.random.default_rng(4)
    tokens, scores = rng.integers(20, 400, 80), 1 + rng.random(80)
    rows = [
        {"text": "x", "labels": [str(at)], "score": scores[at], "cost": int(tokens[at])}
        for at in range(80)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget_tokens=3000", "--cost_field=cost"]
    words += [] if most_records is None else [f"--budget={most_records}"]
    done = select(tmp_path, *words, f"--report={tmp_path}", "--compare=top_score,random")
    assert done.returncode == 0, done.stderr

    def held(picks, most):
        picks = np.asarray(picks)
        return np.sum(scores[picks[np.cumsum(tokens[picks]) <= most]] ** 0.8)

    own = pq.read_table(tmp_path / "out.selection.parquet")["line"].to_numpy() - 1
    limits = Constraints(costs=tokens, most_cost=np.int32(3000))
    by_chance = [*random_choices(80, most_records, limits)]
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    text = Page(tmp_path / "index.html").text
    assert "picks 1" not in text
    found = re.findall(
        r"tokens ([\d,]+): selected ([\d.]+), top score ([\d.]+), a random choice ([\d.]+)", text
    )
    assert len(found) > 20
    for told in found:
        most, of_selected, of_score, of_random = (float(each.replace(",", "")) for each in told)
        np.testing.assert_allclose(of_selected, held(own, most), rtol=1e-3)
        np.testing.assert_allclose(
            of_random, np.mean([held(picks, most) for picks in by_chance]), rtol=1e-3
        )
        assert of_score < of_selected * 1.01
    # To the end all are told: none stops where another goes on.
    assert of_selected == pytest.approx(about["information"], rel=1e-3)
    assert of_random == pytest.approx(about["random_choice"]["information"], rel=1e-3)
    assert of_score == pytest.approx(about["compare"]["ways"][1]["information"], rel=1e-3)
    ends = [tokens[picks].sum() for picks in [own, *by_chance]]
    assert most == max(*ends, about["compare"]["ways"][1]["tokens"])


def test_names_that_turn_the_order_of_text_around_are_shown_escaped(tmp_path):
    rows = [
        {"text": f"text {at}", "labels": ["\u202eevil", "a\x1b[31m"], "score": 1 + at}
        for at in range(4)
    ]
    for row in rows:
        row["task"] = "\u202eodd"
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", "--budget=2", f"--report={tmp_path}"]
    words += ["--group_field=task", "--quota=\u202eodd=2"]
    assert select(tmp_path, *words, "--nocertificate").returncode == 0
    page = Page(tmp_path / "index.html")
    assert sorted(page.data["labels"]) == ["\\u202eevil", "a\\x1b[31m"]
    assert "\\u202eevil" in page.text
    assert "\\u202eodd" in page.text
    assert not {"\u202e", "\x1b", "\ufffd"} & set((tmp_path / "index.html").read_text())


def test_a_page_has_a_folder_and_tells_of_no_manifest_where_none_is(pool, tmp_path):
    done = mig("select", "--output=-", "--cache=none", *pool, "--budget=3", "--report=-")
    assert done.returncode == 2
    assert done.stderr == "mig-jax: --report: found -, expected a folder, for index.html\n"
    told = []
    for output in ("-", tmp_path / "out.jsonl"):
        words = [f"--output={output}", "--cache=none", *pool, "--budget=3"]
        assert mig("select", *words, f"--report={tmp_path}").returncode == 0
        told.append("manifest" in Page(tmp_path / "index.html").text)
    assert told == [False, True]


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    report = tmp_path / "file" / "report"
    done = select(tmp_path, "--pool=builtin", "--budget=5", f"--report={report}")
    assert done.returncode == 2
    assert "--report: " in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out.jsonl").exists()


def test_several_processes_make_no_page(tmp_path):
    words = ["--budget=5", "--report=x", "--coordinator_address=localhost:1", "--pool=x.jsonl"]
    done = select(tmp_path, *words, "--num_processes=2", "--process_id=0")
    assert done.returncode == 2
    assert "--report: does not go with --coordinator_address" in done.stderr
