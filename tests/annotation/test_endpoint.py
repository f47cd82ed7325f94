"""Models on a server that misbehaves: what comes out, what is asked again, and what is not."""

from __future__ import annotations

import json
import math
import time

import pytest

from mig_jax.annotation import (
    KEY_VARIABLE,
    Answers,
    Endpoint,
    Exchange,
    LlmScorer,
    LlmTagger,
    Rejected,
    RequestLimits,
    Sample,
    ServedDeitaScorer,
    ServedInsTagger,
    read_score,
    read_tags,
)
from mig_jax.errors import InputError
from tests.annotation.model_server import Said, chat, error, good, serving

pytest.importorskip("httpx2", reason="the extra endpoint is not installed")
_KEY = "sk-not-to-be-seen-0123456789"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, _KEY)
    with serving() as found:
        yield found


def _samples(*texts):
    return [Sample((Exchange(text, f"{text} indeed"),)) for text in texts]


def _tags(server, texts, *, parallel=4, retries=3, timeout=5.0):
    """What is found for each text: tags, or the reason why there are none."""
    limits = RequestLimits(parallel, timeout, retries, first_wait=0.001, longest_wait=0.01)
    with Endpoint(server.url, limits) as endpoint:
        found = LlmTagger(endpoint, "small").tag(_samples(*texts))
    return [one.reason if isinstance(one, Rejected) else one for one in found]


