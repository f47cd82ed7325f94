"""mig_jax chooses instruction-tuning data: information over a label graph, maximised greedily.

Importing this package touches no file and starts no device.
"""

from mig_jax.certificate import Certificate, certify, upper_bound
from mig_jax.gains import EXACT, GAIN_RULES, LINEAR, marginal_gains
from mig_jax.grid import Cell, CellSelection, lay_out_grid, select_grid, stack_cells
from mig_jax.information import Measure, information, label_information, linear_gains
from mig_jax.label_graph import (
    LabelGraph,
    gate_edges,
    label_graph_from_edges,
    label_graph_from_embeddings,
)
from mig_jax.pool import Pool, pool_from_label_lists, pool_from_table
from mig_jax.pytrees import as_pytree
from mig_jax.relaxation import RelaxedSelection, relaxed_selection
from mig_jax.score_functions import FAMILIES, Exponential, Log, Power, Saturating
from mig_jax.selection import Progress, Selection, lay_out, select
from mig_jax.sharding import pool_mesh
from mig_jax.soft_greedy import softened_greedy

__version__ = "0.1.0"

__all__ = [
    "EXACT",
    "FAMILIES",
    "GAIN_RULES",
    "LINEAR",
    "Cell",
    "CellSelection",
    "Certificate",
    "Exponential",
    "LabelGraph",
    "Log",
    "Measure",
    "Pool",
    "Power",
    "Progress",
    "RelaxedSelection",
    "Saturating",
    "Selection",
    "as_pytree",
    "certify",
    "gate_edges",
    "information",
    "label_graph_from_edges",
    "label_graph_from_embeddings",
    "label_information",
    "lay_out",
    "lay_out_grid",
    "linear_gains",
    "marginal_gains",
    "pool_from_label_lists",
    "pool_from_table",
    "pool_mesh",
    "relaxed_selection",
    "select",
    "select_grid",
    "softened_greedy",
    "stack_cells",
    "upper_bound",
]
