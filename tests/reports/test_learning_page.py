"""The report of learning: what its files say of a small made-up run."""

from __future__ import annotations

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax import data
from mig_jax.learning import Evaluation, KnownShapes, LearnedMeasure, shared_start
from mig_jax.reports import (
    LabelChanges,
    LearningReport,
    PastRunsReport,
    comparison_lines,
    hardly_joined,
    label_changes,
    most_changed,
    report_content,
    report_text,
    write_report,
)
from mig_jax.reports.plotting import spread_apart, uncrossed

PICTURES = ["loss.png", "parameters.png", "score_functions.png", "selected_by_label.png"]
HISTORY = [Evaluation(0, 2.0, 2.1, 0.3), Evaluation(5, 1.0, 1.4, 0.2), Evaluation(9, 0.9, 1.5, 0.1)]
ROWS = [
    {"method": "random", "test_loss": 3.0, "low": 2.9, "high": 3.1, "seconds": 0.1},
    {"method": "grid", "test_loss": 2.0, "low": 1.95, "high": 2.05, "seconds": 80.0},
    {"method": "learned", "test_loss": 1.5, "low": 1.45, "high": 1.55, "seconds": 60.0},
]


def _report(**changed):
    """Four labels: the second gained weight, the fourth has no record."""
    pool = mig_jax.pool_from_label_lists([[0, 1], [0], [1, 2], [2], [0]], [1.0, 2, 3, 1, 1])
    after = LearnedMeasure(
        mig_jax.Measure(
            mig_jax.Power(jnp.array([0.8, 0.6, 0.8, 0.8]), 1e-3, jnp.array([1.0, 3.0, 1.0, 9.0])),
            jnp.asarray(0.5),
        ),
        jnp.asarray(0.7),
        jnp.asarray(2.0),
    )
    report = LearningReport(
        settings={"budget": 2, "note": "a|b", "grid": [{"exponent": 0.2}] * 64},
        objective="target",
        label_names=["one", "two $x_1$ | `b`", "three", "none"],
        label_counts=np.array([3, 2, 2, 0]),
        before=shared_start(),
        after=after,
        history=HISTORY,
        pool=pool,
        picks_before=np.array([0, 1]),
        picks_after=np.array([0, 2]),
        comparison=ROWS,
        best_step=5,
        stopped_early=True,
        seconds=12.5,
    )
    return dataclasses.replace(report, **changed)


def _written(folder, report):
    folder.mkdir(exist_ok=True)
    with data.OutputFiles() as outputs:
        write_report(outputs, folder, report)
    for name in PICTURES:
        assert (folder / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n"), name
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*PICTURES, "report.json", "report.md"]
    )
    return json.loads((folder / "report.json").read_text()), (folder / "report.md").read_text()


def test_json(tmp_path):
    found, _ = _written(tmp_path / "new", _report())
    assert found["comparison"] == ROWS
    assert found["history"] == [dataclasses.asdict(evaluation) for evaluation in HISTORY]
    assert (found["best_step"], found["stopped_early"], found["seconds"]) == (5, True, 12.5)
    learned = found["learned"]
    assert learned["family"] == "power"
    shared = learned["shared"]
    assert shared["after"] == pytest.approx(
        {"propagation": 0.5, "threshold": 0.7, "score_exponent": 2.0}
    )
    assert shared["before"]["threshold"] == pytest.approx(0.9)
    assert learned["exponents"]["after"]["lowest"] == pytest.approx(0.6)
    assert learned["exponents"]["before"]["lowest"] == pytest.approx(0.8)
    assert learned["weights"]["after"]["highest"] == pytest.approx(9)
    first = learned["most_changed"][0]
    assert len(learned["most_changed"]) == 1  # `none` has no record, the others did not move.
    assert first["label"] == "two $x_1$ | `b`"
    assert (first["picks_before"], first["picks_after"], first["records"]) == (1, 2, 2)
    assert found["selection"] == {
        "records": 2,
        "in_common": 1,
        "labels_before": 2,
        "labels_after": 3,
    }


def test_text():
    text = report_text(_report(), "learned")
    places = [text.index(f"| {name} |") for name in ("learned", "grid", "random")]
    assert places == sorted(places)
    assert "| grid | 2.0000 | 1.9500 to 2.0500 | 80.0 |" in text
    for name in PICTURES:
        assert f"({name})" in text
    assert r"two $x\_1$ \| \`b\`" in text
    assert r"| note | a\|b |" in text
    assert "exponent': 0.2" not in text  # The cells of the grid are left to report.json.
    assert "| kept | 5 | 1.0000 | 1.4000 |" in text
    assert "9 steps, until the held-out loss had stopped falling" in text
    assert "- **Exponents of labels differ**: 0.62 to 0.8" in text
    assert "- **Weights of labels differ** by a factor of 2.8" in text
    assert "- **α** went from 1 to 0.5: labels that are joined share information." in text
    assert "What each part brings" not in text
    for block in text.split("\n\n"):
        if block.startswith("| "):
            bars = [line.replace(r"\|", "").count("|") for line in block.strip().splitlines()]
            assert len(set(bars)) == 1, block


