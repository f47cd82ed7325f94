from ._arrays import Amounts, Array, Count, Indices, Numbers, Parameter, Scalar
from ._families import FAMILIES, Exponential, Log, Power, Saturating, family_name
from ._gain_rules import EXACT, GAIN_RULES, LINEAR, GainRule, GainTable, prepare
from ._information import (
    Measure,
    check_labels,
    check_measure,
    check_pool,
    information,
    label_information,
    linear_gains,
    worth_of_records,
)
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
    threshold_of_neighbours,
)
from ._paper import PAPER, USUAL_NEIGHBOURS
from ._parameter_checks import is_known
from ._picks import whole_picks
from ._pool import Pool, amounts_of_picks, pool_from_label_lists, pool_from_table
from ._pytrees import as_pytree, unchecked
from ._registry import name_in
from ._score_function import ScoreFunction, safe_base

__all__ = [
    "EXACT",
    "FAMILIES",
    "GAIN_RULES",
    "LINEAR",
    "PAPER",
    "USUAL_NEIGHBOURS",
    "Amounts",
    "Array",
    "Count",
    "Exponential",
    "GainRule",
    "GainTable",
    "Indices",
    "LabelGraph",
    "Log",
    "Measure",
    "Numbers",
    "Parameter",
    "Pool",
    "Power",
    "Saturating",
    "Scalar",
    "ScoreFunction",
    "amounts_of_picks",
    "as_pytree",
    "back_propagate",
    "check_labels",
    "check_measure",
    "check_pool",
    "cut_edges",
    "drop_edges",
    "family_name",
    "gate_edges",
    "information",
    "is_known",
    "label_graph_from_edges",
    "label_graph_from_embeddings",
    "label_information",
    "linear_gains",
    "name_in",
    "pool_from_label_lists",
    "pool_from_table",
    "prepare",
    "propagate",
    "propagation_weights",
    "safe_base",
    "threshold_of_neighbours",
    "unchecked",
    "whole_picks",
    "worth_of_records",
]
