from ._combination import COMBINATIONS, combine, is_nearly_constant, mean_of_turns, ranks
from ._deita import DEITA_PROMPTS, DeitaScorer, expected_score
from ._ifd import Difficulty, difficulty
from ._plain_scorers import Keep, Length, TagCount
from ._relevance import Relevance
from ._signals import Signals, SignalValues, SignalWeights

__all__ = [
    "COMBINATIONS",
    "DEITA_PROMPTS",
    "DeitaScorer",
    "Difficulty",
    "Keep",
    "Length",
    "Relevance",
    "SignalValues",
    "SignalWeights",
    "Signals",
    "TagCount",
    "combine",
    "difficulty",
    "expected_score",
    "is_nearly_constant",
    "mean_of_turns",
    "ranks",
]
