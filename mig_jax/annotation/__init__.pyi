from ._annotation_fields import AnnotationFields
from ._answer_reading import read_score, read_tags
from ._answers import Answer, Answers, Question, Usage
from ._causal_lm import CausalLM
from ._choices import (
    CAN_ASK_SERVER,
    NEED_SERVER,
    SCORER_GROUPS,
    SCORERS,
    TAGGERS,
    ModelOptions,
    encoder_of,
    scorer_weights,
)
from ._combination import COMBINATIONS, combine, is_nearly_constant, mean_of_turns, ranks
from ._deita import DeitaScorer, expected_score
from ._duplicates import ExactDuplicates, Filter, NearDuplicates, jaccard
from ._embedding import EmbeddingTagger, Relevance, nearest_labels
from ._endpoint import KEY_VARIABLE, Endpoint, RequestLimits
from ._extras import require
from ._ifd import Difficulty, difficulty
from ._instag import InsTagger
from ._journal import Annotation, Journal
from ._overlaps import Overlaps
from ._pipeline import Kept, Needs, annotate, leave_out, score_table, tag_counts
from ._plain_scorers import Keep, KeepLabels, Length, TagCount
from ._samples import Exchange, Rejected, Sample, Scorer, Tagger, exchanges_of, is_blank
from ._sentence_encoder import SentenceEncoder
from ._served_models import LlmScorer, LlmTagger, ServedDeitaScorer, ServedInsTagger
from ._tag_normalisation import TagMapping, merge_tags, spelling
from ._words import question_words, runs_of_words, tokens_of, words_of

__all__ = [
    "CAN_ASK_SERVER",
    "COMBINATIONS",
    "KEY_VARIABLE",
    "NEED_SERVER",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "Annotation",
    "AnnotationFields",
    "Answer",
    "Answers",
    "CausalLM",
    "DeitaScorer",
    "Difficulty",
    "EmbeddingTagger",
    "Endpoint",
    "ExactDuplicates",
    "Exchange",
    "Filter",
    "InsTagger",
    "Journal",
    "Keep",
    "KeepLabels",
    "Kept",
    "Length",
    "LlmScorer",
    "LlmTagger",
    "ModelOptions",
    "NearDuplicates",
    "Needs",
    "Overlaps",
    "Question",
    "Rejected",
    "Relevance",
    "RequestLimits",
    "Sample",
    "Scorer",
    "SentenceEncoder",
    "ServedDeitaScorer",
    "ServedInsTagger",
    "TagCount",
    "TagMapping",
    "Tagger",
    "Usage",
    "annotate",
    "combine",
    "difficulty",
    "encoder_of",
    "exchanges_of",
    "expected_score",
    "is_blank",
    "is_nearly_constant",
    "jaccard",
    "leave_out",
    "mean_of_turns",
    "merge_tags",
    "nearest_labels",
    "question_words",
    "ranks",
    "read_score",
    "read_tags",
    "require",
    "runs_of_words",
    "score_table",
    "scorer_weights",
    "spelling",
    "tag_counts",
    "tokens_of",
    "words_of",
]
