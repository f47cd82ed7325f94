"""Models of random weights with tokenizers of the real kinds, saved as folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TEXT = (
    "Please identify the quality and complexity score of the following user query. "
    "What is a label graph? It joins labels 1 2 3 4 5 6 by how similar they are. Response: "
)


def tiny_causal_lm(folder: Path, *, positions: int = 512, start: bool = True) -> Path:
    """A Llama of two layers; byte-level BPE, with a first token if `start`."""
    torch = pytest.importorskip("torch", reason="the extra annotate is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra annotate is not installed")
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    byte_pairs = tokenizers.Tokenizer(models.BPE())
    byte_pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_pairs.decoder = decoders.ByteLevel()
    byte_pairs.train_from_iterator(
        [TEXT] * 3,
        trainers.BpeTrainer(
            vocab_size=360,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if start:
        byte_pairs.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_pairs, bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=positions,
        # So large that it prefers some tokens clearly.
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def tiny_sentence_encoder(folder: Path) -> Path:
    """A BERT of one layer, the mean of whose states is the embedding; letters for WordPiece."""
    torch = pytest.importorskip("torch", reason="the extra annotate is not installed")
    pytest.importorskip("sentence_transformers", reason="the extra annotate is not installed")
    import transformers

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(folder)
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder
