"""What parameters of a measure are judged by when they are learned.

An `Objective` gives two losses: one that learning descends, and one on data held
out from it, which says when to stop. There are four:

- `target`: the selected information over labels should be that of a target set;
- `validation`: a model of the selected responses should predict those of
  validation records (bilevel; `mig_jax.proxies` says what the model is);
- `subsets`: E should rank subsets as measured results of past runs do;
- `imitation`: greedy selection with a softmax should pick what was picked by hand.

Each has a function that builds it, on the host, from data of the user's and a seed
that says what is held out. The objects are pytrees: pure data and pure functions.
"""

from mig_jax.objectives.hand_picks import Imitation, imitation
from mig_jax.objectives.past_runs import Subsets, spearman, subset_information, subsets
from mig_jax.objectives.protocol import Objective, hold_out
from mig_jax.objectives.target_information import Target, target
from mig_jax.objectives.validation_loss import Validation, validation

__all__ = [
    "Imitation",
    "Objective",
    "Subsets",
    "Target",
    "Validation",
    "hold_out",
    "imitation",
    "spearman",
    "subset_information",
    "subsets",
    "target",
    "validation",
]
