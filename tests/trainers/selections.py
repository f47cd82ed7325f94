"""Selections to train on: pools of each layout, and what `mig-jax select` writes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.running import mig

# Question and answer of each record; the last has a system prompt and two of both.
SAID = [(f"How many are {n} and {n}?", f"They are {2 * n}, é😀.") for n in range(1, 6)]
SYSTEM = "Be brief."
MORE = [("Who are you?", "A counter."), ("And then?", "Nothing, indeed.")]


def _messages(pairs: list[tuple[str, str]], system: str | None = None) -> list[dict[str, str]]:
    turns = [] if system is None else [{"role": "system", "content": system}]
    for question, answer in pairs:
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": answer})
    return turns


def _sharegpt(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns]


CONVERSATIONS = [*(_messages([pair]) for pair in SAID), _messages(MORE, SYSTEM)]
ANSWERS = sorted([*([answer] for _, answer in SAID), [answer for _, answer in MORE]])
#: The records of a pool, by their layout.
POOLS: dict[str, list[dict[str, Any]]] = {
    "messages": [{"messages": turns} for turns in CONVERSATIONS],
    "sharegpt": [{"conversations": _sharegpt(turns)} for turns in CONVERSATIONS],
    "alpaca": [
        *({"instruction": asked, "input": "", "output": answer} for asked, answer in SAID),
        {
            "instruction": MORE[1][0],
            "input": "",
            "output": MORE[1][1],
            "system": SYSTEM,
            "history": [list(MORE[0])],
        },
    ],
    "prompt_completion": [{"prompt": asked, "completion": answer} for asked, answer in SAID],
    "text": [{"text": f"{asked} {answer}"} for asked, answer in SAID],
}


def selection(
    folder: Path, records: list[dict[str, Any]], *flags: str, ending: str = ".jsonl"
) -> Path:
    """What `mig-jax select` writes of all of these records, in the order picked.

    Labels and scores stand in one field, `mig_jax`; each record has a label of its own.
    """
    pool = folder / "pool.jsonl"
    given = [
        {**record, "mig_jax": {"labels": [f"l{place}", "all"], "score": 1 + place / 4}}
        for place, record in enumerate(records)
    ]
    pool.write_text("".join(json.dumps(record) + "\n" for record in given))
    output = folder / f"picked{ending}"
    done = mig(
        "select",
        f"--pool={pool}",
        *("--field=labels=mig_jax.labels", "--field=score=mig_jax.score"),
        *(f"--output={output}", f"--budget={len(records)}", "--cache=none", *flags),
    )
    assert done.returncode == 0, done.stderr
    return output


def loaded(output: Path) -> Any:
    """The file as `datasets.load_dataset` gives it to trainers."""
    import datasets

    kind = "parquet" if output.suffix == ".parquet" else "json"
    cache = str(output.parent / "datasets")
    return datasets.load_dataset(kind, data_files=str(output), split="train", cache_dir=cache)
