"""Where pools may be: patterns, folders of files, and addresses that fsspec reads."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mig_jax import data
from mig_jax.commands.main import main
from mig_jax.errors import InputError


def lines(*labels: str) -> bytes:
    records = [
        {
            "labels": [label],
            "score": 1.0,
            "messages": [
                {"role": "user", "content": label},
                {"role": "assistant", "content": "x"},
            ],
        }
        for label in labels
    ]
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def names(*paths: str | Path, **options: Any) -> list[str]:
    """The label of each record."""
    table = data.read_pool(paths, **options)
    return [table.label_names[label] for label in table.labels]


def told(*paths: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        data.read_pool(paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of records of all kinds, and others."""
    where = tmp_path / "shards"
    (where / "deep").mkdir(parents=True)
    for name, content in {
        "b.jsonl": lines("b"),
        "a.jsonl.gz": gzip.compress(lines("a")),
        "c.json": b"[" + lines("c").strip() + b"]",
        "d.csv": b'labels,score\n"[""d""]",1\n',
        "e [1].jsonl": lines("e"),
        ".hidden.jsonl": lines("hidden"),
        "_part.jsonl": lines("part"),
        "README.md": b"# no records",
        "b.manifest.json": b"{}",
        "b.rejected.jsonl": lines("rejected"),
        "dataset_info.json": b"{}",
        "deep/f.jsonl": lines("f"),
    }.items():
        (where / name).write_bytes(content)
    return where


def test_a_folder_is_its_files_of_records(folder: Path) -> None:
    assert names(folder) == ["a", "b", "c", "d", "e"]
    assert data.read_pool([folder]).files == tuple(
        str(folder / name) for name in ("a.jsonl.gz", "b.jsonl", "c.json", "d.csv", "e [1].jsonl")
    )
    assert names(f"{folder}/", folder / "deep") == ["a", "b", "c", "d", "e", "f"]
    (folder / "deep/f.jsonl").unlink()
    assert told(folder / "deep").startswith(
        f"{folder}/deep: is a folder without files of records; expected files named .jsonl, "
        ".ndjson, .json, .csv, .tsv or .parquet in it"
    )
    assert told(folder, folder / "b.jsonl").endswith("expected each file once")


def test_a_pattern_is_the_files_that_match(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(folder / "[a-c].json*") == ["a", "b", "c"]
    assert names(folder / "*.csv", folder / "b.jsonl") == ["d", "b"]
    assert names(folder / "**/[bf].jsonl") == ["b", "f"]
    # A file that has this very name is meant.
    assert names(folder / "e [1].jsonl") == ["e"]
    assert told(folder / "*.parquet") == (
        f"{folder}/*.parquet: no file matches; expected at least one"
    )
    monkeypatch.chdir(folder)
    assert data.read_pool(["?.jsonl"]).files == ("b.jsonl",)
    assert [record.labels for record in data.read_conversations(["deep/*"])] == [["f"]]


def test_evaluation_files_are_read_from_the_same_places(folder: Path) -> None:
    found = data.read_validation(folder / "[bc].json*")
    assert found.label_lists == [["b"], ["c"]]


@pytest.mark.parametrize("pool", ["{}", "{}/*.jsonl", "{}/../*/b.*"])
def test_no_output_overwrites_what_a_place_stands_for(
    folder: Path, capsys: pytest.CaptureFixture[str], pool: str
) -> None:
    before = (folder / "b.jsonl").read_bytes()
    words = [f"--pool={pool.format(folder)}", "--budget=1", f"--output={folder}/b.jsonl"]
    assert main(["select", *words, "--cache=none"]) == 2
    assert "is an input; expected another file to write to" in capsys.readouterr().err
    assert (folder / "b.jsonl").read_bytes() == before


def test_select_from_a_folder(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    words = [f"--pool={folder}", "--budget=5", f"--output={output}", "--cache=none"]
    assert main(["select", *words]) == 0
    found = [json.loads(line)["labels"] for line in output.read_text().splitlines()]
    assert sorted(found) == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_file_by_its_address(folder: Path) -> None:
    address = f"file://{folder}/b.jsonl"
    table = data.read_pool([address])
    assert table.files == (address,)
    assert list(table.sources[0].read_records(table.position)) == lines("b").splitlines()
    assert told(address, folder / "b.jsonl").endswith("expected each file once")


class Counting(MemoryFileSystem):
    """Files in memory; counts the copies made, and breaks one off if it is to."""

    fetched: ClassVar[list[str]] = []
    breaks_after: ClassVar[int | None] = None

    def get_file(self, rpath: str, lpath: Any, **options: Any) -> None:
        type(self).fetched.append(rpath)
        if self.breaks_after is not None:
            content = self.cat_file(rpath)[: self.breaks_after]
            Path(lpath).write_bytes(content)
            raise ConnectionError("the line\nis dead")
        super().get_file(rpath, lpath, **options)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Counting]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    monkeypatch.setattr(Counting, "store", {})
    monkeypatch.setattr(Counting, "pseudo_dirs", [""])
    monkeypatch.setattr(Counting, "fetched", [])
    fsspec.register_implementation("memory", Counting, clobber=True)
    files = Counting()
    for name in ("b", "a"):
        files.pipe_file(f"/data/{name}.jsonl", lines(name))
    files.pipe_file("/data/README.md", b"# no records")
    files.pipe_file("/data/_x.jsonl", lines("x"))
    yield files
    fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)


