"""What the README shows works as it stands there."""

from __future__ import annotations

import gzip
import pathlib
import re

import pytest

from mig_jax.data import write_label_embeddings
from mig_jax.synthetic import BuiltinPool

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.slow
def test_python_example(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    generated = BuiltinPool(records=400, labels=40, topics=5)
    with gzip.open("pool.jsonl.gz", "wb") as stream:
        stream.writelines(line + b"\n" for line in generated.lines())
    write_label_embeddings("labels.npz", *generated.label_embeddings())
    names: dict = {}
    exec(example.replace("5000", "50"), names)  # Fewer, only to be quick.
    assert len(set(names["selection"].picks.tolist())) == 50
    assert str(names["certificate"].certified_ratio) in capsys.readouterr().out
