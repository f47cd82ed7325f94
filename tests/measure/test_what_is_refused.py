"""What cannot be measured is refused where it is given, and not computed with."""

from __future__ import annotations

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax

POOL = mig_jax.pool_from_label_lists([[0], [0, 1], [1], [2]], [1.0, 0.9, 0.8, 0.7])
Z = np.array([1.0, 2.0, 0.5], np.float32)
GRAPH = mig_jax.label_graph_from_edges(3, [(0, 1, 0.5)])


@pytest.mark.parametrize(
    ("family", "parameters", "told"),
    [
        (mig_jax.Power, (2.0,), "exponent: found 2, expected at most 1"),
        (mig_jax.Power, (np.array([0.5, 1.25, 0.5]),), "exponent: found 1.25"),
        (mig_jax.Power, (-0.5,), "exponent: found -0.5, expected at least 0"),
        (mig_jax.Power, (0.5, -1.0), "epsilon: found -1"),
        (mig_jax.Exponential, (-1.0,), "rate: found -1"),
        (mig_jax.Log, (1.0, jnp.array([1.0, -2.0])), "weight: found -2"),
        (mig_jax.Saturating, (-1,), "rate: found -1"),
    ],
)
def test_functions_that_are_not_concave_or_fall(family, parameters, told):
    """Lazy selection and the certificate trust in concavity."""
    with pytest.raises(ValueError, match=told):
        family(*parameters)


def test_propagation_below_0():
    with pytest.raises(ValueError, match="propagation: found -1"):
        mig_jax.Measure(propagation=-1.0)


def test_traced_parameters_pass():
    """Nothing is known of them; a gradient may be taken at the end of the range, too."""

    def slope(exponent):
        return mig_jax.Power(exponent, 0.0).value(2.0)

    np.testing.assert_allclose(jax.grad(slope)(1.0), 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(slope)(2.0), 4, rtol=1e-6)
    assert jax.tree_util.tree_map(lambda leaf: -leaf, mig_jax.Log()).rate == -1


@pytest.mark.parametrize("row", [[True, False], [-1], [2**31]], ids=str)
def test_label_ids_that_are_not_whole_numbers(row):
    with pytest.raises(ValueError, match="every label id must be a whole number"):
        mig_jax.pool_from_label_lists([row], [1.0])


@pytest.mark.parametrize("score", [np.nan, -1.0, 1e39, 1j, "1", None])
def test_scores_that_are_no_finite_numbers(score):
    with pytest.raises(ValueError, match="every score must be a finite number"):
        mig_jax.pool_from_label_lists([[0]], [score])


def test_label_lists_of_arrays():
    kinds = [jnp.array([2, 0]), np.array([1]), (np.int64(0), 0), []]
    pool = mig_jax.pool_from_label_lists(kinds, jnp.ones(4))
    assert pool.labels.tolist() == [0, 2, 1, 0]
    assert pool.records.tolist() == [0, 0, 1, 2]


def test_a_number_of_labels_by_numpy():
    graph = mig_jax.label_graph_from_edges(POOL.labels.max() + 1)
    curve = mig_jax.selection.information_curve(POOL, graph, mig_jax.Measure(), [3])
    np.testing.assert_allclose(curve, 0.7**0.8, rtol=1e-4)


def test_edges_of_other_than_three_numbers():
    with pytest.raises(ValueError, match=r"three numbers for each edge, got shape \(3, 2\)"):
        mig_jax.label_graph_from_edges(6, [(0, 1), (2, 3), (4, 5)])
    with pytest.raises(ValueError, match="not whole"):
        mig_jax.label_graph_from_edges(3, [(0.5, 1, 0.9)])


@pytest.mark.parametrize("row", [[3.0, 4.0], [0.1, 0.0], [np.nan, 0.0], [1e30, 0.0]])
def test_embeddings_that_are_not_of_unit_length(row):
    """Their products are no cosines: labels would be joined that are not similar."""
    vectors = np.array([[1.0, 0.0], row])
    for use in (mig_jax.label_graph_from_embeddings, mig_jax.threshold_of_neighbours):
        with pytest.raises(ValueError, match=r"unit length .*row 1 has length"):
            use(vectors)


def test_embeddings_that_are_absent_may_have_any_length():
    vectors = np.array([[1.0, 0.0], [3.0, 4.0], [0.8, 0.6]], np.float16)
    graph = mig_jax.label_graph_from_embeddings(vectors, 0.5, present=[True, False, True])
    assert graph.targets.tolist() == [2, 0]


