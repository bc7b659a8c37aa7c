"""One offset of the window after the other (SST Eq. 4).

For an offset, every cell meets exactly one cell of each frame: shift the frames, compare, and keep
the larger link for the object that the other cell belongs to. The frames are padded with the label
-1, nobody's, so that what is outside can never be a link; the newest frame has that label anyway.
The maximum starts at 0, as the paper's does: an object without a cell in reach has affinity 0.
"""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


def my_object_affinity(q: Tensor, k: Tensor, labels: Tensor, objects: int, h: int) -> Tensor:
    """The strongest link of each cell of the newest frame to earlier cells of each object.

    q (B, C, H, W) of the newest frame, k (B, C, T, H, W) of all, newest last; labels (B, T, H, W)
    from 0 (background) to objects - 1, or -1: unknown, as in the newest frame. In reach are cells
    of all frames less than h away along y and x. A link is 2 / (1 + exp(|q - k|^2)), so from 0 to
    1; 0 for an object without a cell in reach -> (B, objects, H, W).
    """
    ### BEGIN SOLUTION
    height, width = q.shape[-2:]
    frame = [h - 1] * 4  # left, right, above, below
    k, labels = F.pad(k, frame), F.pad(labels, frame, value=-1)
    strongest = [q.new_zeros(len(q), height, width) for _ in range(objects)]
    for dy, dx in product(range(2 * h - 1), repeat=2):
        there = k[..., dy : dy + height, dx : dx + width]
        whose = labels[..., dy : dy + height, dx : dx + width]
        distance = (q[:, :, None] - there).square().sum(dim=1)  # (B, T, H, W)
        link = 2 * torch.sigmoid(-distance)
        for number in range(objects):
            best = link.where(whose == number, 0).amax(dim=1)
            strongest[number] = torch.maximum(strongest[number], best)
    return torch.stack(strongest, dim=1)
    ### END SOLUTION
