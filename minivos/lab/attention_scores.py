"""Attention, measured: how much of it lands on the right object, and how much near the true point.

A synthetic clip knows where every point of a frame is in every other frame. So attention can be scored there, not only
looked at: the network segments the clip from its first mask, and each cell that lies wholly on an object is asked where
in memory it looks. What the memory holds is what the network predicted; what is right comes from the clip.

    Cells              the grid of an attention map over the pixels of a frame
    carried_masks      masks of the key frames, carried to the query frame by the weights
    score_maps         maps recorded on a clip -> one row per attention
    score_attention    a network, a clip -> the same
    score_table        a network, clips -> text
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.attention import AttentionMap, record_attention
from minivos.nn.network import VOSNetwork
from minivos.tracker import Tracker
from minivos.video.synthetic import SyntheticClip

Grid = tuple[int, int]


@dataclass(frozen=True)
class Cells:
    """The cells of a grid (H, W) over a frame of that many pixels; a pixel belongs to the cell with the nearest centre.

    With `align_corners` (see `Sizing`) the outer cells are centred on the outermost pixels. SITVOS and HST pad frames
    that are no whole cells; that is not told apart here, and cells near the edges are then up to half a cell off.
    InputError for a grid that is finer than the frame.
    """

    grid: Grid
    frame: Grid
    align_corners: bool = False

    def __post_init__(self) -> None:
        if any(cells > pixels for cells, pixels in zip(self.grid, self.frame, strict=True)):
            raise InputError(f"a grid of {self.grid} cells is finer than a frame of {self.frame} pixels; enlarge it")

    def at(self, points: np.ndarray) -> np.ndarray:
        """The cells (y, x) that points (y, x) fall into: pixels, float (..., 2) -> int (..., 2)."""
        return np.stack([self._along(axis, points[..., axis]) for axis in (0, 1)], axis=-1)

    def centres(self) -> np.ndarray:
        """The pixel (y, x) amid each cell, float (h, w, 2)."""
        left, right, bottom, top = self.extent()
        cell = (bottom - top) / self.grid[0], (right - left) / self.grid[1]
        return (np.moveaxis(np.indices(self.grid), 0, -1) + 0.5) * cell + (top, left)

    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the grid in pixels, as matplotlib's `imshow` takes them."""
        (top, bottom), (left, right) = (self._ends(axis) for axis in (0, 1))
        return left, right, bottom, top

    def mean(self, pixels: np.ndarray) -> np.ndarray:
        """The mean over each cell's pixels: (..., H, W) -> (..., h, w); of a mask, the share that it covers."""
        rows, columns = (self._membership(axis) for axis in (0, 1))
        return rows @ pixels @ columns.T

    def _ends(self, axis: int) -> tuple[float, float]:
        pixels, cells = self.frame[axis], self.grid[axis]
        margin = (pixels - 1) / max(cells - 1, 1) / 2 if self.align_corners else 0.5
        return -margin, pixels - 1 + margin

    def _along(self, axis: int, positions: np.ndarray) -> np.ndarray:
        low, high = self._ends(axis)
        cells = self.grid[axis]
        return np.floor((positions - low) * cells / (high - low)).clip(0, cells - 1).astype(int)

    def _membership(self, axis: int) -> np.ndarray:
        """Matrix (cells, pixels) that averages along one axis."""
        belongs = self._along(axis, np.arange(self.frame[axis])) == np.arange(self.grid[axis])[:, None]
        return belongs / belongs.sum(axis=1, keepdims=True)


def head_mean(look: AttentionMap, batch: int = 0) -> Tensor:
    """The weights on all cells of the key grid, mean of the heads: (Nq, T*h*w)."""
    mean = look.weights[batch].mean(dim=0)
    return replace(look, weights=mean[None, None]).dense()[0, 0]


