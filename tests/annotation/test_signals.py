"""The score of cheap signals: each signal against an oracle, the score by property."""

from __future__ import annotations

import collections
import itertools
import math
import random
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from mig_jax import data
from mig_jax.annotation import (
    Exchange,
    PairMatch,
    Sample,
    Signals,
    SignalValues,
    SignalWeights,
    damage,
    exchanges_of,
    form_of,
    is_cut,
    is_echo,
    is_refusal,
    repetition,
    soundness,
    substance_of,
    terms_of,
)

# Subjects of made-up conversations: words of each go together. Question and answer around them.
_LANGUAGES = {
    "English": (
        "What is {0} and how do I use {1}?",
        "The {0} is found with {1}. First take the {2}, then the {3}; {1} needs {2} before {0}.",
        "abcdefghijklmnoprstuvw",
        7,
    ),
    "Russian": (
        "Что такое {0} и как применить {1}?",
        "Обычно {0} делают через {1}. Сначала берут {2}, потом {3}; для {1} нужен {2} и {0}.",
        "абвгдежзиклмнопрстуфхц",
        7,
    ),
    "Arabic": (
        "ما هو {0} وكيف أستخدم {1}؟",
        "يوجد {0} مع {1}. خذ أولا {2} ثم {3}؛ يحتاج {1} إلى {2} قبل {0}.",
        "ابتثجحخدذرزسشصضطظعغفقك",
        6,
    ),
    "Chinese": (
        "什么是{0}？怎样使用{1}？",
        "通常{0}要通过{1}得到。首先取{2}，然后是{3}；{1}需要{2}，最后才有{0}。",
        "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏",
        3,
    ),
    "Japanese": (
        "{0}とは何ですか。{1}の使い方は？",
        "{0}は{1}で作ります。まず{2}を取り、次に{3}です。{1}には{2}と{0}が必要です。",
        "春夏秋冬山川海空花鳥風月雪雨雲星火水木金土石",
        3,
    ),
    "code": (
        "Write {0}() that calls {1}().",
        "```python\ndef {0}(x):\n    y = {1}(x, {2}=1)\n    return {3}(y) + {1}({2})\n```",
        "abcdefghijklmnoprstuvw",
        6,
    ),
    "maths": (
        "Solve {0} + {1} = x for {2}.",
        "We have $x = {0} + {1}$, so ${2} = x - {3}$ and\n$$x^2 = {0}^2 + 2 \\cdot {0} {1}.$$\n"
        "Answer: {2} = {3}",
        "0123456789",
        5,
    ),
}


def _conversations(language: str, count: int, seed: int = 0) -> list[Sample]:
    question, answer, letters, length = _LANGUAGES[language]
    drawn = random.Random(seed)
    made = []
    for _ in range(count):
        words = ["".join(drawn.choices(letters, k=length)) for _ in range(4)]
        made.append(Sample((Exchange(question.format(*words), answer.format(*words)),)))
    return made


def _swapped(samples: list[Sample]) -> list[Sample]:
    """Each with the response of the next."""
    turned = [*samples[1:], samples[0]]
    return [
        Sample((Exchange(one.exchanges[0].instruction, other.exchanges[0].response),))
        for one, other in zip(samples, turned, strict=True)
    ]


def _looked(samples: list[Sample]) -> Signals:
    signals = Signals()
    signals.look(samples)
    return signals


def _flat(signals: Signals, samples: list[Sample]) -> np.ndarray:
    return np.array([value for of_one in signals.score(samples) for value in of_one])


@pytest.mark.parametrize("language", _LANGUAGES)
def test_good_records_score_well_and_swapped_ones_low(language):
    samples = _conversations(language, 200)
    signals = _looked(samples)
    own, other = _flat(signals, samples), _flat(signals, _swapped(samples))
    assert np.mean(own > other) > 0.95
    assert np.median(own) > 3 * np.median(other)
    assert own.min() > 0.2


def test_languages_side_by_side():
    samples = [one for language in _LANGUAGES for one in _conversations(language, 60)]
    random.Random(1).shuffle(samples)
    signals = _looked(samples)
    own, other = _flat(signals, samples), _flat(signals, _swapped(samples))
    assert np.mean(own > other) > 0.95
    assert own.min() > 0.2


