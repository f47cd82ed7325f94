from ._answer_reading import read_score, read_tags
from ._answers import Answer, Answers, Question, Usage
from ._endpoint import KEY_VARIABLE, Endpoint, RequestLimits
from ._served_models import LlmScorer, LlmTagger, ServedDeitaScorer, ServedInsTagger

__all__ = [
    "KEY_VARIABLE",
    "Answer",
    "Answers",
    "Endpoint",
    "LlmScorer",
    "LlmTagger",
    "Question",
    "RequestLimits",
    "ServedDeitaScorer",
    "ServedInsTagger",
    "Usage",
    "read_score",
    "read_tags",
]
