"""A cell has a row and a column, and both have to be near.

Numbers alone do not tell: the last cell of a row and the first of the next have neighbouring
numbers and lie far apart. The product of two conditions cuts the window off at the border, too.
"""

import torch
from torch import Tensor


def may_see(height: int, width: int, window: int) -> Tensor:
    """Whether a query cell (row) sees a key cell (column): bool (N, N), N = height * width.

    It sees `window` x `window` cells around its own place; `window` is odd. Cells are numbered row
    by row.
    """
    ### BEGIN SOLUTION
    number = torch.arange(height * width)
    y, x = number // width, number % width
    near_y = (y[:, None] - y).abs() <= window // 2
    near_x = (x[:, None] - x).abs() <= window // 2
    return near_y & near_x
    ### END SOLUTION