def _pool(labels=(0, 0, 1), records=(0, 1, 1), scores=(1.0, 2.0)):
    return mig_jax.Pool(np.array(labels), np.array(records), np.array(scores))


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        (_pool(records=(1, 0, 1)), "entry 1 does not follow"),
        (_pool(labels=(0, 1, 0)), "entry 2 does not follow"),
        (_pool(labels=(0, 1, 1)), "entry 2 does not follow"),
        (_pool(records=(0, 1, 2)), "records of the pool: expected 0 to 1"),
        (_pool(records=(-1, 1, 1)), "records of the pool: expected 0 to 1"),
        (_pool(scores=(1.0, np.nan)), "record 1 has nan"),
        (_pool(scores=(-1.0, 1.0)), "record 0 has -1"),
        (_pool(labels=(0, 0, 3)), "label id 3 is not in a graph of 3"),
    ],
)
def test_pools_that_are_none(pool, told):
    """Where entries were in another order, `select` picked others and said nothing."""
    measure = mig_jax.Measure()
    for use in (
        lambda: mig_jax.select(pool, GRAPH, 1),
        lambda: mig_jax.lay_out(pool, GRAPH, measure, 1),
        lambda: mig_jax.select_grid(pool, GRAPH, mig_jax.stack_cells([mig_jax.Cell(measure)]), 1),
        lambda: mig_jax.certify(pool, GRAPH, measure, [0]),
        lambda: mig_jax.selection.information_curve(pool, GRAPH, measure, [0]),
    ):
        with pytest.raises(ValueError, match=told):
            use()


def test_measures_of_other_labels():
    measure = mig_jax.Measure(mig_jax.Log(np.ones(2)))
    for use in (
        lambda: mig_jax.select(POOL, GRAPH, 2, measure=measure),
        lambda: mig_jax.certify(POOL, GRAPH, measure, [0]),
        lambda: mig_jax.selection.information_curve(POOL, GRAPH, measure, [0]),
        lambda: mig_jax.selection.Explainer(
            POOL, GRAPH, measure, mig_jax.EXACT, np.array([0]), np.array([1.0])
        ),
    ):
        with pytest.raises(ValueError, match=r"score_function.rate: found shape \(2,\).*3 labels"):
            use()


def test_a_chunk_of_nothing():
    """It went on for ever."""
    for chunk in (0, -1):
        with pytest.raises(ValueError, match="chunk must be at least 1"):
            mig_jax.select(POOL, GRAPH, 2, chunk=chunk)


_OF_OTHER_KINDS = """
import numpy as np, mig_jax
from mig_jax.selection import Constraints, Quotas
pool = mig_jax.pool_from_label_lists([[0], [0, 1], [1]], [1.0, 0.9, 0.8])
graph = mig_jax.label_graph_from_edges(3, [(0, 1, 0.5)])
whole = mig_jax.Pool(pool.labels, pool.records, np.array([1, 2, 3]))
column = mig_jax.Pool(pool.labels, pool.records, np.ones((3, 1)))
halves = mig_jax.Pool(pool.labels + 0.5, pool.records, pool.scores)
first = mig_jax.select(pool, graph, 1)
for call in (
    lambda: mig_jax.pool_from_label_lists([[0.5]], [1.0]),
    lambda: mig_jax.pool_from_label_lists([["a"]], [1.0]),
    lambda: mig_jax.Power([0.5, 0.8]),
    lambda: mig_jax.Measure(propagation="1"),
    lambda: mig_jax.select(whole, graph, 1),
    lambda: mig_jax.select(column, graph, 1),
    lambda: mig_jax.select(halves, graph, 1),
    lambda: mig_jax.select(pool, graph, 1, measure=mig_jax.Log()),
    lambda: mig_jax.certify(pool, graph, mig_jax.Log(), [0]),
    lambda: mig_jax.select(pool, graph, 1, gain="linear"),
    lambda: mig_jax.select(pool, graph, 2, resume=first),
    lambda: mig_jax.select(pool, graph, 2.0),
    lambda: mig_jax.certify(pool, graph, mig_jax.Measure(), [0.7]),
    lambda: mig_jax.certify(pool, graph, mig_jax.Measure(), np.array([[0], [1]])),
    lambda: mig_jax.selection.information_curve(pool, graph, mig_jax.Measure(), [0.7]),
    lambda: mig_jax.measure.amounts_of_picks(pool, [0.7]),
    lambda: mig_jax.selection.labels_covered(pool, graph, np.array([True, False, True])),
    lambda: Constraints(costs=np.array([2.7, 1.0, 1.0]), most_cost=3),
    lambda: Constraints(costs=np.array([2, 1, 1]), most_cost=3.5),
    lambda: Constraints(given=np.array([0, 2, 1])),
    lambda: Quotas(np.array([0, 0, 1]), np.array([0.5, 1]), np.array([1, 2])),
):
    try:
        print("passed", call())
    except (TypeError, ValueError) as error:
        print(error)
"""


