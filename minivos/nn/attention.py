"""Attention: every query takes a weighted mean of the values.

`attend` uses PyTorch's fused kernel, which never builds the weights, unless somebody records them
(`recording.py`); then the explicit form runs. A test holds both equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minivos.nn.recording import record, wants_weights


def attend(
    q: Tensor, k: Tensor, v: Tensor,
    name: str = "attention", key_grid: tuple[int, int, int] | None = None,
    frames: tuple[int, ...] | None = None, *, query_grid: tuple[int, int] | None = None,
    dropout: float = 0.0,
) -> Tensor:  # fmt: skip
    """softmax(q k^T / sqrt(d)) v (AOT, Sec. 4.1).

    q (B, heads, Nq, d), k (B, heads, Nk, d), v (B, heads, Nk, dv) -> (B, heads, Nq, dv). `dropout`
    leaves out a share of the weights. The other arguments say what a recorded map shows, see
    `record`; without `key_grid`, queries and keys stand in one row each.
    """
    scale = q.shape[-1] ** -0.5
    if not wants_weights(name):
        wider = v.shape[-1] - q.shape[-1]
        if 0 < wider <= q.shape[-1]:  # the kernel wants wide keys; zeros change no score
            q, k = F.pad(q, (0, wider)), F.pad(k, (0, wider))
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)  # AOT Eq. 2
    weights = (q @ k.mT * scale).softmax(dim=-1)  # (B, heads, Nq, Nk)
    if key_grid is None:
        key_grid, query_grid = (1, 1, k.shape[2]), (1, q.shape[2])
    record(weights, name, key_grid, frames, query_grid=query_grid)
    return F.dropout(weights, dropout) @ v  # AOT Eq. 2


def attend_window(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, value_bias: Tensor, grid: Sequence[int]
) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) (v + value_bias) over a window of each frame around a query.

    q (B, heads, H*W, d), k, v (B, heads, T*H*W, d) on one grid; bias (B, heads, H*W, T*window^2),
    -inf outside the grid; value_bias (heads, d, T*window^2) -> (B, heads, H*W, d).

    The queries of an image row share the rows of keys around it: one small dense attention per
    row, out of which each query takes its windows. i and j count their rows and columns.
    """
    height, width = grid
    t = k.shape[2] // q.shape[2]
    window = math.isqrt(bias.shape[-1] // t)
    r = window // 2
    wide = width + 2 * r
    k, v = (rearrange(x, "b h (t y x) d -> b h y t x d", t=t, y=height) for x in (k, v))
    k, v = (F.pad(x, (0, 0, r, r)) for x in (k, v))
    q = rearrange(q * q.shape[-1] ** -0.5, "b h (y x) d -> b h y x d", y=height)
    bias = rearrange(bias, "b h (y x) (t i j) -> b h y x (i t) j", y=height, t=t, i=window)
    value_bias = rearrange(value_bias, "h d (t i j) -> h (i t) j d", t=t, i=window)

    rows = []
    for y in range(height):
        top, bottom = max(0, y - r), min(height, y + r + 1)
        inside = slice(t * (top - y + r), t * (bottom - y + r))  # the rows that lie in the grid
        near = (x[:, :, top:bottom] for x in (k, v))
        keys, values = (rearrange(x, "b h i t w d -> b h (i t w) d") for x in near)

        scores = shift_left(q[:, :, y] @ keys.mT)  # (B, h, W, i*w), each window from column 0 on
        scores = rearrange(scores, "b h x (i w) -> b h x i w", w=wide)[..., :window]
        scores = scores + bias[:, :, y, :, inside]
        weights = rearrange(scores, "b h x i j -> b h x (i j)").softmax(dim=-1)
        learned = weights @ rearrange(value_bias[:, inside], "h i j d -> h (i j) d")

        weights = rearrange(weights, "b h x (i j) -> b h x i j", j=window)
        weights = F.pad(weights, (0, wide - window))
        weights = shift_right(rearrange(weights, "b h x i w -> b h x (i w)"))
        rows.append(weights @ values + learned)
    return torch.cat(rows, dim=2)


def shift_left(x: Tensor) -> Tensor:
    """Row n of the last two dimensions, n places to the left; the next row fills up its end."""
    rows, length = x.shape[-2:]
    return F.pad(x.flatten(-2), (0, rows)).unflatten(-1, (rows, length + 1))[..., :-1]


def shift_right(x: Tensor) -> Tensor:
    """Row n of the last two dimensions, n places to the right; its end covers the next row."""
    rows, length = x.shape[-2:]
    return F.pad(x, (0, 1)).flatten(-2)[..., : rows * length].unflatten(-1, (rows, length))


def window_index(grid: Sequence[int], window: int, frames: int = 1) -> Tensor:
    """The cell on which each offset of each query's windows falls, -1 outside: (N, T*window^2).

    Frame by frame, offsets run row by row from (-r, -r) to (r, r) with r = window // 2.
    """
    height, width = grid
    offset = torch.arange(window) - window // 2
    y = (torch.arange(height)[:, None] + offset)[:, None, :, None]  # (H, 1, window, 1)
    x = (torch.arange(width)[:, None] + offset)[None, :, None, :]  # (1, W, 1, window)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    firsts = range(0, frames * height * width, height * width)  # cell of each frame
    cells = [torch.where(inside, first + y * width + x, -1) for first in firsts]
    return rearrange(cells, "t y x i j -> (y x) (t i j)")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) -> (B, heads, N, C/heads)."""
    return rearrange(x, "b n (h d) -> b h n d", h=heads)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads*d)."""
    return rearrange(x, "b h n d -> b n (h d)")


def sine_position(
    grid: tuple[int, int], channels: int, device: torch.device | None = None
) -> Tensor:
    """Sine position embedding of a grid (H, W): (1, H*W, C), half of the channels for y, then x.

    Coordinates run from 0 to 2 pi. Channel j of a half has the wave length 2 pi 10000^(2 floor(j/2)
    / (C/2)), sine on even j, cosine on odd j (DETR, Carion et al. 2020, but counted from 0).
    """
    half = channels // 2
    channel = torch.arange(half, device=device)
    wave = 10000 ** (2 * channel.div(2, rounding_mode="floor") / half)  # (C/2,)

    def waves(length: int) -> Tensor:
        angle = torch.arange(length, device=device) / (length - 1 + 1e-6) * 2 * torch.pi
        angle = angle[:, None] / wave  # (length, C/2)
        return torch.where(channel % 2 == 0, angle.sin(), angle.cos())

    height, width = grid
    y = waves(height)[:, None].expand(height, width, half)
    x = waves(width)[None].expand(height, width, half)
    return rearrange(torch.cat([y, x], dim=-1), "h w c -> 1 (h w) c")
