"""`mig-jax select --report`: the real command, its page read by another parser."""

from __future__ import annotations

import html.parser
import json
import pathlib
import subprocess

import jax
import numpy as np
import pytest

from mig_jax.learning import Free, save_learned, shared_start
from tests.running import mig

SCRIPT = "<script>alert('x')</script> & \"quoted\""


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def select(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["select", f"--output={folder / 'out.jsonl'}", "--cache=none", *words]
    return mig(*command)


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> list[str]:
    """Two files with labels and texts that HTML, fonts and formulas stumble over."""
    folder = tmp_path_factory.mktemp("pool")
    names = [SCRIPT, "数学", "👩‍🔬", "$x$", "plain"]
    rng = np.random.default_rng(0)
    for file in ("first", "second"):
        rows = []
        for number in range(30):
            turns = [
                {"role": "user", "content": f"{SCRIPT} {file} {number}"},
                {"role": "assistant", "content": "long " * 400},
            ]
            labels = [names[k] for k in rng.choice(5, 2, replace=False)]
            rows.append({"messages": turns, "labels": labels, "score": float(rng.random())})
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(folder / "emb.npz", labels=np.array(names), embeddings=rng.random((5, 3)))
    files = [f"--pool={folder / f'{name}.jsonl'}" for name in ("first", "second")]
    return [*files, f"--label_embeddings={folder / 'emb.npz'}", "--similarity_threshold=0.5"]


def test_page_tells_what_the_manifest_tells(pool, tmp_path):
    words = [*pool, "--budget=25", f"--report={tmp_path / 'report'}"]
    done = select(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    path = tmp_path / "report" / "index.html"
    page = Page(path)
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    ratio = np.floor(about["certified_ratio"] * 1e4) / 1e2
    for expected in (
        "25 of 60 records selected",
        f"at least {ratio:.2f} % of the best",
        f"{about['information']:,.1f}",
        f"{about['edges']:,}pairs of labels joined",
        f"{about['labels_covered']:,}of {about['labels']:,} labels covered",
        "The first 20 records",
        "its gain: ",
        "Nearest to being selected",
        "would have been enough",
        "taken by pick 1",
        "By file",
    ):
        assert expected in page.text
    # Texts are there as texts, and nothing is fetched or run.
    assert f"{SCRIPT} " in page.text
    assert "long …" not in page.text
    assert "…" in page.text
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "object"} & set(tags)
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    picked = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    places = [page.text.find(row["messages"][0]["content"] + "assistant") for row in picked[:20]]
    assert places == sorted(places)
    assert places[0] > 0

    again = tmp_path / "again"
    again.mkdir()
    assert select(again, *pool, "--budget=25", f"--report={again / 'report'}").returncode == 0
    own = (again / "report" / "index.html").read_bytes()
    assert own.replace(str(again).encode(), str(tmp_path).encode()) == path.read_bytes()


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
        assert ("Nearest to being selected" in text, told in text) == (has_nearest, not has_nearest)
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


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    done = select(tmp_path, "--budget=5", f"--report={tmp_path / 'file' / 'report'}")
    assert done.returncode == 2
    assert "--report: " in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out.jsonl").exists()


def test_several_processes_make_no_page(tmp_path):
    words = ["--budget=5", "--report=x", "--coordinator_address=localhost:1", "--pool=x.jsonl"]
    done = select(tmp_path, *words, "--num_processes=2", "--process_id=0")
    assert done.returncode == 2
    assert "--report: does not go with --coordinator_address" in done.stderr
