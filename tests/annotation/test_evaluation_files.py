"""Pools of the shapes that the field has are kept apart from evaluations of any shape."""

from __future__ import annotations

import json

import pytest

from tests.running import mig

ASKED = (
    "Which of the two rivers that meet below the old mill carries more water in late spring, "
    "and how would you measure it without a boat?"
)
REST = "Name three birds that nest in reeds and say for each of them what it feeds its young."


@pytest.mark.parametrize(
    "item",
    [
        {"question_id": 1, "turns": ["Hello!", ASKED]},
        {"turns": [{"content": ASKED}]},
        {"prompt": ASKED, "reference": ""},
        {"prompt": [{"role": "user", "content": ASKED}]},
        {"question": ASKED, "choices": ["a", "b"], "answer": 1},
        {"question": ASKED, "answer": "#### 2"},
        {"instruction": ASKED, "input": "", "output": "None."},
        {"conversation": [{"human": ASKED, "assistant": ""}]},
        {"text": f"It was asked: {ASKED}"},
    ],
    ids=lambda item: "+".join(item),
)
@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "{}", "completion": "Yes."},
        {"text": "{}"},
        {"query": "{}", "response": "Yes.", "history": []},
        {
            "chosen": [{"role": "user", "content": "{}"}, {"role": "assistant", "content": "a"}],
            "rejected": [{"role": "user", "content": "{}"}, {"role": "assistant", "content": "b"}],
        },
    ],
    ids=lambda record: "+".join(record),
)
def test_pools_are_kept_apart_from_evaluations(tmp_path, record, item):
    pool = tmp_path / "pool.jsonl"
    lines = [json.dumps(record).replace("{}", text) for text in (ASKED, REST)]
    pool.write_text("\n".join(line[:-1] + ', "labels": ["a"]}' for line in lines))
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text(json.dumps(item) + "\n")
    output = tmp_path / "out.jsonl"
    result = mig(
        *("annotate", f"--pool={pool}", f"--output={output}", "--tagger=keep", "--scorer=length"),
        f"--exclude_overlap={evaluation}",
    )
    assert result.returncode == 0, result.stderr
    (kept,) = map(json.loads, output.read_text().splitlines())
    assert REST in json.dumps(kept)
    (rejected,) = (tmp_path / "out.rejected.jsonl").read_text().splitlines()
    assert "evaluation.jsonl, line 1" in json.loads(rejected)["reason"]


def test_a_question_alone_is_no_record_of_a_pool(tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"prompt": ASKED, "labels": ["a"]}))
    result = mig(
        *("annotate", f"--pool={pool}", f"--output={tmp_path / 'out.jsonl'}"),
        *("--tagger=keep", "--scorer=length"),
    )
    assert result.returncode == 2
    assert "line 1: found no conversation" in result.stderr
    assert "found prompt (a string)" in result.stderr