def test_a_remote_file_is_copied_once_until_it_changes(store: Counting, tmp_path: Path) -> None:
    address = "memory://data/a.jsonl"
    for _ in range(3):
        table = data.read_pool([address], cache=tmp_path / "cache")
        assert table.files == (address,)
        assert list(table.sources[0].read_records(table.position)) == lines("a").splitlines()
    assert len(store.fetched) == 1
    store.pipe_file("/data/a.jsonl", lines("n"))  # As long.
    assert names(address, cache=tmp_path / "cache") == ["n"]
    assert len(store.fetched) == 2
    assert not (tmp_path / "platform").exists()
    assert names(address) == ["n"]
    assert (tmp_path / "platform").exists()


def test_remote_patterns_and_folders(store: Counting) -> None:
    assert names("memory://data/*.jsonl")[-2:] == ["a", "b"]
    for folder in ("memory://data", "memory://data/"):
        table = data.read_pool([folder])
        assert table.files == ("memory:///data/a.jsonl", "memory:///data/b.jsonl")
    assert told("memory://data/*.csv").endswith("no file matches; expected at least one")
    store.pipe_file("/data/state.json", b"{}")
    assert "is a saved dataset; expected a copy of it on this machine" in told("memory://data")


def test_a_pattern_passes_over_hidden_files(tmp_path: Path, store: Counting) -> None:
    store.pipe_file("/other/.h.jsonl", lines("h"))
    store.pipe_file("/other/v.jsonl", lines("v"))
    for name in (".h", "v"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(name))
    for folder in ("memory://other", f"file://{tmp_path}", str(tmp_path)):
        assert [os.path.basename(path) for path in data.files.expand(f"{folder}/*.jsonl")] == [
            "v.jsonl"
        ]
        assert len(data.files.expand(f"{folder}/.*.jsonl")) == 1


def test_an_address_may_have_a_query(store: Counting) -> None:
    store.pipe_file("/data/t.csv?download=true", b'labels,score\n"[""t""]",1\n')
    (address,) = data.files.expand("memory://data/[t].csv*")
    assert names(address) == ["t"]


