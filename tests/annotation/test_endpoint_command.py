"""`mig-jax annotate` with models on a server: kills, faults, and what is asked twice (nothing)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mig_jax.annotation import KEY_VARIABLE
from mig_jax.commands.main import main
from tests.annotation.model_server import Said, chat, error, good, serving
from tests.running import mig, refused

pytest.importorskip("httpx2", reason="the extra endpoint is not installed")
_KEY = "sk-not-to-be-seen-0123456789"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, _KEY)
    with serving() as found:
        yield found


def _pool(folder, texts):
    turns = (
        [{"role": "user", "content": text}, {"role": "assistant", "content": f"{text} yes"}]
        for text in texts
    )
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
    return path


def _words(server, pool, folder, *more):
    folder.mkdir(exist_ok=True)
    flags = {
        "pool": pool,
        "output": folder / "out.jsonl",
        "tagger": "llm",
        "scorer": "llm",
        "endpoint": server.url,
        "model": "small",
        "parallel_requests": 4,
        "batch_size": 16,
    }
    return ["annotate", *(f"--{name}={value}" for name, value in flags.items()), *more]


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_get_labels_and_scores_and_the_key_stands_nowhere(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")  # Each step is told.

    def behave(asked):
        if asked.text == "bad at tags" and asked.kind == "tags":
            return chat(f"I would rather say {_KEY}")
        if asked.text == "bad at scores" and asked.kind == "complexity":
            return error(400, f"no, {_KEY}")
        if asked.times == 1 and "later" in asked.text:
            return error(429, f"slow down, {_KEY}", Retry_After="0")
        return good(asked)

    server.behave = behave
    texts = ["a b c", "bad at tags", "later please", "bad at scores", "a b c", "图 论"]
    pool = _pool(tmp_path, texts)
    folder = tmp_path / "out"
    more = ("--batch_size=2", "--price_in=1.5", "--price_out=10")
    result = mig(*_words(server, pool, folder, *more))
    assert result.returncode == 0, result.stderr
    # Labels: the first two words; score: words asked times words said.
    assert [
        (one["mig_jax"]["labels"], one["mig_jax"]["score"]) for one in _read(folder / "out.jsonl")
    ] == [
        (["a", "b"], 12.0),
        (["later", "please"], 6.0),
        (["a", "b"], 12.0),
        (["图", "论"], 6.0),
    ]
    assert _names(folder) == ["out.annotation.json", "out.jsonl", "out.rejected.jsonl"]
    rejected = _read(folder / "out.rejected.jsonl")
    assert [(one["line"], one["reason"].split(":")[0][:40]) for one in rejected] == [
        (2, "the model's answer cannot be read"),
        (4, f"{server.url}/chat/completions says 400"[:40].split(":")[0]),
    ]
    assert "left out 2 not annotated" in result.stdout
    about = json.loads((folder / "out.annotation.json").read_text())
    assert about["records"] == {"annotated": 4, "left_out": {"not annotated": 2}}
    # Three questions for each text that goes well, once however often it comes; 1 for the text
    # whose tags are bad, and 2 for the one whose second score is.
    assert about["server"] == {
        "answers": 12,
        "tokens_in": 1200,
        "tokens_out": 84,
        "answers_without_token_counts": 0,
        "spent": pytest.approx((1200 * 1.5 + 84 * 10) / 1e6),
    }
    assert "12 answers, 1,200 + 84 tokens, 0.00264 spent" in result.stdout
    assert "tokens, 0.00264 spent" in result.stderr  # While it runs.
    # What is rejected for its tags is not scored.
    assert [one.kind for one in server.asked if one.text == "bad at tags"] == ["tags"]
    for path in folder.iterdir():
        assert _KEY not in path.read_text()
    assert _KEY not in result.stdout + result.stderr


class _Stop:
    """Behaves well for some questions, then holds all until it is let go."""

    def __init__(self, server, after):
        self._server, self._after = server, after
        self.held = 0
        self.go_on = threading.Event()

    def __call__(self, asked):
        if len(self._server.asked) > self._after:
            self.held += 1
            self.go_on.wait(60)
            return Said(cut_at=0)
        return _uneven(asked)


def _uneven(asked):
    """Some are rejected, and some are slow."""
    if "number 5 " in asked.text:
        return chat("what?")
    if asked.times == 1 and "number 2" in asked.text:
        return error(503, "wait", Retry_After="0")
    return good(asked)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_to_the_same_bytes_and_asks_nothing_twice(how, server, tmp_path):
    pool = _pool(tmp_path, [f"number {n % 50} of these" for n in range(70)])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    server.behave = _uneven
    assert mig(*_words(server, pool, whole)).returncode == 0
    once = dict(server.answered)
    server.answered.clear()
    for after in (10, 60):  # In the first batch and in the second; both times in its middle.
        server.asked.clear()
        stop = server.behave = _Stop(server, after)
        process = subprocess.Popen(
            [sys.executable, "-m", "mig_jax", *_words(server, pool, killed)],
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 120
        # All that it may ask at a time are held: what came before is kept.
        while stop.held < 4 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, how)
        _, said = process.communicate(timeout=60)
        assert process.returncode == -how
        stop.go_on.set()
        assert "out.answers.jsonl" in _names(killed)
        assert "out.jsonl" not in _names(killed)
        if how == signal.SIGINT:
            assert "mig-jax: interrupted; no output was written" in said
    server.behave = _uneven
    # Where the server is does not matter.
    result = mig(*_words(server, pool, killed, "--parallel_requests=3", "--price_in=1"))
    assert result.returncode == 0, result.stderr
    assert "resuming after" in result.stderr
    for name in ("out.jsonl", "out.rejected.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert _names(killed) == _names(whole)
    assert dict(server.answered) == once
    assert set(once.values()) == {1}
    assert "left out 2 not annotated" in result.stdout
    about = [json.loads((f / "out.annotation.json").read_text()) for f in (whole, killed)]
    assert about[0]["records"] == about[1]["records"]
    assert about[0]["records"] == {"annotated": 68, "left_out": {"not annotated": 2}}
    assert about[0]["server"] | {"spent": None} == about[1]["server"] | {"spent": None}


def test_a_server_that_dies_leaves_a_run_to_go_on(server, tmp_path):
    pool = _pool(tmp_path, [f"number {n}" for n in range(64)])
    words = _words(server, pool, tmp_path / "out", "--request_retries=0")
    server.behave = lambda asked: good(asked) if len(server.asked) <= 70 else error(500, "died")
    told = refused(*words)
    assert "says 500 (died); what was answered is kept" in told
    assert "the same command goes on from there" in told
    assert _names(tmp_path / "out") == ["out.answers.jsonl", "out.journal.jsonl"]
    server.behave = good
    assert mig(*words).returncode == 0
    assert len(_read(tmp_path / "out/out.jsonl")) == 64
    assert (tmp_path / "out/out.rejected.jsonl").read_text() == ""
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize("records", [5, 40])
def test_a_model_that_answers_nothing_of_use_ends_the_run(records, server, tmp_path):
    pool = _pool(tmp_path, [f"number {n}" for n in range(records)])
    words = _words(server, pool, tmp_path / "out", "--batch_size=32")
    server.behave = lambda asked: chat("As a model I like to talk.")
    told = refused(*words)
    assert f"the first {min(records, 32)} records are all rejected; expected one at least" in told
    assert "the model's answer cannot be read: As a model I like to talk." in told
    assert _names(tmp_path / "out") == ["out.answers.jsonl"]
    asked = len(server.asked)
    assert refused(*words) == told
    assert len(server.asked) == asked  # It was paid for.
    server.behave = good
    assert mig(*words, "--model=better").returncode == 0
    # Batches of which none is enough to tell.
    words = _words(server, pool, tmp_path / "small", "--batch_size=5")
    server.behave = lambda asked: chat("As a model I like to talk.")
    told = refused(*words)
    assert "records are all rejected" in told or "all of its records are rejected" in told


def test_each_ends_in_one_line_before_the_pool_is_read(server, tmp_path):
    pool = _pool(tmp_path, ["q"])
    words = _words(server, pool, tmp_path / "out")
    without = [word for word in words if not word.startswith("--model")]
    assert "--model: missing, expected the name of a model at http" in refused(*without)
    assert "it has small" in refused(*without)
    without = [word for word in words if not word.startswith("--endpoint")]
    assert "--tagger=llm: needs --endpoint=URL" in refused(*without)
    assert "--scorer=llm_quality: needs --endpoint=URL" in refused(*without, "--tagger=keep")
    plain = [word for word in words if word != "--scorer=llm"]
    told = refused(*plain, "--tagger=keep", "--scorer=length")
    assert "--endpoint: nothing asks it; expected a tagger or scorer of deita_complexity" in told
    server.greet = lambda: error(401, f"wrong key {_KEY}")
    assert "says 401 (wrong key [key]); expected a key that it takes" in refused(*words)
    server.greet = lambda: Said('{"data": []}')
    server.behave = lambda asked: error(404, "The model `small` does not exist")
    assert "says 404 (The model `small` does not exist); expected a server" in refused(*words)
    assert not server.answered
    assert _names(tmp_path / "out") == []


def test_a_missing_extra_is_told(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    words = _words(server, _pool(tmp_path, ["q"]), tmp_path / "out")
    assert "pip install 'mig-jax[endpoint]'" in refused(*words)


def test_published_protocols_go_to_the_server_if_there_is_one(server, tmp_path):
    def behave(asked):
        if "identify tags" in asked.prompt:
            return _text('[{"tag": "maths", "explanation": "x"}]', None)
        return _text("4", {"4": -0.5, "2": -0.5})

    server.behave = behave
    pool = _pool(tmp_path, ["q one", "q two"])
    words = _words(server, pool, tmp_path / "out", "--tagger=instag")
    words = [word for word in words if word not in ("--scorer=llm", "--model=small")]
    assert mig(*words, "--scorer=deita").returncode == 0
    found = [one["mig_jax"] for one in _read(tmp_path / "out/out.jsonl")]
    assert found == [{"labels": ["maths"], "score": 9.0}] * 2
    assert {one.body["model"] for one in server.asked} == {
        "OFA-Sys/InsTagger",
        "hkust-nlp/deita-quality-scorer",
        "hkust-nlp/deita-complexity-scorer",
    }


def _text(text, first):
    logprobs = None if first is None else {"top_logprobs": [first]}
    return Said(json.dumps({"choices": [{"text": text, "logprobs": logprobs}]}))


def test_a_tagger_of_one_s_own_rejects_records(tmp_path, monkeypatch):
    """Without a server, too; and the journal says so after a kill."""
    from mig_jax import annotation

    class Half:
        def tag(self, samples):
            return [
                annotation.Rejected("odd \ud83d") if "1" in one.instruction else ["x"]
                for one in samples
            ]

    monkeypatch.setitem(annotation.TAGGERS, "instag", lambda options: Half())
    pool, output = _pool(tmp_path, ["q0", "q1", "q2"]), tmp_path / "o.jsonl"
    words = ["annotate", f"--pool={pool}", f"--output={output}", "--tagger=instag"]
    words += ["--scorer=length", "--scorer=tag_count", "--normalise_tags", "--min_tag_count=2"]
    assert main([*words, "--tag_distance=0"]) == 0
    assert [one["mig_jax"]["labels"] for one in _read(output)] == [["x"], ["x"]]
    [rejected] = _read(tmp_path / "o.rejected.jsonl")
    assert (rejected["line"], rejected["reason"]) == (2, "odd ?")
