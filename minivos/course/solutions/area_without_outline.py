"""J counts pixels, F looks at outlines.

Single holes inside of a square cost J few pixels. But each has an outline of its own, far from the
true one, so that most of the predicted outline is wrong, and precision falls.
"""

import numpy as np


def area_without_outline() -> tuple[np.ndarray, np.ndarray]:
    """Two masks, truth and prediction, bool (64, 64), with J of at least 0.9, F of at most 0.5."""
    ### BEGIN SOLUTION
    truth = np.zeros((64, 64), bool)
    truth[4:60, 4:60] = True
    prediction = truth.copy()
    prediction[10:54:4, 10:54:4] = False  # holes, each with an outline of its own
    return truth, prediction
    ### END SOLUTION
