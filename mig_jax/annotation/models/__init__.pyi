from ._causal_lm import CausalLM, fit
from ._kept_embeddings import kept_embeddings
from ._known_scripts import Pieces, Spread, hardly_known_scripts, script_of
from ._sentence_encoder import DEFAULT_EMBEDDING_MODEL, SentenceEncoder

__all__ = [
    "DEFAULT_EMBEDDING_MODEL",
    "CausalLM",
    "Pieces",
    "SentenceEncoder",
    "Spread",
    "fit",
    "hardly_known_scripts",
    "kept_embeddings",
    "script_of",
]
