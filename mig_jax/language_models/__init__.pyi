from ._activations import Activations
from ._architecture import (
    Architecture,
    Weights,
    embed,
    last_states,
    layers_between,
    random_weights,
    run_layers,
    token_logits,
    token_losses,
)
from ._base_model import BaseModel
from ._choices import Choices, choices_of, shared_candidates
from ._encoding import CHAT_TEMPLATES, ChatTemplate, EncodedRecords, encode, responses_alone
from ._gguf import GgufFile
from ._gradients import Projections, gradients_of, main_directions
from ._judge import JudgedRecords, Losses, batches_of
from ._packing import Batch, lay_out, pack
from ._read_model import LanguageModel, read_model
from ._read_pool import WARM_UP, Batches, ReadPool
from ._record_gradients import AskedRecords, RecordGradients
from ._record_losses import RecordLosses
from ._side_by_side import fine_tune_side_by_side
from ._teller import SILENT, Teller
from ._tokenizer_of_gguf import tokenizer_of_gguf
from ._tuning import Recipe, TunedModel, Tuning, fine_tune

__all__ = [
    "CHAT_TEMPLATES",
    "SILENT",
    "WARM_UP",
    "Activations",
    "Architecture",
    "AskedRecords",
    "BaseModel",
    "Batch",
    "Batches",
    "ChatTemplate",
    "Choices",
    "EncodedRecords",
    "GgufFile",
    "JudgedRecords",
    "LanguageModel",
    "Losses",
    "Projections",
    "ReadPool",
    "Recipe",
    "RecordGradients",
    "RecordLosses",
    "Teller",
    "TunedModel",
    "Tuning",
    "Weights",
    "batches_of",
    "choices_of",
    "embed",
    "encode",
    "fine_tune",
    "fine_tune_side_by_side",
    "gradients_of",
    "last_states",
    "lay_out",
    "layers_between",
    "main_directions",
    "pack",
    "random_weights",
    "read_model",
    "responses_alone",
    "run_layers",
    "shared_candidates",
    "token_logits",
    "token_losses",
    "tokenizer_of_gguf",
]
