from ._hand_picks import Imitation, imitation
from ._influence import Influence, influence
from ._past_runs import Subsets, spearman, subset_information, subsets
from ._planted import PlantedUtility, plant
from ._protocol import Objective, Outcome, hold_out
from ._target_information import Target, target
from ._validation_loss import Validation, validation

__all__ = [
    "Imitation",
    "Influence",
    "Objective",
    "Outcome",
    "PlantedUtility",
    "Subsets",
    "Target",
    "Validation",
    "hold_out",
    "imitation",
    "influence",
    "plant",
    "spearman",
    "subset_information",
    "subsets",
    "target",
    "validation",
]
