from ._conversation_formats import (
    CONVERSATION_LAYOUTS,
    decode_conversation,
    encode_conversation,
    parse_record,
    told_conversation_layout,
    usual_role_names,
    with_usual_roles,
)
from ._conversations import ROLES, Conversation, Role, instruction_and_response
from ._field_names import FIELD_NAMES, USUAL, FieldNames, value_at
from ._label_formats import (
    LAYOUTS,
    BadRecord,
    LabelsAndScore,
    convert_plain,
    convert_xsample,
    decode_plain,
    decode_xsample,
)
from ._record_forms import (
    RecordForm,
    convert_named,
    detect_layout,
    label_fields,
    other_layout,
    unlabelled,
)

__all__ = [
    "CONVERSATION_LAYOUTS",
    "FIELD_NAMES",
    "LAYOUTS",
    "ROLES",
    "USUAL",
    "BadRecord",
    "Conversation",
    "FieldNames",
    "LabelsAndScore",
    "RecordForm",
    "Role",
    "convert_named",
    "convert_plain",
    "convert_xsample",
    "decode_conversation",
    "decode_plain",
    "decode_xsample",
    "detect_layout",
    "encode_conversation",
    "instruction_and_response",
    "label_fields",
    "other_layout",
    "parse_record",
    "told_conversation_layout",
    "unlabelled",
    "usual_role_names",
    "value_at",
    "with_usual_roles",
]
