"""Pictures that move as things do in a film, for the recipes whose `motion` is "film".

    1. what moves      Sheet, sheet_of: a picture, and what each of its objects covers of it
    2. how it moves    Motion: a camera or an object that keeps going, and bends as it goes
    3. filming         shoot: one look into the sheet for each frame, blurred where it moves fast
    4. one on another  lay_on: an object with soft edges and a shadow, in front of a film
    5. light           Light: brightness, contrast and colours that drift
    6. whole samples   film_clips

Everything is drawn from the generator that is handed in. Places are in half sides of a sample, from
-1 to 1; times in frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minivos.training.pool import Footage, keep_objects, shown_objects
from minivos.video.masks import VOID

Rng = np.random.Generator
BLURRED = 0.35  # share of the films with motion blur
SHUTTER = 5  # looks that make up a blurred frame
SHADED = 0.5  # share of the objects with a shadow
TWINS = 0.2  # share of the objects that are there a second time
FOLDS = 32  # cells of a bend, each way
COARSE = 41  # places, each way, for which a look is reckoned


# 1. What moves ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """A picture and what each object covers of its pixels, both in [0, 1]."""

    colours: Tensor  # (3, H, W)
    covers: Tensor  # (K, H, W)
    ids: tuple[int, ...]  # of the K objects: 1, 2, ..., and perhaps void


def sheet_of(rng: Rng, still: Footage, objects: int, least: float) -> Sheet:
    """A still (1,H,W,3), (1,H,W) with at most `objects` of its objects, in random order.

    An object covers at least a share `least` of the picture. Where it has void, that comes last.
    """
    (picture,), (labels,) = still
    shown = rng.permutation(shown_objects(labels, least * labels.size))[:objects]
    ids = [*range(1, 1 + len(shown))]
    if (labels == VOID).any():
        shown, ids = np.append(shown, VOID), [*ids, VOID]
    covers = torch.from_numpy(labels == shown[:, None, None]).float()
    colours = torch.tensor(picture, dtype=torch.float32).movedim(-1, 0) / 255
    return Sheet(colours, covers, tuple(ids))


def resized(sheet: Sheet, height: int, width: int) -> Sheet:
    """The sheet at another size; colours and covers go the same way."""
    both = torch.cat([sheet.colours, sheet.covers])[None]
    both = F.interpolate(both, (height, width), mode="bilinear", antialias=True)[0]
    return Sheet(both[:3], both[3:], sheet.ids)


def cut_out(sheet: Sheet) -> Sheet:
    """The objects of the sheet alone, on black, in a box that holds them; without void."""
    kept = [k for k, number in enumerate(sheet.ids) if number != VOID]
    covers = sheet.covers[kept]
    rows, columns = (covers.sum(dim=(0, axis)) > 0 for axis in (2, 1))
    (top, bottom), (left, right) = (ends(line) for line in (rows, columns))
    part = np.s_[:, top:bottom, left:right]
    covers = covers[part]
    colours = sheet.colours[part] * covers.sum(dim=0).clamp(max=1)
    return Sheet(colours, covers, tuple(sheet.ids[k] for k in kept))


def ends(line: Tensor) -> tuple[int, int]:
    """From where to where, exclusively, a line of truths is true; all of it if nowhere."""
    places = line.nonzero()
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, len(line))


# 2. How it moves ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Motion:
    """A sheet's way over the frames: it starts somewhere and keeps going.

    What has three values starts with the first; the second is its change per frame, the third the
    change of that.
    """

    centre: np.ndarray  # (3, 2): x and y
    size: np.ndarray  # (3,) logarithm of the half longer side of the sheet
    angle: np.ndarray  # (3,) radians
    shear: float
    mirrored: bool
    bend: np.ndarray  # (2, 2, n, n): two fields of shifts, in half sides of the sheet, ...
    rhythm: float  # ... between which it swings by so many radians a frame

    def centres(self, times: Tensor) -> Tensor:
        """The place of the middle of the sheet at these times, (T, 2)."""
        return along(self.centre, times)

    def look(self, times: Tensor, size: tuple[int, int], side: int) -> Tensor:
        """Where in a sheet of `size` (H, W) each pixel of the sample looks: (T, side, side, 2).

        Places in the sheet are from -1 to 1, x first, as `grid_sample` has them.
        """
        angle, scale = along(self.angle, times), along(self.size, times).exp()
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1)
        mirror = -1.0 if self.mirrored else 1.0
        skew = torch.tensor([[mirror, self.shear], [0.0, 1.0]])
        out = scale[:, None, None] * turn.view(-1, 2, 2) @ skew  # sheet -> sample
        back = torch.linalg.inv(out)
        height, width = size
        back = torch.tensor([[max(size) / width], [max(size) / height]]) * back
        # On a coarse grid first: what is affine stays exact in between, and the bend is smooth.
        x = torch.linspace(-1, 1, COARSE) * (1 - 1 / side)  # from middle to middle of a pixel
        places = torch.stack([x.expand(COARSE, -1), x[:, None].expand(-1, COARSE)])
        places = places.flatten(1) - self.centres(times)[..., None]
        grid = (back @ places).unflatten(2, (COARSE, COARSE))
        grid = grid + F.grid_sample(
            self.folds(times), grid.movedim(1, -1), padding_mode="border", align_corners=False
        )
        grid = F.interpolate(grid, (side, side), mode="bilinear", align_corners=True)
        return grid.movedim(1, -1)

    def folds(self, times: Tensor) -> Tensor:
        """The bend at these times, smooth over the sheet: (T, 2, FOLDS, FOLDS)."""
        one, other = torch.tensor(self.bend, dtype=torch.float32)
        phase = (self.rhythm * times)[:, None, None, None]
        field = one * phase.cos() + other * phase.sin()
        return F.interpolate(field, (FOLDS, FOLDS), mode="bicubic", align_corners=True)


def along(way: np.ndarray, times: Tensor) -> Tensor:
    """The value at these times of what starts, goes on and speeds up: (T, ...)."""
    start, change, growth = torch.tensor(way, dtype=torch.float32)
    t = times.view(-1, *[1] * start.dim())
    return start + t * change + t**2 / 2 * growth


def random_motion(
    rng: Rng, centre: np.ndarray, size: float, pace: float, turn: float, bend: float
) -> Motion:
    """A motion that starts with the sheet's middle at `centre` and half its longer side `size`.

    `pace` is the typical way per frame in half sides of the sample; turns and growth go with it.
    `turn` is the largest angle to start with, in radians; `bend` the typical one, in half sides of
    the sheet.
    """
    heading = rng.uniform(0, 2 * np.pi)
    velocity = pace * np.array([np.cos(heading), np.sin(heading)])
    cells = int(rng.integers(3, 6))
    return Motion(
        np.stack([centre, velocity, 0.3 * pace * rng.normal(size=2)]),
        np.array([math.log(size), 0.4 * pace * rng.normal(), 0.0]),
        np.array([rng.uniform(-turn, turn), 0.8 * pace * rng.normal(), 0.2 * pace * rng.normal()]),
        rng.normal(0, 0.08),
        bool(rng.random() < 0.5),
        rng.normal(0, bend, (2, 2, cells, cells)),
        rng.uniform(0.1, 1.2),
    )


def random_pace(rng: Rng) -> float:
    """How fast something moves: from nearly still to a fifth of a sample per frame."""
    return 0.01 * 40 ** rng.random()


def random_bend(rng: Rng) -> float:
    """How much something bends; a third does not."""
    return rng.choice([0.0, 0.03, 0.07])


# 3. Filming ---------------------------------------------------------------------------------------


def shoot(
    rng: Rng, sheet: Sheet, motion: Motion, frames: int, side: int, padding: str
) -> tuple[Tensor, Tensor, Tensor]:
    """A sheet in motion: colours (T,3,side,side), covers (T,K,side,side), and labels (T,side,side).

    Outside of the sheet are the `padding` of `grid_sample` and void in the place of objects. Motion
    blur spreads colours and covers, and leaves the labels where they are at the middle of the
    exposure.
    """
    times = torch.arange(frames, dtype=torch.float32)
    exposure = rng.uniform(0.3, 0.9) if rng.random() < BLURRED else 0.0
    looks = SHUTTER if exposure else 1
    opened = exposure * (torch.arange(looks) - looks // 2) / max(1, looks - 1)
    size = sheet.colours.shape[-2:]
    grid = motion.look((times[:, None] + opened).ravel(), (size[0], size[1]), side)
    content = torch.cat([sheet.colours, sheet.covers]).expand(len(grid), -1, -1, -1)
    seen = F.grid_sample(content, grid, padding_mode=padding, align_corners=False)
    seen = seen.unflatten(0, (frames, looks))
    middle = seen[:, looks // 2]
    seen = seen.mean(dim=1) if looks > 1 else middle
    labels = labels_of(middle[:, 3:], sheet.ids)
    outside = grid.unflatten(0, (frames, looks))[:, looks // 2].abs().amax(dim=-1) > 1
    labels[outside & (labels > 0)] = VOID
    return seen[:, :3], seen[:, 3:], labels


def labels_of(covers: Tensor, ids: tuple[int, ...]) -> Tensor:
    """Labels uint8 (T,H,W) of covers (T,K,H,W): the largest one, where they are half or more."""
    objects = torch.tensor(ids, dtype=torch.uint8)
    if len(ids) < 2:
        return (covers >= 0.5).byte().sum(dim=1, dtype=torch.uint8) * objects.sum()
    return objects[covers.argmax(dim=1)].where(covers.sum(dim=1) >= 0.5, 0)


def moving_picture(rng: Rng, sheet: Sheet, frames: int, side: int) -> tuple[Tensor, Tensor]:
    """A whole picture under a moving camera, its objects in view: colours and labels."""
    height, width = sheet.colours.shape[-2:]
    short, zoom = min(height, width), 1.05 * 1.5 ** rng.random()
    enlarge = zoom * side / short
    sheet = resized(sheet, round(height * enlarge), round(width * enlarge))
    half = zoom * np.array([width, height]) / short  # of the picture
    place = np.zeros(2)  # of what shall be in view, in the picture
    objects = [k for k, number in enumerate(sheet.ids) if number != VOID]
    if objects:
        places = sheet.covers[rng.choice(objects)].nonzero().float()
        middle = places.mean(dim=0).flip(0).numpy() + 0.5
        place = (2 * middle / np.array(sheet.colours.shape[:0:-1]) - 1) * half
    motion = random_motion(
        rng, np.zeros(2), float(half.max()), 0.5 * random_pace(rng), 0.15, random_bend(rng)
    )
    mirror = np.array([-1 if motion.mirrored else 1, 1])
    centre = rng.uniform(-0.5, 0.5, 2) - place * mirror
    motion.centre[0] = np.clip(centre, 1 - half, half - 1)
    colours, _, labels = shoot(rng, sheet, motion, frames, side, "reflection")
    return colours, labels


# 4. One on another --------------------------------------------------------------------------------


def lay_on(rng: Rng, below: Tensor, labels: Tensor, sheet: Sheet) -> tuple[Tensor, Tensor]:
    """The objects of a sheet, moving, in front of a film (T,3,H,W) with labels (T,H,W).

    Their ids follow those of the film.
    """
    sheet = cut_out(sheet)
    frames, side = labels.shape[:2]
    height, width = sheet.colours.shape[-2:]
    size = 0.15 * 6 ** rng.random()  # half of the longer side
    reduce = min(1.0, 1.1 * size * side / max(height, width))
    sheet = resized(sheet, max(1, round(height * reduce)), max(1, round(width * reduce)))
    colours, covers = (F.pad(part, [2, 2, 2, 2]) for part in (sheet.colours, sheet.covers))
    sheet = Sheet(colours, covers, sheet.ids)
    motion = random_motion(
        rng, rng.uniform(-0.7, 0.7, 2), size, random_pace(rng), 0.4, random_bend(rng)
    )
    front, covers, front_labels = shoot(rng, sheet, motion, frames, side, "zeros")
    cover = covers.sum(dim=1, keepdim=True).clamp(max=1)
    if rng.random() < SHADED:
        below = below * (1 - rng.uniform(0.1, 0.6) * shadow(rng, cover))
    front = Light.draw(rng, strength=0.5).on(front / cover.clamp(min=1e-3))
    colours = below + cover * (front - below)
    most = labels.where(labels != VOID, 0).max()
    return colours, torch.where(front_labels > 0, front_labels + most, labels)


def shadow(rng: Rng, cover: Tensor) -> Tensor:
    """What an object (T,1,H,W) keeps the light from: its cover, blurred and shifted."""
    side = cover.shape[-1]
    x, y = rng.integers(-side // 12, side // 12 + 1, 2).tolist()
    cells = int(rng.integers(8, 33))
    coarse = F.adaptive_avg_pool2d(F.pad(cover, [x, -x, y, -y]), cells)
    return F.interpolate(coarse, (side, side), mode="bilinear")


# 5. Light -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Light:
    """How a film is lit."""

    gain: np.ndarray  # (2, 3) its logarithm, of each colour, at the first frame and at the last
    gamma: float
    grey: float  # share of its colours that are lost
    shade: np.ndarray  # (3, 3): darkness of places, 0 for even light

    @classmethod
    def draw(cls, rng: Rng, strength: float = 1.0) -> Light:
        """A light that differs from the picture's own by about `strength`."""
        start, change = rng.normal(0, 0.15, 2) * strength
        cast = rng.normal(0, 0.05, (2, 3)) * strength
        return cls(
            cast + [[start], [start + change]],
            math.exp(rng.normal(0, 0.2)) ** strength if rng.random() < 0.5 else 1.0,
            rng.uniform(-0.3, 0.4) * strength if rng.random() < 0.5 else 0.0,
            rng.uniform(0, 0.5, (3, 3)) * strength * (rng.random() < 0.25),
        )

    def on(self, colours: Tensor) -> Tensor:
        """The film (T,3,H,W) in this light, in [0, 1]."""
        share = torch.linspace(0, 1, len(colours))[:, None]
        first, last = torch.tensor(self.gain, dtype=torch.float32)
        gain = (first + share * (last - first)).exp()[:, :, None, None]
        if self.shade.any():
            shade = torch.tensor(self.shade, dtype=torch.float32)[None, None]
            size = [*colours.shape[-2:]]
            gain = gain * (1 - F.interpolate(shade, size, mode="bicubic", align_corners=True))
        if self.gamma != 1:
            colours = colours.clamp(min=0) ** self.gamma
        if self.grey:
            colours = colours + self.grey * (colours.mean(dim=1, keepdim=True) - colours)
        return (gain * colours).clamp(0, 1)


