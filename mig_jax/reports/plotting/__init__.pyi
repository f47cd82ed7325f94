from ._graphs import label_graph_positions, plot_label_graph, shown_labels
from ._heat_maps import HeatMap, draw_heat_maps
from ._measures import plot_score_functions, score_function_of_label
from ._names_in_margin import spread_apart, uncrossed
from ._selections import plot_gains, plot_information, plot_information_by_label
from ._style import AFTER, BEFORE, MAP, QUIET, plain, short_name, styled
from ._ways import plot_ways

__all__ = [
    "AFTER",
    "BEFORE",
    "MAP",
    "QUIET",
    "HeatMap",
    "draw_heat_maps",
    "label_graph_positions",
    "plain",
    "plot_gains",
    "plot_information",
    "plot_information_by_label",
    "plot_label_graph",
    "plot_score_functions",
    "plot_ways",
    "score_function_of_label",
    "short_name",
    "shown_labels",
    "spread_apart",
    "styled",
    "uncrossed",
]
