"""What a campaign has tried, a row a try: kept in a file, so that it goes on where it stopped."""

from __future__ import annotations

import json
import pathlib
from typing import Any


class Rows:
    """The rows of one campaign; `wrong` in a row tells what was wrong."""

    def __init__(self, root: pathlib.Path, noun: str) -> None:
        """Opens ROOT/NOUN.jsonl, in a folder that is made if it is not there."""
        root.mkdir(parents=True, exist_ok=True)
        self._path, self._noun = root / f"{noun.replace(' ', '_')}.jsonl", noun

    def read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def add(self, row: dict[str, Any]) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def tell(self) -> None:
        """Prints how many there are, and those with something wrong."""
        rows = self.read()
        wrong = [row for row in rows if "wrong" in row]
        print(f"{len(rows)} {self._noun}, {len(wrong)} with something wrong")
        for row in wrong:
            print(json.dumps(row))
