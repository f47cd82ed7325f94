"""The tokenizer that a GGUF file holds, as one of the library `tokenizers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mig_jax.errors import InputError, require

from ._gguf import GgufFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["tokenizer_of_gguf"]

_CONTROL = 3  # The token type of GGUF whose tokens are never made by merging.
_USER = 4


def tokenizer_of_gguf(file: GgufFile) -> Tokenizer:
    """The tokenizer of a file: byte-level merges (GPT-2's kind) or SentencePiece's merges.

    Raises:
      InputError: if the file's tokenizer is of another kind.
    """
    require("tokenizers", str(file.path), "finetune")
    from tokenizers import AddedToken

    kind = file.required("tokenizer.ggml.model")
    makers = {"gpt2": _byte_level, "llama": _sentence_pieces}
    if kind not in makers:
        raise InputError(f"{file.path}: expected a tokenizer of kind gpt2 or llama, got {kind!r}")
    tokens = file.required("tokenizer.ggml.tokens")
    tokenizer = makers[kind](file, {token: n for n, token in enumerate(tokens)})
    types = file.required("tokenizer.ggml.token_type")
    for wanted, add in ((_CONTROL, tokenizer.add_special_tokens), (_USER, tokenizer.add_tokens)):
        found = [t for t, own in zip(tokens, types, strict=True) if own == wanted]
        add([AddedToken(t, normalized=False, special=wanted == _CONTROL) for t in found])
    return tokenizer


def _byte_level(file: GgufFile, ids: dict[str, int]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    kinds: dict[str, list[Any]] = {
        "smollm": [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ],
        "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    }
    kind = file.required("tokenizer.ggml.pre")
    if kind not in kinds:
        raise InputError(
            f"{file.path}: expected text to be split as by {', '.join(kinds)}, got {kind!r}"
        )
    merges = [tuple(merge.split(" ")) for merge in file.required("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(kinds[kind])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_pieces(file: GgufFile, ids: dict[str, int]) -> Tokenizer:
    """SentencePiece's BPE: pieces are merged in the order of their scores, the highest first."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    if file.value("tokenizer.ggml.add_space_prefix", True):
        raise InputError(
            f"{file.path}: expected a tokenizer that puts no space before a text "
            "(tokenizer.ggml.add_space_prefix false): instruction and response are read apart"
        )
    scores = file.required("tokenizer.ggml.scores")
    merges = []
    for piece, n in ids.items():
        for cut in range(1, len(piece)):
            left, right = ids.get(piece[:cut]), ids.get(piece[cut:])
            if left is not None and right is not None:
                merges.append((-scores[n], left, right, piece[:cut], piece[cut:]))
    merges.sort()
    model = models.BPE(
        vocab=ids,
        merges=[(left, right) for *_, left, right in merges],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer
