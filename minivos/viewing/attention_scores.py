"""Attention, measured: how much of it lands on the right object, how much near the true point.

A synthetic clip knows where every point of a frame is in every other frame. So attention can be
scored there, not only looked at: the network segments the clip from its first mask, and each cell
that lies wholly on an object is asked where in memory it looks. What the memory holds is what the
network predicted; what is right comes from the clip.

    Cells              the grid of an attention map over the pixels of a frame
    carried_masks      masks of the key frames, carried to the query frame by the weights
    score_maps         maps recorded on a clip -> one row per attention
    score_attention    a network, clips -> the same
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from einops import rearrange

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.nn.recording import AttentionMap, record_attention
from minivos.synthetic.clips import SyntheticClip
from minivos.tracker import Tracker
from minivos.viewing.cells import Cells, Size, equal_weights, head_mean


class Shares(NamedTuple):
    """Shares of attention weight, each in [0, 1]; nan where there was nothing to score."""

    # Of the weight on other frames: on cells of the query's object, by how much of each it covers.
    right_object: float
    # Of the weight on other frames that show the true point: at most one cell from it (3 x 3 cells)
    within_1: float
    within_2: float  # and at most two cells from it (5 x 5 cells)


@dataclass(frozen=True)
class AttentionScore:
    """How well one attention finds what it should, and how well equal weights would."""

    name: str  # for example "block1/long_term"
    cells: int  # query cells that were asked, over all frames
    shares: Shares
    chance: Shares


def score_maps(
    maps: Iterable[AttentionMap], clip: SyntheticClip, align_corners: bool = False
) -> list[AttentionScore]:
    """Score maps recorded on a synthetic clip, all maps of one name together, in order.

    Maps of single objects count as one attention. Asked are the query cells that lie wholly on one
    object. The true point is that of a cell's middle; a key frame in which it is hidden or outside
    does not count towards `within`. `align_corners` as in the `sizing` of the network. InputError
    for a clip that is not synthetic, or when there is no cell to ask.
    """
    truth = _Truth(clip, align_corners)
    return _pool((look, truth) for look in maps)


def score_attention(
    model: VOSNetwork, *clips: SyntheticClip, **settings: Any
) -> list[AttentionScore]:
    """Let the network segment clips, and score all reads of another frame as `score_maps` does.

    Every asked cell counts alike, over all clips. `settings` go to `Tracker`.
    """
    return _pool(_reads(model, clips, settings))


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
                f"got a {type(clip).__name__}; expected a synthetic clip, which knows where its "
                "points go: use minivos.synthetic.clips.render"
            )
        self.clip, self.align_corners = clip, align_corners
        self.coverage = lru_cache(self._coverage)
        self.points = lru_cache(self._points)

    def cells(self, grid: Size) -> Cells:
        return Cells(grid, self.clip.masks.shape[1:], self.align_corners)

    def _coverage(self, grid: Size) -> np.ndarray:
        """The share of each cell that each object covers, background first: (T, 1+K, h, w)."""
        ids = np.arange(self.clip.masks.max() + 1)
        return self.cells(grid).mean(self.clip.masks[:, None] == ids[:, None, None])

    def objects(self, frame: int, grid: Size) -> np.ndarray:
        """The object that each cell lies on as a whole, 0 where none: int (h*w,)."""
        whole = self.coverage(grid)[frame] > 1 - 1e-6  # (1+K, h, w)
        return np.where(whole.any(axis=0), whole.argmax(axis=0), 0).ravel()

    def _points(
        self, source: int, target: int, query_grid: Size, key_grid: Size
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where in frame `target` the middles of the cells of `source` are, and if they show.

        The cells (h*w, 2) that they fall into, and bool (h*w,).
        """
        y, x = np.rint(self.cells(query_grid).centres()).astype(int).reshape(-1, 2).T
        points = self.clip.correspondence(source, target)[y, x]
        shows = np.isfinite(points).all(axis=1)
        return self.cells(key_grid).at(np.where(shows[:, None], points, 0)), shows


def _reads(
    model: VOSNetwork, clips: Iterable[SyntheticClip], settings: dict[str, Any]
) -> Iterator[tuple[AttentionMap, _Truth]]:
    """The maps that look at another frame, while the network follows the masks through clips."""
    for clip in clips:
        truth = _Truth(clip, model.sizing.align_corners)
        tracker = Tracker(model, **settings)
        tracker.step(clip.frames[0], clip.masks[0])
        for frame in clip.frames[1:]:
            with record_attention() as maps:
                tracker.step(frame)
            reads = (look for look in maps if set(look.key_frames) != {look.query_frame})
            yield from ((look, truth) for look in reads)


def _pool(looks: Iterable[tuple[AttentionMap, _Truth]]) -> list[AttentionScore]:
    """One row for each name, over all maps of that name."""
    tallies, chances = defaultdict(list), defaultdict(list)
    for look, truth in looks:
        tallies[look.name].append(_tally(look, truth))
        chances[look.name].append(_tally(equal_weights(look), truth))
    scores = []
    for name in tallies:
        tally, chance = _sum(tallies[name]), _sum(chances[name])
        scores.append(AttentionScore(name, int(tally.asked), tally.shares(), chance.shares()))
    if not any(score.cells for score in scores):
        raise InputError(
            "no map looks from a cell that lies wholly on an object: nothing to score; "
            "record predicted frames, and render larger frames or larger objects"
        )
    return scores


def _sum(tallies: list[_Tally]) -> _Tally:
    return _Tally(*np.sum(tallies, axis=0).tolist())


def _tally(look: AttentionMap, truth: _Truth) -> _Tally:
    objects = truth.objects(look.query_frame, look.query_grid)
    asked = np.flatnonzero(objects)
    frames, (_, height, width) = look.key_frames, look.key_grid
    grid = height, width
    weights = rearrange(head_mean(look), "n (t h w) -> n t h w", t=len(frames), h=height).numpy()

    spent = right = shown = within_1 = within_2 = 0.0
    for t, frame in enumerate(frames):
        if frame == look.query_frame:
            continue
        looks = weights[asked, t]  # (n, h, w)
        spent += looks.sum()
        right += (looks * truth.coverage(grid)[frame][objects[asked]]).sum()
        points, shows = truth.points(look.query_frame, frame, look.query_grid, grid)
        looks, points = looks[shows[asked]], points[asked][shows[asked]]
        offsets = np.abs(np.indices(grid) - points[:, :, None, None])  # (n, 2, h, w)
        distance = offsets.max(axis=1)  # along the worse axis
        shown += looks.sum()
        within_1 += looks[distance <= 1].sum()
        within_2 += looks[distance <= 2].sum()
    return _Tally(len(asked), spent, right, shown, within_1, within_2)
