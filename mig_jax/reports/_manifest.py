"""What `mig-jax select` tells of a selection: its manifest and the lines it prints."""

from __future__ import annotations

import platform
from typing import Any

import jax
import numpy as np

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.devices import Hosts
from mig_jax.measure import LabelGraph
from mig_jax.reports._counts import told_counts
from mig_jax.selection import Certificate, Selection

__all__ = ["manifest", "proven_per_cent", "summary", "told_information"]


def manifest(
    parameters: dict[str, Any],
    table: data.RecordTable,
    graph: LabelGraph,
    selection: Selection,
    certificate: Certificate | None,
    hosts: Hosts,
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
        "records_selected": len(selection),
        "gain": parameters["gain"],
        "information": information_held,
        "upper_bound": None if certificate is None else certificate.upper_bound,
        "certified_ratio": None if certificate is None else certificate.certified_ratio,
        "parameters": parameters,
        "versions": {
            "mig_jax": __version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": jax.devices()[0].device_kind,
        "devices": hosts.num_devices,
        "processes": hosts.count,
    }


def summary(about: dict[str, Any], output: str) -> str:
    """The lines that the command prints in the end, of a manifest."""
    random = about["random_choice"]
    lines = [
        f"selected {about['records_selected']:,} of {about['records_used']:,} records -> {output}",
        f"  information E   {told_information(about['information'])}"
        f"   (a random choice: {told_information(random['information'])})",
        f"  labels covered  {about['labels_covered']:,} of {about['labels']:,}"
        f"   (a random choice: {random['labels_covered']:,.0f})",
    ]
    if about["certified_ratio"] is not None:
        share = proven_per_cent(about["certified_ratio"])
        lines.append(f"  certified       at least {share} of the best possible E")
    lines += told_counts(about["sources"], about.get("counts"))
    return "\n".join(lines)


def told_information(information: float) -> str:
    """E as people read it.

    >>> told_information(12345.67), told_information(3e-7), told_information(7.04e31)
    ('12,345.7', '3e-07', '7.04e+31')
    """
    is_usual = information == 0 or 0.05 <= information < 1e15
    return f"{information:,.1f}" if is_usual else f"{information:.4g}"


def proven_per_cent(ratio: float) -> str:
    """A certified ratio in per cent, rounded down: what is said must be proven.

    >>> proven_per_cent(0.99999)
    '99.99 %'
    """
    return f"{np.floor(ratio * 1e4) / 1e2:.2f} %"
