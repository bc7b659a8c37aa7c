"""Attention, measured: how much of it lands on the right object, and how much near the true point.

A synthetic clip knows where every point of a frame is in every other frame. So attention can be
scored there, not only looked at: the network segments the clip from its first mask, and each cell
that lies wholly on an object is asked where in memory it looks. What the memory holds is what the
network predicted; what is right comes from the clip.

    Cells              the grid of an attention map over the pixels of a frame
    carried_masks      masks of the key frames, carried to the query frame by the weights
    score_maps         maps recorded on a clip -> one row per attention
    score_attention    a network, a clip -> the same
    score_table        a network, clips -> text
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from einops import rearrange

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.nn.recording import AttentionMap, record_attention
from minivos.synthetic.clips import SyntheticClip
from minivos.tracker import Tracker
from minivos.viewing.cells import Cells, Grid, equal_weights, head_mean


class Shares(NamedTuple):
    """Shares of attention weight, each in [0, 1]; nan where there was nothing to score."""

    right_object: float  # on cells of the query's object, by how much of the cell it covers, of that on other frames
    within_1: float  # at most one cell from the true point (3 x 3 cells), of that on other frames that show the point
    within_2: float  # at most two cells from it (5 x 5 cells)


@dataclass(frozen=True)
class AttentionScore:
    """How well one attention finds what it should, and what equal weights on all that it can see
    would find.
    """

    name: str  # for example "block1/long_term"
    cells: int  # query cells that were asked, over all frames
    shares: Shares
    chance: Shares


def score_maps(
    maps: Iterable[AttentionMap], clip: SyntheticClip, align_corners: bool = False
) -> list[AttentionScore]:
    """Score maps that were recorded on a synthetic clip, all maps of one name together, in order of
    appearance.

    Asked are the query cells that lie wholly on one object. The true point is that of a cell's
    middle; a key frame in which it is hidden or outside does not count towards `within`.
    `align_corners` as in the `sizing` of the network. InputError for a clip that is not synthetic,
    or when there is no cell to ask.
    """
    truth = _Truth(clip, align_corners)
    return _pool((look, truth) for look in maps)


def score_attention(
    model: VOSNetwork, *clips: SyntheticClip, **settings: object
) -> list[AttentionScore]:
    """Let the network segment clips and score every attention that looks at another frame; see
    `score_maps`.

    Every asked cell counts alike, over all clips. `settings` go to `Tracker`.
    """
    return _pool(_reads(model, clips, settings))


def score_table(model: VOSNetwork, clips: Iterable[SyntheticClip], **settings: object) -> str:
    """The scores over all clips together, every asked cell counting alike, as text; see
    `score_attention`.
    """
    scores = score_attention(model, *clips, **settings)
    width = max(len(score.name) for score in scores)
    lines = [
        f"{'':{width}}    right object    within 1 cell    within 2 cells",
        f"{'attention':{width}}" + "    share chance" * 3,
    ]
    for score in scores:
        pairs = zip(score.shares, score.chance, strict=True)
        lines.append(
            f"{score.name:{width}}"
            + "".join(f"    {share:5.2f} {chance:6.2f}" for share, chance in pairs)
        )
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
                "minivos.synthetic.clips.render"
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

    def _points(
        self, source: int, target: int, query_grid: Grid, key_grid: Grid
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cell (h*w, 2) of frame `target` where the middle of each cell of frame `source`
        is, and if it shows.
        """
        y, x = np.rint(self.cells(query_grid).centres()).astype(int).reshape(-1, 2).T
        found = self.clip.correspondence(source, target)[y, x]
        shows = np.isfinite(found).all(axis=1)
        return self.cells(key_grid).at(np.where(shows[:, None], found, 0)), shows


def _reads(
    model: VOSNetwork, clips: Iterable[SyntheticClip], settings: dict[str, object]
) -> Iterator[tuple[AttentionMap, _Truth]]:
    """Every map that looks at another frame, while the network follows the first mask through
    the clips.
    """
    for clip in clips:
        truth = _Truth(clip, model.sizing.align_corners)
        tracker = Tracker(model, **settings)
        tracker.step(clip.frames[0], clip.masks[0])
        for frame in clip.frames[1:]:
            with record_attention() as maps:
                tracker.step(frame)
            yield from (
                (look, truth) for look in maps if set(look.key_frames) != {look.query_frame}
            )


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
        AttentionScore(
            name,
            int(_sum(found[name]).asked),
            _sum(found[name]).shares(),
            _sum(chance[name]).shares(),
        )
        for name in found
    ]


def _sum(tallies: list[_Tally]) -> _Tally:
    return _Tally(*np.sum(tallies, axis=0).tolist())


def _tally(look: AttentionMap, truth: _Truth) -> _Tally:
    objects = truth.objects(look.query_frame, look.query_grid)
    asked = np.flatnonzero(objects)
    frames, grid = look.key_frames, look.key_grid[1:]
    weights = rearrange(head_mean(look), "n (t h w) -> n t h w", t=len(frames), h=grid[0]).numpy()[
        asked
    ]

    spent = right = shown = within_1 = within_2 = 0.0
    for t, frame in enumerate(frames):
        if frame == look.query_frame:
            continue
        spent += weights[:, t].sum()
        right += (weights[:, t] * truth.coverage(grid)[frame][objects[asked]]).sum()
        points, shows = truth.points(look.query_frame, frame, look.query_grid, grid)
        looks, points = weights[:, t][shows[asked]], points[asked][shows[asked]]
        distance = np.abs(np.indices(grid) - points[:, :, None, None]).max(
            axis=1
        )  # (n, h, w), along the worse axis
        shown += looks.sum()
        within_1 += looks[distance <= 1].sum()
        within_2 += looks[distance <= 2].sum()
    return _Tally(len(asked), spent, right, shown, within_1, within_2)
