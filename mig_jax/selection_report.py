"""What `mig-jax select` tells of a selection: its manifest and the lines it prints."""

from __future__ import annotations

import platform
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

import mig_jax
from mig_jax import data
from mig_jax.information import information, selected_information
from mig_jax.sharding import all_gather_parts, num_parts, part_of_picks, part_sizes

__all__ = ["at_least", "labels_covered", "manifest", "random_choice", "summary"]

_RANDOM_CHOICES = 5


def random_choice(
    pool: mig_jax.Pool,
    graph: mig_jax.LabelGraph,
    measure: mig_jax.Measure,
    budget: int,
    mesh: Mesh | None,
) -> dict[str, float]:
    """E and labels covered of a random choice of the same size, on average."""
    rng = np.random.default_rng(0)
    num_records = int(part_sizes(pool, mesh).sum())
    values, covered = [], []
    for _ in range(_RANDOM_CHOICES):
        chosen = rng.choice(num_records, budget, replace=False)
        z = np.asarray(selected_information(pool, graph, measure, chosen, mesh=mesh))
        values.append(float(information(measure, z)))
        covered.append(labels_covered(pool, graph, chosen, mesh))
    return {"information": float(np.mean(values)), "labels_covered": float(np.mean(covered))}


def labels_covered(
    pool: mig_jax.Pool, graph: mig_jax.LabelGraph, picks: np.ndarray, mesh: Mesh | None
) -> int:
    """How many labels the picks have."""
    chosen = np.zeros(pool.num_records, bool)
    chosen[part_of_picks(picks, part_sizes(pool, mesh), mesh)] = True
    covered = np.zeros(graph.num_labels, bool)
    covered[np.asarray(pool.labels)[chosen[np.asarray(pool.records)]]] = True
    return int(np.any(all_gather_parts(covered, mesh), axis=0).sum())


def manifest(
    parameters: dict[str, Any],
    table: data.RecordTable,
    graph: mig_jax.LabelGraph,
    selection: mig_jax.Selection,
    certificate: mig_jax.Certificate | None,
    mesh: Mesh | None,
) -> dict[str, Any]:
    """All that is told of a selection but what depends on the records themselves."""
    information_held = selection.information if certificate is None else certificate.information
    return {
        "files": list(table.files),
        "records_read": table.records_read,
        "records_skipped": table.records_skipped,
        "labels": graph.num_labels,
        "labels_dropped": table.labels_dropped,
        "edges": graph.num_edges,
        "budget": parameters["budget"],
        "gain": parameters["gain"],
        "information": information_held,
        "upper_bound": None if certificate is None else certificate.upper_bound,
        "certified_ratio": None if certificate is None else certificate.certified_ratio,
        "parameters": parameters,
        "versions": {
            "mig_jax": mig_jax.__version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": jax.devices()[0].device_kind,
        "devices": 1 if mesh is None else mesh.size,
        "processes": num_parts(mesh),
    }


def summary(about: dict[str, Any], output: str) -> str:
    """The lines that the command prints in the end, of a manifest."""
    random = about["random_choice"]
    lines = [
        f"selected {about['budget']:,} of {about['records_used']:,} records -> {output}",
        f"  information E   {about['information']:,.1f}"
        f"   (a random choice: {random['information']:,.1f})",
        f"  labels covered  {about['labels_covered']:,} of {about['labels']:,}"
        f"   (a random choice: {random['labels_covered']:,.0f})",
    ]
    if about["certified_ratio"] is not None:
        share = at_least(about["certified_ratio"])
        lines.append(f"  certified       {share} of the best possible E")
    return "\n".join(lines)


def at_least(ratio: float) -> str:
    """A ratio in per cent, rounded down: what is said must be proven."""
    return f"at least {np.floor(ratio * 1e4) / 1e2:.2f} %"
