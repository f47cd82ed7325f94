"""What the campaigns run: small cases of select, annotate and learn, and what must come of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import shutil
from typing import Any

import numpy as np

from mig_jax import data
from mig_jax.errors import InputError
from mig_jax.synthetic import BuiltinPool
from tests.reliability import forked


@dataclasses.dataclass(frozen=True)
class Case:
    """A command that writes a set of outputs into a folder, over an older set."""

    name: str
    words: list[str]  # {out} is the folder of the outputs.
    older: list[str]  # Words that come last, for the older set.
    manifest: str
    interrupted: str  # What it says if it is stopped before its outputs are there.
    full_at: tuple[int, ...]  # Bytes that are left on a disk, and too few.
    keeps: tuple[str, ...] = ()  # What may stand beside the outputs, to go on from.

    def of(self, out: pathlib.Path, *more: str) -> list[str]:
        return [word.replace("{out}", str(out)) for word in (*self.words, *more)]


def make_cases(root: pathlib.Path) -> dict[str, Case]:
    """Writes the pools that the cases read."""
    pool = BuiltinPool(records=300, labels=30, topics=5)
    (root / "pool.jsonl").write_bytes(b"".join(pool.lines()))
    names, vectors = pool.label_embeddings()
    np.savez(root / "emb.npz", labels=np.array(names), embeddings=vectors)
    rows = [json.loads(line) for line in pool.lines(0, 40)]
    for name, part in (("dev", rows[:20]), ("test", rows[20:])):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    pooled = [f"--pool={root / 'pool.jsonl'}", f"--label_embeddings={root / 'emb.npz'}"]
    nothing = "no output was written"
    learn = [
        *pooled,
        f"--validation={root / 'dev.jsonl'}",
        f"--test={root / 'test.jsonl'}",
        "--objective=target",
        "--start_thresholds=0.8",
        "--cache=none",
    ]
    cases = [
        Case(
            "select",
            ["select", *pooled, "--output={out}/x.jsonl", "--budget=20", "--cache=none"],
            ["--budget=10"],
            "x.manifest.json",
            nothing,
            (0, 4096, 8192, 12288, 20480),
        ),
        Case(
            "annotate",
            [
                "annotate",
                pooled[0],
                "--output={out}/x.jsonl",
                "--tagger=keep",
                "--scorer=length",
                "--deduplicate=exact",
                "--normalise_tags",
                "--min_tag_count=2",
                "--tag_distance=0",
            ],
            ["--scorer=keep", "--min_tag_count=1"],
            "x.annotation.json",
            nothing,
            (0, 4096, 8192, 16384, 32768, 65536),
            ("x.journal.jsonl",),
        ),
        Case(
            "learn",
            ["learn", "--workdir={out}", *learn, "--budget=20", "--steps=2"],
            ["--steps=1"],
            "report.json",
            "the same command goes on from here",
            (0, 8192, 65536, 131072),
            ("state", "learn.run.json"),
        ),
    ]
    return {case.name: case for case in cases}


def content(folder: pathlib.Path, case: Case) -> dict[str, Any]:
    """All outputs in a folder by name: digests, and for JSON what does not tell of time."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith((".mig_jax", *case.keeps)) or "/.mig_jax" in name:
            continue
        if name.startswith("params/") and "arrays" in name:
            continue  # Orbax compresses in an order of its own; `check_outputs` reads them.
        if name.endswith(".json") and not name.startswith("params/"):
            found[name] = _timeless(json.loads(path.read_bytes()))
        elif not name.startswith("params/") and not name.endswith((".md", ".png")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "there"
    return found


def _timeless(value: Any) -> Any:
    # And what tells of places.
    timed = {"seconds", "resumed_after", "sha256", "bytes", "workdir", "cache", "report"}
    timed |= {"checkpoint_dir", "checkpoint_every_seconds"}
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in timed}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def left_behind(folder: pathlib.Path) -> list[str]:
    """Names of ours that no run needs."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".mig_jax*"))


class Bench:
    """A folder for one case, in which its older set stands, and what is right there."""

    def __init__(self, case: Case, root: pathlib.Path) -> None:
        self.case, self.root = case, root
        self.out, self.log = root / f"{case.name}_out", root / f"{case.name}_log"
        self._kept: dict[bool, pathlib.Path] = {}
        self.sets: dict[bool, dict[str, Any]] = {}  # Old (True) and new.
        for is_old in (True, False):
            self.clear()
            ended = self.run(*case.older * is_old)
            assert ended.status == 0, ended
            assert not left_behind(self.out), left_behind(self.out)
            self.sets[is_old] = content(self.out, case)
            self._kept[is_old] = root / f"{case.name}_{'old' if is_old else 'new'}"
            for name in case.keeps:
                path = self.out / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            shutil.rmtree(self._kept[is_old], ignore_errors=True)  # Of an earlier campaign.
            shutil.copytree(self.out, self._kept[is_old])
            self.steps, self.seconds = ended.steps, ended.seconds
        assert self.sets[True] != self.sets[False]

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def older(self) -> None:
        """The older set, and nothing else."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self._kept[True], self.out)

    def run(self, *more: str, **how: Any) -> forked.Ended:
        return forked.run(self.case.of(self.out, *more), self.out, self.log, **how)

    def which(self, *, had_older: bool) -> str:
        """Which set stands there for who reads it now: old, new or none; else AssertionError."""
        manifest = self.out / self.case.manifest
        if manifest.exists():  # What a reader sees that knows nothing of us.
            _check_digests(manifest)
        elif had_older:
            assert list(self.out.glob(".mig_jax.*.commit")), "no manifest, and nothing to finish"
        try:
            data.check_outputs(manifest)
        except InputError:
            assert not had_older, "neither the old nor the new set is there"
            visible = content(self.out, self.case)
            assert not visible, visible
            return "none"
        found = content(self.out, self.case)
        for is_old, expected in self.sets.items():
            if found == expected:
                return "old" if is_old else "new"
        raise AssertionError(f"a mixed set: {found}")


def _check_digests(manifest: pathlib.Path) -> None:
    for name, told in json.loads(manifest.read_bytes())["outputs"].items():
        path = manifest.parent / name
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"], name
        else:
            assert path.is_dir(), name
