"""One process of several that select together; `test_processes` starts it.

    python -m tests.devices.part_of_selection PORT PROCESSES INDEX SEED RECORDS GAIN BUDGET AREA

Prints a line once all are connected, and then the selection and its certificate as JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np

import mig_jax
from mig_jax import devices
from tests.strategies import random_case


def main() -> None:
    port, count, index, seed, records = map(int, sys.argv[1:6])
    gain, budget, area = sys.argv[6], int(sys.argv[7]), int(sys.argv[8])
    with devices.joined(f"localhost:{port}", count, index):
        mesh = mig_jax.pool_mesh()
        devices.Hosts(mesh).gather(np.zeros(1))
        print("connected", flush=True)
        lists, scores, graph = whole_pool(seed, records)
        # Parts of different sizes, the last one smallest.
        cuts = [len(lists) * 2 * i // (2 * count - 1) for i in range(count)] + [len(lists)]
        lists, scores = (x[cuts[index] : cuts[index + 1]] for x in (lists, scores))
        pool = mig_jax.pool_from_label_lists(lists, scores)
        print(json.dumps(select(pool, graph, gain, budget, area, mesh)))


def whole_pool(seed, records):
    """Labels and scores of all records, and the label graph."""
    case = random_case(seed, records, labels=40, edges=80)
    return case.label_lists, np.round(case.scores), case.graph  # Ties, within parts and across.


def select(pool, graph, gain, budget, area, mesh):
    measure, rule = mig_jax.Measure(), mig_jax.GAIN_RULES[gain]
    seen: list[mig_jax.Progress] = []
    pages = mig_jax.lay_out(pool, graph, measure, budget, area=area, mesh=mesh)
    common = {"measure": measure, "gain": rule, "pages": pages, "mesh": mesh}
    mig_jax.select(pool, graph, budget // 3, on_chunk=seen.append, **common)
    selection = mig_jax.select(pool, graph, budget, resume=seen[-1], chunk=64, **common)
    certificate = mig_jax.certify(pool, graph, measure, selection.picks, mesh=mesh)
    found = {name: getattr(selection, name).tolist() for name in ("picks", "gains", "z")}
    return {**found, "certified_ratio": certificate.certified_ratio}


if __name__ == "__main__":
    main()
