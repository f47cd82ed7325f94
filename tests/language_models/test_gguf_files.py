"""GGUF files written by the library of llama.cpp: read as they were meant, or refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys

import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.language_models import GgufFile, read_model, tokenizer_of_gguf
from tests.language_models.decoders import EVERYTHING, GEMMA, LLAMA, MATRICES, weights_of
from tests.language_models.tokenizers_of_tests import END, TEXT, byte_tokenizer

gguf = pytest.importorskip("gguf", reason="the extra finetune is not installed")
pytest.importorskip("tokenizers", reason="the extra finetune is not installed")

NAMES = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "attention_norm": "attn_norm",
    "hidden_norm": "ffn_norm",
    "query_norm": "attn_q_norm",
    "key_norm": "attn_k_norm",
    "after_attention_norm": "post_attention_norm",
    "after_hidden_norm": "post_ffw_norm",
}
TEXTS = [
    "Hello  world, 12345 é 😀\n\nfoo_bar",
    f"<|im_start|>user\nWhat is 31?{END}\n",
    "  if x:\n        y\t= 3",
    "A label graph is 2 labels joined.",
    "",
]
CONTROL, NORMAL, BYTE, UNKNOWN = 3, 1, 6, 2


def interleaved(matrix, head_width):
    """As llama.cpp keeps queries and keys: the rotary halves of a head one in the other."""
    found = np.empty_like(matrix)
    for row in range(len(matrix)):
        head, n = divmod(row, head_width)
        half = head_width // 2
        found[head * head_width + 2 * (n % half) + n // half] = matrix[row]
    return found


def tensors_of(family, a, weights):
    """The file's tensors by name, matrices [out, in]."""
    found = {"token_embd.weight": weights["embedding"], "output_norm.weight": weights["norm"]}
    if "head" in weights:
        found["output.weight"] = weights["head"]
    for name, stacked in weights["layers"].items():
        for n, own in enumerate(stacked):
            own = own.T if name in MATRICES else own
            if family == "llama" and name in ("query", "key"):
                own = interleaved(own, a.head_width)
            found[f"blk.{n}.{NAMES[name]}.weight"] = np.ascontiguousarray(own)
    return found


def byte_level(pre="smollm"):
    """What a file says of a byte-level tokenizer, and the tokenizer itself."""
    made = byte_tokenizer(digits=pre == "smollm")
    tokens = [made.id_to_token(n) for n in range(made.get_vocab_size())]
    merges = json.loads(made.to_str())["model"]["merges"]

    def write(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([CONTROL] * 3 + [NORMAL] * (len(tokens) - 3))
        writer.add_token_merges([" ".join(merge) for merge in merges])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)

    return write, made, len(tokens)


def write_gguf(path, family, a, tokenizer, tensors, *, more=lambda writer: None, quantised=()):
    """A file that says of the decoder what converters of llama.cpp say."""
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(64)
    writer.add_embedding_length(a.width)
    writer.add_block_count(a.layers)
    writer.add_feed_forward_length(a.hidden)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.key_heads)
    writer.add_key_length(a.head_width)
    writer.add_value_length(a.head_width)
    writer.add_layer_norm_rms_eps(a.epsilon)
    writer.add_rope_freq_base(max(a.rope_bases))
    if family == "gemma3":
        writer.add_sliding_window(min(a.windows))
    tokenizer(writer)
    more(writer)
    for name, tensor in tensors.items():
        if name in quantised:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def tokens():
    return byte_level()


@pytest.fixture
def llama(tokens):
    """A decoder, its weights and its tensors; sizes that Q8_0 can take."""
    a = dataclasses.replace(LLAMA, width=32, head_width=8, hidden=64, vocabulary=tokens[2])
    weights = weights_of(a, 41, head=True)
    return a, weights, tensors_of("llama", a, weights)


