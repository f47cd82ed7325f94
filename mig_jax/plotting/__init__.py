"""Pictures of label graphs, selections and measures (extra `plots`).

Functions draw on matplotlib axes, given or new, and return them. matplotlib and networkx are
imported where they are used, so that the package may be imported without.
"""

from mig_jax.plotting.graphs import label_graph_positions, plot_label_graph, shown_labels
from mig_jax.plotting.heat_maps import HeatMap, draw_heat_maps
from mig_jax.plotting.measures import plot_score_functions
from mig_jax.plotting.selections import plot_gains, plot_information, plot_information_by_label
from mig_jax.plotting.style import require_libraries, short_name

__all__ = [
    "HeatMap",
    "draw_heat_maps",
    "label_graph_positions",
    "plot_gains",
    "plot_information",
    "plot_information_by_label",
    "plot_label_graph",
    "plot_score_functions",
    "require_libraries",
    "short_name",
    "shown_labels",
]
