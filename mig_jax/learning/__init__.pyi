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
from ._gain_matching import GainMatch, gains_of_objective, match_gains
from ._judges import CountModels, Judges, mean_over_groups
from ._label_features import FeatureBasis, fit_feature_basis, label_features
from ._learn import Evaluation, initial_state, learn
from ._learned_files import (
    learned_threshold,
    refuse_foreign_params,
    restore_learned,
    save_learned,
)
from ._learning_states import LearningStates, learning_run
from ._leave_one_out import leave_one_out
from ._normalised_momentum import normalised_momentum
from ._parameterisations import PARAMETERISATIONS, Free, FromFeatures
from ._parameters import (
    Labels,
    LearnedMeasure,
    Parameterisation,
    Params,
    Saved,
    even_information,
    harden,
    shared_start,
    soften,
)
from ._response_net import Judge
from ._starts import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    PRIOR,
    START_THRESHOLD,
    START_THRESHOLDS,
    BestStart,
    LearningStep,
    learn_from_starts,
    matched_start,
    parameters_of_features,
    parameters_of_labels,
)
from ._tasks import OBJECTIVES, Inputs, PastRuns, Task, around, make_task
from ._token_bags import Conversations, conversation_bags, fold, pad, take, token_bags

__all__ = [
    "HIGHEST_THRESHOLD",
    "LOWEST_THRESHOLD",
    "OBJECTIVES",
    "PARAMETERISATIONS",
    "PRIOR",
    "START_THRESHOLD",
    "START_THRESHOLDS",
    "BestStart",
    "Conversations",
    "CountModel",
    "CountModels",
    "Evaluation",
    "FeatureBasis",
    "Free",
    "FromFeatures",
    "GainMatch",
    "Inputs",
    "Judge",
    "Judges",
    "Labels",
    "LearnedMeasure",
    "LearningStates",
    "LearningStep",
    "Parameterisation",
    "Params",
    "PastRuns",
    "ResponseBags",
    "Saved",
    "Task",
    "around",
    "bootstrap",
    "cluster_instructions",
    "compare",
    "conversation_bags",
    "count_model",
    "even_information",
    "fit_feature_basis",
    "fold",
    "gains_of_objective",
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
    "match_gains",
    "matched_start",
    "mean_over_groups",
    "normalised_momentum",
    "objectives",
    "pad",
    "paper_measure",
    "parameters_of_features",
    "parameters_of_labels",
    "refuse_foreign_params",
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