@pytest.mark.parametrize(("edges", "told"), [(17, True), (18, False)])
def test_a_graph_with_hardly_any_edges_is_told(edges, told):
    few = hardly_joined({"edges": edges, "labels": 100})
    assert few == ("0.34 neighbours a label" if told else None)


def test_nothing_is_said_to_be_unseen_that_learning_saw(tmp_path):
    seen = "3 of the 9 test records are among the validation records, too"
    found, text = _written(tmp_path, _report(seen=seen))
    assert found["seen"] == seen
    assert f"judged on the same test data ({seen}). Lower" in text
    assert "none of them saw" not in text
    assert "which none of them saw" in report_text(_report(), "learned")


@pytest.mark.parametrize(
    ("matched", "best", "told"),
    [
        (False, 5, "The parameters kept are those after 5 steps."),
        (False, 0, "The start was not improved on held-out data; it is kept."),
        (True, 0, "those by which gains match: no step from there was better on held-out data."),
    ],
)
def test_what_is_kept_is_told(matched, best, told):
    text = report_text(_report(matched=matched, best_step=best), "learned")
    paragraph = next(line for line in text.splitlines() if line.startswith("Objective"))
    assert paragraph.endswith(told)
    assert ("The parameters kept are" in paragraph) == (best > 0 or matched)


def test_parts_stand_in_a_table_of_their_own():
    part = {**ROWS[1], "method": "weights alone", "test_loss": 1.2, "is_part": True}
    text = report_text(_report(comparison=[*ROWS, part]), "learned")
    before, after = text.split("### What each part brings")
    assert "weights alone" not in before
    assert after.index("| weights alone |") < after.index("| learned |")
    assert "| grid |" not in after
    assert "what was learned is better**" in before  # Than the grid: a part is no rival.


def test_what_labels_share_is_said_to_be_shared():
    text = report_text(_report(after=shared_start(propagation=0.05)), "learned")
    assert "- **Exponents stay together**: 0.8 for all labels, 0.8 before." in text
    assert "- **Weights stay together**" in text
    assert "- **α** went from 1 to 0.05: labels that are joined share next to nothing." in text
    assert "- **β** stays near 1: scores count." in text


def test_shapes_that_data_do_not_determine_are_told(tmp_path):
    left = np.array([0.1, 0.6, 0.2, 1.0])
    known = KnownShapes(left, np.array([0.7, 0.1, 0.75, 0]), np.array([0.9, 0.9, 0.85, 1]))
    found, text = _written(tmp_path, _report(known=known, truth=_report().after))
    # Of the three labels that a record has.
    assert "The data determine 2 of 3, to ±0.075 in the median" in text
    by_label = found["learned"]["by_label"]
    assert by_label["labels"] == _report().label_names
    assert by_label["determined"] == [True, False, True, False]
    assert by_label["exponent_low"] == pytest.approx([0.7, 0.1, 0.75, 0])


def test_shapes_of_another_family_are_not_set_beside_the_truth():
    phi = mig_jax.Log(jnp.full(4, 2.0), jnp.ones(4))
    other = dataclasses.replace(_report().after, measure=mig_jax.Measure(phi))
    same = label_changes(_report(truth=_report().after))
    assert same.true_shapes == pytest.approx([0.8, 0.6, 0.8, 0.8])
    assert label_changes(_report(truth=other)).true_shapes is None


def test_past_runs_are_told_by_what_was_learned():
    runs = PastRunsReport(8, {"shared alone": 0.64, "weights alone": 0.9}, "shared alone", 0.38)
    text = report_text(_report(past_runs=runs), "learned")
    assert "Each of 8 past runs was left out once" in text
    assert "| shared alone (kept) | +0.64 |" in text
    assert "| weights alone | +0.90 |" in text
    assert "by more than 0.38" in text


@pytest.mark.parametrize(
    ("paired", "verdict"),
    [
        ((0.1, 0.3), "better**"),
        ((-0.3, -0.1), "worse**"),
        ((-0.1, 0.1), "neither better nor worse**"),
        (None, "better**"),
    ],
)
def test_verdict_is_that_of_the_paired_difference(paired, verdict):
    rows = [dict(row) for row in ROWS]
    if paired is not None:
        low, high = paired
        rows[1] |= {"over_learned": 0.0, "over_learned_low": low, "over_learned_high": high}
    text = report_text(_report(comparison=rows), "learned")
    line = next(line for line in text.splitlines() if "what was learned is" in line)
    assert "grid" in line
    assert verdict in line


def test_overlapping_intervals_show_no_difference():
    rows = [*ROWS[:2], {**ROWS[2], "test_loss": 1.99, "low": 1.9, "high": 2.0}]
    text = report_text(_report(comparison=rows), "learned")
    assert "neither better nor worse" in text


def test_numbers_that_are_not_finite_are_null():
    rows = [{**ROWS[0], "test_loss": math.nan}, *ROWS[1:]]
    report = _report(comparison=rows)
    found, text = report_content(report), report_text(report, "learned")
    assert found["comparison"][0]["test_loss"] is None
    assert text.index("| learned |") < text.index("| random |")


