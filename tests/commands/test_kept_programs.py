"""What a command has compiled, the next one need not, in whichever process it runs."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax

from mig_jax import data
from mig_jax.commands.command import run_command
from mig_jax.commands.main import load
from mig_jax.devices import kind_of_programs
from tests.running import ROOT

# Runs commands one after another, and tells what each compiled and what it found compiled.
PROGRAM = """
import collections, contextlib, json, sys
import jax
from mig_jax.commands.main import main

events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.update([event]))
told = []
for words in json.loads(sys.argv[1]):
    jax.clear_caches()
    events.clear()
    with contextlib.redirect_stdout(sys.stderr):
        assert main(words) == 0
    found = events["/jax/compilation_cache/cache_hits"]
    told.append((events["/jax/core/compile/backend_compile_duration"] - found, found))
print(json.dumps(told))
"""


def run(folder: pathlib.Path, *commands: list[str]) -> tuple[list, str]:
    """How many programs each command compiled and found, and what they said on stderr.

    They run in a process of somebody whose caches are in this folder, and who has set nothing of
    JAX.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        env=env | {"XDG_CACHE_HOME": str(folder), "XLA_FLAGS": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def kept(folder: pathlib.Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("**/compiled/*/*-cache")}


def test_a_second_run_compiles_nothing(pool_file, tmp_path):
    def select(output: str, *more: str) -> list[str]:
        embeddings = pool_file.parent / "labels.npz"
        given = [f"--pool={pool_file}", f"--label_embeddings={embeddings}", "--budget=20"]
        return ["select", *given, f"--output={tmp_path / output}", *more]

    caches = tmp_path / "caches"
    ((compiled, found),), _ = run(caches, select("first.jsonl"))
    assert compiled > 20
    assert found == 0
    programs = kept(caches)
    assert len(programs) == compiled
    # Another process; and what it does next goes by its own flags.
    other = f"--cache={tmp_path / 'other'}"
    told, err = run(
        caches,
        select("second.jsonl"),
        select("none.jsonl", "--cache=none"),
        select("other.jsonl", other),
        select("again.jsonl", other),
    )
    assert told == [[0, compiled], [compiled, 0], [compiled, 0], [0, compiled]]
    assert kept(caches) == programs
    assert kept(tmp_path / "other").keys() == programs.keys()
    assert "Warning" not in err
    assert "E0000" not in err  # XLA's long lines of features, if it doubts the processor.
    texts = {(tmp_path / f"{name}.jsonl").read_bytes() for name in ("first", "second", "other")}
    assert len(texts) == 1


def place_of(*words: str) -> pathlib.Path | None:
    """Where JAX keeps programs while `mig-jax select` runs with these flags."""
    seen = []
    command = dataclasses.replace(
        load("select"), run=lambda values: seen.append(jax.config.jax_compilation_cache_dir)
    )
    run_command(command, ["--output=out.jsonl", *words], "mig-jax select")
    (place,) = seen
    return None if place is None else pathlib.Path(place)


def test_the_flags_say_where(tmp_path, monkeypatch, jax_as_it_comes):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "usual"))
    kind = kind_of_programs()
    place = pathlib.Path(data.default_cache_folder(), "compiled", kind)
    assert place_of() == place
    own = tmp_path / "own"
    assert place_of(f"--cache={own}") == own / "compiled" / kind
    assert place_of("--cache=none") is None
    # Processes that select together keep none.
    together = ["--coordinator_address=localhost:1", "--num_processes=2", "--pool=pool.jsonl"]
    assert place_of(*together) is None
    assert jax.config.jax_compilation_cache_dir is None


def test_what_the_user_has_set_of_jax_stands(tmp_path, jax_as_it_comes):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert place_of() == tmp_path
    assert place_of("--cache=none") == tmp_path
