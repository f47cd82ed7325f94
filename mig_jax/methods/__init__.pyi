from ._candidates import Candidates, Limits, Method, Texts, Wanted, take
from ._compression import compression_ratio, zip_stages
from ._controls import random_of_lengths
from ._deita import deita
from ._embeddings import text_embeddings
from ._ifd import heeded
from ._importance import HashedNgrams, hashed_ngrams, log_importance
from ._influence import influences, means_of_groups
from ._mig_influence import groups_of_wanted
from ._qdit import qdit
from ._registry import METHODS, Need, RegisteredMethod, choose, method_named
from ._turns import take_turns

__all__ = [
    "METHODS",
    "Candidates",
    "HashedNgrams",
    "Limits",
    "Method",
    "Need",
    "RegisteredMethod",
    "Texts",
    "Wanted",
    "choose",
    "compression_ratio",
    "deita",
    "groups_of_wanted",
    "hashed_ngrams",
    "heeded",
    "influences",
    "log_importance",
    "means_of_groups",
    "method_named",
    "qdit",
    "random_of_lengths",
    "take",
    "take_turns",
    "text_embeddings",
    "zip_stages",
]