_ONCE_BAD = {
    "429": error(429, "slow down"),
    "429 with a pause": error(429, "slow down", Retry_After="0.01"),
    "429 with a date": error(429, "no", Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    "500": error(500, "oops"),
    "502, as HTML": Said("<html>Bad gateway</html>", 502),
    "503": Said("", 503),
    "cut at once": Said("", cut_at=0, headers={"x": "y"}),
    "cut in the middle": Said('{"choices": [{"message": {"content": "{}"}}]}', cut_at=20),
    "half JSON": Said('{"choices": [{"mess'),
    "HTML": Said("<html>Please log in</html>"),
    "nothing": Said(""),
    "empty content": chat(""),
    "content of spaces": chat("  \n"),
    "no content": chat(None),
    "content of another type": chat(17),
    "choices of another type": Said('{"choices": "none"}'),
    "no choices": Said('{"choices": []}'),
    "a list": Said("[1]"),
    "deep": Said("[" * 100_000),
    "huge": Said(b'{"choices": "' + b"x" * (9 << 20)),
    "not UTF-8": Said(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("name", _ONCE_BAD)
def test_what_may_pass_is_asked_again(name, server):
    server.behave = lambda asked: _ONCE_BAD[name] if asked.times == 1 else good(asked)
    assert _tags(server, ["one two", "three four"]) == [["one", "two"], ["three", "four"]]
    assert server.texts() == {"one two": 2, "three four": 2}


@pytest.mark.parametrize("name", _ONCE_BAD)
def test_what_does_not_pass_rejects_its_record_alone(name, server):
    server.behave = lambda asked: _ONCE_BAD[name] if "bad" in asked.text else good(asked)
    [first, reason, last] = _tags(server, ["one", "bad", "two"])
    assert (first, last) == (["one"], ["two"])
    is_busy = _ONCE_BAD[name].status in (429, 503)
    assert f"({10 if is_busy else 4} tries)" in reason
    assert server.texts()["bad"] == (10 if is_busy else 4)


def test_a_server_that_hangs_or_trickles_is_left_in_time(server):
    slow = {"hang": Said(before=30.0), "trickle": Said("x" * 500, between=0.1)}

    def behave(asked):
        return slow.get(asked.text) or good(asked) if asked.times == 1 else good(asked)

    server.behave = behave
    start = time.monotonic()
    assert _tags(server, ["hang", "trickle", "one"], timeout=0.5) == [
        ["hang"],
        ["trickle"],
        ["one"],
    ]
    assert time.monotonic() - start < 20  # Not the 30 and 50 seconds that it would take.


def test_the_word_of_a_server_that_is_busy_counts_for_all(server):
    came = []

    def behave(asked):
        came.append(time.monotonic())
        if len(came) == 1:
            return error(429, "slow", Retry_After="1")
        said = good(asked)
        said.before = 0.5 if len(came) == 2 else 0  # What it said first is known before.
        return said

    server.behave = behave
    texts = [f"text{n}" for n in range(8)]
    assert _tags(server, texts, parallel=2) == [[text] for text in texts]
    # Those that were on their way came; no other did before it wanted one.
    assert all(time - came[0] >= 1 for time in came[2:])
    assert len(came) == 9
    server.behave = lambda asked: error(503, "in an hour", Retry_After="3600")
    with pytest.raises(InputError, match="wants to be asked again in 3600 s; what was answered is"):
        _tags(server, ["one"])


@pytest.mark.parametrize(
    ("behave", "told"),
    [
        (error(401, f"wrong key {_KEY}"), r"says 401 \(wrong key \[key\]\); expected a key"),
        (error(403, "not yours"), r"says 403 \(not yours\); expected a key that it takes"),
        (error(404, "no model large"), r"says 404 \(no model large\); expected a server that has"),
        (error(400, "Pinned to 'b'; requested 'small'"), "expected a server that has the model sm"),
        (error(402, "pay"), r"says 402 \(pay\); what was answered is kept"),
        (Said("", 301, {"location": "/v2"}), "says 301; expected a server that has the model"),
        (
            Said('{"error": {"code": "insufficient_quota", "message": "broke"}}', 429),
            r"says 429 \(broke\)",
        ),
    ],
)
def test_what_waiting_does_not_mend_ends_at_once(behave, told, server):
    server.behave = lambda asked: behave
    with pytest.raises(InputError, match=told) as caught:
        _tags(server, [f"text {n}" for n in range(50)], parallel=2)
    assert _KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) <= 2 * 3  # Two at a time; a 400 may be meant for either form of JSON.


def test_a_server_that_is_not_there_ends_at_once(server):
    server.greet = lambda: error(401, "who?")
    with pytest.raises(InputError, match="expected a key that it takes"):
        _tags(server, ["one"])
    server.greet = lambda: error(404, "no such page")
    assert _tags(server, ["one"]) == [["one"]]  # Not all have a list.
    with serving() as gone:
        pass
    with pytest.raises(InputError, match=r"models cannot be reached \(.*; expected a server that"):
        _tags(gone, ["one"])
    for wrong in ("localhost:8000", "ftp://host/v1", "http:///v1", ""):
        with pytest.raises(InputError, match=r"--endpoint: found .*, expected one as http"):
            Endpoint(wrong)
    for secret in ("http://me:secret@host/v1", "http://host/v1?api-key=secret"):
        with pytest.raises(InputError, match="expected an address without secrets") as caught:
            Endpoint(secret)
        assert "api-key" not in str(caught.value)
        assert "me:" not in str(caught.value)


def test_a_server_that_dies_ends_the_run_and_not_the_records(server):
    def behave(asked):
        return good(asked) if len(server.asked) <= 30 else error(500, "dead")

    server.behave = behave
    with pytest.raises(InputError, match=r"20 requests in a row have failed; .*\(dead\); what was"):
        _tags(server, [f"text {n}" for n in range(100)])
    # At the end of a batch there are too few to be in a row: does it answer anything?
    server.asked.clear()
    texts = [f"text {n}" for n in range(33)]
    with pytest.raises(
        InputError, match=r"completions says 500 \(dead\); what was answered is kept"
    ):
        _tags(server, texts, retries=0)
    # It does: then it is they that it cannot answer.
    server.behave = lambda asked: error(500, "dead") if asked.text in texts[30:] else good(asked)
    found = _tags(server, texts, retries=0)
    assert [isinstance(one, str) for one in found] == [False] * 30 + [True] * 3


def test_a_403_for_one_record_rejects_it(server):
    """Some services refuse single texts so."""
    server.behave = lambda asked: error(403, "flagged") if "bad" in asked.text else good(asked)
    found = _tags(server, ["one", "bad", "two"], parallel=1)
    assert found[::2] == [["one"], ["two"]]
    assert "403 (flagged)" in found[1]


def test_forms_that_a_server_does_not_take_are_not_sent_again(server):
    def behave(asked):
        form = asked.body.get("response_format")
        if form is not None and form["type"] == "json_schema":
            return error(422, "Unexpected fields in the request: {'response_format'}")
        if form is not None:
            return error(400, "json_object is unknown")
        if "max_tokens" in asked.body:
            return error(400, "Unsupported 'max_tokens': use 'max_completion_tokens' instead")
        if "temperature" in asked.body:
            return error(400, "Unsupported value: 'temperature' does not support 0")
        return good(asked)

    server.behave = behave
    assert _tags(server, ["one", "two", "three"], parallel=1) == [["one"], ["two"], ["three"]]
    assert server.texts() == {"one": 5, "two": 1, "three": 1}
    last = server.asked[-1].body
    assert set(last) == {"model", "messages", "max_completion_tokens"}


def test_a_bad_record_does_not_take_the_form_from_others(server):
    server.behave = lambda asked: error(400, "I cannot") if "bad" in asked.text else good(asked)
    found = _tags(server, ["one", "bad", "two"], parallel=1)
    assert found[::2] == [["one"], ["two"]]
    assert "says 400 (I cannot)" in found[1]
    assert server.asked[-1].body["response_format"]["type"] == "json_schema"
    server.asked.clear()
    server.behave = lambda asked: error(400, "maximum context length is 8")
    assert "context length" in _tags(server, ["one"])[0]
    assert len(server.asked) == 1


def test_refusals_and_answers_that_cannot_be_read(server):
    filtered = json.dumps(
        {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}
    )
    cut = json.dumps({"choices": [{"message": {"content": None}, "finish_reason": "length"}]})
    parts = [{"type": "text", "text": '{"tags": ["a '}, {"type": "text", "text": 'b"]}'}, {"x": 1}]
    said = {
        "refused": chat(None, refusal="I will not."),
        "filtered": Said(filtered),
        "cut": Said(cut),
        "prose": chat("It is about cooking."),
        "none": chat('{"tags": []}'),
        "parts": chat(parts),
        "types": chat('{"tags": [1, "x", null, "", "  y  z ", "x"]}'),
        "half": chat('Sure: {"tags": ["whole", "ha'),
        "half a character": chat('{"tags": ["\ud83d!"]}'),
        "unicode": chat('{"tags": ["图论", "naïve", "\u202e"]}'),
        "thinks": chat('<think>{"tags": ["no"]}</think>```json\n{"tags": ["yes"]}\n```'),
    }
    server.behave = lambda asked: said[asked.text]
    found = dict(zip(said, _tags(server, list(said)), strict=True))
    assert found["refused"] == "the model refuses: I will not."
    assert "content filter" in found["filtered"]
    assert found["cut"] == "the answer was cut before its first word"
    assert found["prose"] == "the model's answer cannot be read: It is about cooking."
    assert found["none"] == []
    assert found["parts"] == ["a b"]
    assert found["types"] == ["x", "y z"]
    assert found["half"] == ["whole"]
    assert len(found["half a character"]) == 1
    found["half a character"][0].encode()
    assert found["unicode"][:2] == ["图论", "naïve"]
    assert found["thinks"] == ["yes"]
    # None of these is asked again: the model would say the same.
    assert set(server.texts().values()) == {1}


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        ('{"tags": ["a", "b"]}', ["a", "b"]),
        ('```json\n{"tags": ["a"]}\n```\nI hope [this] helps', ["a"]),
        ('As of [1], the answer is {"tags": ["a"]}', ["a"]),
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ("{'tags': ['it\\'s', \"don't\"]}", ["it's", "don't"]),
        ('{"tags": "a, b"}', ["a", "b"]),
        ('{"labels": ["a"]}', ["a"]),
        ('[{"tag": "a", "explanation": "e"}]', ["a"]),
        ('{"tags": ["a", "b', ["a"]),
        ('{"tags": ["a",]}', ["a"]),
        ('{tags: ["a"], "note": "no tag"}', ["a"]),
        ('{"tags": ["' + "x" * 101 + '", "a"]}', ["a"]),
        ('{"tags": [', None),
        ("", None),
        ('{"score": 3}', None),
        ("maths, proof", None),
    ],
)
def test_tags_are_read_from_what_is_nearly_json(answer, tags):
    assert read_tags(answer) == tags


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"score": 7}', 7.0),
        ('{"score": "7/10"}', 7.0),
        ('{"score": 7.5, "why": "3 of 4"}', 7.5),
        ("{'score': 7}", 7.0),
        ('Here: ```{"score": 7', 7.0),
        ("Score: 7", 7.0),
        ("The **score** is **7**.", 7.0),
        ("7", 7.0),
        (" 7/10. ", 7.0),
        ('{"score": 0}', None),
        ('{"score": 11}', None),
        ('{"score": true}', None),
        ('{"score": null}', None),
        ("There are 7 steps.", None),
        ("-3", None),
        ("", None),
    ],
)
def test_scores_are_read_from_what_is_nearly_json(answer, score):
    assert read_score(answer, 10) == score


