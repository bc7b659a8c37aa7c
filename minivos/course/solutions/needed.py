"""Sort, sum up, and count the sums that are still too small; one cell more is enough."""

from torch import Tensor


def needed(weights: Tensor, share: float) -> Tensor:
    """For each row of weights the smallest k whose k largest sum to at least `share`.

    weights (queries, cells), each row sums to 1; 0 < share < 1 -> (queries,) of whole numbers.
    """
    ### BEGIN SOLUTION
    largest_first = weights.sort(dim=1, descending=True).values
    too_little = largest_first.cumsum(dim=1) < share
    return 1 + too_little.sum(dim=1)
    ### END SOLUTION
