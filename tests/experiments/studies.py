"""Small studies of a model from scratch, for tests."""

from __future__ import annotations

import json
import pathlib

import numpy as np

from experiments.finetuning.base_models import read_base_model
from experiments.finetuning.study import Study
from mig_jax import data
from mig_jax.language_models import Tuning
from mig_jax.synthetic import BuiltinPool

POOL = BuiltinPool(records=60, labels=8, topics=2)


def rows_of_pool() -> list[dict]:
    """60 records of two tasks."""
    rows = [json.loads(line) for line in POOL.lines()]
    return [row | {"task": f"task {n % 2}"} for n, row in enumerate(rows)]


def write_rows(path: pathlib.Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def write_parts(folder: pathlib.Path, rows: list[dict]) -> dict[str, str]:
    """Files of a study's pool, validation and test records; emb.npz beside them."""
    names, vectors = POOL.label_embeddings()
    np.savez(folder / "emb.npz", labels=np.array(names), embeddings=vectors)
    parts = {"pool": rows[:40], "validation": rows[40:50], "test": rows[50:]}
    return {name: write_rows(folder / f"{name}.jsonl", part) for name, part in parts.items()}


def study_of(
    folder: pathlib.Path,
    parts: dict[str, str],
    model: str = "scratch:32x1",
    tuning: Tuning = Tuning(0),  # noqa: B008 - it never changes
) -> Study:
    table = data.read_pool([parts["pool"]])
    texts = [text for pair in data.read_texts(table) for text in pair]
    validation, test = (data.read_validation(parts[name]) for name in ("validation", "test"))
    return Study(
        folder,
        read_base_model(model, "model", lambda: texts),
        tuning,
        row=256,
        rows=2,
        table=table,
        validation=validation,
        test=test,
        test_records=8,
    )
