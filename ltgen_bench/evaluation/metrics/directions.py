"""Directions: features of length 1, for metrics that look at angles (cosine kernels and distances)."""

import numpy as np
from jaxtyping import Float, Float64


def directions(features: Float[np.ndarray, "N D"]) -> Float64[np.ndarray, "N E"]:
    """Return rows divided by their lengths, in float64, with a last dimension (E = D + 1) for rows of length 0.

    It is 1 for rows of zeros and 0 for all else: every row then has length 1, and a row of zeros is like another one and
    at right angles to the rest.
    """
    count, width = features.shape
    rows = np.zeros((count, width + 1))
    rows[:, :width] = features
    lengths = np.linalg.norm(rows, axis=1)
    rows[:, width] = lengths == 0
    rows /= np.where(lengths == 0, 1, lengths)[:, None]
    return rows
