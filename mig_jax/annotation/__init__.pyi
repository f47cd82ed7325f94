from ._annotation_fields import AnnotationFields
from ._causal_lm import CausalLM
from ._choices import SCORER_GROUPS, SCORERS, TAGGERS, ModelOptions, encoder_of, scorer_weights
from ._combination import COMBINATIONS, combine, is_nearly_constant, mean_of_turns, ranks
from ._deita import DeitaScorer, expected_score
from ._discover import DiscoveredLabels, discover_labels
from ._discovering import DiscoveredTagger, DiscoveringTagger, read_discovered
from ._duplicates import ExactDuplicates, Filter, NearDuplicates, jaccard
from ._embedding import EmbeddingTagger, Relevance, nearest_labels
from ._extras import require
from ._ifd import Difficulty, difficulty
from ._instag import InsTagger
from ._journal import Annotation, Journal
from ._looking import drawn_numbers, drawn_samples, looking
from ._overlaps import Overlaps
from ._pair_match import PairMatch, form_of
from ._pipeline import Kept, Needs, annotate, leave_out, score_table, tag_counts
from ._plain_scorers import Keep, KeepLabels, Length, TagCount
from ._samples import (
    EmbedsLabels,
    Exchange,
    LabelTable,
    Looks,
    Sample,
    Scorer,
    Tagger,
    exchanges_of,
    is_blank,
)
from ._sentence_encoder import DEFAULT_EMBEDDING_MODEL, SentenceEncoder
from ._signals import Signals, SignalValues, SignalWeights
from ._tag_normalisation import TagMapping, merge_tags, spelling
from ._text_signals import (
    Substance,
    damage,
    is_cut,
    is_echo,
    is_refusal,
    repetition,
    soundness,
    substance_of,
)
from ._text_vectors import TextVectors
from ._words import question_words, runs_of_words, terms_of, tokens_of, words_of

__all__ = [
    "COMBINATIONS",
    "DEFAULT_EMBEDDING_MODEL",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "Annotation",
    "AnnotationFields",
    "CausalLM",
    "DeitaScorer",
    "Difficulty",
    "DiscoveredLabels",
    "DiscoveredTagger",
    "DiscoveringTagger",
    "EmbeddingTagger",
    "EmbedsLabels",
    "ExactDuplicates",
    "Exchange",
    "Filter",
    "InsTagger",
    "Journal",
    "Keep",
    "KeepLabels",
    "Kept",
    "LabelTable",
    "Length",
    "Looks",
    "ModelOptions",
    "NearDuplicates",
    "Needs",
    "Overlaps",
    "PairMatch",
    "Relevance",
    "Sample",
    "Scorer",
    "SentenceEncoder",
    "SignalValues",
    "SignalWeights",
    "Signals",
    "Substance",
    "TagCount",
    "TagMapping",
    "Tagger",
    "TextVectors",
    "annotate",
    "combine",
    "damage",
    "difficulty",
    "discover_labels",
    "drawn_numbers",
    "drawn_samples",
    "encoder_of",
    "exchanges_of",
    "expected_score",
    "form_of",
    "is_blank",
    "is_cut",
    "is_echo",
    "is_nearly_constant",
    "is_refusal",
    "jaccard",
    "leave_out",
    "looking",
    "mean_of_turns",
    "merge_tags",
    "nearest_labels",
    "question_words",
    "ranks",
    "read_discovered",
    "repetition",
    "require",
    "runs_of_words",
    "score_table",
    "scorer_weights",
    "soundness",
    "spelling",
    "substance_of",
    "tag_counts",
    "terms_of",
    "tokens_of",
    "words_of",
]
