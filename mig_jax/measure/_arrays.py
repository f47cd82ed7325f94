"""What the core takes for arrays and numbers; signatures tell kinds and axes by jaxtyping.

An axis has one name everywhere: `records` (P), `labels` (K), `entries` (of a pool: pairs of a
record and a label), `edges` (directed, both ways), `pages`, `area` (slots of a page), `rows` (of
a page), `picks` (N). The tests check them at run time; to a type checker `Float[Array, " labels"]`
is an `Array`.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Real

__all__ = ["Amounts", "Array", "Count", "Indices", "Numbers", "Parameter", "Scalar"]

Array = jax.Array | np.ndarray
Scalar = float | np.number | Real[Array, ""]  #: A number, traced or not.
Count = int | np.integer | Int[Array, ""]  #: A whole number, traced or not.
Indices = Int[Array, " picks"] | Sequence[int | np.integer]  #: Records, each by its index.
Numbers = Scalar | Real[Array, "..."]  #: A number, or an array of any shape.
Parameter = Scalar | Float[Array, " labels"]  #: A number, or one for each label.
#: How much of each record is selected: 0 or 1, or between.
Amounts = Float[Array, " records"] | Bool[Array, " records"]
