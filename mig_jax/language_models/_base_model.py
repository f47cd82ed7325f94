"""A model as it is fine-tuned: with the chat template that records are put in."""

from __future__ import annotations

import dataclasses
from typing import Any

from ._architecture import Architecture, Weights
from ._encoding import ChatTemplate
from ._tuning import Tuning

__all__ = ["BaseModel"]


@dataclasses.dataclass(frozen=True, eq=False)
class BaseModel:
    """What is fine-tuned."""

    name: str
    digest: str
    architecture: Architecture
    weights: Weights
    tokenizer: Any
    template: ChatTemplate

    def tuning(self, upper: int, rank: int = 0) -> Tuning:
        """Which weights learn: those of the upper layers, or all if `upper` is 0."""
        return Tuning(max(0, self.architecture.layers - upper) if upper else 0, rank)

    def told(self, tuning: Tuning) -> str:
        """What learns, in words."""
        layers = self.architecture.layers
        if tuning.whole:
            return "all weights learn, the embedding, too"
        return f"the upper {layers - tuning.first} of {layers} layers learn"
