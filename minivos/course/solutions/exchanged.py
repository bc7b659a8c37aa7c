"""Exchange two rows of the P that collects, and leave the P that handed out.

The paint is as it was; only the question at the end has changed: "has the identity of object 2
arrived?" is now asked for object 1. So the P with which a frame was painted has to be kept with
the memory, or nobody could say later whose paint it is.
"""

from torch import Tensor


def exchanged(P: Tensor) -> Tensor:
    """The P (1+K, 1+M) to decode with, so that the answer has objects 1 and 2 exchanged.

    Masks were painted with the P that is given, and nothing else changes; K is 2 or more.
    """
    ### BEGIN SOLUTION
    rows = list(range(len(P)))
    rows[1], rows[2] = 2, 1
    return P[rows]
    ### END SOLUTION
