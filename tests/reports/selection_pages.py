"""A pool whose page must be careful, its selection, and the page read by another parser."""

from __future__ import annotations

import html.parser
import json
import pathlib
import subprocess
from typing import Any

import numpy as np

from tests.running import mig

__all__ = ["ATTACK", "LABELS", "Page", "attacked_pool", "select"]

#: What would run if it were not escaped: each way out of a text, an attribute, a script element.
ATTACK = (
    '<script>window.attacked=1</script></script><img src=x onerror="window.attacked=1"> & '
    '"quoted" \'><svg onload=window.attacked=1> <!-- <script>'
)
LABELS = [ATTACK[-100:], "数学", "👩‍🔬", "$x$", "plain"]


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the text between them, and the data to explore."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._data: str | None = None
        self._in_program = False
        self.feed(path.read_text("utf-8"))

    @property
    def data(self) -> dict[str, Any]:
        assert self._data is not None
        return json.loads(self._data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script" and dict(attrs).get("id") == "data":
            assert self._data is None
            self._data = ""
        self._in_program = tag == "script"

    def handle_data(self, data: str) -> None:
        if not self._in_program:
            self.text += data
        elif self._data == "":
            self._data = data


def select(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, in this process; what it writes is in the folder."""
    return mig("select", f"--output={folder / 'out.jsonl'}", "--cache=none", *words)


def attacked_pool(folder: pathlib.Path) -> list[str]:
    """Flags of two files with labels and texts that HTML, fonts and formulas stumble over."""
    rng = np.random.default_rng(0)
    for file in ("first", "second"):
        rows = []
        for number in range(30):
            turns = [
                {"role": "user", "content": f"{ATTACK} {file} number{number}"},
                {"role": "assistant", "content": "long " * 400},
            ]
            labels = [LABELS[k] for k in rng.choice(5, 2, replace=False)]
            rows.append({"messages": turns, "labels": labels, "score": float(rng.random())})
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(folder / "emb.npz", labels=np.array(LABELS), embeddings=rng.random((5, 3)))
    files = [f"--pool={folder / f'{name}.jsonl'}" for name in ("first", "second")]
    return [*files, f"--label_embeddings={folder / 'emb.npz'}", "--similarity_threshold=0.5"]
