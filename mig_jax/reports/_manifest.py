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
from mig_jax.reports._compared_ways import compared_ways
from mig_jax.reports._counts import told_counts
from mig_jax.reports._enough_text import told_enough
from mig_jax.reports._limits import is_limited, quota_lines, told_limits
from mig_jax.reports._told_numbers import proven_per_cent, told_information
from mig_jax.selection import Certificate, Selection

__all__ = ["manifest", "summary"]


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
    ratio = None if certificate is None else certificate.certified_ratio
    by_mig = "method" not in parameters
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
        # Only limits of tokens lead to it.
        **({} if selection.rates is None else {"rates": selection.rates.told()}),
        "information": information_held,
        "upper_bound": None if certificate is None else certificate.upper_bound,
        # Of a method that looks for something else nothing is certified.
        "certified_ratio": ratio if by_mig else None,
        **({} if by_mig else {"share_of_bound": ratio}),
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


def summary(about: dict[str, Any], output: str | None = None) -> str:
    """The lines that the command prints in the end, of a manifest; `output` is where they went."""
    random = about["random_choice"]
    told = [
        (
            "information E",
            f"{told_information(about['information'])}"
            f"   (a random choice: {told_information(random['information'])})",
        ),
        (
            "labels covered",
            f"{about['labels_covered']:,} of {about['labels']:,}"
            f"   (a random choice: {random['labels_covered']:,.0f})",
        ),
    ]
    within = " within these limits" if is_limited(about) else ""
    if about["certified_ratio"] is not None:
        share = proven_per_cent(about["certified_ratio"])
        told.append(("certified", f"at least {share} of the best possible E{within}"))
    if about.get("share_of_bound") is not None:
        share = proven_per_cent(about["share_of_bound"])
        told.append(
            ("of the best E", f"at least {share}{within}, which the method does not look for")
        )
    told += told_limits(about)
    if (enough := told_enough(about)) is not None:
        told.append(("enough", enough))
    by = f" by {about['method']['name']}" if "method" in about else ""
    counts = f"{about['records_selected']:,} of {about['records_used']:,} records"
    where = "" if output is None else f" -> {output}"
    lines = [
        f"selected {counts}{by}{where}",
        *(f"  {name:<14}  {text}" for name, text in told),
    ]
    if about.get("quotas"):
        lines += quota_lines(about["quotas"])
    if about.get("compare"):
        lines += compared_ways(about)
    lines += told_counts(about["sources"], about.get("counts"))
    return "\n".join(lines)
