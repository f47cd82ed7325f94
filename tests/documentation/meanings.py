"""What the Python of some pages comes to, beyond that it runs."""

from __future__ import annotations

import re

import numpy as np

from tests.documentation.pages import Block
from tests.documentation.running import Page

__all__ = ["MEANINGS", "check_meaning"]


def _readme(page: Page) -> None:
    assert len(set(page.names["selection"].picks.tolist())) == 5000
    assert str(page.names["certificate"].certified_ratio) in page.printed


def _limits(page: Page) -> None:
    tokens, of_first, of_second = map(int, re.findall(r"\d+", page.printed)[:3])
    assert 19_000 < tokens <= 20_000
    assert of_first >= 150
    assert of_second <= 40
    assert min(page.names["selection"].picks) >= 100
    assert page.names["certificate"].certified_ratio > 0.9


def _parts_of_ones_own(page: Page) -> None:
    first, *_, last = page.names["found"].history
    assert last.fitted < first.fitted
    learned = page.names["weights_only"].learned(page.names["found"].params)
    weights = np.asarray(learned.measure.score_function.weight)
    assert weights[:4].min() > weights[4:].max()  # Records of the first four labels are wanted.
    restored = page.names["restored"].measure.score_function
    assert type(restored) is page.names["Root"]
    np.testing.assert_array_equal(restored.weight, weights)
    assert str(restored.weight) in page.printed


def _jax_mixes_classes_up(page: Page) -> None:
    assert "(True, False, " in page.printed  # Else JAX has mended it: say so there.


def _we_do_not(page: Page) -> None:
    assert "(False, False, 0)" in page.printed


#: What is checked when a block ran that has this in it.
MEANINGS = {
    "mig_jax.select(pool, graph, 5000, measure=measure)": _readme,
    "most_cost=20_000": _limits,
    'learning.restore_learned("params"': _parts_of_ones_own,
    "wrong_answers(by_jax)": _jax_mixes_classes_up,
    "wrong_answers(mig_jax.as_pytree)": _we_do_not,
}


def check_meaning(block: Block, page: Page) -> None:
    """Checks what a block of Python came to, if it is known and the block ran.

    Raises:
      AssertionError: if it came to something else.
    """
    if page.problems:
        return
    for part, check in MEANINGS.items():
        if block.is_python and part in block.text:
            check(page)
