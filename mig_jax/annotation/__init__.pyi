from ._annotation_fields import AnnotationFields
from ._causal_lm import CausalLM
from ._choices import SCORER_GROUPS, SCORERS, TAGGERS, ModelOptions, encoder_of, scorer_weights
from ._combination import COMBINATIONS, combine, is_nearly_constant, mean_of_turns, ranks
from ._deita import DeitaScorer, expected_score
from ._duplicates import ExactDuplicates, Filter, NearDuplicates, PreparedFilter, jaccard
from ._embedding import EmbeddingTagger, Relevance, nearest_labels
from ._extras import require
from ._ifd import Difficulty, difficulty
from ._instag import InsTagger
from ._journal import Annotation, Journal
from ._kept_embeddings import kept_embeddings
from ._known_scripts import Pieces, Spread, hardly_known_scripts, script_of
from ._looking import drawn_numbers, drawn_samples, looking
from ._overlaps import Overlaps
from ._pipeline import Kept, Needs, annotate, annotate_batch, leave_out, score_table, tag_counts
from ._plain_scorers import Keep, KeepLabels, Length, TagCount
from ._samples import Exchange, Looks, Sample, Scorer, Tagger, exchanges_of, is_blank
from ._sentence_encoder import SentenceEncoder
from ._tag_normalisation import TagMapping, merge_tags, spelling
from ._words import question_words, runs_of_words, tokens_of, words_of

__all__ = [
    "COMBINATIONS",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "Annotation",
    "AnnotationFields",
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
    "Looks",
    "ModelOptions",
    "NearDuplicates",
    "Needs",
    "Overlaps",
    "Pieces",
    "PreparedFilter",
    "Relevance",
    "Sample",
    "Scorer",
    "SentenceEncoder",
    "Spread",
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
    "hardly_known_scripts",
    "is_blank",
    "is_nearly_constant",
    "jaccard",
    "kept_embeddings",
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
    "script_of",
    "spelling",
    "tag_counts",
    "tokens_of",
    "words_of",
]
