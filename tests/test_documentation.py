"""What the README and the documentation show works as it stands there."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

import mig_jax
from mig_jax.data import write_label_embeddings
from mig_jax.synthetic import BuiltinPool
from tests.running import ROOT


def examples(file: str) -> list[str]:
    """The blocks of Python code in a file."""
    text = (ROOT / file).read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_python_example(tmp_path, monkeypatch, capsys):
    (example,) = examples("README.md")
    monkeypatch.chdir(tmp_path)
    generated = BuiltinPool(records=400, labels=40, topics=5)
    with gzip.open("pool.jsonl.gz", "wb") as stream:
        stream.writelines(line + b"\n" for line in generated.lines())
    write_label_embeddings("labels.npz", *generated.label_embeddings())
    names: dict = {}
    exec(example.replace("5000", "50"), names)  # Fewer, only to be quick.
    assert len(set(names["selection"].picks.tolist())) == 50
    assert str(names["certificate"].certified_ratio) in capsys.readouterr().out


@pytest.mark.slow
def test_limits_in_python(capsys):
    _, example = examples("docs/guides/budgets.md")  # The first reads a file.
    names: dict = {}
    exec(example.replace("5000", "1000").replace("20_000", "8_000").replace("150", "50"), names)
    tokens, of_first, of_second = map(int, re.findall(r"\d+", capsys.readouterr().out)[:3])
    assert 7_000 < tokens <= 8_000
    assert of_first >= 50
    assert of_second <= 40
    assert min(names["selection"].picks) >= 100
    assert names["certificate"].certified_ratio > 0.9


@pytest.mark.slow
def test_parts_of_ones_own(tmp_path, monkeypatch, capsys):
    for registry, name in (
        (mig_jax.FAMILIES, "root"),
        (mig_jax.GAIN_RULES, "halfway"),
        (mig_jax.learning.PARAMETERISATIONS, "weights"),
    ):
        monkeypatch.setitem(registry, name, None)  # Its line goes when the test ends.
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in examples("docs/guides/extend.md"):
        exec(example, names)
    first, *_, last = names["found"].history
    assert last.fitted < first.fitted
    learned = names["weights_only"].learned(names["found"].params)
    weights = np.asarray(learned.measure.score_function.weight)
    assert weights[:4].min() > weights[4:].max()  # Records of the first four labels are wanted.
    restored = names["restored"].measure.score_function
    assert type(restored) is names["Root"]
    np.testing.assert_array_equal(restored.weight, weights)
    assert str(restored.weight) in capsys.readouterr().out


def test_the_note_on_dataclasses_says_what_is_so(capsys):
    by_jax, by_us = examples("docs/background/dataclass_structures.md")
    names: dict = {}
    assert "count=300" in by_jax
    exec(by_jax.replace("count=300", "count=30"), names)  # Fewer, only to be quick.
    assert "(True, False, " in capsys.readouterr().out  # Else JAX has mended it: say so there.
    exec(by_us, names)
    assert "(False, False, 0)" in capsys.readouterr().out
