"""Labels that are found in the pool itself, by the library and by `mig-jax annotate`."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from absl import flags as absl_flags

from mig_jax import data
from mig_jax.annotation import (
    DiscoveringTagger,
    Exchange,
    Sample,
    TextVectors,
    discover_labels,
    read_discovered,
)
from mig_jax.commands.annotate_options import annotate_options, define_annotate_flags
from mig_jax.commands.annotate_run import fingerprint
from mig_jax.commands.main import main
from mig_jax.errors import InputError
from tests.annotation.tiny_models import tiny_sentence_encoder
from tests.dying import at_journal, dies

_TOPICS = {
    "sailing": "jib mainsheet tack harbour keel spinnaker rudder anchor",
    "baking": "oven flour yeast dough crust knead sourdough rise",
    "python": "list index loop function exception import decorator tuple",
    "law": "court contract clause plaintiff verdict appeal statute liability",
}
_FILLERS = [
    "how",
    "do",
    "i",
    "the",
    "a",
    "of",
    "to",
    "my",
    "with",
    "is",
    "it",
    "and",
    "what",
    "can",
    "you",
    "please",
]
_GERMAN = {
    "Katzen": "Katze Futter Fell Tierarzt Kralle schnurren Korb miauen",
    "Steuer": "Steuer Bescheid Frist Finanzamt Freibetrag Einkommen Beleg Erstattung",
}
_GERMAN_FILLERS = [
    "wie",
    "kann",
    "ich",
    "der",
    "die",
    "das",
    "und",
    "mit",
    "für",
    "ist",
    "es",
    "bitte",
    "ein",
    "eine",
    "zu",
]
_CHINESE = {
    "天气": [
        "今天北京的天气怎么样",
        "明天上海天气会下雨吗",
        "这周的天气预报说什么",
        "天气这么热怎么办",
    ],
    "股票": [
        "股票市场最近涨了吗",
        "怎么买股票比较安全",
        "这只股票的价格是多少",
        "股票和基金有什么不同",
    ],
}


def _text(random, words, fillers):
    chosen = [*random.choice(words.split(), 5), *random.choice(fillers, 9)]
    return " ".join(random.permutation(chosen).tolist())


def _pool(count=240, seed=0, topics=None, fillers=_FILLERS):
    """Topics and texts of which two thirds say nothing of it."""
    random = np.random.default_rng(seed)
    topics = _TOPICS if topics is None else topics
    kinds = random.choice(list(topics), count).tolist()
    return kinds, [_text(random, topics[kind], fillers) for kind in kinds]


def _samples(texts):
    return [Sample((Exchange(text, "Yes."),)) for text in texts]


def _agreement(labels, kinds):
    """The share of pairs with a common label that are of one kind."""
    sets = [set(of_one) for of_one in labels]
    same = [kinds[i] == kinds[j] for i in range(len(sets)) for j in range(i) if sets[i] & sets[j]]
    assert len(same) > len(sets)
    return np.mean(same)


def _write(path, texts, **more):
    turns = [
        [{"role": "user", "content": text}, {"role": "assistant", "content": f"Yes {n}."}]
        for n, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps({"messages": one, **more}) + "\n" for one in turns))
    return path


def _labels(path):
    return [json.loads(line)["mig_jax"]["labels"] for line in path.read_text().splitlines()]


def _run(*arguments):
    return main(["annotate", "--scorer=length", *(str(argument) for argument in arguments)])


def test_records_of_a_topic_share_labels_named_by_its_words():
    kinds, texts = _pool()
    tagger = DiscoveringTagger()
    tagger.look(_samples(texts))
    labels = tagger.tag(_samples(texts))
    assert _agreement(labels, kinds) > 0.8  # 0.25 by chance.
    assert {len(set(of_one)) == len(of_one) <= 5 for of_one in labels} == {True}
    names = tagger.label_table().names
    assert len(set(names)) == len(names)
    words = [word for name in names for word in name.split() if not word.isdigit()]
    own = {word for topic in _TOPICS.values() for word in topic.split()}
    # Of the words of the texts 36 % are; a name has its topic's first of all.
    assert np.mean([word in own for word in words]) > 0.8
    # Others that it has not looked at get the same labels.
    others, unseen = _pool(seed=1)
    assert _agreement(tagger.tag(_samples(unseen)), others) > 0.8


def test_each_grain_is_finer_and_grows_with_the_pool():
    counts = {}
    for count in (60, 600):
        _, texts = _pool(count)
        labels = discover_labels(texts, TextVectors.fit(texts)(texts), seed=0)
        counts[count] = np.bincount(labels.grain).tolist()
        assert counts[count] == sorted(counts[count])
    assert all(few < many for few, many in zip(counts[60], counts[600], strict=True))


def test_pools_in_other_languages_and_in_several_have_many_labels():
    kinds, texts = _pool(120, topics=_GERMAN, fillers=_GERMAN_FILLERS)
    random = np.random.default_rng(0)
    for kind, written in _CHINESE.items():
        kinds += [kind] * 30
        texts += ["".join(random.choice(written, 2)) for _ in range(30)]
    english, more = _pool(400)
    kinds, texts = kinds + english, texts + more
    tagger = DiscoveringTagger()
    tagger.look(_samples(texts))
    labels = tagger.tag(_samples(texts))
    for some in (range(120), range(120, 180)):
        found = [labels[place] for place in some]
        # Labels of the narrow grains tell topics within a language.
        assert len({label for of_one in found for label in of_one}) >= 6
        assert _agreement([of_one[1:] for of_one in found], [kinds[n] for n in some]) > 0.7
    chinese = {label for of_one in labels[120:180] for label in of_one}
    assert sum("天气" in name or "股票" in name for name in chinese) >= 2
    german = {name for of_one in labels[:120] for name in of_one}
    stop = set(_GERMAN_FILLERS)
    words = [word for name in german for word in name.split()]
    assert np.mean([word in stop for word in words]) < 0.45  # 64 % of those of the texts are.


@pytest.mark.parametrize(
    ("texts", "labelled"),
    [
        (["Is it raining?"], [True]),
        (["one two", "three four"], [True, True]),
        (["the same words"] * 30, [True] * 30),
        (["a b c", "?", "a b c d", "!!!"], [True, False, True, False]),
        (["?", "!"], [False, False]),
        ([f"word{n} thing{n}" for n in range(10)], [True] * 10),
    ],
)
def test_tiny_pools_have_labels(texts, labelled):
    tagger = DiscoveringTagger()
    tagger.look(_samples(texts))
    assert [bool(found) for found in tagger.tag(_samples(texts))] == labelled
    assert tagger.tag([]) == []


def test_a_file_gives_the_labels_that_were_found(tmp_path):
    _, texts = _pool()
    tagger = DiscoveringTagger(seed=2, most=3)
    tagger.look(_samples(texts))
    table = tagger.label_table()
    path = tmp_path / "labels.npz"
    data.write_label_embeddings(path, table.names, table.embeddings, more=table.state)

    def none(model):
        raise AssertionError("no model is needed")

    _, others = _pool(seed=5)
    assert read_discovered(path, none, most=3).tag(_samples(others)) == tagger.tag(_samples(others))
    unit, _ = data.read_label_embeddings(path, table.names)
    assert np.allclose(np.linalg.norm(unit, axis=1), 1)
    assert data.embedding_model_of(path) is None


def test_a_model_embeds_a_text_of_the_sample_once():
    _, texts = _pool(60)
    vectors = TextVectors.fit(texts)
    asked = []

    def encode(some):
        asked.extend(some)
        return vectors(some)

    tagger = DiscoveringTagger(encode, model="m")
    told = []
    tagger.progress = told.append
    tagger.look(_samples(texts))
    assert sum(told) == len(texts)
    tagger.tag(_samples([*texts, "new words of sailing"]))
    assert asked == [*texts, "new words of sailing"]
    assert str(tagger.label_table().state["embedded_by"]) == "m"


def test_what_is_no_such_file_is_told(tmp_path, capsys):
    _, texts = _pool(40)
    tagger = DiscoveringTagger()
    tagger.look(_samples(texts))
    table = tagger.label_table()
    pool, output = _write(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    path = tmp_path / "l.npz"
    good = dict(table.state)
    for arrays, told in (
        ({}, "grain is not a file in the archive"),
        (good | {"grain": table.state["grain"][1:]}, "grain does not tell"),
        ({"grain": table.state["grain"]}, "terms is not a file in the archive"),
        (good | {"axes": table.state["axes"][:, 1:]}, "its labels are"),
    ):
        data.write_label_embeddings(path, table.names, table.embeddings, more=arrays)
        with pytest.raises(InputError, match=told):
            read_discovered(path, lambda model: TextVectors.fit(texts))
        assert _run(f"--pool={pool}", f"--output={output}", f"--labels_from={path}") == 2
        assert f"l.npz: {told}" in capsys.readouterr().err
    state = good | {"grain": table.state["grain"][:0]}
    data.write_label_embeddings(path, [], table.embeddings[:0], more=state)
    with pytest.raises(InputError, match="it has no labels"):
        read_discovered(path, lambda model: TextVectors.fit(texts))
    for flags, told in (
        ([f"--labels_from={tmp_path}/none.npz"], "none.npz: no such file"),
        ([f"--labels_from={path}", "--tagger=keep"], "--labels_from: goes with --tagger=discover"),
        (["--tagger=discover", f"--vocabulary={path}"], "--vocabulary: does not go with"),
    ):
        assert _run(f"--pool={pool}", f"--output={output}", *flags) == 2
        assert told in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["l.npz", "pool.jsonl"]


def test_the_command_finds_labels_where_nothing_is_given(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")  # Each step is told.
    kinds, texts = _pool(150)
    pool, output = _write(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    assert _run(f"--pool={pool}", f"--output={output}") == 0
    told = capsys.readouterr().err
    assert "--tagger=discover: labels are found in the pool itself" in told
    assert "looking at the pool" in told
    labels = _labels(output)
    assert _agreement(labels, kinds) > 0.8
    names = sorted({name for of_one in labels for name in of_one})
    data.read_label_embeddings(tmp_path / "out.labels.npz", names)
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert "out.labels.npz" in about["outputs"]

    # The same labels for the same records, and labels of the same names for others.
    again = tmp_path / "again.jsonl"
    from_file = f"--labels_from={tmp_path / 'out.labels.npz'}"
    assert _run(f"--pool={pool}", f"--output={again}", from_file) == 0
    assert "looking" not in capsys.readouterr().err
    assert again.read_bytes() == output.read_bytes()
    _write(pool, _pool(50, seed=7)[1])
    assert _run(f"--pool={pool}", f"--output={again}", from_file) == 0
    found = {name for of_one in _labels(again) for name in of_one}
    assert found <= set(
        read_discovered(tmp_path / "out.labels.npz", TextVectors.fit).label_table().names
    )
    # As another seed does not.
    other = tmp_path / "other.jsonl"
    assert _run(f"--pool={pool}", f"--output={other}", "--seed=1") == 0
    assert _run(f"--pool={pool}", f"--output={again}") == 0
    assert _labels(other) != _labels(again)


def test_merging_needs_no_model(tmp_path, monkeypatch):
    _, texts = _pool(150)
    pool, output = _write(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    flags = ("--normalise_tags", "--min_tag_count=2", "--tag_distance=0.3")
    assert _run(f"--pool={pool}", f"--output={output}", *flags) == 0
    mapping = json.loads((tmp_path / "out.tag_mapping.json").read_text())
    assert 1 < len(set(mapping.values())) < len(mapping)


def test_killed_runs_and_other_batches_give_the_same_bytes(tmp_path):
    _, texts = _pool(300)
    pool = _write(tmp_path / "pool.jsonl", texts)
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    assert _run(f"--pool={pool}", f"--output={whole}") == 0
    flags = [f"--pool={pool}", f"--output={resumed}", "--batch_size=8"]
    one_thread = {"OMP_NUM_THREADS": "1"}
    dies(at_journal(80), "annotate", "--scorer=length", *flags, env=one_thread)
    assert len((tmp_path / "resumed.journal.jsonl").read_bytes().splitlines()) == 81
    assert _run(*flags, "--seed=1") == 2  # Other labels, which do not go with those.
    assert _run(*flags) == 0
    assert resumed.read_bytes() == whole.read_bytes()
    ours = [(tmp_path / f"{name}.labels.npz").read_bytes() for name in ("whole", "resumed")]
    assert ours[0] == ours[1]


def _fingerprint(*words):
    values = absl_flags.FlagValues()
    define_annotate_flags(values)
    values(["annotate", *words])
    return fingerprint(annotate_options(values))


def test_a_sentence_model_finds_labels_and_gives_them_again(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    model = tiny_sentence_encoder(tmp_path / "model")
    _, texts = _pool(40)
    pool, output = _write(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    again = tmp_path / "again.jsonl"
    flags = ("--tagger=discover", f"--embedding_model={model}")
    assert _run(f"--pool={pool}", f"--output={output}", *flags) == 0
    from_file = f"--labels_from={tmp_path / 'out.labels.npz'}"
    assert _run(f"--pool={pool}", f"--output={again}", from_file) == 0
    same = [set(a) == set(b) for a, b in zip(_labels(output), _labels(again), strict=True)]
    # A model rounds by what stands beside a text, which may decide between two labels as near.
    assert np.mean(same) > 0.9
    # The run is told from others by what the model holds, whether a flag or the labels name it.
    runs = [_fingerprint(f"--pool={pool}", f"--output={output}", *w) for w in (flags, [from_file])]
    assert runs[0]["embedding_model"] == runs[1]["embedding_model"]
    assert str(model) not in str(runs[0]["embedding_model"])


def test_the_labels_of_a_vocabulary_are_kept_with_the_model(tmp_path):
    (tmp_path / "model").mkdir()
    model = tiny_sentence_encoder(tmp_path / "model")
    pool, output = _write(tmp_path / "pool.jsonl", ["sail", "bread"]), tmp_path / "out.jsonl"
    vocabulary = tmp_path / "words.json"
    vocabulary.write_text(json.dumps(["sail", "bread", "zzzz"]))
    flags = (f"--vocabulary={vocabulary}", f"--embedding_model={model}", "--max_tags=1")
    assert _run(f"--pool={pool}", f"--output={output}", *flags) == 0
    assert _labels(output) == [["sail"], ["bread"]]
    path = tmp_path / "out.labels.npz"
    assert data.embedding_model_of(path) == str(model)
    data.read_label_embeddings(path, ["sail", "bread"])
    with pytest.raises(InputError, match="'zzzz'"):
        data.read_label_embeddings(path, ["zzzz"])
