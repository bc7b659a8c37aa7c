"""The grid of an attention map over the pixels of a frame, and what its weights carry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.recording import AttentionMap
from minivos.video.masks import is_object

Size = tuple[int, int]


@dataclass(frozen=True)
class Cells:
    """The cells of a grid over the pixels of a frame; a pixel belongs to the nearest centre.

    With `align_corners` (see `Sizing`) the outer cells are centred on the outermost pixels. SITVOS
    and HST pad frames that are no whole cells; that is not told apart here, and cells near the
    edges are then up to half a cell off. With a `block` of 2, each 2 x 2 cells count as one, less
    of them at the end. InputError for a grid that is finer than the frame.
    """

    grid: Size  # (H, W) in cells
    frame: Size  # (H, W) in pixels
    align_corners: bool = False
    block: int = 1  # cells along a side of what counts as one

    def __post_init__(self) -> None:
        if any(cells > pixels for cells, pixels in zip(self.grid, self.frame, strict=True)):
            raise InputError(
                f"a grid of {self.grid} cells is finer than a frame of {self.frame} pixels: "
                "enlarge the frame"
            )

    def at(self, points: np.ndarray) -> np.ndarray:
        """The cells (y, x) that points (y, x) fall into: pixels, float (..., 2) -> int (..., 2)."""
        return np.stack([self._along(axis, points[..., axis]) for axis in (0, 1)], axis=-1)

    def centres(self) -> np.ndarray:
        """The pixel (y, x) amid each cell, float (h, w, 2)."""
        middles = (self._middles(axis) for axis in (0, 1))
        return np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)

    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the grid in pixels, in the order of `imshow`."""
        (top, bottom), (left, right) = (self._ends(axis) for axis in (0, 1))
        return left, right, bottom, top

    def mean(self, pixels: np.ndarray) -> np.ndarray:
        """The mean over each cell (of a mask: the share it covers), (..., H, W) -> (..., h, w)."""
        rows, columns = (self._membership(axis) for axis in (0, 1))
        return rows @ pixels @ columns.T

    def border(self, chosen: np.ndarray) -> np.ndarray:
        """The lines around chosen cells, bool (h,w): N sides, (N, 2 ends, x and y)."""
        left, right, bottom, top = self.extent()
        height, width = chosen.shape
        x, y = np.linspace(left, right, 1 + width), np.linspace(top, bottom, 1 + height)
        inside = np.pad(chosen, 1)
        row, column = np.nonzero(np.diff(inside, axis=0)[:, 1:-1])
        level = [[x[column], y[row]], [x[column + 1], y[row]]]
        row, column = np.nonzero(np.diff(inside, axis=1)[1:-1])
        upright = [[x[column], y[row]], [x[column], y[row + 1]]]
        return rearrange(np.concatenate([level, upright], axis=2), "ends xy n -> n ends xy")

    def _ends(self, axis: int) -> tuple[float, float]:
        pixels, cells = self.frame[axis], self.grid[axis]
        margin = (pixels - 1) / max(cells - 1, 1) / 2 if self.align_corners else 0.5
        return -margin, pixels - 1 + margin

    def _along(self, axis: int, positions: np.ndarray) -> np.ndarray:
        low, high = self._ends(axis)
        cells = self.grid[axis]
        places = np.floor((positions - low) * cells / (high - low)).clip(0, cells - 1)
        return places.astype(int) // self.block

    def _middles(self, axis: int) -> np.ndarray:
        low, high = self._ends(axis)
        cells = self.grid[axis]
        edges = np.append(np.arange(0, cells, self.block), cells)
        return low + (edges[:-1] + edges[1:]) / 2 * (high - low) / cells

    def _membership(self, axis: int) -> np.ndarray:
        """Matrix (cells, pixels) that averages along one axis."""
        cell_of = self._along(axis, np.arange(self.frame[axis]))  # (pixels,)
        belongs = cell_of == np.arange(cell_of.max() + 1)[:, None]
        return belongs / belongs.sum(axis=1, keepdims=True)


def head_mean(look: AttentionMap, batch: int = 0) -> Tensor:
    """The weights on all cells of the key grid, mean of the heads: (Nq, T*h*w)."""
    mean = look.weights[batch].mean(dim=0)
    return replace(look, weights=mean[None, None]).dense()[0, 0]


def carried_masks(look: AttentionMap, masks: Tensor | np.ndarray, batch: int = 0) -> Tensor:
    """What reaches each query cell if the weights (head mean) carry masks: AOT Fig. 6 and 7.

    Masks (T, 1+K, h, w) on the key grid, one per key frame, as the share in [0, 1] of a cell that
    each object covers -> (1+K, H, W) on the query grid, in [0, 1]. InputError for masks that do not
    fit the key grid.
    """
    masks = torch.as_tensor(masks, dtype=look.weights.dtype)
    if masks.dim() != 4 or (masks.shape[0], *masks.shape[2:]) != look.key_grid:
        t, h, w = look.key_grid
        raise InputError(
            f"got masks of shape {tuple(masks.shape)} for a map over {t} key frames of {h} x {w} "
            f"cells; expected ({t}, 1+K, {h}, {w}): Cells.mean takes masks from pixels to cells"
        )
    carried = head_mean(look, batch) @ rearrange(masks, "t k h w -> (t h w) k")
    return rearrange(carried, "(y x) k -> k y x", y=look.query_grid[0])


def equal_weights(look: AttentionMap) -> AttentionMap:
    """The map of one head that looks at all cells it can see alike: the chance level of scores."""
    _, _, queries, keys = look.weights.shape
    visible = torch.ones(queries, keys) if look.index is None else (look.index >= 0).float()
    return replace(look, weights=(visible / visible.sum(dim=1, keepdim=True))[None, None])


def middle_of_largest_object(labels: np.ndarray) -> tuple[int, tuple[int, int]]:
    """Id of the largest object of labels (H,W), and its pixel (y, x) closest to its centre.

    One that is whole in view comes before others: of N pixels at most sqrt(N)/4 are at the edge.
    """
    ids, sizes = np.unique(labels[is_object(labels)], return_counts=True)
    at_edge = sizes - [np.count_nonzero(labels[1:-1, 1:-1] == i) for i in ids]
    whole = at_edge <= np.sqrt(sizes) / 4
    object_id = int(ids[(sizes + labels.size * whole).argmax()])
    pixels = np.argwhere(labels == object_id)
    y, x = pixels[((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return object_id, (int(y), int(x))
