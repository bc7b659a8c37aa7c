"""One softmax over both windows, side by side.

Two separate reads would each give away a weight of 1, even into a frame that has nothing to offer;
with one softmax the frames compete, cell by cell. The relative terms belong to an offset, not to a
frame, so both windows get the same.
"""

import torch
from torch import Tensor

from minivos.aot import ShortTermAttention
from minivos.nn.attention import split_heads, window_index

Pair = tuple[Tensor, Tensor]


def two_windows(
    part: ShortTermAttention, q: Tensor, newer: Pair, older: Pair, grid: tuple[int, int]
) -> Tensor:
    """Short-term attention to two previous frames with one softmax (Table 3c).

    q (1, N, C), newer and older: keys and values (1, N, C) of a grid of N cells each
    -> (1, heads, N, d), without the projection. `part` has `heads`, `window`,
    and of each offset the learned terms `relative_score` and `relative_value`, as in Exercise 2.
    """
    ### BEGIN SOLUTION
    index = window_index(grid, part.window)  # (N, offsets)
    learned = part.relative_score(q.transpose(1, 2).unflatten(2, grid)).flatten(2)
    learned = learned.unflatten(1, (part.heads, -1)).transpose(2, 3)  # (1, heads, N, offsets)
    learned = learned.masked_fill(index < 0, -torch.inf)
    ask = split_heads(q, part.heads)
    scores, values = [], []
    for k, v in (newer, older):
        near = split_heads(k, part.heads)[:, :, index.clamp(min=0)]  # (1, heads, N, offsets, d)
        scores.append((ask[..., None, :] * near).sum(dim=-1) / ask.shape[-1] ** 0.5 + learned)
        there = split_heads(v, part.heads)[:, :, index.clamp(min=0)]
        values.append(there + part.relative_value.mT[:, None])
    weights = torch.cat(scores, dim=-1).softmax(dim=-1)
    return (weights[..., None] * torch.cat(values, dim=-2)).sum(dim=-2)
    ### END SOLUTION
