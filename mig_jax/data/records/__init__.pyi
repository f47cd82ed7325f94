from ._conversation_formats import (
    CONVERSATION_FORMATS,
    READ_LAYOUTS,
    decode_conversation,
    told_conversation_format,
)
from ._conversations import ROLES, Conversation, Role, instruction_and_response
from ._counted_values import counted_value
from ._field_decoder import FieldDecoder
from ._field_names import FIELD_NAMES, USUAL, FieldNames, value_at
from ._json_records import parse_record, record_as_json
from ._label_formats import (
    LABEL_FORMATS,
    BadRecord,
    LabelsAndScore,
    convert_mig_jax,
    convert_plain,
    convert_xsample,
    decode_mig_jax,
    decode_plain,
    decode_xsample,
)
from ._llama_factory import FACTORY_CALL, FactoryReading, read_as_llama_factory
from ._readings import Readings, reading_of, told_readings
from ._record_forms import (
    RecordForm,
    convert_named,
    detect_label_format,
    label_fields,
    labels_and_score,
    other_format,
    possible_formats,
    unlabelled,
)
from ._unknown_records import perhaps
from ._written_conversations import encode_conversation, usual_role_names, with_usual_roles
from ._written_forms import AS_IT_CAME, WrittenForm, without_fields

__all__ = [
    "AS_IT_CAME",
    "CONVERSATION_FORMATS",
    "FACTORY_CALL",
    "FIELD_NAMES",
    "LABEL_FORMATS",
    "READ_LAYOUTS",
    "ROLES",
    "USUAL",
    "BadRecord",
    "Conversation",
    "FactoryReading",
    "FieldDecoder",
    "FieldNames",
    "LabelsAndScore",
    "Readings",
    "RecordForm",
    "Role",
    "WrittenForm",
    "convert_mig_jax",
    "convert_named",
    "convert_plain",
    "convert_xsample",
    "counted_value",
    "decode_conversation",
    "decode_mig_jax",
    "decode_plain",
    "decode_xsample",
    "detect_label_format",
    "encode_conversation",
    "instruction_and_response",
    "label_fields",
    "labels_and_score",
    "other_format",
    "parse_record",
    "perhaps",
    "possible_formats",
    "read_as_llama_factory",
    "reading_of",
    "record_as_json",
    "told_conversation_format",
    "told_readings",
    "unlabelled",
    "usual_role_names",
    "value_at",
    "with_usual_roles",
    "without_fields",
]
