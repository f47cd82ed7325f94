"""`mig-jax annotate` with a tagger that takes its time, and tells where it works or fails.

    python slow_annotate.py FOLDER SECONDS annotate --tagger=keep ...

It leaves a file in FOLDER for each batch and each machine, named after the machine. If FOLDER has
a file `fails`, a record that asks for what is in it is refused; if it has one `ends`, such a
record ends the process.
"""

from __future__ import annotations

import os
import pathlib
import sys
import time
import uuid


class Slow:
    """Keeps labels, as KeepLabels does."""

    def __init__(self, folder: pathlib.Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds

    def tag(self, samples):
        from mig_jax.errors import InputError

        machine = "here"
        if ray := sys.modules.get("ray"):
            machine = ray.get_runtime_context().get_node_id()
        for name in ("fails", "ends"):
            wanted = self._folder / name
            if wanted.exists() and any(wanted.read_text() in one.instruction for one in samples):
                if name == "ends":
                    os._exit(1)
                raise InputError(f"--tagger: refuses {wanted.read_text()}")
        time.sleep(self._seconds)
        (self._folder / f"{machine}.{uuid.uuid4()}").touch()
        return [sample.labels or [] for sample in samples]


if __name__ == "__main__":
    from mig_jax import annotation
    from mig_jax.commands.main import main

    folder, seconds, *words = sys.argv[1:]
    slow = Slow(pathlib.Path(folder), float(seconds))
    annotation.TAGGERS["keep"] = lambda options: slow
    sys.exit(main(words))