def test_what_is_of_another_kind_is_told_in_a_line():
    """In a process of its own: here annotations are checked first."""
    ran = subprocess.run([sys.executable, "-c", _OF_OTHER_KINDS], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        *["every label id must be a whole number, from 0 to 2147483647"] * 2,
        "exponent: found a list, expected a number or an array",
        "propagation: found a str, expected a number or an array",
        "scores of the pool: found int64[3], expected floats along one axis",
        "scores of the pool: found float64[3, 1], expected floats along one axis",
        "labels of the pool: found float64[4], expected whole numbers along one axis",
        *["measure: found Log, expected a mig_jax.Measure, as Measure(Log())"] * 2,
        "gain: found str, expected a mig_jax.GainRule",
        "resume: found Selection, expected a mig_jax.Progress",
        "'float' object cannot be interpreted as an integer",
        "picks: found float64[1], expected whole numbers along one axis",
        "picks: found int64[2, 1], expected whole numbers along one axis",
        *["picks: found float64[1], expected whole numbers along one axis"] * 2,
        "picks: found bool[3], expected whole numbers along one axis",
        "costs: found float64[3], expected whole numbers",
        "most_cost: found float64[], expected a whole number",
        "given: found int64[3], expected a truth value for each record, as "
        "np.isin(np.arange(P), records) has them",
        "minima: found float64[2], expected whole numbers",
    ]


def test_rules_go_to_other_processes():
    for rule in mig_jax.GAIN_RULES.values():
        assert pickle.loads(pickle.dumps(rule)) == rule


def _explain(record):
    ranked = np.array([0]), np.array([1.0])
    explainer = mig_jax.selection.Explainer(POOL, GRAPH, mig_jax.Measure(), mig_jax.EXACT, *ranked)
    return explainer.explain(record), explainer.gains_of(record)


@pytest.mark.parametrize("picks", [[-1], [4]], ids=str)
def test_picks_outside_the_pool(picks):
    """−1 counted the last record."""
    measure = mig_jax.Measure()
    for use in (
        lambda: mig_jax.measure.amounts_of_picks(POOL, picks),
        lambda: mig_jax.selection.labels_covered(POOL, GRAPH, np.array(picks)),
        lambda: mig_jax.certify(POOL, GRAPH, measure, picks),
        lambda: mig_jax.selection.information_curve(POOL, GRAPH, measure, picks),
    ):
        with pytest.raises(ValueError, match="picks must be in 0 to 3"):
            use()
    with pytest.raises(ValueError, match=f"record must be in 0 to 3, got {picks[0]}"):
        _explain(picks[0])


@pytest.mark.parametrize("leaf", [np.nan, np.array([1.0, np.nan, 1.0])], ids=str)
def test_parameters_that_are_not_numbers(leaf):
    with pytest.raises(ValueError, match="rate: found nan, expected at least 0"):
        mig_jax.Log(leaf)
    with pytest.raises(ValueError, match="propagation: found nan"):
        mig_jax.Measure(propagation=np.nan)


def test_similarities_that_are_none():
    with pytest.raises(ValueError, match="at most 1, as a cosine is, got 90"):
        mig_jax.label_graph_from_edges(3, [(0, 1, 0.5), (1, 2, 90)])
    rounded = mig_jax.label_graph_from_edges(3, [(0, 1, 1.0009765625)])  # Of float16.
    assert rounded.num_edges == 1


def test_fewer_than_no_labels():
    with pytest.raises(ValueError, match="num_labels must be at least 0, got -1"):
        mig_jax.label_graph_from_edges(-1)


@pytest.mark.parametrize("block", [0, -1])
def test_blocks_of_nothing(block):
    for use in (mig_jax.label_graph_from_embeddings, mig_jax.threshold_of_neighbours):
        with pytest.raises(ValueError, match=f"block must be at least 1, got {block}"):
            use(np.eye(3), block=block)


@pytest.mark.parametrize("budget", [-1, 5])
def test_random_curves_beyond_the_pool(budget):
    every_cost = mig_jax.selection.Constraints(np.ones(4, np.int32), 9)
    for limits in ({}, {"constraints": every_cost}):
        with pytest.raises(ValueError, match=f"budget must be in 0 to 4, got {budget}"):
            mig_jax.selection.random_curve(POOL, GRAPH, mig_jax.Measure(), budget, **limits)


def test_information_of_other_labels():
    """One z was taken for that of each label."""
    measure = mig_jax.Measure(mig_jax.Log(np.ones(3)))
    for z in (np.ones(1), np.ones(2)):
        with pytest.raises(ValueError, match=r"z: found shape .*parameters for 3 labels"):
            mig_jax.information(measure, z)
    rates = jnp.arange(6.0).reshape(2, 3)
    values = jax.vmap(lambda rate: mig_jax.information(mig_jax.Measure(mig_jax.Log(rate)), Z))(
        rates
    )
    np.testing.assert_allclose(values, np.log1p(rates * Z).sum(axis=1), rtol=1e-6)
