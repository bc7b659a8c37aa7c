"""Different or not, pixel by pixel, then the mean over a frame.

Labels are names, not numbers: object 7 is no further from 1 than 2 is, so their difference says
nothing. All pixels count, background too: where one says "object" and the other "background", they
disagree.
"""

import numpy as np


def disagreement(forwards: np.ndarray, backwards: np.ndarray) -> np.ndarray:
    """For each frame the share of its pixels with different labels; (T, H, W) twice -> (T,)."""
    ### BEGIN SOLUTION
    differ = forwards != backwards
    return differ.reshape(len(differ), -1).mean(axis=1)
    ### END SOLUTION
