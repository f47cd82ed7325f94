from ._certificate import Certificate, certify
from ._checkpoints import Checkpoints, fingerprint, input_fingerprint
from ._constraints import NO_MAXIMUM, UNCONSTRAINED, Constraints, Quotas
from ._curves import information_curve, random_curve
from ._enough import Enough, enough_picks, information_of_pool
from ._evaluation import labels_covered, random_choice, selected_information
from ._explanation import Explainer, Explanation, LabelGain, LeastScore, Loss
from ._extension import extended, first_part, why_not_extended
from ._feasibility import InfeasibleError, Limits, limits_of
from ._given import given_information
from ._greedy import full_scan_greedy, initial_state, lazy_greedy
from ._grid import Cell, CellSelection, lay_out_grid, select_grid, stack_cells
from ._grid_points import Point, grid_points, paper_point
from ._linear_limits import LinearLimits, linear_limits
from ._number_range import in_range, needs_float64
from ._page_gains import marginal_gains
from ._page_layout import EMPTY, PageLayout, lay_out_pages
from ._pages import fill_pages
from ._passes import Progress, next_chunk, resumed_state
from ._pool_gains import gains_of_pool
from ._prefixes import Prefix, certify_prefixes
from ._propagated_rows import propagated_rows
from ._random_picks import picks_in_order, random_choices
from ._rates import Rates, by_cost, by_gain, rates_of_prices
from ._select import Selection, lay_out, page_priority, select
from ._selection_of_picks import selection_of_picks
from ._selection_state import SetSize
from ._trajectories import GainsByLabel
from ._upper_bound import Prices, upper_bound
from ._working_set import set_size

__all__ = [
    "EMPTY",
    "NO_MAXIMUM",
    "UNCONSTRAINED",
    "Cell",
    "CellSelection",
    "Certificate",
    "Checkpoints",
    "Constraints",
    "Enough",
    "Explainer",
    "Explanation",
    "GainsByLabel",
    "InfeasibleError",
    "LabelGain",
    "LeastScore",
    "Limits",
    "LinearLimits",
    "Loss",
    "PageLayout",
    "Point",
    "Prefix",
    "Prices",
    "Progress",
    "Quotas",
    "Rates",
    "Selection",
    "SetSize",
    "by_cost",
    "by_gain",
    "certify",
    "certify_prefixes",
    "enough_picks",
    "extended",
    "fill_pages",
    "fingerprint",
    "first_part",
    "full_scan_greedy",
    "gains_of_pool",
    "given_information",
    "grid_points",
    "in_range",
    "information_curve",
    "information_of_pool",
    "initial_state",
    "input_fingerprint",
    "labels_covered",
    "lay_out",
    "lay_out_grid",
    "lay_out_pages",
    "lazy_greedy",
    "limits_of",
    "linear_limits",
    "marginal_gains",
    "needs_float64",
    "next_chunk",
    "page_priority",
    "paper_point",
    "picks_in_order",
    "propagated_rows",
    "random_choice",
    "random_choices",
    "random_curve",
    "rates_of_prices",
    "resumed_state",
    "select",
    "select_grid",
    "selected_information",
    "selection_of_picks",
    "set_size",
    "stack_cells",
    "upper_bound",
    "why_not_extended",
]
