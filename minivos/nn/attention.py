"""Attention: every query takes a weighted mean of the values.

`attend` uses PyTorch's fused kernel, which never builds the weights. Those that somebody records
(`recording.py`) are built beside it, in the explicit form. A test holds both equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minivos.nn.recording import Rows, Weights, explicit, record

TILE = 8  # cells along a side of the tiles in which windows are computed


def attend(
    q: Tensor, k: Tensor, v: Tensor,
    name: str = "attention", key_grid: tuple[int, int, int] | None = None,
    frames: tuple[int, ...] | None = None, *, query_grid: tuple[int, int] | None = None,
    dropout: float = 0.0, by_object: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(q k^T / sqrt(d)) v (AOT, Sec. 4.1).

    q (B, heads, Nq, d), k (B, heads, Nk, d), v (B, heads, Nk, dv) -> (B, heads, Nq, dv). `dropout`
    leaves out a share of the weights. The other arguments say what a recorded map shows, see
    `record`; without `key_grid`, queries and keys stand in one row each.
    """
    scale = q.shape[-1] ** -0.5
    if key_grid is None:
        key_grid, query_grid = (1, 1, k.shape[2]), (1, q.shape[2])

    def look(rows: Rows) -> Weights:
        return (q[:, :, rows] @ k.mT * scale).softmax(dim=-1), None

    record(look, name, key_grid, frames, query_grid=query_grid, by_object=by_object)
    if explicit.get():
        weights, _ = look(slice(None))  # (B, heads, Nq, Nk)
        return F.dropout(weights, dropout) @ v  # AOT Eq. 2
    wider = v.shape[-1] - q.shape[-1]
    if 0 < wider <= q.shape[-1]:  # the kernel wants wide keys; zeros change no score
        q, k = F.pad(q, (0, wider)), F.pad(k, (0, wider))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)  # AOT Eq. 2


def attend_window(
    q: Tensor, k: Tensor, v: Tensor, learned: Sequence[Tensor], grid: Sequence[int],
    name: str = "attention", frames: tuple[int, ...] | None = None,
) -> Tensor:  # fmt: skip
    """softmax(q k^T / sqrt(d) + q k' + b) (v + v') over a window of each frame around a query.

    q (B, heads, N, d) of a grid of N cells, k and v (B, heads, T*N, d) of T of them; `learned` of
    each offset, alike in all frames, are k' (heads, d, window^2), b (heads, window^2) and v', like
    k' -> (B, heads, N, d). `name` and `frames` are those of the recorded map.

    Neighbours share most of their windows. So the queries of a tile look at all cells around it,
    in one small dense attention, out of which each query takes its window.
    """
    key, bias, value = learned
    t, window = k.shape[2] // q.shape[2], math.isqrt(bias.shape[-1])
    queries, keys, near, outside, place = cut_in_tiles(tuple(grid), window, q.device)
    q = q.index_select(2, queries.flatten()).unflatten(2, queries.shape)
    k, v = (rearrange(x, "b h (t n) d -> b h n t d", t=t) for x in (k, v))
    k, v = (x.index_select(2, keys.flatten()).unflatten(2, keys.shape) for x in (k, v))
    k, v = (rearrange(x, "b h n k t d -> b h n (t k) d") for x in (k, v))

    bias = q @ key[:, None] + bias[:, None, None].masked_fill(outside, -torch.inf)
    scores = (q * q.shape[-1] ** -0.5 @ k.mT).unflatten(-1, (t, -1))  # (B, heads, n, q, T, k)
    near = near[:, None].expand(*scores.shape[:-1], -1)
    weights = scores.gather(-1, near) + bias[..., None, :]
    weights = weights.flatten(-2).softmax(dim=-1).view_as(weights).to(v.dtype)
    of_all_keys = weights.new_zeros(scores.shape).scatter_(-1, near, weights)
    read = of_all_keys.flatten(-2) @ v + weights.sum(dim=-2) @ value.mT[:, None]

    def look(rows: Rows) -> Weights:
        in_order = weights.flatten(2, 3)[:, :, place[rows]].flatten(-2)
        return in_order, window_index(grid, window, t)[rows]

    record(look, name, (t, grid[0], grid[1]), frames)
    return read.flatten(2, 3).index_select(2, place)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept serves in training, too
def cut_in_tiles(grid: tuple[int, int], window: int, device: torch.device) -> tuple[Tensor, ...]:
    """A grid of N cells in n tiles of TILE x TILE, the last ones padded. Cells there are -1.

    queries (n, q)            cells of each tile
    keys (n, k)               cells in and around it
    near (q, window^2)        which of these keys are in the window of each query
    outside (n, q, window^2)  whether they are outside the grid
    place (N,)                where each cell stands among all queries
    """
    r, side = window // 2, TILE + 2 * (window // 2)
    below, beside = (r + -length % TILE for length in grid)
    cells = torch.arange(1, 1 + math.prod(grid)).view(grid)
    tiles = windows_of(F.pad(cells, (r, beside, r, below)) - 1, side, TILE).flatten(0, 1)
    queries, keys = tiles[:, r : r + TILE, r : r + TILE].flatten(1), tiles.flatten(1)
    near = windows_of(torch.arange(side**2).view(side, side), window).flatten(2).flatten(0, 1)
    outside = (keys[:, near] < 0) & (queries >= 0)[..., None]  # padding looks at anything
    place = queries.flatten().argsort()[-cells.numel() :]
    parts = queries.clamp(min=0), keys.clamp(min=0), near, outside, place
    return tuple(part.to(device) for part in parts)


def windows_of(x: Tensor, side: int, step: int = 1) -> Tensor:
    """All windows that lie in x (H, W), at every step: (rows, columns, side, side)."""
    return x.unfold(0, side, step).unfold(1, side, step)


def window_index(grid: Sequence[int], window: int, frames: int = 1) -> Tensor:
    """The cell on which each offset of each query's windows falls, -1 outside: (N, T*window^2).

    Frame by frame, offsets run row by row from (-r, -r) to (r, r) with r = window // 2.
    """
    cells = torch.arange(1, 1 + math.prod(grid)).view(*grid)
    windows = windows_of(F.pad(cells, [window // 2] * 4) - 1, window)
    firsts = range(0, frames * cells.numel(), cells.numel())  # cell of each frame
    of_frames = [torch.where(windows < 0, -1, first + windows) for first in firsts]
    return rearrange(of_frames, "t y x i j -> (y x) (t i j)")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) -> (B, heads, N, C/heads)."""
    return rearrange(x, "b n (h d) -> b h n d", h=heads)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads*d)."""
    return rearrange(x, "b h n d -> b n (h d)")


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def sine_position(
    grid: tuple[int, int], channels: int, device: torch.device | None = None
) -> Tensor:
    """Sine position embedding of a grid (H, W): (1, H*W, C), half of the channels for y, then x.

    Coordinates run from 0 to 2 pi. Channel j of a half has the wave length 2 pi 10000^(2 floor(j/2)
    / (C/2)), sine on even j, cosine on odd j (DETR, Carion et al. 2020, but counted from 0).
    """
    channel = torch.arange(channels // 2, device=device)
    wave = 10000 ** (2 * channel.div(2, rounding_mode="floor") / (channels // 2))
    y, x = (torch.arange(n, device=device) / (n - 1 + 1e-6) * 2 * torch.pi for n in grid)
    angle = torch.cartesian_prod(y, x)[..., None] / wave  # (H*W, 2, C/2)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).flatten(1)[None]
