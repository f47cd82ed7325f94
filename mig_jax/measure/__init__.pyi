from ._arrays import Array
from ._gain_rules import EXACT, GAIN_RULES, LINEAR, GainRule, prepare
from ._information import Measure, information, label_information, linear_gains, worth_of_records
from ._label_graph import (
    LabelGraph,
    back_propagate,
    cut_edges,
    drop_edges,
    gate_edges,
    label_graph_from_edges,
    label_graph_from_embeddings,
    propagate,
    propagation_weights,
)
from ._paper import PAPER
from ._pool import Pool, pool_from_label_lists, pool_from_table
from ._pytrees import as_pytree
from ._score_functions import (
    FAMILIES,
    Exponential,
    Log,
    Power,
    Saturating,
    ScoreFunction,
    safe_base,
)

__all__ = [
    "EXACT",
    "FAMILIES",
    "GAIN_RULES",
    "LINEAR",
    "PAPER",
    "Array",
    "Exponential",
    "GainRule",
    "LabelGraph",
    "Log",
    "Measure",
    "Pool",
    "Power",
    "Saturating",
    "ScoreFunction",
    "as_pytree",
    "back_propagate",
    "cut_edges",
    "drop_edges",
    "gate_edges",
    "information",
    "label_graph_from_edges",
    "label_graph_from_embeddings",
    "label_information",
    "linear_gains",
    "pool_from_label_lists",
    "pool_from_table",
    "prepare",
    "propagate",
    "propagation_weights",
    "safe_base",
    "worth_of_records",
]
