"""What must be known to read the comparison of what was learned: for the terminal and the page."""

from __future__ import annotations

from typing import Final

from mig_jax.learning import RIVAL_THRESHOLDS, RivalThresholds
from mig_jax.measure import USUAL_NEIGHBOURS

__all__ = ["learning_notes"]

# Of each objective, what a lower test loss was shown to mean and what not: docs/guides/learn.md.
_CAVEATS: Final = {
    "planted": "the truth was planted here: that learning finds it does not show that a language "
    "model learns more from what is selected",
    "validation": "this loss is of simple models: a language model was not shown to learn more "
    "from what is selected by it than from random records, except on tasks of long answers",
    "target": "this loss tells how near the selection comes to the labels wanted; whether a "
    "language model learns more from it was not shown",
    "subsets": "a measure that ranks the runs it knows may be wrong about selections unlike them: "
    "train on a part, and measure, before you rely on it",
    "imitation": "this loss tells which records picked by hand are found again; whether a language "
    "model learns more from the others that are selected was not shown",
}


def learning_notes(objective: str, thresholds: RivalThresholds) -> list[str]:
    """Sentences without a full stop: what was compared with, and what the loss does not tell.

    >>> print("\\n".join(learning_notes("planted", RivalThresholds(0.7, (0.6, 0.7)))))
    paper joins labels from similarity 0.7 on, grid tries 0.6 and 0.7: where labels have ...
    the truth was planted here: ...
    """
    *others, last = (f"{threshold:g}" for threshold in thresholds.grid)
    tried = f"{', '.join(others)} and {last}" if others else last
    why = (
        "as on embeddings of the paper's scale"
        if thresholds == RIVAL_THRESHOLDS
        else f"where labels have {USUAL_NEIGHBOURS:g} neighbours in the mean, and for grid also "
        "half, twice and four times as many, as far as there are"
    )
    joined = (
        f"paper joins labels from similarity {thresholds.paper:g} on, grid tries {tried}: {why}"
    )
    return [joined, _CAVEATS[objective]]
