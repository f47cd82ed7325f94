"""Information and certified ratios, as people read them."""

from __future__ import annotations

import numpy as np

__all__ = ["proven_per_cent", "told_information"]


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
