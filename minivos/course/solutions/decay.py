"""Decay compares how well a method begins with how well it ends.

Why means: one frame is an accident; the mean of a quarter is not. Why a difference: constant
scores, good or bad, have no decay, and time reversed changes its sign.
"""

import numpy as np


def decay(values: np.ndarray) -> float:
    """Mean score of the first quarter of the frames less that of the last; values (N,), N = 4 n."""
    ### BEGIN SOLUTION
    quarter = len(values) // 4
    return float(values[:quarter].mean() - values[-quarter:].mean())
    ### END SOLUTION