def carried_masks(look: AttentionMap, masks: Tensor | np.ndarray, batch: int = 0) -> Tensor:
    """What reaches each query cell if the weights (head mean) carry masks, as they carry values: AOT Fig. 6 and 7.

    Masks (T, 1+K, h, w) on the key grid, one per key frame, as the share in [0, 1] of a cell that each object covers ->
    (1+K, H, W) on the query grid, in [0, 1]. InputError for masks that do not fit the key grid.
    """
    masks = torch.as_tensor(masks, dtype=look.weights.dtype)
    if masks.dim() != 4 or (masks.shape[0], *masks.shape[2:]) != look.key_grid:
        t, h, w = look.key_grid
        raise InputError(
            f"masks of shape {tuple(masks.shape)} came for a map over {t} key frames of {h} x {w} cells; expected "
            f"({t}, 1+K, {h}, {w}): Cells.mean takes masks from pixels to cells"
        )
    carried = head_mean(look, batch) @ rearrange(masks, "t k h w -> (t h w) k")
    return rearrange(carried, "(y x) k -> k y x", y=look.query_grid[0])


def equal_weights(look: AttentionMap) -> AttentionMap:
    """The map of one head that looks at every cell a query can see alike: the chance level of all scores."""
    _, _, queries, keys = look.weights.shape
    seen = torch.ones(queries, keys) if look.index is None else (look.index >= 0).float()
    return replace(look, weights=(seen / seen.sum(dim=1, keepdim=True))[None, None])


class Shares(NamedTuple):
    """Shares of attention weight, each in [0, 1]; nan where there was nothing to score."""

    right_object: float  # on cells of the query's object, by how much of the cell it covers, of that on other frames
    within_1: float  # at most one cell from the true point (3 x 3 cells), of that on other frames that show the point
    within_2: float  # at most two cells from it (5 x 5 cells)


@dataclass(frozen=True)
class AttentionScore:
    """How well one attention finds what it should, and what equal weights on all that it can see would find."""

    name: str  # for example "block1/long_term"
    cells: int  # query cells that were asked, over all frames
    shares: Shares
    chance: Shares


def score_maps(maps: Iterable[AttentionMap], clip: SyntheticClip, align_corners: bool = False) -> list[AttentionScore]:
    """Score maps that were recorded on a synthetic clip, all maps of one name together, in order of appearance.

    Asked are the query cells that lie wholly on one object. The true point is that of a cell's middle; a key frame in
    which it is hidden or outside does not count towards `within`. `align_corners` as in the `sizing` of the network.
    InputError for a clip that is not synthetic, or when there is no cell to ask.
    """
    truth = _Truth(clip, align_corners)
    return _pool((look, truth) for look in maps)


def score_attention(model: VOSNetwork, *clips: SyntheticClip, **settings: object) -> list[AttentionScore]:
    """Let the network segment clips and score every attention that looks at another frame; see `score_maps`.

    Every asked cell counts alike, over all clips. `settings` go to `Tracker`.
    """
    return _pool(_reads(model, clips, settings))


def score_table(model: VOSNetwork, clips: Iterable[SyntheticClip], **settings: object) -> str:
    """The scores over all clips together, every asked cell counting alike, as text; see `score_attention`."""
    scores = score_attention(model, *clips, **settings)
    width = max(len(score.name) for score in scores)
    lines = [
        f"{'':{width}}    right object    within 1 cell    within 2 cells",
        f"{'attention':{width}}" + "    share chance" * 3,
    ]
    for score in scores:
        pairs = zip(score.shares, score.chance, strict=True)
        lines.append(f"{score.name:{width}}" + "".join(f"    {share:5.2f} {chance:6.2f}" for share, chance in pairs))
    return "\n".join(lines)


class _Tally(NamedTuple):
    """Cells that were asked, and sums of their weight on other frames."""

    asked: float
    spent: float  # in all
    right: float  # on the right object
    shown: float  # on frames that show the true point
    within_1: float  # ... at most 1 cell from it
    within_2: float  # ... at most 2 cells from it

    def shares(self) -> Shares:
        """The sums as shares."""
        parts = (self.right, self.spent), (self.within_1, self.shown), (self.within_2, self.shown)
        return Shares(*(min(1.0, part / whole) if whole else math.nan for part, whole in parts))