def test_a_llama_is_read_as_it_was_written(tmp_path, llama, tokens):
    a, weights, tensors = llama
    write, _, _ = tokens

    def template(writer):
        writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m.content }}"
                                 "{{ eos_token }}{% endfor %}")  # fmt: skip

    write_gguf(tmp_path / "a.gguf", "llama", a, write, tensors, more=template)
    model = read_model(tmp_path / "a.gguf")
    assert dataclasses.replace(model.architecture, epsilon=a.epsilon) == a
    assert model.architecture.epsilon == pytest.approx(a.epsilon)
    assert set(model.weights) == {"embedding", "norm", "head", "layers"}
    assert set(model.weights["layers"]) == set(weights["layers"])
    for name, own in weights["layers"].items():
        assert np.array_equal(model.weights["layers"][name], own), name
    for name in ("embedding", "norm", "head"):
        assert np.array_equal(model.weights[name], weights[name])
    assert model.chat_template.parts("hi", "ho") == (
        f"<|im_start|>hi{END}",
        f"ho{END}",
    )

    # Another file with the same weights is of the same model; other weights make another.
    write_gguf(tmp_path / "b.gguf", "llama", a, write, tensors, more=template)
    assert read_model(tmp_path / "b.gguf").digest == model.digest
    tensors["blk.1.ffn_up.weight"][3, 4] += 1
    write_gguf(tmp_path / "c.gguf", "llama", a, write, tensors, more=template)
    assert read_model(tmp_path / "c.gguf").digest != model.digest


@pytest.mark.parametrize("pre", ["smollm", "gpt-2"])
def test_bytes_are_merged_within_what_the_file_says_is_a_word(tmp_path, pre):
    write, made, count = byte_level(pre)
    a = dataclasses.replace(LLAMA, vocabulary=count)
    write_gguf(tmp_path / "a.gguf", "llama", a, write, tensors_of("llama", a, weights_of(a, 44)))
    tokenizer = tokenizer_of_gguf(GgufFile(tmp_path / "a.gguf"))
    for text in TEXTS:
        ids = made.encode(text).ids
        assert tokenizer.encode(text).ids == ids
        assert tokenizer.decode(ids) == made.decode(ids)
    assert len(tokenizer.encode("12").ids) == (2 if pre == "smollm" else 1)


def test_quantised_tensors_are_near_what_they_were(tmp_path, llama, tokens):
    a, weights, tensors = llama
    quantised = [name for name, tensor in tensors.items() if tensor.ndim == 2]
    write_gguf(tmp_path / "a.gguf", "llama", a, tokens[0], tensors, quantised=quantised)
    model = read_model(tmp_path / "a.gguf")
    assert model.chat_template is None
    for name, own in weights["layers"].items():
        found = model.weights["layers"][name]
        # 8 bits for each block of 32 numbers: half a step of its largest.
        np.testing.assert_allclose(found, own, atol=abs(own).max() / 127 * 0.51)
        assert np.array_equal(found, own) == (name not in MATRICES)


