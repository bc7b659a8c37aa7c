"""Turn time round, follow, and turn the answer round.

A network knows no direction of time: it reads frames that came before in the order in which it is
given them. In the reversed video the last frame is frame 0, and has the mask.
"""

from collections.abc import Callable

import numpy as np


def backwards(follow: Callable, frames: np.ndarray, last_mask: np.ndarray) -> np.ndarray:
    """Labels of all frames (T, H, W), in their usual order, followed from the last to the first.

    frames (T, H, W, 3); last_mask (H, W), the labels of the last of them. `follow({t: mask},
    frames)` gives labels (T, H, W) of any frames, from a mask of frame t on to the last.
    """
    ### BEGIN SOLUTION
    turned = follow({0: last_mask}, frames[::-1])
    return turned[::-1]
    ### END SOLUTION
