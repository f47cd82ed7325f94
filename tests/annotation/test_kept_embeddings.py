"""Embeddings of vocabularies are made once, and never taken for others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mig_jax.annotation import Pieces, SentenceEncoder, kept_embeddings
from mig_jax.commands.main import main
from tests.annotation.tiny_models import tiny_sentence_encoder

LABELS = ["beer", "hops", "label graph"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_sentence_encoder(tmp_path_factory.mktemp("encoder"))


class Counted:
    """Embeds, and counts how often."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        return self.encoder(texts)


def calls(model, folder, labels=LABELS, **options):
    """How often the labels were embedded, and the embeddings."""
    encoder = SentenceEncoder(str(model), device="cpu", **options)
    embed = Counted(encoder)
    found = kept_embeddings(labels, encoder, folder, embed=embed)
    np.testing.assert_array_equal(found, encoder(labels))
    assert found.dtype == np.float32
    return embed.calls


def test_they_are_made_once(model, tmp_path):
    folder = tmp_path / "cache"
    assert calls(model, folder) == 1
    assert calls(model, folder) == 0
    [kept] = folder.iterdir()
    assert kept.name.endswith(".embeddings.npz")
    assert calls(model, None) == 1
    # Another list, or order, has others.
    assert calls(model, folder, LABELS[::-1]) == 1
    assert calls(model, folder, LABELS[:2]) == 1
    assert calls(model, folder, [*LABELS[:2], "label gra\ud83dph"[:9]]) == 1


def test_a_model_is_known_by_its_content(model, tmp_path):
    folder = tmp_path / "cache"
    copy = shutil.copytree(model, tmp_path / "copy")
    assert calls(model, folder) == 1
    assert calls(copy, folder) == 0
    (copy / "tokenizer.json").unlink(missing_ok=True)
    pooling = json.loads((copy / "1_Pooling/config.json").read_text())
    pooling |= {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    (copy / "1_Pooling/config.json").write_text(json.dumps(pooling))
    assert calls(copy, folder) == 1
    torch = pytest.importorskip("torch")
    from transformers import BertModel

    shutil.copytree(model, tmp_path / "other")
    bert = BertModel.from_pretrained(model)
    with torch.no_grad():
        bert.embeddings.word_embeddings.weight[7, 3] += 1
    bert.save_pretrained(tmp_path / "other")
    assert calls(tmp_path / "other", folder) == 1


def test_a_tokenizer_counts(model, tmp_path):
    folder = tmp_path / "cache"
    assert calls(model, folder) == 1
    copy = shutil.copytree(model, tmp_path / "copy")
    told = json.loads(Path(copy, "tokenizer.json").read_text())
    vocabulary = told["model"]["vocab"]
    vocabulary["b"], vocabulary["h"] = vocabulary["h"], vocabulary["b"]
    Path(copy, "tokenizer.json").write_text(json.dumps(told))
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    Path(copy, "vocab.txt").write_text("\n".join(pieces))
    assert calls(copy, folder) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_file_is_made_again(model, tmp_path, content):
    folder = tmp_path / "cache"
    calls(model, folder)
    [kept] = folder.iterdir()
    if content is None:
        np.savez(kept, embeddings=np.full((3, 16), np.nan, np.float32))
    else:
        kept.write_bytes(content)
    assert calls(model, folder) == 1
    assert calls(model, folder) == 0


def test_a_folder_that_cannot_be_used_ends_nothing(model, tmp_path):
    (tmp_path / "file").write_text("")
    encoder = SentenceEncoder(str(model), device="cpu")
    said = []
    found = kept_embeddings(LABELS, encoder, tmp_path / "file/cache", tell=said.append)
    np.testing.assert_array_equal(found, encoder(LABELS))
    [line] = said
    assert line.endswith("; embeddings are not kept there")


def test_annotate_keeps_them(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")  # Each step is told.
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"instruction": "beer and hops", "output": "more"}\n')
    (tmp_path / "vocabulary.json").write_text(json.dumps(LABELS))
    outputs = []
    for number, cache in enumerate(("none", tmp_path / "cache", tmp_path / "cache")):
        outputs.append(tmp_path / f"out{number}.jsonl")
        arguments = [
            *("annotate", f"--pool={pool}", f"--output={outputs[-1]}", f"--cache={cache}"),
            *("--tagger=embedding", f"--vocabulary={tmp_path}/vocabulary.json", "--scorer=length"),
            *(f"--embedding_model={model}", "--device=cpu", "--tag_similarity=-1"),
        ]
        assert main(arguments) in (None, 0)
        assert ("embedding labels: 3 labels in" in capsys.readouterr().err) == (number < 2)
        assert (tmp_path / "cache").exists() == (number > 0)
    assert outputs[0].read_bytes() == outputs[1].read_bytes() == outputs[2].read_bytes()


def test_static_models_of_model2vec(tmp_path):
    """Whose folders sentence-transformers reads: a mean of vectors of words, at once."""
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed")
    import tokenizers
    from tokenizers import models, pre_tokenizers

    words = ["[UNK]", "beer", "hops", "label", "graph"]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    model2vec.StaticModel(vectors, tokenizer).save_pretrained(tmp_path / "model")
    encoder = SentenceEncoder(str(tmp_path / "model"), device="cpu")
    mean = vectors[[1, 2]].mean(axis=0)
    np.testing.assert_allclose(encoder(["beer hops"])[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert encoder.pieces_of(["beer", "я"]) == [Pieces(1, 0), Pieces(0, 1)]
    assert calls(tmp_path / "model", tmp_path / "cache") == 1
    assert calls(tmp_path / "model", tmp_path / "cache") == 0
