"""What most records teach alike counts for less: gradients seen through their Fisher matrix.

Gradients are whitened, C^(−1/2)·g, with C the damped Fisher matrix of the records' gradients, which
stands for the curvature of their loss. Products of whitened gradients are what influence functions
have (Koh and Liang, arXiv 1703.04730; TRAK, arXiv 2303.14186). The root is that of Cholesky; any
other turns all whitened gradients alike, and so changes no product and no length.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["DAMPING", "along", "damped_fisher", "whitened"]

DAMPING = 1.0

_BLOCK = 2048  # Rows at once: float64 of all would be twice what is kept.


def damped_fisher(
    gradients: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
    *,
    damping: float = DAMPING,
) -> npt.NDArray[np.float64]:
    """C + λ·c̄·I: [F, F], with C the mean of g gᵀ a token and c̄ its mean diagonal.

    Args:
      gradients: [N, F]; rows of zeros are records that nobody asked the model about.
      tokens: [N], at least 1: of each record.
      damping: λ, above 0.
    """
    known = np.flatnonzero(gradients.any(axis=1))
    fisher = np.zeros((gradients.shape[1],) * 2)
    for start in range(0, len(known), _BLOCK):
        some = known[start : start + _BLOCK]
        scaled = gradients[some] / np.sqrt(tokens[some].astype(np.float64))[:, None]
        fisher += scaled.T @ scaled
    fisher /= max(len(known), 1)
    mean = np.trace(fisher) / len(fisher)
    fisher[np.diag_indices_from(fisher)] += damping * (mean or 1.0)
    return fisher


def along(
    gradients: npt.NDArray[np.float32],
    fisher: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.floating],
) -> npt.NDArray[np.float64]:
    """Products g C⁻¹ v of gradients [N, F] with wanted ones [K, F]: [N, K]."""
    solved = np.linalg.solve(fisher, wanted.T.astype(np.float64))
    blocks = range(0, len(gradients), _BLOCK)
    parts = [gradients[start : start + _BLOCK].astype(np.float64) @ solved for start in blocks]
    return np.concatenate([np.zeros((0, solved.shape[1])), *parts])


def whitened(
    gradients: npt.NDArray[np.float32], root: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Rows L⁻¹·g of gradients [N, F], with L the Cholesky root [F, F] of the Fisher matrix."""
    import scipy.linalg

    found = np.empty(gradients.shape, np.float32)
    for start in range(0, len(found), _BLOCK):
        part = gradients[start : start + _BLOCK].astype(np.float64)
        found[start : start + _BLOCK] = scipy.linalg.solve_triangular(root, part.T, lower=True).T
    return found
