"""A thin ring has the outline of the disc that it surrounds, nearly twice, and little of its area.

J of ring and disc is small. Both outlines of the ring lie within the tolerance of the disc's one.
"""

import numpy as np


def outline_without_area() -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction, bool (64, 64), with F of at least 0.9, J of at most 0.5.

    Neither is empty or full, and one is not what the other leaves over.
    """
    ### BEGIN SOLUTION
    truth = np.zeros((64, 64), bool)
    truth[12:52, 12:52] = True
    prediction = truth.copy()
    prediction[13:51, 13:51] = False
    return truth, prediction
    ### END SOLUTION