def test_nothing_learned_and_nothing_recorded(tmp_path):
    report = _report(history=[], comparison=[], after=shared_start(), best_step=0)
    report = dataclasses.replace(report, picks_after=report.picks_before)
    found, text = _written(tmp_path, report)
    assert found["learned"]["most_changed"] == found["history"] == found["comparison"] == []
    assert "No label's parameters moved" in text
    assert "Nothing was compared" in text


@pytest.mark.parametrize("family", [mig_jax.Exponential, mig_jax.Log, mig_jax.Saturating])
def test_one_label_of_another_family(tmp_path, family):
    pool = mig_jax.pool_from_label_lists([[0], [0]], [1.0, 1.0])
    learned = [LearnedMeasure(mig_jax.Measure(family(rate), 1.0), 0.9) for rate in (1.0, 2.0)]
    found, text = _written(
        tmp_path,
        _report(
            label_names=["only"],
            label_counts=np.array([2]),
            pool=pool,
            before=learned[0],
            after=learned[1],
            picks_before=np.array([0]),
            picks_after=np.array([1]),
            history=HISTORY[:1],
        ),
    )
    assert found["learned"]["rates"]["after"]["median"] == 2
    assert "| rate, after | 2.0000 |" in text


def test_a_change_that_all_labels_share_is_none():
    changes = label_changes(_report())
    same = dataclasses.replace(
        changes, shape_after=changes.shape_before, weight_after=2 * changes.weight_before
    )
    assert most_changed(same) == []


def test_most_changed_names_frequent_labels_and_ties_by_the_lowest():
    count = 30
    weights = np.ones(count)
    weights[[4, 7, 9]] = 2.0, 0.5, 100.0
    records = np.full(count, 50)
    records[9] = 3  # Rare, so what it learned rests on little.
    ones, none = np.ones(count), np.zeros(count, int)
    names = [str(label) for label in range(count)]
    changes = LabelChanges(names, records, "rate", ones, ones, ones, weights, none, none)
    assert most_changed(changes) == [4, 7]


def test_names_in_the_margin_keep_their_distance():
    for heights in ([], [0.5], [0.0, 0.0, 0.0], [0.97, 0.99, 1.0, 1.0], [0.4, 0.41, 0.9]):
        places = spread_apart(heights, 0.06)
        assert np.all(np.diff(places) >= 0.06 - 1e-9)
        assert np.all((places >= 0) & (places <= 1))
    assert spread_apart([0.2, 0.6], 0.06).tolist() == pytest.approx([0.2, 0.6])


def test_lines_to_names_do_not_cross():
    rng = np.random.default_rng(0)
    heights = np.linspace(0.1, 0.9, 7)
    for _ in range(20):
        places = rng.uniform(0, 1, (7, 2))
        order = uncrossed(places, heights, 1.1)
        assert sorted(order) == list(range(7))
        for low in range(7):
            for high in range(low + 1, 7):
                ends = [(places[order[name]], heights[name]) for name in (low, high)]
                right = max(point[0] for point, _ in ends)
                at_right = [
                    point[1] + (height - point[1]) * (right - point[0]) / (1.1 - point[0])
                    for point, height in ends
                ]
                assert at_right[0] <= at_right[1] + 1e-9  # And so they are at the names.


def test_what_was_selected_is_linked():
    about = {
        "budget": 2,
        "information": 12.5,
        "certified_ratio": 0.98765,
        "random_choice": {"information": 4.0},
        "parameters": {"pool": ["my pool.jsonl"], "label_embeddings": None},
    }
    text = report_text(_report(selected=about, about="to be good"), "learned")
    for name in ("selected.jsonl", "selected.manifest.json", "selected.selection.parquet"):
        assert f"[{name}]({name})" in text
    assert "at least 98.76 % of the best possible" in text
    command = "mig-jax select --params=learned/params '--pool=my pool.jsonl' --budget=2"
    assert command in text
    assert "to be good." in text
    built_in = about | {"parameters": {"pool": [], "label_embeddings": None}}
    text = report_text(_report(selected=built_in), "learned")
    assert "mig-jax select --params=learned/params --pool=builtin --budget=2" in text
    built_in["parameters"]["seed"] = 3
    text = report_text(_report(selected=built_in), "learned")
    assert "mig-jax make_pool --records=20000 --seed=3 --output=pool.jsonl --label_emb" in text
    assert "&& mig-jax select --params=learned/params --pool=pool.jsonl --label_emb" in text
    assert "selected.jsonl" not in report_text(_report(), "learned")


def test_comparison_on_the_terminal():
    lines = comparison_lines([{**row, "detail": "with x"} for row in ROWS], "nats").splitlines()
    assert lines[0] == "test loss: nats; lower is better"
    assert [line.split()[0] for line in lines[2:]] == ["learned", "grid", "random"]
    assert lines[2].split()[1:5] == ["1.5000", "1.4500", "to", "1.5500"]
    assert lines[2].endswith("with x")
