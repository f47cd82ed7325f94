"""Information, certified ratios and prices, as people read them."""

from __future__ import annotations

import decimal

import numpy as np

__all__ = ["proven_per_cent", "told_information", "told_price"]


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


def told_price(price: float, *, sign: bool = False, at_most: bool = False) -> str:
    """A price in three digits, rounded up if it is told as a bound: what is said must be proven.

    >>> told_price(32.84), told_price(32.81, at_most=True), told_price(6744.0, at_most=True)
    ('32.8', '32.9', '6,750')
    >>> told_price(-1251.0, sign=True), told_price(2.5e-7), told_price(0.0)
    ('-1,250', '2.5e-7', '0')
    """
    rounding = decimal.ROUND_CEILING if at_most else decimal.ROUND_HALF_EVEN
    digits = decimal.Context(prec=3, rounding=rounding).create_decimal_from_float(price)
    is_usual = price == 0 or 1e-4 <= abs(price) < 1e15
    return f"{digits.normalize():{'+' * sign}{',f' if is_usual else '.3g'}}"