def test_topics_match_where_no_word_is_shared():
    subjects = [
        ("grape cellar bottle", "tannin oak vintage"),
        ("robot engine gear", "torque steel bearing"),
        ("melody chord tempo", "violin cello sonata"),
        ("harvest soil seed", "wheat barley plough"),
    ]
    drawn = random.Random(0)
    pairs = []
    for _ in range(400):
        asked, answered = (side.split() for side in drawn.choice(subjects))
        pairs.append((" ".join(drawn.choices(asked, k=2)), " ".join(drawn.choices(answered, k=2))))
    match = PairMatch.fit(*zip(*pairs, strict=True))
    right = match(["bottle grape", "tempo melody"], ["oak tannin", "violin sonata"])
    wrong = match(["bottle grape", "tempo melody"], ["violin sonata", "oak tannin"])
    assert (right[:, 1] > wrong[:, 1] + 1).all()


def test_words_are_the_cosine_of_centred_tf_idf_vectors():
    drawn = random.Random(2)
    words = ["ab", "ac", "ad", "ae", "af", "ag", "ah", "ai"]
    texts = [" ".join(drawn.choices(words, k=6)) for _ in range(60)]
    asked, answered = texts[:30], texts[30:]
    vocabulary = sorted({word for text in texts for word in text.split()})
    having = {word: sum(word in text.split() for text in texts) for word in vocabulary}

    def vector(text):
        counts = collections.Counter(text.split())
        row = np.array(
            [
                (1 + math.log(counts[word])) * math.log(61 / (1 + having[word]))
                if counts[word]
                else 0.0
                for word in vocabulary
            ]
        )
        return row / np.linalg.norm(row)

    left, right = np.array([*map(vector, asked)]), np.array([*map(vector, answered)])
    expected = np.sum((left - left.mean(axis=0)) * (right - right.mean(axis=0)), axis=1)
    found = PairMatch.fit(asked, answered)(asked, answered)[:, 0]
    # But for a factor, the spread among pairs put together at random.
    scale = found @ expected / (expected @ expected)
    np.testing.assert_allclose(found, scale * expected, atol=1e-9)
    pairs = [left[i] - left.mean(axis=0) for i in range(30)] @ (right - right.mean(axis=0)).T
    assert 1 / scale == pytest.approx(np.sqrt(np.mean(pairs**2)), rel=0.3)


def test_forms_of_answers():
    assert form_of("Yes.\n\n1") != form_of("Yes.")
    assert "script CJK" in form_of("你好，世界。")
    assert "script CYRILLIC" in form_of("Привет")
    assert "lines 2" in form_of("a\nb\nc\n")
    assert form_of("")[0] == "length 0"


@given(st.text("ab ,.?!\n-*", max_size=80), st.text("abc \n", max_size=30))
def test_substance_against_loops(response, instruction):
    found = substance_of(instruction, response)
    words = set(terms_of(response))
    new = [word for word in words if word not in terms_of(instruction)]
    assert 2**found.terms - 1 == pytest.approx(len(words))
    assert found.new == pytest.approx(len(new) / (len(words) + 5))
    assert 2**found.asked - 2 == pytest.approx(len(set(terms_of(instruction))))
    assert 0 <= found.listed < 1
    assert 0 <= found.asking < 1
    blocks, inside = 0, False
    for line in response.strip().split("\n"):
        inside, was = bool(line.strip()), inside
        blocks += inside and not was
    if response.strip():
        assert 2**found.paragraphs == pytest.approx(blocks)


def test_lists_and_questions():
    listed = substance_of("", "Take:\n- eggs\n* milk\n1. flour\n2) salt\n- yes").listed
    assert listed == pytest.approx(5 / 11)
    assert substance_of("", "取：\n1、鸡蛋\n2、牛奶").listed == pytest.approx(2 / 8)
    assert substance_of("", "Sure. Why? So.").asking == pytest.approx(1 / 8)
    for asking in ("为什么？因为。好。", "لماذا؟ لأن. نعم."):
        assert substance_of("", asking).asking == pytest.approx(1 / 8)


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_repetition_against_loops(terms):
    seen, again = set(), 0
    for run in itertools.pairwise(itertools.pairwise(terms)):
        again += run in seen
        seen.add(run)
    assert repetition(terms) == pytest.approx(again / max(len(terms) - 2, 1))


@pytest.mark.parametrize(
    "text",
    [
        "Plain English, with “quotes” — and dashes… £5, 20 °C.",
        "Größe, Ärger und Übermut; naïve Café-Gäste. Œuvre à l’été.",
        "Привет, мир! Это обычный текст.",
        "مرحبا بالعالم، هذا نص عادي.",
        "你好，世界。这是普通的文本。",
        "日本語の普通の文章です。「はい」と言いました。",
        "Ρωμαϊκή αυτοκρατορία, ελληνικά.",
        "Tiếng Việt có dấu: Đường phố Hà Nội. ÂÃ",
        "```html\n<div>&amp;<p>x</p></div>\n``` and `&nbsp;`",
        "a < b && c > d, x<y>z, vector<int> v;",
    ],
)
def test_sound_texts_are_not_damaged(text):
    assert damage(text) == 0
    assert soundness("q", text) == 1
    # Read in the wrong encoding it is, where that changes anything but ASCII.
    if sum(not c.isascii() for c in text) > 3:
        for wrong in ("latin-1", "cp1252"):
            broken = text.encode().decode(wrong, "replace")
            assert damage(broken) > 0.01, broken
            assert soundness("q", broken) < 0.9


def test_other_damage():
    assert damage("\ufffd" * 10 + "x" * 90) == pytest.approx(10 / 200)
    assert damage("a&nbsp;b" * 100) == pytest.approx(100 / 800)
    assert soundness("q", "&nbsp;".join(map(str, range(100)))) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, but as an AI language model, I do not have opinions.", True),
        ("As an AI assistant, I have none.", True),
        ("I cannot assist with this request.", True),
        ("作为一个人工智能语言模型，我没有感情。", True),
        ("很抱歉，我无法回答这个问题。", True),
        ("申し訳ありませんが、お手伝いできません。", True),
        ("Извините, но я не могу помочь.", True),
        ("Lo siento, pero no puedo ayudar con eso.", True),
        ("Je suis désolé, mais je ne peux pas vous aider.", True),
        ("Als KI-Sprachmodell habe ich keine Meinung.", True),
        ("عذرًا، لا أستطيع المساعدة.", True),
        ("As an AI researcher, she built a robot.", False),
        ("作为人工智能领域的专家，他写了三本书。", False),
        ("Sorry means that one regrets.", False),
        ("The model said it cannot help, and I laughed.", False),
        ("", False),
    ],
)
def test_refusals(text, expected):
    assert is_refusal(text) is expected
    assert (soundness("q", text) <= 0.2) is (expected or not text)


def test_echoes_and_ends():
    assert is_echo(["a", "b", "c", "d"], ["a", "b", "c", "d"])
    assert not is_echo(["yes"], ["yes"])
    assert not is_echo(["a", "b", "c", "d"], ["a", "b", "c", "e"])
    assert soundness("What is the best beer?", "what is the BEST beer") == pytest.approx(0.05)
    assert is_cut("This is a sentence that goes on and,")
    assert is_cut("这是一个还没有结束的句子，它还要继续说下去的，")
    assert is_cut("```\nopen")
    assert not is_cut("```\nshut\n```")
    assert not is_cut("What a pity that it is so :(")


@pytest.mark.parametrize("repeated", ["round and round ", "重复的话。", "x "])
def test_text_that_repeats_itself_is_near_nothing(repeated):
    text = repeated * 50
    # A whole text compresses far less, so that this is what it is.
    assert len(zlib.compress(text.encode())) < 0.2 * len(text)
    assert soundness("q", text) == pytest.approx(0.05)


def test_degenerate_texts():
    texts = [
        "",
        " ",
        "\n",
        "?",
        "<image>",
        "\u200b",
        "0",
        "\ufffd",
        "x" * 50_000,
        "😀" * 9,
        "`" * 3,
    ]
    samples = [Sample((Exchange(a, b),)) for a, b in itertools.product(texts, texts)]
    for seen in ([], samples[:1], samples[:3], samples, _conversations("English", 50)):
        scores = _flat(_looked(seen), samples)
        assert ((scores >= 0) & (scores <= 1)).all()
        of_blank = [
            one.exchanges[0].response in ("", " ", "\n", "<image>", "\u200b") for one in samples
        ]
        assert (scores[of_blank] == 0).all()


def test_a_text_that_nobody_asked_for_fits():
    signals = _looked(_conversations("English", 50))
    prose = "The brewery opened in 1890. It made ale, then lager; the cellars are still there."
    [[of_text]] = signals.score([Sample(exchanges_of([("assistant", prose)]))])
    [[unfit]] = signals.score([Sample((Exchange("How do I tie a knot?", prose),))])
    assert of_text > 3 * unfit