def test_scores_are_of_each_exchange_and_asked_once(server, tmp_path):
    exchanges = (Exchange("a b c", "x y"), Exchange(" ", "x"), Exchange("a b c", "x y"))
    samples = [Sample(exchanges), Sample((Exchange("a b c", "x y"),)), Sample((Exchange("q", ""),))]
    with Answers(str(tmp_path / "a")) as answers, Endpoint(server.url) as endpoint:
        endpoint.answers = answers
        quality = LlmScorer(endpoint, "small", "quality").score(samples)
        complexity = LlmScorer(endpoint, "small", "complexity").score(samples)
        assert quality == [[2.0, 0.0, 2.0], [2.0], [0.0]]
        assert complexity == [[3.0, 0.0, 3.0], [3.0], [1.0]]
        assert len(server.asked) == 3
        assert (answers.usage.answers, answers.usage.tokens_in, answers.usage.tokens_out) == (
            3,
            300,
            21,
        )
        assert LlmScorer(endpoint, "small", "quality").score(samples) == quality
        assert len(server.asked) == 3
        # Another model is another question.
        LlmScorer(endpoint, "large", "quality").score(samples)
        assert len(server.asked) == 4
    server.behave = lambda asked: chat("none") if asked.said == "bad" else good(asked)
    with Endpoint(server.url) as endpoint:
        mixed = [Sample((Exchange("q", "fine"), Exchange("q", "bad"))), *samples[:1]]
        [rejected, stays] = LlmScorer(endpoint, "small", "quality").score(mixed)
    assert rejected == Rejected("the model's answer cannot be read: none")
    assert stays == [2.0, 0.0, 2.0]


