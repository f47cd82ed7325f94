from ._causal_lm import CausalLM
from ._choices import SCORER_GROUPS, SCORERS, TAGGERS, ModelOptions, encoder_of, scorer_weights
from ._combination import COMBINATIONS, combine, is_nearly_constant, mean_of_turns, ranks
from ._deita import DeitaScorer, expected_score
from ._duplicates import ExactDuplicates, Filter, NearDuplicates, Overlaps, words_of
from ._embedding import EmbeddingTagger, Relevance, nearest_labels
from ._ifd import Difficulty, difficulty
from ._instag import InsTagger
from ._journal import Annotation, Journal
from ._pipeline import Kept, Needs, annotate, annotated_record, leave_out, score_table, tag_counts
from ._plain_scorers import Keep, KeepLabels, Length, TagCount
from ._samples import Exchange, Sample, exchanges_of
from ._sentence_encoder import SentenceEncoder
from ._tag_normalisation import TagMapping, merge_tags, spelling

__all__ = [
    "COMBINATIONS",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "Annotation",
    "CausalLM",
    "DeitaScorer",
    "Difficulty",
    "EmbeddingTagger",
    "ExactDuplicates",
    "Exchange",
    "Filter",
    "InsTagger",
    "Journal",
    "Keep",
    "KeepLabels",
    "Kept",
    "Length",
    "ModelOptions",
    "NearDuplicates",
    "Needs",
    "Overlaps",
    "Relevance",
    "Sample",
    "SentenceEncoder",
    "TagCount",
    "TagMapping",
    "annotate",
    "annotated_record",
    "combine",
    "difficulty",
    "encoder_of",
    "exchanges_of",
    "expected_score",
    "is_nearly_constant",
    "leave_out",
    "mean_of_turns",
    "merge_tags",
    "nearest_labels",
    "ranks",
    "score_table",
    "scorer_weights",
    "spelling",
    "tag_counts",
    "words_of",
]
