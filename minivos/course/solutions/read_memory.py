"""Compare, make weights, take the mean: three steps, and two leading axes for free.

Why the root of d: a dot product of two random vectors of length d spreads by the root of d, so
without it long vectors would make every read a copy of one value before anything was learned.
Why a softmax over the keys: each query gives away a weight of 1 in all. `softmax` takes the largest
score off before it exponentiates, so that large scores give no infinity.
"""

from torch import Tensor


def read_memory(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each query takes a weighted mean of the values (AOT Eq. 2).

    q (..., Nq, d), k (..., Nk, d), v (..., Nk, dv) -> (..., Nq, dv), for any axes in front.
    """
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ v
    ### END SOLUTION
