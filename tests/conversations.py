"""Records of conversations in each text layout, for tests of properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# All of Unicode but lone surrogates, which no UTF-8 file can hold.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("a\n ", max_size=3)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)

# Fields that are not the layout's own; a name may be empty.
_OWN = {"messages", "dialogs", "conversations", "instruction", "output", "input", "history"}
_OWN |= {"prompt", "completion"}
_OF_TURNS = {"role", "content", "from", "value", "tool_calls", "function_call"}
other_fields = st.dictionaries(text.filter(lambda name: name not in _OWN | {"system"}), values)
other_of_turn = st.dictionaries(
    (text | st.sampled_from(["weight", "name"])).filter(lambda name: name not in _OF_TURNS),
    values,
    max_size=2,
)

parts = st.lists(
    st.builds(lambda said: {"type": "text", "text": said}, text)
    | st.just({"type": "image_url", "image_url": {"url": "data:,"}}),
    max_size=3,
)
calls = st.lists(
    st.builds(lambda name: {"id": "1", "function": {"name": name, "arguments": "{}"}}, text),
    min_size=1,
    max_size=2,
)


def _turn(role_field: str, content_field: str, roles: list[str]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda role, said, more: {role_field: role, content_field: said, **more},
        st.sampled_from(roles),
        text,
        other_of_turn,
    )


_openai_turn = (
    _turn(
        "role", "content", ["system", "developer", "user", "assistant", "tool", "function", "gpt"]
    )
    | st.builds(lambda said: {"role": "user", "content": said}, parts)
    | st.builds(lambda call: {"role": "assistant", "content": None, "tool_calls": call}, calls)
    | st.builds(lambda call: {"role": "assistant", "tool_calls": call}, calls)
    | st.builds(lambda said: {"role": "tool", "content": said, "tool_call_id": "1"}, text)
)
_sharegpt_turn = _turn(
    "from",
    "value",
    ["system", "human", "user", "gpt", "chatgpt", "Assistant", "observation", "function_call"],
)
_no_roles = st.lists(st.builds(lambda said: {"content": said}, text), max_size=4)


def _record(field: str, turns: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda found, more: {field: found, **more}, turns, other_fields)


messages = _record("messages", st.lists(_openai_turn, max_size=5) | _no_roles)
xsample = _record("dialogs", st.lists(_openai_turn, max_size=5) | _no_roles)
sharegpt = st.builds(
    lambda record, system: record | system,
    _record("conversations", st.lists(_sharegpt_turn, max_size=5)),
    st.just({}) | st.builds(lambda said: {"system": said}, text | st.none()),
)
_pairs = st.lists(st.lists(text, min_size=2, max_size=2), max_size=3)
_optional = st.fixed_dictionaries(
    {}, optional={"input": text | st.none(), "system": text | st.none(), "history": _pairs}
)
alpaca = st.builds(
    lambda asked, said, some, more: {"instruction": asked, "output": said, **some, **more},
    text,
    text,
    _optional | st.just({"history": None}),
    other_fields,
)
_prompt_turns = st.lists(_openai_turn, min_size=1, max_size=3)
prompt_completion = st.builds(
    lambda asked, said, more: {"prompt": asked, "completion": said, **more},
    text | _prompt_turns,
    text | _prompt_turns,
    other_fields,
)
LAYOUTS = {
    "messages": messages,
    "xsample": xsample,
    "sharegpt": sharegpt,
    "alpaca": alpaca,
    "prompt_completion": prompt_completion,
}

# Turns that every layout can hold.
simple_turns = st.builds(
    lambda system, pairs: system + [turn for pair in pairs for turn in pair],
    st.just([]) | st.builds(lambda said: [("system", said)], text.filter(bool)),
    st.lists(
        st.tuples(
            st.tuples(st.just("user"), text),
            st.tuples(st.just("assistant"), text),
        ),
        min_size=1,
        max_size=3,
    ),
)