def as_film(colours: Tensor, labels: Tensor) -> Footage:
    """Colours (T,3,H,W) in [0, 1] and labels (T,H,W) as pictures (T,H,W,3) and labels, uint8."""
    pictures = (colours.clamp(0, 1) * 255).round().byte()
    return pictures.movedim(1, -1).contiguous().numpy(), labels.numpy()


def as_colours(clip: Footage) -> tuple[Tensor, Tensor]:
    """The way back."""
    pictures, labels = clip
    colours = torch.tensor(np.ascontiguousarray(pictures), dtype=torch.float32) / 255
    return colours.movedim(-1, 1), torch.tensor(np.ascontiguousarray(labels))


# 6. Whole samples ---------------------------------------------------------------------------------


def film_clips(
    draw_ground: Callable[[Rng], Sheet],
    draw_front: Callable[[Rng], Sheet],
    fronts: Sequence[int],
    frames: int,
    side: int,
    objects: int,
    seed: int,
) -> Callable[[int], Footage]:
    """`make_clip` for `train`: a moving picture and, in front of it, the objects of others.

    How many others is drawn from `fronts`; some of them are twins of what is there. A sample has
    `frames` frames of side x side pixels with at most `objects` objects. The same (seed, number)
    gives the same sample.
    """

    def make_clip(number: int) -> Footage:
        rng = np.random.default_rng([seed, number])
        ground = draw_ground(rng)
        colours, labels = moving_picture(rng, ground, frames, side)
        there = [ground] if ground.ids else []
        for _ in range(rng.choice(fronts)):
            twin = there and rng.random() < TWINS
            sheet = there[rng.integers(len(there))] if twin else draw_front(rng)
            colours, labels = lay_on(rng, colours, labels, sheet)
            there.append(sheet)
        return keep_objects(rng, as_film(Light.draw(rng).on(colours), labels), objects)

    return make_clip
