"""Attention maps for a page: fewer cells, one byte a weight, one blob for all arrays.

factor_for   by how much a grid is pooled
pool         a map -> the same on fewer cells; its rows still sum to one
with_mean    a map -> the mean of its heads as a first head
encode       weights -> a byte each, and the largest of each row
decode       the way back, up to half a level
Pack         arrays behind one another, deflated, for a page
"""

from __future__ import annotations

import math
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.recording import AttentionMap

LEVELS = 31  # of the root of a weight, as a share of the largest in its row; 63 takes a third more
ALIGNED = 4  # bytes; each array begins at a multiple
Place = list[int]  # byte offset and number of values of an array in a Pack


def factor_for(grid: tuple[int, int], most: tuple[int, int]) -> int:
    """The least whole factor that pools a grid (H, W) to no more cells than `most` has."""
    factor = 1
    while math.prod(pooled_grid(grid, factor)) > math.prod(most):
        factor += 1
    return factor


def pooled_grid(grid: tuple[int, int], factor: int) -> tuple[int, int]:
    """The grid (H, W) in blocks of factor x factor cells; the last blocks may be smaller."""
    height, width = grid
    return -(-height // factor), -(-width // factor)


def pool(look: AttentionMap, query: int, key: int) -> AttentionMap:
    """The map between blocks of query x query and key x key cells; its rows still sum to one.

    Weights are added over the cells of a key block, and averaged over those of a query block. Where
    a map has an index, the new one names the blocks with a cell that a query of the block sees, in
    order, then -1. InputError for factors below 1, and for a map of some queries only.
    """
    if query < 1 or key < 1 or look.queries is not None:
        of = "all queries" if look.queries is None else f"the queries {look.queries}"
        raise InputError(
            f"got factors {query} and {key} for a map of {of}; expected 1 or more, and a map of "
            "all queries: record it without `queries`"
        )
    if query == key == 1 and look.index is None:
        return look
    frames, height, width = look.key_grid
    key_grid = frames, *pooled_grid((height, width), key)
    smaller = replace(look, query_grid=pooled_grid(look.query_grid, query), key_grid=key_grid)
    if look.index is None:
        return replace(smaller, weights=_pool_dense(look, query, key))
    of_frame = _blocks((height, width), key)
    of_key = torch.cat([of_frame + t * math.prod(key_grid[1:]) for t in range(frames)])
    return _pool_indexed(look, look.index, smaller, _blocks(look.query_grid, query), of_key)


def _pool_dense(look: AttentionMap, query: int, key: int) -> Tensor:
    frames, height, _ = look.key_grid
    batch, (rows, columns) = len(look.weights), look.query_grid
    weights = rearrange(look.weights, "b h n (t y x) -> (b h n) t y x", t=frames, y=height)
    sums = F.avg_pool2d(weights, key, ceil_mode=True, divisor_override=1)
    by_key = rearrange(sums, "(b h i j) t y x -> (b h) (t y x) i j", b=batch, i=rows, j=columns)
    means = F.avg_pool2d(by_key, query, ceil_mode=True)
    return rearrange(means, "(b h) k i j -> b h (i j) k", b=batch)


def _pool_indexed(
    look: AttentionMap, index: Tensor, smaller: AttentionMap, of_query: Tensor, of_key: Tensor
) -> AttentionMap:
    """As `smaller`, with the weights between the blocks of queries and keys, and their index."""
    blocks, keys = math.prod(smaller.query_grid), math.prod(smaller.key_grid)
    seen = index >= 0  # (Nq, Nk)
    place = of_query[:, None] * keys + of_key[index.clamp(min=0)]
    heads = look.weights.masked_fill(~seen, 0).flatten(0, 1).flatten(1)  # (B*heads, Nq*Nk)
    full = heads.new_zeros(len(heads), blocks * keys).index_add_(1, place.flatten(), heads)
    full = full.unflatten(1, (blocks, keys)) / of_query.bincount()[:, None]
    visible = torch.zeros(blocks * keys, dtype=torch.bool)
    visible[place[seen]] = True
    near = _in_order(visible.view(blocks, keys))
    weights = full.gather(-1, near.clamp(min=0).expand(len(full), -1, -1)).masked_fill(near < 0, 0)
    return replace(smaller, weights=weights.unflatten(0, look.weights.shape[:2]), index=near)


def _blocks(grid: tuple[int, int], factor: int) -> Tensor:
    """The number of the block that each cell of a grid lies in, (H*W,)."""
    height, width = grid
    _, wide = pooled_grid(grid, factor)
    y, x = torch.arange(height) // factor, torch.arange(width) // factor
    return (y[:, None] * wide + x).flatten()


def _in_order(visible: Tensor) -> Tensor:
    """The columns of the true values of each row, then -1: bool (N, K) -> int (N, most)."""
    most = int(visible.sum(dim=1).max())
    order = visible.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return torch.where(visible.gather(1, order), order, -1)


def with_mean(look: AttentionMap, heads: bool = True) -> AttentionMap:
    """The map with the mean of its heads as a first head; alone if it has one, or not `heads`."""
    mean = look.weights.mean(dim=1, keepdim=True)
    alone = not heads or look.weights.shape[1] == 1
    return replace(look, weights=mean if alone else torch.cat([mean, look.weights], dim=1))


def encode(weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Weights (..., Nk), 0 or more -> levels uint8 (..., Nk), largest of each row float32 (...).

    A level is the rounded root of a weight's share of the largest in its row, times LEVELS: small
    weights keep more of their digits than large ones.
    """
    largest = weights.amax(dim=-1)
    share = weights / largest.clamp(min=torch.finfo(weights.dtype).tiny)[..., None]
    levels = (share.sqrt() * LEVELS).round().to(torch.uint8)
    return levels.numpy(), largest.float().numpy()


def decode(levels: np.ndarray, largest: np.ndarray) -> Tensor:
    """The weights that `encode` was given, (..., Nk).

    The root of a weight's share of the largest in its row is off by at most 1 / (2 LEVELS).
    """
    share = (torch.tensor(levels, dtype=torch.float32) / LEVELS) ** 2
    return share * torch.tensor(largest)[..., None]


class Pack:
    """Arrays behind one another, little end first, deflated as one."""

    def __init__(self) -> None:
        self.length = 0  # bytes, unpacked
        # Five times as fast as level 9, and as small: hardly anything comes twice in weights
        self._zip = zlib.compressobj(6, memLevel=9, strategy=zlib.Z_FILTERED)
        self._parts: list[bytes] = []
        self._bytes = 0

    def add(self, array: np.ndarray) -> Place:
        """Put an array behind the others: its byte offset and how many values it has."""
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        offset = self.length
        content += bytes(-len(content) % ALIGNED)
        self.length += len(content)
        self._parts.append(self._zip.compress(content))
        self._bytes += len(self._parts[-1])
        return [offset, array.size]

    @property
    def size(self) -> int:
        """Bytes in a page so far, nearly."""
        return self._bytes * 4 // 3

    def text(self) -> str:
        """All arrays in base64; nothing can be added afterwards."""
        return b64encode(b"".join([*self._parts, self._zip.flush()])).decode("ascii")


def unpack(text: str, place: Place, kind: np.dtype | type) -> np.ndarray:
    """An array of a Pack, flat, of its text."""
    offset, count = place
    return np.frombuffer(zlib.decompress(b64decode(text)), kind, count, offset)
