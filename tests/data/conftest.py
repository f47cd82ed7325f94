"""Small pools in all forms of storage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

TEXT_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(params=TEXT_ENDINGS)
def text_ending(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=(*TEXT_ENDINGS, ".parquet"))
def ending(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shared_file() -> Callable[[str], Path]:
    """A real file, or a skip if this machine has none."""

    def find(name: str) -> Path:
        if not (SHARED / name).is_file():
            pytest.skip(f"real data is absent: ../shared/data/{name}")
        return SHARED / name

    return find


@pytest.fixture
def store(tmp_path: Path) -> Callable[[bytes, str], Path]:
    """Writes JSON lines as pool<ending>; in several frames, members or row groups."""

    def write(text: bytes, ending: str = ".jsonl") -> Path:
        path = tmp_path / f"pool{ending}"
        half = len(text) // 2
        if ending == ".parquet":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
        elif ending.endswith(".gz"):
            path.write_bytes(gzip.compress(text[:half]) + gzip.compress(text[half:]))
        elif ending.endswith(".zst"):
            path.write_bytes(zstandard.compress(text[:half]) + zstandard.compress(text[half:]))
        else:
            path.write_bytes(text)
        return path

    return write
