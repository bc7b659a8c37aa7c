"""Contours at the size of the frame, for masks that a network made of a smaller picture.

Near a contour, each object's share of the pixels is taken for a linear function of their colour,
fitted in small windows: a guided filter whose guide is the frame. It is fitted on cells some pixels
wide and applied to every pixel, which costs little.

Sources: He, Sun and Tang, Guided Image Filtering, 2013, Sec. 3; the coarse fit: He and Sun, Fast
Guided Filter, 2015. Cells, windows and `LEAST_VARIANCE` are ours.
"""

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from PIL import Image
from torch import Tensor

from minivos.video.masks import VOID, is_object

CELL = 3  # pixels of the network's picture to a side of a cell
REACH = 2  # cells from the middle of a window to its border; farther pixels stay as they are
LEAST_VARIANCE = 1e-5  # variance of colour, of values in [0, 1], below which a window says little
LEAST_ENLARGEMENT = 1.5  # frame over the network's picture; below, masks are left as they are
LEAST_KEPT = 0.5  # share of its pixels that an object keeps, or else it is left as it was


def refine_contours(frame: np.ndarray, labels: np.ndarray, working: tuple[int, int]) -> np.ndarray:
    """The labels, uint8 (H,W), with contours where the colours of the frame (H,W,3) change.

    `working` (h,w) is the size at which a network saw the frame, which is uint8 RGB; where that is
    not much smaller, the labels come back as they are. Void pixels stay, and so does an object that
    would lose more than half of its pixels.
    """
    ids = np.unique(labels[is_object(labels)])
    if not len(ids) or min(labels.shape) <= LEAST_ENLARGEMENT * min(working):
        return labels
    grid = max(1, working[0] // CELL), max(1, working[1] // CELL)
    colours = to_cells(frame, grid)  # (3, h, w)
    shares = torch.cat([to_cells(np.uint8(255) * (labels == i), grid) for i in ids])  # (K, h, w)
    rows, columns = pixels_near(shares, labels.shape)
    lines = at_pixels(colour_lines(colours, shares), rows, columns, labels.shape)  # (4, K, P)
    near = rows.numpy(), columns.numpy()
    pixels = torch.from_numpy(frame[near]) / 255  # (P, 3)
    objects = einsum(lines[:3], pixels, "c k p, p c -> k p") + lines[3]
    background = 1 - objects.sum(dim=0, keepdim=True)
    best = torch.cat([background, objects]).max(dim=0).indices  # argmax is slower
    refined = labels.copy()
    refined[near] = np.array([0, *ids], np.uint8)[best.numpy()]
    refined[labels == VOID] = VOID
    before, after = (np.bincount(each.ravel(), minlength=256) for each in (labels, refined))
    for i in ids[after[ids] < LEAST_KEPT * before[ids]]:
        refined[labels == i] = i
    return refined


def to_cells(picture: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """Means of a picture uint8 (H,W) or (H,W,C) over the cells of a grid, (C,h,w) in [0, 1]."""
    small = np.array(Image.fromarray(picture).resize(grid[::-1], Image.Resampling.BOX))
    cells = torch.from_numpy(np.atleast_3d(small)).double() / 255
    return rearrange(cells, "y x c -> c y x")


def colour_lines(colours: Tensor, shares: Tensor) -> Tensor:
    """Weights of red, green and blue, and a constant, (4,K,h,w): shares as lines of the colour.

    Of colours (3,h,w) and shares (K,h,w). Each cell takes the mean of the windows that it is in.
    """
    colour, share = window_means(colours), window_means(shares)
    spread = window_means(einsum(colours, colours, "c y x, d y x -> c d y x"))
    spread = spread - einsum(colour, colour, "c y x, d y x -> c d y x")
    common = window_means(einsum(colours, shares, "c y x, k y x -> c k y x"))
    common = common - einsum(colour, share, "c y x, k y x -> c k y x")
    mixed = ((share > 0) & (share < 1)).any(dim=0)  # elsewhere shares do not change with colour
    spread = rearrange(spread[..., mixed], "c d n -> n c d") + LEAST_VARIANCE * torch.eye(3)
    weights = torch.zeros_like(common)
    solved = torch.linalg.solve(spread, rearrange(common[..., mixed], "c k n -> n c k"))
    weights[..., mixed] = rearrange(solved, "n c k -> c k n")
    constant = share - einsum(weights, colour, "c k y x, c y x -> k y x")
    return window_means(torch.cat([weights, constant[None]])).float()


def window_means(x: Tensor) -> Tensor:
    """Means over the window around each cell, (..., h, w) of the same shape."""
    window = 2 * REACH + 1
    flat = x.reshape(-1, *x.shape[-2:])
    flat = F.avg_pool2d(flat, (window, 1), 1, (REACH, 0), count_include_pad=False)
    flat = F.avg_pool2d(flat, (1, window), 1, (0, REACH), count_include_pad=False)
    return flat.reshape(x.shape)


def pixels_near(shares: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows and columns (P,) of the pixels of a frame (H,W) in cells near a contour."""
    window = 2 * REACH + 1
    most = F.max_pool2d(shares.float(), window, 1, REACH)
    least = -F.max_pool2d(-shares.float(), window, 1, REACH)
    near = (most > least).any(dim=0)
    own = [torch.arange(n) * cells // n for n, cells in zip(size, near.shape, strict=True)]
    rows, columns = near[own[0]][:, own[1]].nonzero(as_tuple=True)
    return rows, columns


def at_pixels(cells: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """Values of cells (..., h, w) at pixels (P,) of a frame (H,W), bilinearly: (..., P)."""
    height, width = size
    places = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    flat = cells.reshape(1, -1, *cells.shape[-2:])
    values = F.grid_sample(flat, places[None, None], padding_mode="border", align_corners=False)
    return values.reshape(*cells.shape[:-2], -1)
