"""A causal language model: what it would say next, how well it predicts, what it writes.

Sequences of token ids go through the model in batches padded on one side; every method
gives for a sequence what the model gives for it alone, up to rounding.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.annotation._extras import require
from mig_jax.annotation.models._sentence_encoder import quiet_transformers
from mig_jax.errors import InputError

__all__ = ["CausalLM", "fit"]

_USUAL_TOKENS = 512


class CausalLM:
    """A model and its tokenizer, from a folder or a hub."""

    def __init__(
        self,
        model: str,
        *,
        flag: str,
        device: str = "auto",
        batch: int = 8,
        max_tokens: int = 2048,
        **load: Any,
    ) -> None:
        """`batch` sequences of up to `max_tokens` go through the model at a time.

        `flag` is what errors name; `load` goes to transformers.

        Raises:
          InputError: if the model cannot be loaded, or the extra is not installed.
        """
        self._torch = require("torch", flag)
        transformers = require("transformers", flag)
        quiet_transformers()
        if device == "auto":
            device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._device = device
        # Half precision is slow, and lacking in places, on a CPU.
        dtype = self._torch.float32 if device == "cpu" else "auto"
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(os.fspath(model), **load)
            loaded = transformers.AutoModelForCausalLM.from_pretrained(
                os.fspath(model), dtype=dtype, **load
            )
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{flag}: {model} cannot be loaded ({reason}); expected a folder or the name of "
                "a causal language model"
            ) from None
        self._model = loaded.to(device).eval()
        self._batch = batch
        self._can_keep = "logits_to_keep" in inspect.signature(loaded.forward).parameters
        limit = getattr(loaded.config, "max_position_embeddings", None)
        self.max_tokens = max_tokens if limit is None else min(max_tokens, limit)

    def encode(self, text: str, *, start: bool = False) -> list[int]:
        """Token ids of a text; with `start` those that the tokenizer puts around it, too."""
        return self.tokenizer.encode(text, add_special_tokens=start)

    def next_logits(
        self, sequences: Sequence[Sequence[int]], tokens: Sequence[int]
    ) -> npt.NDArray[np.float64]:
        """Logits of some tokens behind each sequence: float64 [n, len(tokens)]."""
        found = np.zeros((len(sequences), len(tokens)))
        for places, ids, mask in self._batches(sequences):
            # Logits are made where a sequence ends, and not for its whole length.
            ends, which = self._torch.unique(mask.sum(dim=1) - 1, return_inverse=True)
            keep = {"logits_to_keep": ends} if self._can_keep else {}
            with self._torch.no_grad():
                logits = self._model(input_ids=ids, attention_mask=mask, **keep).logits
            where = which if self._can_keep else ends[which]
            rows = logits[self._torch.arange(len(places), device=self._device), where]
            found[places] = rows[:, list(tokens)].float().cpu().numpy()
        return found

    def mean_losses(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> npt.NDArray[np.float64]:
        """Mean negative log-likelihood, in nats, of the tokens of each response behind its prompt.

        NaN for an empty response. No prompt is empty. float64 [n].
        """
        torch = self._torch
        whole = [[*prompt, *said] for prompt, said in zip(prompts, responses, strict=True)]
        found = np.full(len(whole), np.nan)
        for places, ids, mask in self._batches(whole):
            with torch.no_grad():
                logits = self._model(input_ids=ids, attention_mask=mask).logits
            for row, place in enumerate(places):
                if responses[place]:
                    first, end = len(prompts[place]), len(whole[place])
                    loss = torch.nn.functional.cross_entropy(
                        logits[row, first - 1 : end - 1].float(),
                        ids[row, first:end],
                        reduction="none",
                    )
                    found[place] = float(loss.double().mean())
        return found

    def write(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
        """What the model writes behind each prompt, each token its likeliest."""
        found = [""] * len(prompts)
        for places, ids, mask in self._batches(prompts, left=True):
            with self._torch.no_grad():
                written = self._model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    do_sample=False,
                    num_beams=1,
                    # The model's own settings for sampling would be warned of.
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=self._padding,
                )
            for place, tokens in zip(places, written[:, ids.shape[1] :], strict=True):
                found[place] = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return found

    @property
    def _padding(self) -> int:
        """Any token will do: what is padded is masked."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return token
        return 0

    def _batches(
        self, sequences: Sequence[Sequence[int]], *, left: bool = False
    ) -> Iterator[tuple[list[int], Any, Any]]:
        """Places, ids [batch, longest] and mask of sequences of about the same length."""
        order = sorted(range(len(sequences)), key=lambda place: -len(sequences[place]))
        while order:
            longest = len(sequences[order[0]])
            # Memory goes by tokens: of long sequences there are fewer in a batch.
            size = min(self._batch, max(self._batch * _USUAL_TOKENS // max(longest, 1), 1))
            places, order = order[:size], order[size:]
            ids = self._torch.full((len(places), longest), self._padding, dtype=self._torch.long)
            mask = self._torch.zeros_like(ids)
            for row, place in enumerate(places):
                size = len(sequences[place])
                where = slice(longest - size, None) if left else slice(0, size)
                ids[row, where] = self._torch.tensor(sequences[place], dtype=self._torch.long)
                mask[row, where] = 1
            yield places, ids.to(self._device), mask.to(self._device)


def fit(head: Sequence[int], middle: Sequence[int], tail: Sequence[int], most: int) -> list[int]:
    """The three joined, the end of the middle cut so that there are at most `most` ids.

    >>> fit([1], [2, 3, 4], [5], 4)
    [1, 2, 3, 5]
    """
    room = max(most - len(head) - len(tail), 0)
    return [*head, *middle[:room], *tail]