def test_a_turn_may_refer_to_the_question_before():
    samples = _conversations("English", 200)
    signals = _looked(samples)
    exchange = samples[0].exchanges[0]
    alone = Sample((Exchange("Tell me more.", exchange.response),))
    after = Sample((exchange, Exchange("Tell me more.", exchange.response)))
    [[of_alone], [first, second]] = signals.score([alone, after])
    assert second > 3 * of_alone
    assert [[first]] == signals.score([samples[0]])


def test_scores_depend_on_what_was_seen_and_the_record_alone():
    samples = [one for language in _LANGUAGES for one in _conversations(language, 40)]
    whole = Signals()
    with pytest.raises(RuntimeError, match="look at a sample"):
        whole.score(samples)
    whole.look(samples)
    expected = _flat(whole, samples)
    again = _looked(samples)
    for size in (1, 7, 64):
        parts = [samples[at : at + size] for at in range(0, len(samples), size)]
        assert np.concatenate([_flat(again, part) for part in parts]).tolist() == expected.tolist()
    assert _flat(again, samples[::-1]).tolist() == expected[::-1].tolist()
    assert whole.score([]) == []


@given(
    st.lists(
        st.tuples(st.floats(-9, 20), st.floats(-9, 20), st.floats(0, 9), st.floats(0, 1)),
        min_size=1,
        max_size=8,
    )
)
def test_the_formula(rows):
    weights = SignalWeights(0.5, 2.0, 0.7, (1.0, -0.5, 0.2, 0.0, 3.0, 0.4), (5.0,) * 6, (2.0,) * 6)
    substance = [[terms, terms / 2, 1.0, 0.5, terms / 9, 1 + 2 * terms] for *_, terms, _ in rows]
    values = SignalValues(
        np.array([row[:2] for row in rows]), np.array(substance), np.array([row[3] for row in rows])
    )
    expected, asking = [], []
    for (words, topics, _, sound), (*signals, asked) in zip(rows, substance, strict=True):
        least = 0.1 + 0.2 / 2 ** ((2 ** signals[0] - 1) / 8)
        match = least + (1 - least) / (1 + math.exp(-(words + 0.5 * topics - 2.0) / 0.7))
        signals = [*signals, math.log1p(max(words + 0.5 * topics, 0))]
        total = sum(
            weight * (signal - 5) / 2
            for weight, signal in zip(weights.weights, signals, strict=True)
        )
        expected.append(match * (0.5 + 0.5 / (1 + math.exp(-total))) * sound)
        asking.append(min(asked / 10, 1) ** 0.5)
    np.testing.assert_allclose(weights.of_answers(values), expected, rtol=1e-12)
    np.testing.assert_allclose(weights.score(values), np.multiply(expected, asking), rtol=1e-12)


def test_good_and_very_good_differ_by_a_modest_factor():
    """A quality that is summed: one record must not count as ten good ones."""
    samples = _conversations("English", 200)
    scores = _flat(_looked(samples), samples)
    assert scores.max() < 3 * np.quantile(scores, 0.25)


@pytest.mark.slow
def test_swaps_and_votes_of_real_pools(shared_data):
    """What docs/background/annotation_quality.md says, with room for other versions of libraries.

    Readers vote for answers: what was asked, which the score counts too, they rank lower.
    """
    pools = {}
    for name, field in (("sft_mix", "corrupted"), ("stackexchange", "score")):
        records = list(data.read_conversations([str(shared_data / f"{name}.jsonl.gz")]))
        samples = [Sample(exchanges_of(record.turns)) for record in records]
        known = np.array([float(record.record[field]) for record in records])
        pools[name] = (_flat(_looked(samples), samples), known, samples, records)
    scores, is_bad, *_ = pools["sft_mix"]
    assert roc_auc_score(is_bad == 0, scores) > 0.93
    scores, votes, samples, records = pools["stackexchange"]
    answers = SignalWeights().of_answers(_looked(samples).measure(samples))
    lengths = np.array([len(sample.exchanges[0].response) for sample in samples])
    site = np.array([record.record["source"] for record in records])
    ours, of_answers, by_length = (
        np.mean([stats.spearmanr(of[site == one], votes[site == one])[0] for one in set(site)])
        for of in (scores, answers, lengths)
    )
    assert of_answers > 0.24
    assert of_answers > by_length
    assert ours > 0.21
    low, high = np.quantile(scores, [0.05, 0.95])
    assert 0.2 < low < 0.5 < high