class _Truth:
    """What is right in one clip, cell by cell."""

    def __init__(self, clip: SyntheticClip, align_corners: bool) -> None:
        if not isinstance(clip, SyntheticClip):
            raise InputError(
                f"a {type(clip).__name__} came; only synthetic clips know where their points go: use "
                "minivos.video.synthetic.render"
            )
        self.clip, self.align_corners = clip, align_corners
        self.coverage = lru_cache(self._coverage)
        self.points = lru_cache(self._points)

    def cells(self, grid: Grid) -> Cells:
        return Cells(grid, self.clip.masks.shape[1:], self.align_corners)

    def _coverage(self, grid: Grid) -> np.ndarray:
        """The share of each cell that each object covers, background first: (T, 1+K, h, w)."""
        ids = np.arange(self.clip.masks.max() + 1)
        return self.cells(grid).mean(self.clip.masks[:, None] == ids[:, None, None])

    def objects(self, frame: int, grid: Grid) -> np.ndarray:
        """The object that each cell lies on as a whole, 0 where none: int (h*w,)."""
        whole = self.coverage(grid)[frame] > 1 - 1e-6  # (1+K, h, w)
        return np.where(whole.any(axis=0), whole.argmax(axis=0), 0).ravel()

    def _points(self, source: int, target: int, query_grid: Grid, key_grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """The cell (h*w, 2) of frame `target` where the middle of each cell of frame `source` is, and if it shows."""
        y, x = np.rint(self.cells(query_grid).centres()).astype(int).reshape(-1, 2).T
        found = self.clip.correspondence(source, target)[y, x]
        shows = np.isfinite(found).all(axis=1)
        return self.cells(key_grid).at(np.where(shows[:, None], found, 0)), shows


def _reads(
    model: VOSNetwork, clips: Iterable[SyntheticClip], settings: dict[str, object]
) -> Iterator[tuple[AttentionMap, _Truth]]:
    """Every map that looks at another frame, while the network follows the first mask through the clips."""
    for clip in clips:
        truth = _Truth(clip, model.sizing.align_corners)
        tracker = Tracker(model, **settings)
        tracker.step(clip.frames[0], clip.masks[0])
        for frame in clip.frames[1:]:
            with record_attention() as maps:
                tracker.step(frame)
            yield from ((look, truth) for look in maps if set(look.key_frames) != {look.query_frame})


def _pool(looks: Iterable[tuple[AttentionMap, _Truth]]) -> list[AttentionScore]:
    """One row for each name, over all maps of that name."""
    found, chance = defaultdict(list), defaultdict(list)
    for look, truth in looks:
        found[look.name].append(_tally(look, truth))
        chance[look.name].append(_tally(equal_weights(look), truth))
    if not any(tally.asked for tallies in found.values() for tally in tallies):
        raise InputError(
            "no map looks from a cell that lies wholly on an object: nothing to score; record predicted frames, and "
            "render larger frames or larger objects"
        )
    return [
        AttentionScore(name, int(_sum(found[name]).asked), _sum(found[name]).shares(), _sum(chance[name]).shares())
        for name in found
    ]


def _sum(tallies: list[_Tally]) -> _Tally:
    return _Tally(*np.sum(tallies, axis=0).tolist())


def _tally(look: AttentionMap, truth: _Truth) -> _Tally:
    objects = truth.objects(look.query_frame, look.query_grid)
    asked = np.flatnonzero(objects)
    frames, grid = look.key_frames, look.key_grid[1:]
    weights = rearrange(head_mean(look), "n (t h w) -> n t h w", t=len(frames), h=grid[0]).numpy()[asked]

    spent = right = shown = within_1 = within_2 = 0.0
    for t, frame in enumerate(frames):
        if frame == look.query_frame:
            continue
        spent += weights[:, t].sum()
        right += (weights[:, t] * truth.coverage(grid)[frame][objects[asked]]).sum()
        points, shows = truth.points(look.query_frame, frame, look.query_grid, grid)
        looks, points = weights[:, t][shows[asked]], points[asked][shows[asked]]
        distance = np.abs(np.indices(grid) - points[:, :, None, None]).max(axis=1)  # (n, h, w), along the worse axis
        shown += looks.sum()
        within_1 += looks[distance <= 1].sum()
        within_2 += looks[distance <= 2].sum()
    return _Tally(len(asked), spent, right, shown, within_1, within_2)
