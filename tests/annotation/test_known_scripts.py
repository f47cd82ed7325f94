"""Scripts that a model's tokenizer hardly knows."""

from __future__ import annotations

import itertools
import json

import pytest

from mig_jax.annotation import Pieces, SentenceEncoder, Spread, hardly_known_scripts, script_of
from mig_jax.commands.main import main
from tests.annotation.tiny_models import tiny_sentence_encoder

RUSSIAN = "Как приготовить борщ дома? Сначала сварите бульон."
CHINESE = "请解释机器学习中的过拟合现象"
JAPANESE = "どうすればよいですか、プログラミングをまなぶには"
ENGLISH = "How can I learn programming at home?"


def split_into(letters):
    """A tokenizer whose pieces have so many letters."""
    return lambda words: [Pieces(max(1, round(len(word) / letters)), 0) for word in words]


def unknown(words):
    return [Pieces(0, 1) for _ in words]


@pytest.mark.parametrize(
    ("text", "script"),
    [(RUSSIAN, "CYRILLIC"), (CHINESE, "CJK"), (JAPANESE, "KANA"), ("ΑΒΓ", "GREEK")],
)
def test_scripts_by_their_pieces(text, script):
    texts = [text, ENGLISH, text, "1 + 1"]
    assert hardly_known_scripts(texts, unknown) == {script: 2 / 3}
    assert hardly_known_scripts(texts, split_into(3)) == {}
    assert hardly_known_scripts(texts, split_into(0.5)) == {script: 2 / 3}
    # A letter each is what who knows ideographs makes of them.
    expected = {} if script == "CJK" else {script: 2 / 3}
    assert hardly_known_scripts(texts, split_into(1)) == expected


def test_what_has_no_script():
    assert hardly_known_scripts([], unknown) == {}
    assert hardly_known_scripts(["", "1 + 1 = 2 \U0001f600"], unknown) == {}
    assert hardly_known_scripts([ENGLISH, "Wie geht's? Äußerst gut."], split_into(0.5)) == {}
    # Names and signs of another script in a text do not make it one of that script.
    assert hardly_known_scripts([f"{ENGLISH} π α"], unknown) == {}
    assert script_of("\ue000") is None


def test_marks_belong_to_their_letters():
    seen = []

    def pieces_of(words):
        seen.extend(words)
        return [Pieces(1, 0) for _ in words]

    assert hardly_known_scripts(["हिन्दी भाषा 12, में"], pieces_of) == {}
    assert seen == ["हिन्दी", "भाषा", "में"]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000, 1025])
def test_a_spread_is_even(count):
    spread = Spread(most=8)
    for number in range(count):
        spread.add(str(number))
    found = list(map(int, spread.texts))
    steps = {after - before for before, after in itertools.pairwise(found)}
    assert len(steps) <= 1
    assert min(count, 5) <= len(found) <= 8
    assert found[:1] == [0][:count]
    if steps:
        assert found[-1] + steps.pop() >= count


def test_pieces_of_a_word_piece_tokenizer(tmp_path):
    encoder = SentenceEncoder(str(tiny_sentence_encoder(tmp_path)), device="cpu")
    assert encoder.pieces_of(["abc", "я", "Beer"]) == [Pieces(3, 0), Pieces(0, 1), Pieces(4, 0)]


@pytest.mark.parametrize(("russian", "warns"), [(3, True), (1, False)])
def test_annotate_warns_once_if_most_records_are_so(tmp_path, capsys, russian, warns):
    model = tmp_path / "model"
    model.mkdir()
    tiny_sentence_encoder(model)
    texts = [RUSSIAN] * russian + [ENGLISH]
    if not warns:
        texts.append(ENGLISH)
    (tmp_path / "pool.jsonl").write_text(
        "".join(json.dumps({"instruction": text, "output": "?"}) + "\n" for text in texts)
    )
    arguments = ["annotate", f"--pool={tmp_path}/pool.jsonl", f"--output={tmp_path}/out.jsonl"]
    labels = tmp_path / "vocabulary.json"
    labels.write_text('["beer"]')
    for number, how in enumerate(
        (
            ["--tagger=embedding", f"--vocabulary={labels}", "--scorer=relevance"],
            ["--tagger=embedding", f"--vocabulary={labels}", "--scorer=length"],
        )
    ):
        arguments[2] = f"--output={tmp_path}/out{number}.jsonl"
        more = [f"--embedding_model={model}", "--device=cpu", "--tag_similarity=-1"]
        assert main([*arguments, *how, *more]) in (None, 0)
        told = capsys.readouterr().err
        assert told.count(f"in scripts (Cyrillic) that {model} hardly knows") == warns
        assert told.count("warning: 75% of the records") == warns
