from . import objectives
from ._comparison import bootstrap, compare, grid_cells, grid_picks, paper_measure, select_learned
from ._count_model import (
    CountModel,
    ResponseBags,
    cluster_instructions,
    count_model,
    response_bags,
    response_losses,
)
from ._label_features import FeatureBasis, fit_feature_basis, label_features
from ._learn import Evaluation, initial_state, learn, leave_one_out, normalised_momentum
from ._learned_files import learned_threshold, restore_learned, save_learned
from ._learning_states import LearningStates, learning_run
from ._parameterisations import PARAMETERISATIONS, Free, FromFeatures
from ._parameters import (
    Labels,
    LearnedMeasure,
    Parameterisation,
    Params,
    Saved,
    harden,
    shared_start,
    soften,
)
from ._response_net import Judge
from ._starts import learn_from_starts
from ._tasks import OBJECTIVES, CountModels, Inputs, Judges, PastRuns, make_task, mean_over_groups
from ._token_bags import Conversations, conversation_bags, fold, pad, take, token_bags

__all__ = [
    "OBJECTIVES",
    "PARAMETERISATIONS",
    "Conversations",
    "CountModel",
    "CountModels",
    "Evaluation",
    "FeatureBasis",
    "Free",
    "FromFeatures",
    "Inputs",
    "Judge",
    "Judges",
    "Labels",
    "LearnedMeasure",
    "LearningStates",
    "Parameterisation",
    "Params",
    "PastRuns",
    "ResponseBags",
    "Saved",
    "bootstrap",
    "cluster_instructions",
    "compare",
    "conversation_bags",
    "count_model",
    "fit_feature_basis",
    "fold",
    "grid_cells",
    "grid_picks",
    "harden",
    "initial_state",
    "label_features",
    "learn",
    "learn_from_starts",
    "learned_threshold",
    "learning_run",
    "leave_one_out",
    "make_task",
    "mean_over_groups",
    "normalised_momentum",
    "objectives",
    "pad",
    "paper_measure",
    "response_bags",
    "response_losses",
    "restore_learned",
    "save_learned",
    "select_learned",
    "shared_start",
    "soften",
    "take",
    "token_bags",
]
