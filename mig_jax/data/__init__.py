"""All that reads or writes files, and the built-in pool; NumPy and host only."""

from mig_jax.data.builtin_pool import BuiltinPool
from mig_jax.data.conversation_layouts import decode_conversation, encode_conversation, parse_record
from mig_jax.data.conversations import Conversation, Turn, instruction_and_response
from mig_jax.data.field_names import FIELD_NAMES, FieldNames
from mig_jax.data.label_embeddings import read_label_embeddings, write_label_embeddings
from mig_jax.data.layouts import BadRecord, decode_plain, decode_xsample
from mig_jax.data.output_layouts import OUTPUT_LAYOUTS, RecordConverter, updated_dataset_info
from mig_jax.data.raw_records import RawRecord, read_conversations, read_texts
from mig_jax.data.readers import read_pool, read_vocabulary
from mig_jax.data.reading_cache import default_cache_folder
from mig_jax.data.record_forms import detect_layout
from mig_jax.data.record_table import RecordSource, RecordTable
from mig_jax.data.shares import PoolShare, share_of_pool
from mig_jax.data.validation_files import ValidationSet, read_validation
from mig_jax.data.writers import OutputFiles, write_json, write_records, write_selection_table

__all__ = [
    "FIELD_NAMES",
    "OUTPUT_LAYOUTS",
    "BadRecord",
    "BuiltinPool",
    "Conversation",
    "FieldNames",
    "OutputFiles",
    "PoolShare",
    "RawRecord",
    "RecordConverter",
    "RecordSource",
    "RecordTable",
    "Turn",
    "ValidationSet",
    "decode_conversation",
    "decode_plain",
    "decode_xsample",
    "default_cache_folder",
    "detect_layout",
    "encode_conversation",
    "instruction_and_response",
    "parse_record",
    "read_conversations",
    "read_label_embeddings",
    "read_pool",
    "read_texts",
    "read_validation",
    "read_vocabulary",
    "share_of_pool",
    "updated_dataset_info",
    "write_json",
    "write_label_embeddings",
    "write_records",
    "write_selection_table",
]