@pytest.mark.parametrize("breaks_after", [0, 20])
def test_a_copy_that_is_broken_off_leaves_nothing(
    store: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks_after: int
) -> None:
    monkeypatch.setattr(Counting, "breaks_after", breaks_after)
    address = "memory://data/a.jsonl"
    with pytest.raises(InputError) as caught:
        data.read_pool([address], cache=tmp_path / "cache")
    assert str(caught.value) == (
        f"{address}: cannot be read (the line); expected the address of a file that can be read "
        "from here"
    )
    assert not [name for _, _, found in os.walk(tmp_path / "cache") for name in found]
    monkeypatch.setattr(Counting, "breaks_after", None)
    assert names(address, cache=tmp_path / "cache") == ["a"]


def test_a_copy_that_is_too_short_is_refused(
    store: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Any, rpath: str, lpath: str, **_: Any) -> None:
        Path(lpath).write_bytes(lines("a")[:30])

    monkeypatch.setattr(Counting, "get_file", half)
    with pytest.raises(InputError, match=rf"has {len(lines('a'))} bytes, but 30 came"):
        data.read_pool(["memory://data/a.jsonl"], cache=tmp_path / "cache")
    assert not [name for _, _, found in os.walk(tmp_path / "cache") for name in found]


def test_progress_of_copies(store: Counting, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    data.open_files(
        ["memory://data/a.jsonl"],
        cache=tmp_path,
        on_fetch=lambda *told: seen.append(told),
    )
    size = len(lines("a"))
    assert seen[-1] == ("memory://data/a.jsonl", size, size)


def test_annotate_and_select_read_remote_files(store: Counting, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    words = ["--pool=memory://data/a.jsonl", "--budget=1", f"--output={output}"]
    assert main(["select", *words, f"--cache={tmp_path}/cache"]) == 0
    assert json.loads(output.read_text())["labels"] == ["a"]
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert "memory://data/a.jsonl" in json.dumps(manifest)
    store.pipe_file("/words.json", b'["a"]')
    assert data.read_vocabulary("memory://words.json") == ["a"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("nothing://x/a.jsonl", r"nothing:// is no protocol that fsspec knows; expected s3://"),
        ("memory://data/none.jsonl", r"no such file, or no answer; expected the address of a file"),
        ("memory://data/a.jsonl/x.jsonl", r"no such file"),
    ],
)
def test_addresses_that_lead_nowhere(store: Counting, address: str, expected: str) -> None:
    assert re.search(expected, told(address))


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise ImportError(f"Install {package} to access it")

    monkeypatch.setattr("fsspec.core.get_filesystem_class", missing)
    address = f"{scheme}://bucket/a.jsonl"
    assert told(address) == (
        f"{address}: a package is missing that reads {scheme}:// addresses: pip install {package}"
    )


@pytest.mark.parametrize("what", ["pipe", "/dev/zero"])
def test_what_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(lines("a", "b"))
    if what == "pipe":
        what = str(tmp_path / "pipe")
        os.mkfifo(what)
    output = f"--output={tmp_path}/out.jsonl"
    for words in (
        ["select", f"--pool={what}", "--budget=1"],
        ["select", f"--pool={pool}", "--budget=1", f"--vocabulary={what}"],
        ["annotate", f"--pool={pool}", "--tagger=keep", "--scorer=length",
         f"--exclude_overlap={what}"],
        ["annotate", f"--pool={pool}", "--tagger=keep", "--scorer=length",
         f"--tag_mapping={what}"],
    ):  # fmt: skip
        assert main([*words, output]) == 2
        assert "is not a regular file" in capsys.readouterr().err
    with pytest.raises(InputError, match="is not a regular file"):
        data.read_validation(what)


def test_files_that_are_open_are_passed_on(folder: Path) -> None:
    files = data.open_files([folder])
    assert names(*files) == ["a", "b", "c", "d", "e"]  # type: ignore[arg-type]
    stream = io.BytesIO()
    data.write_records(data.read_pool(files), [4, 0], stream)
    assert [json.loads(line)["labels"] for line in stream.getvalue().splitlines()] == [["e"], ["a"]]
