"""The files that the documentation names, small, as their owners would have them."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import pathlib

import numpy as np

import mig_jax
from mig_jax.data import write_label_embeddings
from mig_jax.synthetic import BuiltinPool
from tests.running import ROOT, mig

__all__ = ["make_stand_ins", "presupposed"]

#: More records than the largest budget that is printed, so that it runs as printed. What
#: `make_pool` makes has these labels, too.
POOL = BuiltinPool(records=6000)
#: For what learns, which takes long with many labels.
TINY = BuiltinPool(records=400, labels=40, topics=5)
SOURCES = ["dolly", "gsm8k/train", "super-natural-instructions", "stackexchange/coffee", "flan-cot"]


def _write(path: pathlib.Path, rows: list[dict]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines, 1) if path.suffix == ".gz" else lines)


def _rows(pool: BuiltinPool) -> list[dict]:
    rng = np.random.default_rng(0)
    rows = [json.loads(line) for line in pool.lines()]
    for row, source in zip(rows, rng.choice(SOURCES, len(rows)), strict=True):
        row["source"] = str(source)
        row["meta"] = {"tags": row["mig_jax"]["labels"]}
        row["quality"] = row["mig_jax"]["score"]
    return rows


def make_stand_ins(folder: pathlib.Path) -> None:
    """Makes all files; selections by the command itself."""
    rows = _rows(POOL)
    more = _rows(dataclasses.replace(POOL, records=400, seed=1))
    bare = [{"messages": row["messages"]} for row in rows]  # Without labels and score.
    for name in ("pool.jsonl", "pool.jsonl.gz"):
        _write(folder / name, rows)
    for name in ("raw.jsonl", "raw.jsonl.gz", "stackexchange.jsonl.gz"):
        _write(folder / name, bare)
    _write(folder / "new.jsonl.gz", more[:100])
    _write(folder / "old.jsonl", bare[:2500])
    _write(folder / "new.jsonl", bare[2500:2600])
    for name in ("dev.jsonl", "validation.jsonl"):
        _write(folder / name, more[100:250])
    _write(folder / "test.jsonl", more[250:])
    half = len(rows) // 2
    _write(folder / "data/a.jsonl", rows[:half])
    _write(folder / "data/b.jsonl", rows[half:])
    tagged = [{**row, "tags": row["mig_jax"]["labels"], "score": 1} for row in more[:5]]
    (folder / "pool.json").write_text(json.dumps(tagged))
    names, vectors = POOL.label_embeddings()
    write_label_embeddings(str(folder / "labels.npz"), names, vectors)
    _write(folder / "tiny.jsonl", _rows(TINY))
    write_label_embeddings(str(folder / "tiny.npz"), *TINY.label_embeddings())
    (folder / "vocabulary.json").write_text(json.dumps(names))
    (folder / "LLaMA-Factory/data").mkdir(parents=True)
    (folder / "experiments").symlink_to(ROOT / "experiments")
    with contextlib.chdir(folder):
        for output in ("last.jsonl.gz", "have.jsonl.gz", "selected.jsonl.gz", "picked.jsonl"):
            words = ["--pool=pool.jsonl.gz", "--label_embeddings=labels.npz", "--budget=2000"]
            done = mig("select", *words, f"--output={output}")
            assert done.returncode == 0, done.stderr


def presupposed() -> dict[str, object]:
    """Names that the Python of some pages takes for granted, as the README's makes them."""
    pool = dataclasses.replace(POOL, records=1500)
    table = pool.table()
    names, vectors = pool.label_embeddings()
    rng = np.random.default_rng(0)
    return {
        "names": names,
        "vectors": vectors,
        "table": table,
        "pool": mig_jax.pool_from_table(table),
        "graph": mig_jax.label_graph_from_embeddings(vectors, 0.6),
        "picks": [rng.choice(len(table.scores), 20, replace=False) for _ in range(6)],
        "scores": rng.uniform(size=6),
    }
