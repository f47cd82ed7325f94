"""What is known of single commands of the documentation: all that is not simply run as printed.

Every entry is a pattern that is looked for in the text of a command or block, whatever page it
stands on. One that fits nothing any more makes the tests fail: take it out.
"""

from __future__ import annotations

import re

__all__ = [
    "ELLIPSES",
    "FLAGS_OF_OTHERS",
    "NEEDED",
    "NOT_RUN",
    "PLACEHOLDERS",
    "QUICKER",
    "REFUSED",
    "SHOWN",
    "SUBSTITUTED",
    "first_of",
]

#: Not run, and why. Flags of ours are parsed nevertheless, extras of pip looked up.
NOT_RUN = {
    r"^pip install": "the network; that the extras exist is checked",
    r"^python -m pytest": "it is what runs this",
    r"MODEL\.gguf|^mig-jax select .*--model=": "a language model of gigabytes",
    r"--embedding_model=": "a sentence model, from the network",
    r"--endpoint=": "a server with a language model",
    r"--ray_address=|^ray ": "a cluster",
    r"--coordinator_address=": "several hosts",
    r"^vllm |^llama-server |(^| )ollama |^transformers serve": "a server of others",
    r"sglang\.launch_server": "a server of others",
    r"-m experiments\.learn_params ": "two minutes; .ci/run runs it",
    r"thorough\.flags": "240 steps of learning",
    r"^mig-jax learn .*--objective=": "minutes; tests/commands/test_learn.py runs each objective",
    r"--params=learned/params .*--output=next\.jsonl": "what was learned by what is not run",
    r"-m experiments\.tag_agreement": "a real pool and a sentence model",
    r"-m experiments\.finetune ": "a language model of gigabytes, and hours",
    r"-m experiments\.judge_selections ": "networks, trained for minutes",
    r"-m experiments\.score_signals ": "two real pools, and minutes",
    r"-m experiments\.benchmark ": "an hour; the rivals of the extra bench",
    r"-m experiments\.benchmark_reading ": "a file of a gigabyte",
    r"-m experiments\.benchmark_accelerator ": "an accelerator",
    r"-m experiments\.compile_for_h100 ": "the extra cuda, and minutes",
    r"-m tests\.reliability\.": "hours; a part of each runs as a test",
}

#: Run only where a package of an extra is installed: its module.
NEEDED = {r"--deduplicate=near": "datasketch"}

#: Refused, as the page tells: what is said then.
REFUSED: dict[str, str] = {}

#: Words put behind those printed, only to be quick.
QUICKER = {
    r"^mig-jax learn (?!.*--pool=)": (
        "--pool=tiny.jsonl --label_embeddings=tiny.npz --budget=20 --steps=2 --noablation"
        " --start_thresholds=0.8"
    ),
    r"^mig-jax ablate (?!.*--pool=)": (
        "--pool=tiny.jsonl --label_embeddings=tiny.npz --budget=20 --exponents=0.8"
    ),
    r"^mig-jax ablate .*--pool=": "--budget=20 --exponents=0.8 --rates=0.1 --propagations=1",
}

#: Put in the place of what is printed in Python, only to be quick.
SUBSTITUTED = {"count=300": "count=30"}

#: What … stands for in the commands of a program: flags shown before. Later ones count.
ELLIPSES = {
    "mig-jax select": "--label_embeddings=labels.npz --budget=10 --output=rest.jsonl",
    "mig-jax annotate": "--pool=raw.jsonl --output=annotated.jsonl",
}

#: Words in capitals, where a flag needs a number: what is parsed in their place.
PLACEHOLDERS = {"=N": "=10", "=IN": "=1", "=OUT": "=1"}

#: Blocks without a language that are neither commands nor Python: what they are.
SHOWN = {
    r"\A\{": "a record",
    r"\Amig-jax: |\Anote: |\Alabel graph: ": "what a command says",
    r"\Asubset,score$": "a table",
    r"\A# \w+\.txt$": "a file of flags",
}

#: Flags named in sentences that are not ours, and whose they are.
FLAGS_OF_OTHERS = {
    "--help": "every command",
    "--help_all": "every command",
    "--version": "mig-jax itself",
    "--flagfile": "absl",
    "--no-deps": "pip",
    "--num-cpus": "ray",
    "--head": "ray",
    "--inputs": "tests.fuzzing",
    "--bugdet": "a slip, of which troubleshooting tells",
}


def first_of(table: dict[str, str], text: str) -> str | None:
    """What the table says of the first of its patterns that the text has; None without."""
    return next((table[key] for key in table if re.search(key, text, re.MULTILINE)), None)
