"""The parts of fine-tuning studies: what is kept, intervals, correlations, a model from scratch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from experiments.finetuning.cells import KeptLines, read_kept
from experiments.finetuning.comparison import difference
from experiments.finetuning.correlation import rank_correlations
from experiments.finetuning.scratch import scratch_model
from experiments.finetuning.training import Cell, groups_of
from mig_jax.errors import InputError
from mig_jax.methods import Limits

RUN = {"model": "small", "rows": 4}
TEXTS = [f"{who} has {n} apples; how many? {n}" for who in ("Ann", "Bob") for n in range(40)]


def test_a_half_written_line_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "cells.jsonl"
    with KeptLines(path, "cells", RUN) as kept:
        kept.put("first", [1.5, 2.0])
        kept.put("second", {"end": 3})
    before = path.read_bytes()
    # The end of a longer line must not stay behind the next one.
    path.write_bytes(before + b'["third", "' + 100 * b"x" + b'"]')
    both = {"first": [1.5, 2.0], "second": {"end": 3}}
    assert read_kept(path, "cells") == (RUN, both)
    with KeptLines(path, "cells", RUN) as kept:
        assert dict(kept.items()) == both
        assert "third" not in kept
        assert read_kept(path, "cells") == (RUN, both)  # A reader needs not hold it.
        kept.put("third", 5)
        assert kept["third"] == 5
    assert path.read_bytes() == before + b'["third", 5]\n'


def test_what_is_foreign_or_held_is_refused_and_stays(tmp_path):
    path = tmp_path / "cells.jsonl"
    with KeptLines(path, "cells", RUN) as kept:
        kept.put("first", 1)
        with pytest.raises(InputError, match="another run is using it"):
            KeptLines(path, "cells", RUN).__enter__()
    before = path.read_bytes()
    for kind, run in (("cells", RUN | {"rows": 8}), ("selections", RUN)):
        with pytest.raises(InputError):
            KeptLines(path, kind, run).__enter__()
    with pytest.raises(InputError, match="no record of mig_jax selections"):
        read_kept(path, "selections")
    with pytest.raises(InputError, match="expected the cells of a study"):
        read_kept(tmp_path / "none", "cells")
    assert path.read_bytes() == before
    text = tmp_path / "notes"
    text.write_text("mine\n")
    for read in (
        lambda: KeptLines(text, "cells", RUN).__enter__(),
        lambda: read_kept(text, "cells"),
    ):
        with pytest.raises(InputError):
            read()
    assert text.read_text() == "mine\n"


def test_cells_of_a_budget_learn_side_by_side():
    cells = [
        Cell(method, f"{n} tokens", Limits(tokens=n), seed)
        for seed in (0, 1)
        for n in (9, 99)
        for method in "abc"
    ]
    assert groups_of(cells, 1) == [[cell] for cell in cells]
    groups = groups_of(cells, 4)
    assert [len(group) for group in groups] == [4, 2, 4, 2]
    assert sorted(cell.key for group in groups for cell in group) == sorted(c.key for c in cells)
    for group in groups:
        assert len({cell.budget for cell in group}) == 1
        assert [cell.seed for cell in group] == sorted(cell.seed for cell in group)


def test_difference_adds_the_variances_of_seeds_and_records():
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c"], [5, 9, 2])
    by_seed = [rng.normal(size=16) for _ in range(4)]
    means, of_records, uncertain = [], 0.0, 0.0
    for one in by_seed:
        means.append(sum(one[groups == task].mean() for task in "abc") / 3)
    for task in "abc":
        own = [np.mean([one[n] for one in by_seed]) for n in np.flatnonzero(groups == task)]
        part = sum((x - np.mean(own)) ** 2 for x in own) / (len(own) - 1) / len(own) / 9
        of_records += part
        uncertain += part**2 / (len(own) - 1)
    of_seeds = sum((x - np.mean(means)) ** 2 for x in means) / 3 / 4
    freedom = (of_records + of_seeds) ** 2 / (of_seeds**2 / 3 + uncertain)
    width = scipy.stats.t(freedom).ppf(0.975) * (of_records + of_seeds) ** 0.5
    found = difference(by_seed, groups)
    assert found.mean == pytest.approx(np.mean(means))
    assert (found.low, found.high) == pytest.approx((found.mean - width, found.mean + width))
    assert found.is_clear == (found.low > 0 or found.high < 0)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    groups = np.repeat(["a", "b"], 20)
    held = 0
    for _ in range(400):
        of_records, of_seeds = rng.normal(size=40), 0.3 * rng.normal(size=3)
        noise = 0.5 * rng.normal(size=(3, 40))
        found = difference(
            [0.7 + of_records + s + e for s, e in zip(of_seeds, noise, strict=True)], groups
        )
        held += found.low <= 0.7 <= found.high
    assert 0.92 <= held / 400 <= 1.0
    # What varies by seed alone has one seed's worth of certainty for each seed.
    alone = difference([np.full(40, s) for s in (0.1, 0.2, 0.3)], groups)
    expected = scipy.stats.t(2, 0.2, 0.1 / 3**0.5).interval(0.95)
    assert (alone.low, alone.high) == pytest.approx(expected)


def test_rank_correlations_are_those_of_scipy():
    rng = np.random.default_rng(2)
    columns = rng.integers(0, 4, (5, 30)).astype(float)  # Many are equal.
    targets = columns + rng.normal(size=(5, 30)).round(1) * np.arange(5)[:, None]
    columns[4] = 1.0
    found = rank_correlations(columns, targets, [str(n) for n in range(30)])
    expected = [scipy.stats.spearmanr(columns[c], targets[c]).statistic for c in range(4)]
    np.testing.assert_allclose(found.value[:4], expected, atol=1e-12)
    assert found.value[0] == found.low[0] == found.high[0] == pytest.approx(1.0)
    assert all(np.isnan(bound[4]) for bound in (found.value, found.low, found.high))
    assert (found.low[:4] <= found.value[:4]).all()
    assert (found.value[:4] <= found.high[:4]).all()


def test_correlation_intervals_are_near_fishers_and_count_a_family_once():
    rng = np.random.default_rng(3)
    x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 150).T
    names = [str(n) for n in range(150)]
    once = rank_correlations(x[None], y[None], names)
    value = once.value[0]
    spread = 1.96 * ((1 + value**2 / 2) / 147) ** 0.5
    near = np.tanh(np.arctanh(value) + np.array([-spread, spread]))
    np.testing.assert_allclose([once.low[0], once.high[0]], near, atol=0.04)
    # Seeds of one method that are all alike tell no more than one.
    x, y, names = (np.repeat(values, 3) for values in (x, y, names))
    thrice = rank_correlations(x[None], y[None], names.tolist())
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(thrice, name), getattr(once, name), atol=1e-12)


def test_a_model_from_scratch_is_the_same_for_the_same_texts():
    pytest.importorskip("tokenizers")
    one, same, other = (
        scratch_model("scratch:32x1", texts) for texts in (TEXTS, iter(TEXTS), TEXTS[:40])
    )
    assert one.digest == same.digest != other.digest
    assert one.digest != scratch_model("scratch:64x1", TEXTS).digest
    found = one.tokenizer.encode("Ann has 17 apples<|im_end|>")
    assert found.tokens == ["Ann", "Ġhas", "Ġ", "1", "7", "Ġapples", "<|im_end|>"]
    assert one.tokenizer.decode(found.ids, skip_special_tokens=False).startswith("Ann has 17 app")


@pytest.mark.parametrize("name", ["scratch:", "scratch:33x1", "scratch:32x0", "scratch:32"])
def test_sizes_that_cannot_be_are_refused(name):
    with pytest.raises(InputError, match="expected scratch, or scratch:WIDTHxLAYERS"):
        scratch_model(name, TEXTS)
