from ._annotating import Batch, annotate, annotate_batch, keep_batch
from ._annotation_fields import AnnotationFields
from ._answer_reading import read_score, read_tags
from ._answers import Answer, Answers, Question, Usage
from ._causal_lm import CausalLM
from ._choices import (
    CAN_ASK_SERVER,
    LANGUAGE_MODELS,
    MODELS,
    NEED_SERVER,
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
from ._discover import DiscoveredLabels, discover_labels
from ._discovering import DiscoveredTagger, DiscoveringTagger, read_discovered
from ._duplicates import ExactDuplicates, Filter, NearDuplicates, PreparedFilter, jaccard
from ._embedding import EmbeddingTagger, Relevance, nearest_labels
from ._endpoint import KEY_VARIABLE, Endpoint, RequestLimits
from ._engines import ENGINES, Engine, LocalEngine
from ._extras import require
from ._ifd import Difficulty, difficulty
from ._instag import InsTagger
from ._journal import Annotation, Journal
from ._kept_embeddings import kept_embeddings
from ._known_scripts import Pieces, Spread, hardly_known_scripts, script_of
from ._looking import drawn_numbers, drawn_samples, looking
from ._overlaps import Overlaps
from ._pair_match import PairMatch, form_of
from ._pipeline import Kept, Needs, leave_out, score_table, tag_counts
from ._plain_scorers import Keep, KeepLabels, Length, TagCount
from ._pool_batches import PoolBatches, PoolPart
from ._ray_engine import RayEngine
from ._samples import (
    EmbedsLabels,
    Exchange,
    LabelTable,
    Looks,
    Rejected,
    Sample,
    Scorer,
    Tagger,
    exchanges_of,
    is_blank,
)
from ._sentence_encoder import DEFAULT_EMBEDDING_MODEL, SentenceEncoder
from ._served_models import LlmScorer, LlmTagger, ServedDeitaScorer, ServedInsTagger
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
    "CAN_ASK_SERVER",
    "COMBINATIONS",
    "DEFAULT_EMBEDDING_MODEL",
    "ENGINES",
    "KEY_VARIABLE",
    "LANGUAGE_MODELS",
    "MODELS",
    "NEED_SERVER",
    "SCORERS",
    "SCORER_GROUPS",
    "TAGGERS",
    "Annotation",
    "AnnotationFields",
    "Answer",
    "Answers",
    "Batch",
    "CausalLM",
    "DeitaScorer",
    "Difficulty",
    "DiscoveredLabels",
    "DiscoveredTagger",
    "DiscoveringTagger",
    "EmbeddingTagger",
    "EmbedsLabels",
    "Endpoint",
    "Engine",
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
    "LlmScorer",
    "LlmTagger",
    "LocalEngine",
    "Looks",
    "MadeWhereUsed",
    "ModelOptions",
    "NearDuplicates",
    "Needs",
    "Overlaps",
    "PairMatch",
    "Pieces",
    "PoolBatches",
    "PoolPart",
    "PreparedFilter",
    "Question",
    "RayEngine",
    "Rejected",
    "Relevance",
    "RequestLimits",
    "Sample",
    "Scorer",
    "SentenceEncoder",
    "ServedDeitaScorer",
    "ServedInsTagger",
    "SignalValues",
    "SignalWeights",
    "Signals",
    "Spread",
    "Substance",
    "TagCount",
    "TagMapping",
    "Tagger",
    "TextVectors",
    "Usage",
    "annotate",
    "annotate_batch",
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
    "hardly_known_scripts",
    "is_blank",
    "is_cut",
    "is_echo",
    "is_nearly_constant",
    "is_refusal",
    "jaccard",
    "keep_batch",
    "kept_embeddings",
    "leave_out",
    "looking",
    "mean_of_turns",
    "merge_tags",
    "nearest_labels",
    "question_words",
    "ranks",
    "read_discovered",
    "read_score",
    "read_tags",
    "repetition",
    "require",
    "runs_of_words",
    "score_table",
    "scorer_weights",
    "script_of",
    "soundness",
    "spelling",
    "substance_of",
    "tag_counts",
    "terms_of",
    "tokens_of",
    "words_of",
]