def spm_pieces():
    """Pieces and scores of SentencePiece's kind: bytes, letters, and merges of some rank."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    every = [f"<0x{n:02X}>" for n in range(256)]
    letters = sorted(set(TEXT.replace(" ", "▁").replace("\n", "")) | {"▁"})
    merged = ["la", "be", "label", "lab", "el", "▁la", "▁label", "gr", "aph", "ap", "is", "▁is"]
    pieces = [*special, *every, *letters, *merged]
    scores = [0.0] * (4 + 256) + [-1000.0 - n for n in range(len(letters))]
    scores += [-1.0 - n for n in range(len(merged))]
    types = [CONTROL] * 3 + [UNKNOWN] + [BYTE] * 256 + [NORMAL] * (len(letters) + len(merged))
    return pieces, scores, types


def sentence_pieces(writer, *, space=False):
    pieces, scores, types = spm_pieces()
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_add_space_prefix(space)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)


def merged_by_score(text):
    """SentencePiece's BPE, plainly: the pair of the highest score is joined, the first of such."""
    pieces, scores, _ = spm_pieces()
    score = dict(zip(pieces[260:], scores[260:], strict=True))
    parts = list(text.replace(" ", "▁"))
    while True:
        pairs = [(score.get(a + b, -1e9), -n) for n, (a, b) in enumerate(itertools.pairwise(parts))]
        best, n = max(pairs, default=(-1e9, 0))
        if best == -1e9:
            break
        parts[-n : 2 - n] = ["".join(parts[-n : 2 - n])]
    known = set(pieces)
    ids = []
    for part in parts:
        own = [part] if part in known else [f"<0x{byte:02X}>" for byte in part.encode()]
        ids += [pieces.index(piece) for piece in own]
    return ids


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A file of the family Gemma 3, its decoder and weights."""
    a = dataclasses.replace(
        GEMMA,
        layers=7,
        vocabulary=len(spm_pieces()[0]),
        rope_bases=(10_000.0,) * 5 + (1_000_000.0, 10_000.0),
        windows=(3,) * 5 + (EVERYTHING, 3),
        query_scale=0.0,
    )
    weights = weights_of(a, 42)
    path = tmp_path_factory.mktemp("gemma") / "g.gguf"
    write_gguf(path, "gemma3", a, sentence_pieces, tensors_of("gemma3", a, weights))
    return path, a, weights


def test_a_gemma_is_read_as_it_was_written(gemma):
    path, a, weights = gemma
    model = read_model(path)
    assert dataclasses.replace(model.architecture, epsilon=a.epsilon) == a
    assert "head" not in model.weights
    for name, own in weights["layers"].items():
        assert np.array_equal(model.weights["layers"][name], own), name


@pytest.mark.parametrize(
    "text", ["A label graph is", "  labels ", "é <0x0A>\n😀labellabel", "A graph graphlabel is is"]
)
def test_pieces_are_merged_by_their_scores(gemma, text):
    tokenizer = tokenizer_of_gguf(GgufFile(gemma[0]))
    assert tokenizer.encode(text).ids == merged_by_score(text)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    found = tokenizer.encode(f"<bos>{text}<eos>").ids
    assert found == [2, *merged_by_score(text), 1]


def test_what_is_not_known_is_refused(tmp_path, llama, tokens):
    a, _, tensors = llama
    write, _, _ = tokens
    path = tmp_path / "a.gguf"

    def refused(match, **changes):
        given = {"tokenizer": write, "tensors": tensors, "family": "llama", "a": a} | changes
        write_gguf(path, **given)
        with pytest.raises(InputError, match=match) as told:
            read_model(path)
        assert "\n" not in str(told.value)

    zeros = np.zeros(32, np.float32)
    refused("attn_q.bias.*expected no tensors", tensors=tensors | {"blk.0.attn_q.bias": zeros})
    refused("rope_freqs", tensors=tensors | {"rope_freqs.weight": zeros[:4]})
    fewer = {name: t for name, t in tensors.items() if name != "blk.2.ffn_up.weight"}
    refused("expected a tensor blk.2.ffn_up.weight", tensors=fewer)
    other = tensors | {"blk.2.ffn_up.weight": np.zeros((64, 64), np.float32)}
    refused(r"ffn_up.weight: expected the shape \[64, 32\], got \[64, 64\]", tensors=other)
    refused("qwen2", family="qwen2")
    refused(
        "llama.rope.scaling.type is 'linear'",
        more=lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR),
    )
    refused("expert_count", more=lambda w: w.add_expert_count(4))
    refused("attention.sliding_window", more=lambda w: w.add_sliding_window(4))
    refused("rope.dimension_count: expected 8", more=lambda w: w.add_rope_dimension_count(4))
    refused("split as by smollm, gpt-2, got 'qwen2'", tokenizer=byte_level("qwen2")[0])
    a = dataclasses.replace(a, vocabulary=len(spm_pieces()[0]))
    refused(
        "no space",
        tokenizer=lambda w: sentence_pieces(w, space=True),
        a=a,
        tensors=tensors_of("llama", a, weights_of(a, 43)),
    )


def test_a_file_that_is_cut_or_no_gguf_is_refused(tmp_path, gemma):
    whole = gemma[0].read_bytes()
    path = tmp_path / "cut.gguf"
    for length in (0, 3, 20, 300, 6000, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.gguf"):
            read_model(path)
    path.write_bytes(b"something else" * 99)
    with pytest.raises(InputError, match="expected a whole GGUF file"):
        read_model(path)
    with pytest.raises(InputError, match="no such model; expected a GGUF file, or a folder"):
        read_model(tmp_path / "none")


def test_a_package_that_is_missing_is_told(gemma, monkeypatch):
    for package in ("tokenizers", "gguf"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match=rf"{package} is not installed.*mig-jax\[finetune\]"):
            read_model(gemma[0])
