"""Records of the shapes that public projects write, in texts of our own, and what they say.

`SHAPES` is a tuple of `Shape`s; `by_name(name)` gives one. Each has

* `name`, and `projects` that write or document it;
* `record`: the JSON object, as Python has it (never change it: `copy.deepcopy`);
* `layout`: the `Conversation.layout` that it is read as;
* `turns`: role and text of each turn;
* `instruction`, `response`: what `instruction_and_response` gives; both None if it refuses;
* `cannot`: those of `TARGETS` that cannot hold it (`encode_conversation` refuses);
* `asks`: it is an evaluation item that only asks: read with `questions=True` alone.

For trainers: `TRAINABLE` are the shapes that end with an answer to something. Labels and
scores are not there; `labelled(shape, labels, score)` gives a copy of the record with both,
under the names `labels` and `score`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

__all__ = ["SHAPES", "TARGETS", "TRAINABLE", "Shape", "by_name", "labelled"]

# The layouts that conversations are written in.
TARGETS = ("messages", "xsample", "sharegpt", "alpaca", "prompt_completion")


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    projects: str
    record: dict[str, Any]
    layout: str
    turns: list[tuple[str, str]]
    instruction: str | None
    response: str | None
    cannot: tuple[str, ...] = ()
    asks: bool = False


_Q, _A = "How deep is the lake?", "Ninety metres."
_R, _B = "And how cold?", "Four degrees."
_S = "Answer in few words."
_BAD = "No idea."
_ASKED = [("user", _Q), ("assistant", _A)]
_TWICE = [*_ASKED, ("user", _R), ("assistant", _B)]
_EARLIER = f"{_Q}\n{_A}\n{_R}"


def _said(role: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


def _from(name: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"from": name, "value": text, **more}


def _one(
    name: str, projects: str, record: dict[str, Any], layout: str = "columns", **more: Any
) -> Shape:
    """A shape of one question and its answer."""
    return Shape(name, projects, record, layout, _ASKED, _Q, _A, **more)


def _two(name: str, projects: str, record: dict[str, Any], layout: str, **more: Any) -> Shape:
    """A shape of two of each."""
    return Shape(name, projects, record, layout, _TWICE, _EARLIER, _B, **more)


def _item(name: str, projects: str, record: dict[str, Any], *asked: str) -> Shape:
    """An evaluation item that only asks."""
    turns = [("user", text) for text in asked]
    cannot = ("alpaca", "prompt_completion")
    return Shape(name, projects, record, "questions", turns, None, None, cannot, asks=True)


_PAIR = [_said("user", _Q), _said("assistant", _A)]
_BAD_PAIR = [_said("user", _Q), _said("assistant", _BAD)]
_FROM_PAIR = [_from("human", _Q), _from("gpt", _A)]

_LEVEL = {"name": "level", "arguments": {"lake": "Ähre", "metres": True}}
_LEVEL_TEXT = '{"name": "level", "arguments": {"lake": "Ähre", "metres": true}}'
_DEPTH_TEXT = '{"name": "depth", "arguments": {}}'
_CALL_TURNS = [
    ("user", _Q),
    ("assistant", _LEVEL_TEXT),
    ("tool", "90"),
    ("assistant", _A),
]
_PARALLEL_TURNS = [
    ("user", _Q),
    ("assistant", f"{_LEVEL_TEXT}\n{_DEPTH_TEXT}"),
    ("tool", "90"),
    ("tool", "91"),
    ("assistant", _A),
]
_TOOL = {
    "type": "function",
    "function": {
        "name": "level",
        "description": "Of a lake.",
        "parameters": {"type": "object", "properties": {"lake": {"type": "string"}}},
    },
}
_NO_ALPACA = ("alpaca",)


def _call(number: str, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def _calling(name: str, projects: str, record: dict[str, Any], layout: str) -> Shape:
    asked = f"{_Q}\n{_LEVEL_TEXT}\n90"
    return Shape(name, projects, record, layout, _CALL_TURNS, asked, _A, _NO_ALPACA)


_PARALLEL_ASKED = f"{_Q}\n{_LEVEL_TEXT}\n{_DEPTH_TEXT}\n90\n91"

_TURN_LISTS = (
    _one("messages", "OpenAI, TRL, MLX, axolotl, open-instruct", {"messages": _PAIR}, "messages"),
    Shape(
        "messages_system",
        "OpenAI, xtuner, MLX",
        {"messages": [_said("developer", _S), *_PAIR]},
        "messages",
        [("system", _S), *_ASKED],
        f"{_S}\n{_Q}",
        _A,
    ),
    _one("tulu", "open-instruct", {"dataset": "lakes", "id": "l_0", "messages": _PAIR}, "messages"),
    _one(
        "weights",
        "OpenAI, axolotl",
        {"messages": [_PAIR[0], _said("assistant", _A, weight=1)]},
        "messages",
        cannot=_NO_ALPACA,
    ),
    _one("dialogs", "MIG", {"dialogs": _PAIR}, "xsample"),
    _one(
        "sharegpt", "FastChat, LLaMA-Factory", {"id": "l", "conversations": _FROM_PAIR}, "sharegpt"
    ),
    Shape(
        "sharegpt_system",
        "LLaMA-Factory, NeMo",
        {"conversations": [_from("User", _Q), _from("Assistant", _A, label=None)], "system": _S},
        "sharegpt",
        [("system", _S), *_ASKED],
        f"{_S}\n{_Q}",
        _A,
    ),
    Shape(
        "messages_system_beside",
        "Anthropic, ms-swift",
        {"system": _S, "messages": _PAIR},
        "messages",
        [("system", _S), *_ASKED],
        f"{_S}\n{_Q}",
        _A,
    ),
    _two(
        "conversations_role",
        "Unsloth, ms-swift, TRL",
        {
            "conversations": [
                *_PAIR,
                _said("user", _R),
                _said("assistant", _B),
            ]
        },
        "turns",
    ),
    _one("messages_from", "ms-swift", {"messages": _FROM_PAIR}, "turns"),
    _one("conversation_role", "FastChat (LMSYS-Chat)", {"conversation": _PAIR, "turn": 1}, "turns"),
    _one("conversation_from", "ms-swift", {"conversation": _FROM_PAIR}, "turns"),
    _one(
        "role_value",
        "axolotl (pygmalion)",
        {"conversations": [{"role": "human", "value": _Q}, {"role": "bot", "value": _A}]},
        "turns",
    ),
    _two("strings", "open-instruct (LIMA)", {"conversations": [_Q, _A, _R, _B]}, "turns"),
    _two("strings_data", "UltraChat", {"id": "0", "data": [_Q, _A, _R, _B]}, "turns"),
    _two("dialog", "DailyDialog", {"dialog": [_Q, _A, _R, _B], "act": [1, 2, 1, 2]}, "turns"),
    _one("dialogue", "torchtune", {"dialogue": _PAIR}, "turns"),
    _one(
        "chatbot",
        "Cohere",
        {"messages": [{"role": "User", "content": _Q}, {"role": "Chatbot", "content": _A}]},
        "messages",
    ),
    _one("strings_beside", "any", {"data": ["en", "web"], "question": _Q, "answer": _A}, "columns"),
    _one("a_text_beside", "any", {"data": ["en"], "instruction": _Q, "output": _A}, "alpaca"),
    Shape(
        "pretraining_turn",
        "ms-swift",
        {"messages": [_said("assistant", _A)]},
        "messages",
        [("assistant", _A)],
        "",
        _A,
        ("alpaca", "prompt_completion"),
    ),
    _two(
        "firefly",
        "Firefly, ms-swift",
        {
            "conversation_id": 1,
            "category": "lakes",
            "conversation": [{"human": _Q, "assistant": _A}, {"human": _R, "assistant": _B}],
        },
        "exchanges",
    ),
    Shape(
        "firefly_system",
        "ms-swift",
        {"system": _S, "conversation": [{"human": _Q, "assistant": _A}]},
        "exchanges",
        [("system", _S), *_ASKED],
        f"{_S}\n{_Q}",
        _A,
    ),
    Shape(
        "xtuner",
        "xtuner",
        {
            "conversation": [
                {"system": _S, "input": _Q, "output": _A},
                {"input": _R, "output": _B},
            ]
        },
        "exchanges",
        [("system", _S), *_TWICE],
        f"{_S}\n{_EARLIER}",
        _B,
    ),
    Shape(
        "xtuner_pretraining",
        "xtuner",
        {"conversation": [{"input": "", "output": _A}]},
        "exchanges",
        [("assistant", _A)],
        "",
        _A,
        ("alpaca", "prompt_completion"),
    ),
)

_CALLS = (
    _calling(
        "tool_calls",
        "OpenAI, MLX, TRL",
        {
            "messages": [
                _said("user", _Q),
                _said(
                    "assistant",
                    None,
                    tool_calls=[_call("call_l", "level", json.dumps(_LEVEL["arguments"]))],
                ),
                _said("tool", "90", tool_call_id="call_l"),
                _said("assistant", _A),
            ],
            "tools": [_TOOL],
        },
        "messages",
    ),
    _calling(
        "tool_calls_object",
        "TRL, axolotl (HF templates)",
        {
            "messages": [
                _said("user", _Q),
                {"role": "assistant", "tool_calls": [{"type": "function", "function": _LEVEL}]},
                _said("tool", "90", name="level"),
                _said("assistant", _A),
            ],
            "tools": [_TOOL],
        },
        "messages",
    ),
    _calling(
        "function_call",
        "OpenAI (older)",
        {
            "messages": [
                _said("user", _Q),
                _said(
                    "assistant",
                    None,
                    function_call={"name": "level", "arguments": json.dumps(_LEVEL["arguments"])},
                ),
                _said("function", "90", name="level"),
                _said("assistant", _A),
            ]
        },
        "messages",
    ),
    _calling(
        "sharegpt_call",
        "LLaMA-Factory",
        {
            "conversations": [
                _from("human", _Q),
                _from("function_call", json.dumps(_LEVEL)),
                _from("observation", "90"),
                _from("gpt", _A),
            ],
            "tools": json.dumps([_TOOL["function"]]),
        },
        "sharegpt",
    ),
    _calling(
        "swift_call",
        "ms-swift",
        {
            "tools": json.dumps([_TOOL]),
            "messages": [
                _said("user", _Q),
                _said("tool_call", json.dumps(_LEVEL, ensure_ascii=False)),
                _said("tool_response", "90"),
                _said("assistant", _A),
            ],
        },
        "messages",
    ),
    Shape(
        "parallel_calls",
        "OpenAI",
        {
            "messages": [
                _said("user", _Q),
                _said(
                    "assistant",
                    None,
                    tool_calls=[
                        _call("a", "level", json.dumps(_LEVEL["arguments"])),
                        _call("b", "depth", "{}"),
                    ],
                ),
                _said("tool", "90", tool_call_id="a"),
                _said("tool", "91", tool_call_id="b"),
                _said("assistant", _A),
            ]
        },
        "messages",
        _PARALLEL_TURNS,
        _PARALLEL_ASKED,
        _A,
        _NO_ALPACA,
    ),
    Shape(
        "sharegpt_parallel",
        "LLaMA-Factory",
        {
            "conversations": [
                _from("human", _Q),
                _from("function_call", json.dumps([_LEVEL, {"name": "depth", "arguments": {}}])),
                _from("observation", "90"),
                _from("observation", "91"),
                _from("gpt", _A),
            ]
        },
        "sharegpt",
        _PARALLEL_TURNS,
        _PARALLEL_ASKED,
        _A,
        _NO_ALPACA,
    ),
)

_NO_TEXT = ("sharegpt", "alpaca")
_PARTS = (
    _one(
        "text_parts",
        "OpenAI, TRL (vision)",
        {
            "messages": [
                _said(
                    "user",
                    [
                        {"type": "image_url", "image_url": {"url": "lake.png"}},
                        {"type": "text", "text": _Q},
                    ],
                ),
                _said("assistant", [{"type": "text", "text": _A}]),
            ]
        },
        "messages",
        cannot=_NO_TEXT,
    ),
    Shape(
        "value_parts",
        "LLaMA-Factory (v1)",
        {
            "messages": [
                _said("user", [{"type": "text", "value": _Q}]),
                _said(
                    "assistant",
                    [
                        {"type": "reasoning", "value": "Think."},
                        {"type": "text", "value": _A},
                        {"type": "tool_call", "value": json.dumps(_LEVEL)},
                    ],
                ),
            ]
        },
        "messages",
        [("user", _Q), ("assistant", f"Think.\n{_A}\n{_LEVEL_TEXT}")],
        _Q,
        f"Think.\n{_A}\n{_LEVEL_TEXT}",
        _NO_TEXT,
    ),
    Shape(
        "anthropic_parts",
        "Anthropic's messages",
        {
            "messages": [
                _said("user", [{"type": "input_text", "text": _Q}]),
                _said(
                    "assistant",
                    [
                        {"type": "thinking", "thinking": "Think."},
                        {"type": "tool_use", "id": "t", "name": "level", "input": {"lake": "Ö"}},
                    ],
                ),
                _said("user", [{"type": "tool_result", "tool_use_id": "t", "content": "90"}]),
                _said("assistant", [{"type": "text", "text": _A}]),
            ]
        },
        "messages",
        [
            ("user", _Q),
            ("assistant", 'Think.\n{"name": "level", "arguments": {"lake": "Ö"}}'),
            ("user", "90"),
            ("assistant", _A),
        ],
        f'{_Q}\nThink.\n{{"name": "level", "arguments": {{"lake": "Ö"}}}}\n90',
        _A,
        _NO_TEXT,
    ),
    Shape(
        "reasoning_content",
        "TRL, ms-swift, DeepSeek",
        {"messages": [_said("user", _Q), _said("assistant", _A, reasoning_content="Think.")]},
        "messages",
        [("user", _Q), ("assistant", f"Think.\n{_A}")],
        _Q,
        f"Think.\n{_A}",
        _NO_ALPACA,
    ),
)

_COLUMNS = (
    _one(
        "alpaca",
        "Stanford, LLaMA-Factory, axolotl, Unsloth",
        {"instruction": _Q, "input": "", "output": _A},
        "alpaca",
    ),
    _one("alpaca_no_input", "axolotl", {"instruction": _Q, "output": _A}, "alpaca"),
    Shape(
        "alpaca_history",
        "LLaMA-Factory",
        {
            "instruction": "And how cold",
            "input": "in winter?",
            "output": _B,
            "system": _S,
            "history": [[_Q, _A]],
        },
        "alpaca",
        [("system", _S), *_ASKED, ("user", "And how cold\nin winter?"), ("assistant", _B)],
        f"{_S}\n{_Q}\n{_A}\nAnd how cold\nin winter?",
        _B,
    ),
    _one(
        "prompt_completion",
        "TRL, OpenAI (older), MLX",
        {"prompt": _Q, "completion": _A},
        "prompt_completion",
    ),
    _one(
        "prompt_completion_turns",
        "TRL",
        {"prompt": [_said("user", _Q)], "completion": [_said("assistant", _A)]},
        "prompt_completion",
    ),
    _one(
        "prompt_turns_completion_text",
        "axolotl, TRL",
        {"prompt": [_said("user", _Q)], "completion": _A},
        "prompt_completion",
    ),
    _one("gsm8k", "GSM8K, axolotl (jeopardy, load_qa)", {"question": _Q, "answer": _A}),
    Shape(
        "query_response",
        "ms-swift, data-juicer",
        {"system": _S, "query": _R, "response": _B, "history": [[_Q, _A]]},
        "columns",
        [("system", _S), *_TWICE],
        f"{_S}\n{_EARLIER}",
        _B,
    ),
    Shape(
        "dolly",
        "Dolly, open-instruct",
        {
            "instruction": _Q,
            "context": "The lake is deep.",
            "response": _A,
            "category": "closed_qa",
        },
        "columns",
        [("user", f"{_Q}\nThe lake is deep."), ("assistant", _A)],
        f"{_Q}\nThe lake is deep.",
        _A,
    ),
    Shape(
        "asdiv",
        "ASDiv, SVAMP",
        {"body": "The lake is deep.", "question": _Q, "answer": _A, "formula": "90"},
        "columns",
        [("user", f"{_Q}\nThe lake is deep."), ("assistant", _A)],
        f"{_Q}\nThe lake is deep.",
        _A,
    ),
    Shape(
        "agieval",
        "AGIEval",
        {"passage": "The lake is deep.", "question": _Q, "options": None, "answer": _A},
        "columns",
        [("user", f"{_Q}\nThe lake is deep."), ("assistant", _A)],
        f"{_Q}\nThe lake is deep.",
        _A,
    ),
    Shape(
        "open_orca",
        "axolotl (load_open_orca)",
        {"id": "cot.1", "system_prompt": _S, "question": _Q, "response": _A},
        "columns",
        [("system", _S), *_ASKED],
        f"{_S}\n{_Q}",
        _A,
    ),
    _one("input_output", "NeMo, xtuner", {"input": _Q, "output": _A}),
    _one("firefly_target", "Firefly", {"kind": "lakes", "input": _Q, "target": _A}),
    _one(
        "problem_solution", "MATH, open-instruct", {"problem": _Q, "solution": _A, "answer": "90"}
    ),
    _one("flan", "FLAN, open-instruct", {"inputs": _Q, "targets": _A}),
    _one("metharme", "axolotl", {"prompt": _Q, "generation": _A}),
    _one("help_steer", "NeMo", {"prompt": _Q, "response": _A, "helpfulness": 3}),
    Shape(
        "text",
        "MLX, TRL, data-juicer, LLaMA-Factory, axolotl (completion)",
        {"text": f"{_Q} {_A}", "meta": {"suffix": ".txt"}},
        "text",
        [("assistant", f"{_Q} {_A}")],
        "",
        f"{_Q} {_A}",
        ("alpaca", "prompt_completion"),
    ),
)

_PREFERENCES = (
    _one(
        "ranking_sharegpt",
        "LLaMA-Factory",
        {
            "conversations": [_from("human", _Q)],
            "chosen": _from("gpt", _A),
            "rejected": _from("gpt", _BAD),
        },
        "preference",
    ),
    _one(
        "ranking_openai",
        "LLaMA-Factory, axolotl",
        {
            "messages": [_said("user", _Q)],
            "chosen": _said("assistant", _A),
            "rejected": _said("assistant", _BAD),
        },
        "preference",
    ),
    _one(
        "ranking_alpaca",
        "LLaMA-Factory",
        {"instruction": _Q, "input": "", "chosen": _A, "rejected": _BAD},
        "preference",
    ),
    _one(
        "explicit_prompt", "TRL, NeMo", {"prompt": _Q, "chosen": _A, "rejected": _BAD}, "preference"
    ),
    _one(
        "explicit_prompt_turns",
        "TRL, xtuner",
        {
            "prompt": [_said("user", _Q)],
            "chosen": [_said("assistant", _A)],
            "rejected": [_said("assistant", _BAD)],
        },
        "preference",
    ),
    _one(
        "implicit_prompt",
        "TRL, open-instruct",
        {"chosen": _PAIR, "rejected": _BAD_PAIR},
        "preference",
    ),
    _one(
        "ultra_feedback",
        "axolotl (chatml.ultra), TRL",
        {"prompt": _Q, "chosen": _PAIR, "rejected": _BAD_PAIR, "score_chosen": 8.0},
        "preference",
    ),
    _one(
        "zephyr_messages",
        "TRL (H4)",
        {"prompt": _Q, "messages": _PAIR, "chosen": _PAIR, "rejected": _BAD_PAIR},
        "messages",
    ),
    Shape(
        "intel_pairs",
        "axolotl (chatml.intel)",
        {"system": _S, "question": _Q, "chosen": _A, "rejected": _BAD},
        "preference",
        [("system", _S), *_ASKED],
        f"{_S}\n{_Q}",
        _A,
    ),
    _one(
        "openai_preference",
        "OpenAI",
        {
            "input": {"messages": [_said("user", _Q)], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [_said("assistant", _A)],
            "non_preferred_output": [_said("assistant", _BAD)],
        },
        "preference",
        cannot=_NO_ALPACA,
    ),
    _one(
        "chosen_messages",
        "LLaMA-Factory (v1)",
        {"chosen_messages": _PAIR, "rejected_messages": _BAD_PAIR},
        "preference",
    ),
    _one(
        "rejected_response", "ms-swift", {"messages": _PAIR, "rejected_response": _BAD}, "messages"
    ),
    _one(
        "kto",
        "TRL",
        {"prompt": [_said("user", _Q)], "completion": [_said("assistant", _A)], "label": True},
        "prompt_completion",
    ),
    _one(
        "kto_sharegpt", "LLaMA-Factory", {"conversations": _FROM_PAIR, "kto_tag": True}, "sharegpt"
    ),
)

_ITEMS = (
    _item(
        "mt_bench", "FastChat", {"question_id": 81, "category": "lakes", "turns": [_Q, _R]}, _Q, _R
    ),
    _item("arena_hard", "Arena-Hard", {"question_id": "x", "turns": [{"content": _Q}]}, _Q),
    _item("vicuna", "FastChat, LLaVA", {"question_id": 1, "text": _Q, "category": "lakes"}, _Q),
    _item("prompt_alone", "TRL (prompt-only), Arena-Hard, IFEval", {"key": 1, "prompt": _Q}, _Q),
    _item("prompt_turns_alone", "TRL (prompt-only)", {"prompt": [_said("user", _Q)]}, _Q),
    _item("prompt_list", "MT-Bench (HF)", {"prompt": [_Q, _R], "reference": []}, _Q, _R),
    _item("question_alone", "lm-evaluation-harness", {"question": _Q}, _Q),
    _item("mmlu", "MMLU", {"question": _Q, "choices": ["9", "90"], "answer": 1}, _Q),
    _item("trivia", "TriviaQA", {"question": _Q, "answer": {"value": "90", "aliases": []}}, _Q),
    _item("instruction_alone", "AlpacaEval", {"instruction": _Q, "dataset": "lakes"}, _Q),
)

SHAPES = (*_TURN_LISTS, *_CALLS, *_PARTS, *_COLUMNS, *_PREFERENCES, *_ITEMS)
TRAINABLE = tuple(
    shape for shape in SHAPES if not shape.asks and "prompt_completion" not in shape.cannot
)


def by_name(name: str) -> Shape:
    (found,) = (shape for shape in SHAPES if shape.name == name)
    return found


def labelled(shape: Shape, labels: list[str], score: float) -> dict[str, Any]:
    """A copy of the record with labels and score."""
    return {**copy.deepcopy(shape.record), "labels": labels, "score": score}
