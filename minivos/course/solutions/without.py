"""A copy, of which a part is changed.

`later` is a view: writing into it writes into `kept`, and not into what was given.
"""

import numpy as np


def without(labels: np.ndarray, object_id: int, t: int) -> np.ndarray:
    """A new array (T, H, W): from frame t on the object is background; `labels` stays as it is."""
    ### BEGIN SOLUTION
    kept = labels.copy()
    later = kept[t:]
    later[later == object_id] = 0
    return kept
    ### END SOLUTION
