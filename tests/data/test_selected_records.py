"""A selection read as a training order, against what was written and in the forms it is used in."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mig_jax.data import (
    OutputFiles,
    OutputForm,
    SelectedRecords,
    output_form,
    read_pool,
    write_records,
    write_selection_table,
)
from mig_jax.errors import InputError

COUNT = 7
# Long ones stand beside short ones; a record may have line breaks, and half of a character.
RECORDS = [
    {"labels": ["a"], "score": 1.0, "text": f"{place}é\n" * (1 + 300 * (place % 3)), "half": "😀"}
    for place in range(COUNT)
]
ORDER = [4, 0, 6, 2, 1, 5]
TOKENS = [5, 3, 0, 9, 1, 2]
PICKED = [RECORDS[place] for place in ORDER]
FORMS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")


@pytest.fixture
def output(tmp_path: Path) -> Callable[..., Path]:
    """Writes the selection as the command does, with its table and manifest."""

    def write(ending: str = ".jsonl", tokens: list[int] | None = TOKENS) -> Path:
        pool = tmp_path / "pool.jsonl"
        pool.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
        table = read_pool([pool])
        path = tmp_path / f"picked{ending}"
        form: OutputForm = output_form(str(path))
        with OutputFiles() as files:
            manifest = files.open_manifest(tmp_path / "picked.manifest.json", path)
            write_records(table, ORDER, files.open(path), form=form)
            told = files.open(tmp_path / "picked.selection.parquet")
            write_selection_table(told, table, ORDER, np.ones(6), np.ones(6), tokens=tokens)
            files.write_manifest(manifest, {}, path)
        return path

    return write


@pytest.mark.parametrize("ending", FORMS)
def test_records_stand_in_the_order_picked(output: Callable[..., Path], ending: str) -> None:
    records = SelectedRecords(output(ending))
    assert len(records) == 6
    assert list(records) == PICKED
    for place in (3, 0, 5, -1, -6, np.int64(2)):  # In any order, and again.
        assert records[place] == PICKED[place]
    for place in (6, -7):
        with pytest.raises(IndexError, match="of 6"):
            records[place]


@pytest.mark.parametrize("ending", FORMS)
def test_others_read_at_the_same_time(output: Callable[..., Path], ending: str) -> None:
    records = SelectedRecords(output(ending), first=5)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(records.__getitem__, [*range(5)] * 40)) == PICKED[:5] * 40
    for other in (pickle.loads(pickle.dumps(records)), copy.deepcopy(records)):
        assert list(other) == PICKED[:5]
        assert repr(other) == repr(records)


def test_a_prefix_is_a_smaller_selection(output: Callable[..., Path]) -> None:
    path = output()
    assert list(SelectedRecords(path, first=2)) == PICKED[:2]
    assert list(SelectedRecords(path, first=0)) == []
    # 5, 8, 8, 17, 18, 20 tokens; a record that costs nothing goes with what is before it.
    for tokens, count in ((0, 0), (4, 0), (5, 1), (8, 3), (16, 3), (17, 4), (19, 5), (99, 6)):
        assert list(SelectedRecords(path, tokens=tokens)) == PICKED[:count]
    assert len(SelectedRecords(path, first=4, tokens=8)) == 3
    assert len(SelectedRecords(path, first=2, tokens=8)) == 2
    prefix = SelectedRecords(path, first=2)
    assert prefix[-1] == PICKED[1]
    with pytest.raises(IndexError):
        prefix[2]


def test_what_cannot_be_had_is_told(output: Callable[..., Path], tmp_path: Path) -> None:
    path = output(tokens=None)
    with pytest.raises(InputError, match=r"picked\.jsonl: has 6 records, expected the first 7"):
        SelectedRecords(path, first=7)
    with pytest.raises(ValueError, match="tokens is -1"):
        SelectedRecords(path, tokens=-1)
    with pytest.raises(InputError, match=r"its table of picks has no tokens"):
        SelectedRecords(path, tokens=5)
    (tmp_path / "picked.selection.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="is not what"):
        SelectedRecords(path, tokens=5)
    (tmp_path / "picked.manifest.json").unlink()
    with pytest.raises(InputError, match=r"picked\.jsonl: has no manifest of a selection"):
        SelectedRecords(path, tokens=5)
    with pytest.raises(InputError, match="no such file"):
        SelectedRecords(tmp_path / "other.jsonl")


def test_a_table_of_other_picks_is_not_believed(output: Callable[..., Path]) -> None:
    path = output()
    with path.open("ab") as stream:
        stream.write(b'{"text": "one more"}\n')
    with pytest.raises(InputError, match="is not what"):
        SelectedRecords(path, tokens=5)
    assert len(SelectedRecords(path)) == 7


def test_a_file_that_changes_ends_it(output: Callable[..., Path]) -> None:
    path = output()
    records = SelectedRecords(path)
    assert records[0] == PICKED[0]
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(InputError, match=r"picked\.jsonl: has changed since it was read"):
        records[0]


def test_bad_records_are_told(tmp_path: Path) -> None:
    path = tmp_path / "picked.jsonl"
    path.write_bytes(b'{"text": "good"}\n\n[1]\n')
    records = SelectedRecords(path)
    assert records[0] == {"text": "good"}
    with pytest.raises(InputError, match=r"picked\.jsonl, record 2: found a list"):
        records[1]
    path.write_bytes(b"")
    assert len(SelectedRecords(path)) == 0


def test_the_table_of_picks_takes_a_cost_for_each(output: Callable[..., Path]) -> None:
    table = read_pool([output().parent / "pool.jsonl"])
    with pytest.raises(ValueError, match="differ in shape"):
        write_selection_table(io.BytesIO(), table, [0], [1.0], [1.0], tokens=[1, 2])
