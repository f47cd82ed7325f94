"""`-` for the pool and for the output: the same records as of files, all of them or none."""

from __future__ import annotations

import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest
import zstandard

from tests.running import ROOT, mig, refused


@pytest.fixture(scope="module")
def wanted(pool_file):
    """What is selected of the file, as bytes."""
    output = pool_file.parent / "wanted.jsonl"
    assert mig(*select(pool_file, pool_file, output)).returncode == 0
    return output.read_bytes()


def select(pool_file, pool, output, *more):
    embeddings = f"--label_embeddings={pool_file.parent / 'labels.npz'}"
    quick = ["--budget=9", "--nocertificate"]
    return ["select", pool, embeddings, *quick, f"--output={output}", *more]


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Makes bytes the standard input; in the end no copy of them is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    yield give
    assert list((tmp_path / "temporary").iterdir()) == []


def as_array(text):
    return b"[" + b",".join(text.splitlines()) + b"]"


def as_parquet(text):
    import pyarrow.json
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.json.read_json(io.BytesIO(text)), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "form", [bytes, gzip.compress, lambda text: zstandard.compress(text), as_array, as_parquet]
)
def test_the_form_of_standard_input_is_told_by_its_content(
    form, pool_file, wanted, given, tmp_path
):
    output = tmp_path / "o.jsonl"
    given(form(pool_file.read_bytes()))
    assert mig(*select(pool_file, "-", output)).returncode == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert lines == [json.loads(line) for line in wanted.splitlines()]
    manifest = json.loads((tmp_path / "o.manifest.json").read_text())
    assert manifest["files"] == ["standard input"]
    assert manifest["parameters"]["pool"] == ["-"]


def test_a_selection_of_standard_input_is_explained_from_a_file(pool_file, given, tmp_path):
    output = tmp_path / "o.jsonl"
    given(pool_file.read_bytes())
    assert mig(*select(pool_file, "-", output)).returncode == 0
    words = ["explain", f"--selection={output}", "--record=7"]
    told = refused(*words)
    assert told.startswith("mig-jax: --pool: the selection was made from standard input; expected ")
    assert mig(*words, f"--pool={pool_file}").returncode == 0


def test_standard_input_beside_a_file(pool_file, given, tmp_path):
    """In the order in which they are named."""
    lines = pool_file.read_bytes().splitlines(keepends=True)
    (tmp_path / "first.jsonl").write_bytes(b"".join(lines[:100]))
    given(b"".join(lines[100:]))
    output = tmp_path / "o.jsonl"
    words = [*select(pool_file, tmp_path / "first.jsonl", output), "-"]
    assert mig(*words).returncode == 0
    manifest = json.loads((tmp_path / "o.manifest.json").read_text())
    assert manifest["files"] == [str(tmp_path / "first.jsonl"), "standard input"]
    assert manifest["records_used"] == 300


def test_what_is_wrong_with_standard_input(pool_file, given, tmp_path):
    output = tmp_path / "o.jsonl"
    for content, told in (
        (b"", "standard input: "),
        (b'{"labels": ["a"], "score": 1}\n{"labels": 1, "score": 1}\n', "standard input, line 2, "),
    ):
        given(content)
        assert refused(*select(pool_file, "-", output)).startswith(f"mig-jax: {told}")
    given(b"")
    assert "is the same file" in refused(*select(pool_file, "-", output), "-")
    assert not output.exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--given=-"], "--given: found -, expected a file"),
        (["--extend=o.jsonl"], "--extend: does not go with the pool -"),
        (["--coordinator_address=a:1", "--num_processes=2"], "--pool: - does not go with --coord"),
    ],
)
def test_what_does_not_go_with_standard_input(more, told, pool_file, given, tmp_path):
    given(b"not read")
    assert told in refused(*select(pool_file, "-", tmp_path / "o.jsonl", *more))
    assert sys.stdin.read() == "not read"


def run(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "mig_jax", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        **more,
    )


def test_a_pipe(pool_file, wanted):
    """From standard input to standard output, in a process of its own: the records and no more."""
    before = set(os.listdir(ROOT))
    found = run(*select(pool_file, "-", "-"), input=pool_file.read_bytes())
    assert found.returncode == 0, found.stderr
    assert found.stdout == wanted
    told = found.stderr.decode().replace("\r", "\n")
    assert "selected 9 of 300 records -> standard output\n  information E " in told
    assert set(os.listdir(ROOT)) == before


def test_standard_output_without_bytes(pool_file, wanted, tmp_path):
    """As that of a notebook, which takes text; a report has a folder of its own."""
    found = mig(*select(pool_file, pool_file, "-", f"--report={tmp_path / 'report'}"))
    assert os.listdir(tmp_path / "report") == ["index.html"]
    assert found.returncode == 0
    assert found.stdout.encode() == wanted


def test_a_comparison_on_standard_output_is_a_table(pool_file, wanted, tmp_path, monkeypatch):
    """There is no file named -, and no picture beside it."""
    monkeypatch.chdir(tmp_path)
    found = mig(*select(pool_file, pool_file, "-", "--compare=top_score"))
    assert found.stdout.encode() == wanted
    assert "    top_score " in found.stderr
    assert os.listdir(tmp_path) == []


def test_closed_streams(pool_file, wanted, tmp_path):
    """Standard output that is not there is a place that cannot be written to."""
    code = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.executable, sys.argv[2:])"

    def closing(number, output):
        words = select(pool_file, pool_file, output)
        command = [sys.executable, "-c", code, number, sys.executable, "-m", "mig_jax", *words]
        command = [*map(str, command)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)

    found = closing(1, "-")
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith(b"mig-jax: standard output: is closed; ")
    for number in (1, 2):
        output = tmp_path / f"{number}.jsonl"
        assert closing(number, output).returncode == 0
        assert output.read_bytes() == wanted


def test_nothing_is_half_written_to_standard_output(pool_file, tmp_path):
    (tmp_path / "bad.jsonl").write_bytes(pool_file.read_bytes() + b'{"mig_jax": 1}\n')
    found = mig(*select(pool_file, tmp_path / "bad.jsonl", "-"))
    assert (found.returncode, found.stdout) == (2, "")
    found = mig(*select(pool_file, tmp_path / "bad.jsonl", "-", "--on_bad_record=skip"))
    assert "1 bad record skipped" in found.stderr
    assert "left out most often (1 time): " in found.stderr
    assert "rejected.jsonl" not in found.stderr
    assert len(found.stdout.splitlines()) == 9
    assert not pathlib.Path("-.rejected.jsonl").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--output_layout=parquet"], "--output: - is for lines, and --output_layout=parquet"),
        (["--dataset_info=d.json"], "--dataset_info: --output is -, expected an ending"),
        (["--coordinator_address=a:1", "--num_processes=2"], "--output: - does not go with --co"),
    ],
)
def test_what_does_not_go_with_standard_output(more, told, pool_file):
    assert told in refused(*select(pool_file, pool_file, "-", *more))


def test_commands_that_write_several_files_take_no_standard_output(pool_file):
    assert "-: is no file" in refused("annotate", pool_file, "--output=-")


def test_a_generated_pool_on_standard_output(tmp_path):
    found = mig("make_pool", "--records=300", "--output=-")
    assert found.returncode == 0
    assert mig("make_pool", "--records=300", f"--output={tmp_path / 'p.jsonl'}").returncode == 0
    assert found.stdout == (tmp_path / "p.jsonl").read_text()