def test_as_many_at_a_time_as_there_may_be(server):
    def behave(asked):
        time.sleep(0.05)
        return good(asked)

    server.behave = behave
    texts = [f"text{n}" for n in range(24)]
    assert _tags(server, texts, parallel=6) == [[text] for text in texts]
    assert 2 <= server.most_at_once <= 6


def test_long_texts_are_cut_and_the_prompt_is_not(server):
    with Endpoint(server.url) as endpoint:
        LlmTagger(endpoint, "small", max_tokens=100).tag(_samples("图" * 500))
        LlmScorer(endpoint, "small", "quality", max_tokens=100).score(_samples("word " * 500))
    [tags, quality] = server.asked
    assert tags.text == "图" * 100
    assert (len(quality.text), len(quality.said)) == (150, 150)


def _completion(text, first=None, form="legacy"):
    logprobs = None
    if form == "legacy" and first is not None:
        logprobs = {"top_logprobs": [first]}
    elif first is not None:
        tops = [{"token": token, "logprob": value} for token, value in first.items()]
        logprobs = {"content": [{"token": "3", "logprob": -1.0, "top_logprobs": tops}]}
    return Said(json.dumps({"choices": [{"text": text, "logprobs": logprobs}]}))


@pytest.mark.parametrize("form", ["legacy", "content"])
def test_deita_is_the_expected_digit_of_the_first_token(form, server):
    first = {"3": math.log(0.3), "5": math.log(0.1), " 3": math.log(0.5), "x": math.log(0.1)}
    server.behave = lambda asked: _completion("3", first, form)
    with Endpoint(server.url) as endpoint:
        [[found]] = ServedDeitaScorer(endpoint, "m", "quality").score(_samples("q"))
    assert found == pytest.approx((3 * 0.3 + 5 * 0.1) / 0.4)
    [asked] = server.asked
    assert asked.path == "completions"
    assert asked.prompt == (
        "You are a helpful assistant. Please identify the quality score of the Response "
        "corresponding to the Question. \n #Question#:\nq\n#Response#:\nq indeed \n##Quality: "
    )
    assert (asked.body["max_tokens"], asked.body["logprobs"], asked.body["temperature"]) == (
        1,
        20,
        0,
    )


