"""Hugging Face datasets as pools: folders that `save_to_disk` wrote, and names of the hub."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mig_jax import data
from mig_jax.errors import InputError

slow = pytest.mark.slow

RECORDS: list[dict[str, Any]] = [
    {
        "conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "é😀"}],
        "meta": {"tags": [f"l{n % 3}", "all"], "other": n},
        "quality": n / 2,
    }
    for n in range(2500)
]
FIELDS = {"labels": "meta.tags", "score": "quality"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two shards, and one with splits, whose train is another order of it."""
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    folder = tmp_path_factory.mktemp("saved")
    dataset = datasets.Dataset.from_list(RECORDS)
    dataset.save_to_disk(folder / "whole", num_shards=2)
    parts = {"train": dataset.select(range(9, -1, -1)), "test": dataset.select([7])}
    datasets.DatasetDict(parts).save_to_disk(folder / "splits")
    return folder


@slow
def test_a_saved_dataset_is_read_as_its_records_are(saved: Path, tmp_path: Path) -> None:
    path = saved / "whole"
    found = list(data.read_conversations([path], fields=FIELDS))
    assert [raw.record for raw in found] == RECORDS
    assert found[4].turns == [("user", "q4"), ("assistant", "é😀")]
    assert (found[4].labels, found[4].score, found[4].line) == (["l1", "all"], 2.0, 5)
    lines = tmp_path / "pool.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    expected = data.read_pool([lines], fields=FIELDS)
    said: list[str] = []
    for fits in (data.AS_IT_CAME, data.WrittenForm("alpaca")):
        for _ in range(2):
            table = data.read_pool(
                [path], fields=FIELDS, fits=fits, cache=tmp_path / "c", on_cache=said.append
            )
            assert table.label_names == expected.label_names
            assert table.labels.tolist() == expected.labels.tolist()
            assert table.scores.tolist() == expected.scores.tolist()
            stream = io.BytesIO()
            data.write_records(table, [2400, 3, 1200], stream)
            picked = [json.loads(line) for line in stream.getvalue().splitlines()]
            assert picked == [RECORDS[2400], RECORDS[3], RECORDS[1200]]
    assert len(said) == 2
    shares = [data.share_of_pool([path], index, 2, fields=FIELDS) for index in range(2)]
    parts = [share.read(share.count_lines()) for share in shares]
    assert [part.num_records for part in parts] == [2500, 0]


@slow
def test_splits_and_faults_of_saved_datasets(saved: Path, tmp_path: Path) -> None:
    train = saved / "splits" / "train"
    found = data.read_pool([train], fields=FIELDS)
    assert found.scores.tolist() == [n / 2 for n in range(9, -1, -1)]
    with pytest.raises(
        InputError, match=r"has the splits test, train; expected one of them, as .*train$"
    ):
        data.read_pool([saved / "splits"])
    with pytest.raises(InputError, match="is the same file as"):
        data.read_pool([train, train], fields=FIELDS)
    with pytest.raises(
        InputError, match=r"no labels and no score, only a conversation \(layout sh"
    ):
        data.read_pool([train])
    with pytest.raises(InputError, match="is a folder without files of records; expected"):
        data.read_pool([tmp_path])
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot be loaded .*; expected a folder as save_to_disk"):
        data.read_pool([tmp_path])


@slow
def test_a_dataset_that_has_changed_is_refused(saved: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "saved"
    datasets.Dataset.from_list(RECORDS[:5]).save_to_disk(path)
    table = data.read_pool([path], fields=FIELDS)
    datasets.Dataset.from_list(RECORDS[:4]).save_to_disk(path)
    with pytest.raises(InputError, match="has changed since it was read"):
        data.write_records(table, [0], io.BytesIO())


@slow
def test_the_cache_knows_a_dataset_by_all_of_its_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for name, last in (("one", 5.0), ("two", 6.0)):
        records = [*RECORDS[:3], {**RECORDS[3], "quality": last}]
        datasets.Dataset.from_list(records).save_to_disk(tmp_path / name, num_shards=2)
        table = data.read_pool([tmp_path / name], fields=FIELDS, cache=tmp_path / "cache")
        assert table.scores.tolist()[-1] == last


@slow
def test_names_of_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name: str, configuration: str | None, *, split: str) -> Any:
        asked.append((name, configuration, split))
        if name == "no/where":
            raise ConnectionError("the hub cannot be reached\nat all")
        return datasets.load_from_disk(saved / "whole")

    # The hub may be out of reach; all but the download is what it is with it.
    monkeypatch.setattr(datasets, "load_dataset", load)
    table = data.read_pool(["hub:owner/name"], fields=FIELDS)
    assert (table.num_records, table.files) == (2500, ("hub:owner/name",))
    assert next(data.read_conversations(["hub:owner/name/de:test"])).record == RECORDS[0]
    assert set(asked) == {("owner/name", None, "train"), ("owner/name", "de", "test")}
    with pytest.raises(
        InputError, match=r"hub:no/where: cannot be loaded .*reached.; expected hub:"
    ):
        data.read_pool(["hub:no/where"])
    count = len(asked)
    for name in (
        *(
            "hub:",
            "hub:a b/c",
            "hub:a/b:c:d",
            "hub:json",
            "hub:../../etc",
            "hub:../etc",
            "hub:a/..",
            "hub:/etc",
        ),
        *(
            "hub:./a",
            "hub:a/.b",
            "hub:a--b/c",
            "hub:a/b.git",
            "hub:a/b/..",
            "hub:é/a",
            "hub:buckets/a",
        ),
        *("hub:a\\b/c", f"hub:a/{'b' * 97}", "hub:-a/b", "hub:a/b:.."),
    ):
        with pytest.raises(InputError, match="expected hub:OWNER/NAME, with /CONFIGURATION"):
            data.read_pool([name])
    assert len(asked) == count


def test_a_name_of_the_hub_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme" / "data").mkdir(parents=True)
    record = {"labels": ["x"], "score": 1.0}
    (tmp_path / "acme" / "data" / "train.jsonl").write_text(json.dumps(record) + "\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"acme/data is a folder or file here, which `datasets` would"
    ):
        data.read_pool(["hub:acme/data"])


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"pip install 'mig-jax\[hub\]'"):
        data.read_pool([tmp_path])
    with pytest.raises(InputError, match=r"pip install 'mig-jax\[hub\]'"):
        data.read_pool(["hub:owner/name"])


@pytest.mark.parametrize(
    ("splits", "suggested"),
    [
        (["test_sft", "train_sft"], "train_sft"),
        (["dev", "test", "validation", "extra"], "extra"),
        (["test", "train", "atrain"], "train"),
        (["test"], "test"),
    ],
)
def test_the_split_suggested_is_for_training(
    tmp_path: Path, splits: list[str], suggested: str
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    rows = datasets.Dataset.from_list([{"labels": ["a"], "score": 1.0}])
    datasets.DatasetDict(dict.fromkeys(splits, rows)).save_to_disk(tmp_path / "all")
    with pytest.raises(InputError, match=rf"expected one of them, as \S*/all/{suggested}$"):
        data.read_pool([tmp_path / "all"])
