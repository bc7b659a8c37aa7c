"""Unfold the windows, and it is attention with window^2 keys for each query (AOT Eq. 7).

`F.unfold` lays the window of every cell side by side; zeros stand for what is outside of the frame,
so the same unfolding of a map of ones says where the frame is, and the scores outside become -inf:
what is not there gets no weight, not a weight for a key of zeros.

Each offset has two learned terms: a score that depends on the query (a 1x1 convolution, one output
for each head and offset) and a value. The package's version computes the same in tiles, because
unfolding copies each key window^2 times.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MyShortTermAttention(nn.Module):
    """Each cell looks at the `window` x `window` cells around it in the previous frame."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_score = nn.Conv2d(width, heads * window**2, kernel_size=1, groups=heads)
        self.relative_value = nn.Parameter(torch.zeros(heads, width // heads, window**2))
        self.project = nn.Linear(width, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """Queries, keys and values (B, N, C) of a grid (H, W), N = H*W -> (B, N, C), projected.

        Heads share the channels, one after the other. Offsets run row by row, from the upper left.
        A score of a head at offset o is q k / sqrt(d) plus `relative_score` of q at o, a value is
        v plus `relative_value` at o; d = C / heads. Outside of the frame there is nothing.
        """

        ### BEGIN SOLUTION
        def windows(x: Tensor) -> Tensor:  # (B, channels, H, W) -> (B, heads, d, offsets, N)
            unfolded = F.unfold(x, self.window, padding=self.window // 2)
            return unfolded.unflatten(1, (self.heads, -1, self.window**2))

        q_map, k_map, v_map = (x.transpose(1, 2).unflatten(2, grid) for x in (q, k, v))
        ask = q_map.flatten(2).unflatten(1, (self.heads, -1))  # (B, heads, d, N)
        scores = (ask[:, :, :, None] * windows(k_map)).sum(dim=2) / ask.shape[2] ** 0.5
        learned = self.relative_score(q_map).flatten(2)
        scores = scores + learned.unflatten(1, (self.heads, -1))  # (B, heads, offsets, N)
        inside = F.unfold(q.new_ones(1, 1, *grid), self.window, padding=self.window // 2)
        weights = scores.masked_fill(inside == 0, -torch.inf).softmax(dim=2)
        values = windows(v_map) + self.relative_value[None, :, :, :, None]
        read = (weights[:, :, None] * values).sum(dim=3)  # (B, heads, d, N)
        return self.project(read.flatten(1, 2).transpose(1, 2))
        ### END SOLUTION
