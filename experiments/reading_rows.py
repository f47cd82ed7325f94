"""The rows of `benchmark_reading`: one file read in one way, in a process of its own.

    python -m experiments.reading_rows ROW FILE CACHE

prints one JSON object: seconds, CPU seconds, memory of this process before and at its peak,
and a digest of the labels and scores that does not depend on how they were read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import xxhash

from experiments.benchmarks.watched import peak_memory
from mig_jax import data

__all__ = ["OURS", "ROWS", "digest"]

OURS = "mig_jax, all cores"

# The labels of each record and its score.
Records = Iterator[tuple[list[str], float]]


def _read_once(path: str, _: str) -> Records:
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as stream:
        while stream.readinto(buffer):
            pass
    return iter(())


def _ours(**how: Any) -> Callable[[str, str], Records]:
    def read(path: str, _: str) -> Records:
        return _records(data.read_pool([path], layout="xsample", **how))

    return read


def _cached(path: str, cache: str) -> Records:
    return _records(data.read_pool([path], layout="xsample", cache=cache))


def _records(table: data.RecordTable) -> Records:
    for record, score in enumerate(table.scores.tolist()):
        labels = table.labels[table.offsets[record] : table.offsets[record + 1]]
        yield [table.label_names[label] for label in labels], score


def pydantic_record() -> Any:
    """The layout as a pydantic model, with the checks that `mig_jax` does."""
    from pydantic import BaseModel, ConfigDict, Field, model_validator

    finite = Annotated[float, Field(allow_inf_nan=False)]
    largest = float(np.finfo(np.float32).max)

    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)

    class InsTag(Strict):
        content: list[str]

    class Deita(Strict):
        quality_scores: list[finite] = Field(min_length=1)  # type: ignore[valid-type]
        complexity_scores: list[finite]  # type: ignore[valid-type]

    class Annotation(Strict):
        instag: InsTag
        deita: Deita

    class Record(Strict):
        annotation: Annotation

        @model_validator(mode="after")
        def check(self) -> Record:
            deita = self.annotation.deita
            if len(deita.quality_scores) != len(deita.complexity_scores):
                raise ValueError("expected as many quality as complexity scores")
            if not 0 <= self.score <= largest:
                raise ValueError("expected a score of at least 0")
            return self

        @property
        def score(self) -> float:
            deita = self.annotation.deita
            pairs = zip(deita.quality_scores, deita.complexity_scores, strict=True)
            return sum(q * c for q, c in pairs) / len(deita.quality_scores)

        @property
        def labels(self) -> list[str]:
            return list(dict.fromkeys(self.annotation.instag.content))

    return Record


def _jsonlines_and_pydantic(path: str, _: str) -> Records:
    import jsonlines

    model = pydantic_record()
    labels, scores = [], []
    with jsonlines.open(path) as reader:
        for fields in reader.iter(skip_empty=True):
            record = model.model_validate(fields)
            labels.append(record.labels)
            scores.append(record.score)
    return zip(labels, scores, strict=True)


def _pydantic_alone(path: str, _: str) -> Records:
    model = pydantic_record()
    labels, scores = [], []
    with open(path, "rb") as stream:
        for line in stream:
            if line.strip():
                record = model.model_validate_json(line)
                labels.append(record.labels)
                scores.append(record.score)
    return zip(labels, scores, strict=True)


ROWS: dict[str, Callable[[str, str], Records]] = {
    "reading the bytes once": _read_once,
    OURS: _ours(),
    "mig_jax, one worker": _ours(workers=1),
    "mig_jax, filling the cache": _cached,
    "mig_jax, from the cache": _cached,
    "jsonlines + pydantic": _jsonlines_and_pydantic,
    "pydantic alone, from the line": _pydantic_alone,
}


def digest(records: Records) -> str:
    """A digest of the sorted labels and the float32 score of each record, in order."""
    hasher = xxhash.xxh3_128()
    for labels, score in records:
        hasher.update(json.dumps([sorted(labels), float(np.float32(score))]).encode())
    return str(hasher.hexdigest())


def _main(row: str, path: str, cache: str) -> None:
    if "pydantic" in row:
        pydantic_record()  # Imports are nobody's reading time.
    if "jsonlines" in row:
        import jsonlines  # noqa: F401
    before = peak_memory()
    start, used = time.perf_counter(), sum(os.times()[:4])
    records = ROWS[row](path, cache)
    result: dict[str, Any] = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": sum(os.times()[:4]) - used,  # With those of children that ended.
        "before_mb": before,
        "peak_mb": peak_memory(),
    }
    result["digest"] = None if row.startswith("reading") else digest(records)
    print(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
