"""`mig-jax select --params`: learned parameters in a directory, applied by the command."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax import data
from mig_jax.learning import (
    Free,
    FromFeatures,
    fit_feature_basis,
    harden,
    label_features,
    save_learned,
    shared_start,
)
from tests.running import mig, refused

_LOWEST = 0.6
_BUDGET = 40


def _moved(params, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree_util.tree_map(
        lambda leaf: leaf + 0.5 * jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params
    )


def _read(pool_file):
    table = data.read_pool([pool_file])
    vectors, present = data.read_label_embeddings(
        pool_file.with_name("labels.npz"), table.label_names
    )
    pool = mig_jax.pool_from_table(table)
    return (
        table,
        pool,
        vectors,
        mig_jax.label_graph_from_embeddings(vectors, _LOWEST, present=present),
    )


@pytest.fixture(scope="module", params=["free", "features"])
def saved(request, pool_file, tmp_path_factory):
    """A directory of parameters, and what they stand for on the pool of `pool_file`."""
    table, pool, vectors, graph = _read(pool_file)
    common = {"start": shared_start(threshold=0.75), "lowest_threshold": _LOWEST}
    if request.param == "free":
        parameterisation = Free(num_labels=table.num_labels, **common)
    else:
        basis = fit_feature_basis(pool, graph, vectors, dimensions=6)
        features = label_features(basis, pool, graph, vectors)
        parameterisation = FromFeatures(features=features, basis=basis, **common)
    params = _moved(parameterisation.init(jax.random.key(0)))
    directory = tmp_path_factory.mktemp(request.param) / "params"
    save_learned(directory, parameterisation, params, table.label_names)
    return request.param, directory, parameterisation.learned(params)


def _selected(output):
    return output.read_bytes(), json.loads(output.with_suffix(".manifest.json").read_text())


def test_selects_with_what_was_learned(saved, pool_file, tmp_path):
    kind, directory, learned = saved
    output = tmp_path / "out.jsonl"
    embeddings = f"--label_embeddings={pool_file.with_name('labels.npz')}"
    common = [f"--pool={pool_file}", embeddings, f"--budget={_BUDGET}"]
    result = mig("select", *common, f"--params={directory}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    told = re.findall(r"edges at similarity (\S+) or more", result.stderr)
    at = f"{float(learned.threshold):g}"  # Of features it is learned, too: from the lowest on.
    assert told == ([at, at] if kind == "free" else [f"{_LOWEST:g}", at])
    _, pool, _, graph = _read(pool_file)
    pool, graph, measure = harden(learned, pool, graph)
    expected = mig_jax.select(pool, graph, _BUDGET, measure=measure)
    lines = pool_file.read_bytes().splitlines(keepends=True)
    written, manifest = _selected(output)
    assert written == b"".join(lines[d] for d in expected.picks)
    np.testing.assert_allclose(manifest["information"], expected.information, rtol=1e-5)
    assert manifest["edges"] == graph.num_edges > 0
    np.testing.assert_allclose(manifest["learned"]["threshold"], learned.threshold, rtol=1e-6)
    # The defaults that did not count are not told as if they had.
    assert manifest["parameters"]["params"] == str(directory)
    assert "exponent" not in manifest["parameters"]
    # And another selection than without.
    assert mig("select", *common, f"--output={output}").returncode == 0
    assert _selected(output)[0] != written


def test_without_embeddings(saved, pool_file, tmp_path):
    """Values by label name apply without; those of features are computed from embeddings."""
    kind, directory, _ = saved
    arguments = ["select", f"--pool={pool_file}", "--budget=5", f"--params={directory}"]
    arguments.append(f"--output={tmp_path / 'out.jsonl'}")
    if kind == "free":
        result = mig(*arguments)
        assert result.returncode == 0, result.stderr
    else:
        assert "expected --label_embeddings" in refused(*arguments)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--params=nowhere"], "nowhere: is no directory; expected"),
        (["--params="], "--params: found nothing"),
        (["--params=nowhere", "--exponent=0.5", "--rate=2"], "takes the place of --exponent, --r"),
        (["--params=nowhere", "--preset=paper"], "takes the place of --preset"),
        (["--params=nowhere", "--coordinator_address=localhost:1"], "--coordinator_address"),
    ],
)
def test_refuses_in_one_line(flags, told, tmp_path):
    words = ["--pool=builtin", "--budget=5", f"--output={tmp_path / 'out.jsonl'}"]
    line = refused("select", *words, *flags)
    assert told in line
    assert not list(tmp_path.iterdir())


def test_it_is_said_for_how_many_records_parameters_were_learned(pool_file, tmp_path):
    table, *_ = _read(pool_file)
    free = Free(shared_start(threshold=0.75), table.num_labels, lowest_threshold=_LOWEST)
    params, names = free.init(jax.random.key(0)), table.label_names
    save_learned(tmp_path / "params", free, params, names, budgets=(5, 20))
    words = [f"--pool={pool_file}", f"--params={tmp_path / 'params'}"]
    words.append(f"--output={tmp_path / 'out.jsonl'}")
    for budget, side in ((4, "fewer"), (12, None), (21, "more")):
        result = mig("select", *words, f"--budget={budget}")
        assert result.returncode == 0, result.stderr
        assert "learned for 5 and 20 records" in result.stderr
        dry = mig("select", *words, f"--budget={budget}", "--dry_run")
        assert ("than the parameters were learned for" in dry.stderr) == (side is not None)
        said = f"{budget} records are {side} than the parameters were learned for (5 to 20)"
        assert (said in result.stderr) == (side is not None)
        assert ("than the parameters were learned for" in result.stderr) == (side is not None)
        assert _selected(tmp_path / "out.jsonl")[1]["learned"]["budgets"] == [5, 20]


@pytest.mark.parametrize("same", [3, 1, 0])
def test_it_is_said_how_many_labels_were_learned(saved, same, pool_file, tmp_path):
    """Of labels by name, that is: features give a value to any label."""
    kind, directory, _ = saved
    table, *_ = _read(pool_file)
    names = [*table.label_names[:same], *(f"zz{i}" for i in range(3 - same))]
    rows = [{"labels": [name], "score": 1.0} for name in names]
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    width = np.load(pool_file.with_name("labels.npz"))["embeddings"].shape[1]
    vectors = np.eye(3, width, dtype=np.float32)
    np.savez(tmp_path / "labels.npz", labels=np.array(names), embeddings=vectors)
    words = [str(pool), f"--label_embeddings={tmp_path / 'labels.npz'}", f"--params={directory}"]
    result = mig("select", *words, "--budget=1", f"--output={output}", "--nocertificate")
    assert result.returncode == 0, result.stderr
    by_name = kind == "free"
    assert (f"{same} of 3 labels of the pool were learned" in result.stderr) == by_name
    assert ("the others have" in result.stderr) == (by_name and same == 1)
    assert ("warning: 0 of 3 labels" in result.stderr) == (by_name and same == 0)
    assert _selected(output)[1]["learned"]["labels_learned"] == (same if by_name else None)


def test_a_threshold_that_was_learned_too_high_is_told_with_what_helps(pool_file, tmp_path):
    table, *_ = _read(pool_file)
    free = Free(shared_start(threshold=0.99), table.num_labels, lowest_threshold=_LOWEST)
    save_learned(tmp_path / "params", free, free.init(jax.random.key(0)), table.label_names)
    output = tmp_path / "out.jsonl"
    words = [f"--pool={pool_file}", f"--label_embeddings={pool_file.with_name('labels.npz')}"]
    words += [f"--params={tmp_path / 'params'}", "--budget=5", f"--output={output}"]
    told = mig("select", *words, "--nocertificate").stderr
    assert "joins hardly any labels" in told
    assert ": learn again with --start_thresholds=0." in told
    assert "--similarity_threshold=" not in told
    within = refused("select", words[0], f"--params={tmp_path}", *words[3:])
    assert within.endswith(f"that mig-jax learn wrote, such as {tmp_path / 'params'}")
    again = mig("explain", f"--selection={output}", "--record=7")
    assert again.returncode == 0, again.stderr
    assert "joins hardly any labels" not in again.stderr
