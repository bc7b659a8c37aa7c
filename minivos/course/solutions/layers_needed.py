"""A layer brings news h - 1 cells further, and n - 1 steps are to go: divide, and round up."""

import math


def layers_needed(n: int, h: int) -> int:
    """Local layers of window h (fewer than h cells away, h >= 2) from end to end of n cells."""
    ### BEGIN SOLUTION
    steps, reach = n - 1, h - 1
    return math.ceil(steps / reach)
    ### END SOLUTION
