from ._annotation_fields import AnnotationFields
from ._causal_lm import CausalLM
from ._choices import (
    LANGUAGE_MODELS,
    MODELS,
    SCORER_GROUPS,
    SCORERS,
    TAGGERS,
    MadeWhereUsed,
    ModelOptions,
    encoder_of,
    scorer_weights,
)
from ._combination import COMBINATIONS, combine, is_nearly_constant, mean_of_turns, ranks
from ._deita import DeitaScorer, expected_score
from ._duplicates import ExactDuplicates, Filter, NearDuplicates, jaccard
from ._embedding import EmbeddingTagger, Relevance, nearest_labels
from ._engines import ENGINES, Engine, LocalEngine
from ._extras import require
from ._ifd import Difficulty, difficulty
from ._instag import InsTagger
from ._journal import Annotation, Journal
from ._looking import drawn_numbers, drawn_samples, looking
from ._overlaps import Overlaps
from ._pipeline import Kept, Needs, annotate, annotate_batch, leave_out, score_table, tag_counts
from ._plain_scorers import Keep, KeepLabels, Length, TagCount
from ._pool_batches import Batch, PoolBatches, PoolPart
from ._ray_engine import RayEngine
from ._samples import Exchange, Looks, Sample, Scorer, Tagger, exchanges_of, is_blank
from ._sentence_encoder import SentenceEncoder
from ._tag_normalisation import TagMapping, merge_tags, spelling
from ._words import question_words, runs_of_words, tokens_of, words_of

__all__ = [
    "COMBINATIONS",
    "ENGINES",
    "LANGUAGE_MODELS",
    "MODELS",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "Annotation",
    "AnnotationFields",
    "Batch",
    "CausalLM",
    "DeitaScorer",
    "Difficulty",
    "EmbeddingTagger",
    "Engine",
    "ExactDuplicates",
    "Exchange",
    "Filter",
    "InsTagger",
    "Journal",
    "Keep",
    "KeepLabels",
    "Kept",
    "Length",
    "LocalEngine",
    "Looks",
    "MadeWhereUsed",
    "ModelOptions",
    "NearDuplicates",
    "Needs",
    "Overlaps",
    "PoolBatches",
    "PoolPart",
    "RayEngine",
    "Relevance",
    "Sample",
    "Scorer",
    "SentenceEncoder",
    "TagCount",
    "TagMapping",
    "Tagger",
    "annotate",
    "annotate_batch",
    "combine",
    "difficulty",
    "drawn_numbers",
    "drawn_samples",
    "encoder_of",
    "exchanges_of",
    "expected_score",
    "is_blank",
    "is_nearly_constant",
    "jaccard",
    "leave_out",
    "looking",
    "mean_of_turns",
    "merge_tags",
    "nearest_labels",
    "question_words",
    "ranks",
    "require",
    "runs_of_words",
    "score_table",
    "scorer_weights",
    "spelling",
    "tag_counts",
    "tokens_of",
    "words_of",
]