def test_deita_needs_log_probabilities(server):
    def scored(said):
        server.asked.clear()
        server.behave = said
        with Endpoint(server.url) as endpoint:
            return ServedDeitaScorer(endpoint, "m", "complexity").score(_samples("q", "r"))

    for said in (
        lambda asked: _completion("3"),
        lambda asked: error(422, "Unsupported fields in the request: {'logprobs'}"),
        lambda asked: error(400, "logprobs are not available for this model"),
    ):
        with pytest.raises(InputError, match="gives no log-probabilities of tokens, which the sc"):
            scored(said)

    def at_most_five(asked):
        if asked.body["logprobs"] > 5:
            return error(400, "Invalid value for 'logprobs': must be at most 5")
        return _completion("4", {"▁4": -0.1})

    assert scored(at_most_five) == [[4.0], [4.0]]
    [rejected, stays] = scored(
        lambda asked: _completion("x", {"x": -1.0} if "Query: q" in asked.prompt else {"2": -1.0})
    )
    assert rejected == Rejected("the model says no digit from 1 to 6; likeliest are 'x'")
    assert stays == [2.0]


def test_instag_is_asked_in_its_own_words(server):
    server.behave = lambda asked: Said(
        json.dumps({"choices": [{"text": '[{"tag": "a", "explanation": "b"}, {"tag": "c'}]})
    )
    with Endpoint(server.url) as endpoint:
        assert ServedInsTagger(endpoint, "m").tag(_samples("why {x}?")) == [["a"]]
        server.behave = lambda asked: _completion("")  # As in process: no tags, and no failure.
        assert ServedInsTagger(endpoint, "m").tag(_samples("so?")) == [[]]
    asked, _ = server.asked
    assert asked.path == "completions"
    assert asked.prompt.startswith("A chat between a curious user and an artificial intelligence")
    assert asked.prompt.endswith('"explanation": str}.\nUser query: why {x}? ASSISTANT:')


def test_the_key_goes_to_the_server_and_nowhere_else(server, tmp_path, monkeypatch):
    path = tmp_path / "answers"
    server.behave = lambda asked: chat(json.dumps({"tags": [asked.headers["authorization"]]}))
    with Answers(str(path)) as answers, Endpoint(server.url) as endpoint:
        endpoint.answers = answers
        [[tag]] = LlmTagger(endpoint, "small").tag(_samples("q"))
    assert tag == "Bearer [key]"
    assert _KEY not in path.read_text()
    monkeypatch.delenv(KEY_VARIABLE)
    server.behave = lambda asked: chat(
        json.dumps({"tags": [str("authorization" in asked.headers)]})
    )
    assert _tags(server, ["q"]) == [["False"]]
    monkeypatch.setenv(KEY_VARIABLE, "ключ")
    with pytest.raises(InputError, match="OPENAI_API_KEY: holds characters that no key has"):
        _tags(server, ["q"])


def test_answers_survive_any_cut_of_their_file(server, tmp_path):
    path = tmp_path / "answers"
    texts = [f"text {n}" for n in range(5)]

    def tags():
        server.asked.clear()
        with Answers(str(path)) as answers, Endpoint(server.url) as endpoint:
            endpoint.answers = answers
            return LlmTagger(endpoint, "small").tag(_samples(*texts))

    expected = tags()
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for size in (header, header + 1, len(whole) - 1, len(whole) - 40, len(whole)):
        path.write_bytes(whole[:size])
        assert tags() == expected
        assert len(server.asked) == 5 - (whole[:size].count(b"\n") - 1)
    path.write_text("something else\n")
    with pytest.raises(InputError, match="its first line is no record of mig_jax answers"):
        tags()
    assert path.read_text() == "something else\n"
