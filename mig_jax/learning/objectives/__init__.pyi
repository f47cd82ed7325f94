from ._hand_picks import Imitation, imitation
from ._past_runs import Subsets, spearman, subset_information, subsets
from ._planted import PlantedUtility, plant
from ._protocol import Objective, Outcome, hold_out
from ._target_information import Target, target
from ._validation_loss import Validation, validation

__all__ = [
    "Imitation",
    "Objective",
    "Outcome",
    "PlantedUtility",
    "Subsets",
    "Target",
    "Validation",
    "hold_out",
    "imitation",
    "plant",
    "spearman",
    "subset_information",
    "subsets",
    "target",
    "validation",
]
