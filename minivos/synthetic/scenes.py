"""What happens in synthetic video: plans for the scenarios, and the scenes laid out after them.

A plan says how many objects there are, how large, how fast and along which kind of path; a scene is
a stack of layers drawn at random after a plan: the background, objects, moving things that are not
objects (distractors), and things that stand in front (occluders).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from minivos.synthetic import silhouettes, textures
from minivos.synthetic.motion import (
    Layer,
    bounce,
    camera,
    excursion,
    poses,
    smooth,
    straight,
    wander,
    waves,
)

Rng = np.random.Generator
OptionT = TypeVar("OptionT")
LEAST_AREA, LEAST_AREA_THIN = 0.01, 0.004  # of frame 0, for each object
EASY_SPEED = 0.25  # speed at difficulty 0, relative to full difficulty


@dataclass(frozen=True)
class Plan:
    """What a scenario is made of; lengths are fractions of the shorter side of the frame."""

    objects: tuple[int, int] = (1, 4)  # how many; when the caller asks for more, they are smaller
    diameter: tuple[float, float] = (0.28, 0.85)
    speed: tuple[float, float] = (0.006, 0.08)  # per frame
    path: str = "wander"  # wander, cross, or away (behind something or out of the frame, and back)
    still: float = 0.1  # chance that an object only moves with the camera
    growth: tuple[float, float] = (1.0, 1.5)  # change of size over the clip, up or down
    spin: float = 0.08  # radians per frame
    bend: float = 0.22  # slope of the deformation
    thin: float = 0.12  # chance of a thin shape
    jointed: float = 0.15  # chance of limbs that move
    lookalike: float = 0.2  # chance that all objects of a clip look alike
    distractors: float = 1.2  # mean number
    occluders: float = 0.35  # mean number
    exposure: tuple[float, float] = (0.0, 0.6)  # motion blur, fraction of a frame


SOLID = Plan(still=0, thin=0, jointed=0, lookalike=0, occluders=0)
PLANS = {
    "plain": replace(SOLID, objects=(2, 3), diameter=(0.25, 0.45), speed=(0.01, 0.03), bend=0.1),
    "crossing_lookalikes": replace(
        SOLID, objects=(2, 3), diameter=(0.24, 0.36), path="cross", growth=(1.0, 1.1), lookalike=1
    ),
    "occlusion_reentry": replace(SOLID, objects=(2, 3), diameter=(0.22, 0.32), path="away"),
    "fast_motion": replace(
        SOLID, objects=(1, 3), diameter=(0.22, 0.4), speed=(0.1, 0.25), exposure=(0.4, 0.8)
    ),
    "scale_change": replace(
        SOLID, objects=(1, 3), diameter=(0.2, 0.28), speed=(0.005, 0.02), growth=(2.2, 3.8)
    ),
    "many_objects": Plan((5, 8), (0.25, 0.36), (0.005, 0.04), thin=0.1),
    "thin_parts": Plan((2, 4), (0.4, 0.65), (0.005, 0.04), thin=0.65, jointed=0.95, occluders=0),
}


@dataclass(frozen=True)
class Scene:
    """What there is to see in a clip, and how much of it must be seen."""

    layers: list[Layer]  # back to front
    styles: list[textures.Style]  # of each layer's paint
    least_areas: np.ndarray  # (K,) of each object in frame 0, fractions of the frame


@dataclass(frozen=True)
class Setting:
    """What everything in a scene shares."""

    rng: Rng
    plan: Plan
    frames: int
    size: tuple[int, int]
    difficulty: float
    camera: np.ndarray  # (T, 3, 3) from world to frame
    backdrop: textures.Style

    @cached_property
    def side(self) -> int:
        """The shorter side of the frame, in pixels."""
        return min(self.size)

    @cached_property
    def corner(self) -> np.ndarray:
        """The corner (x, y) opposite the origin, in pixels."""
        return np.array(self.size[::-1], float)

    def chance(self, probability: float) -> bool:
        """Say yes with that probability."""
        return self.rng.random() < probability

    def pick(self, options: Sequence[OptionT], odds: Sequence[float] | None = None) -> OptionT:
        """Draw one of the options, all alike or with those odds."""
        return options[self.rng.choice(len(options), p=odds)]

    def between(self, bounds: tuple[float, float]) -> float:
        """Draw a number between two positive bounds, evenly on a logarithmic scale."""
        return float(np.exp(self.rng.uniform(*np.log(bounds))))


@dataclass(frozen=True)
class Cast:
    """How one thing looks, before it moves."""

    shape: silhouettes.Shape
    seed: int  # of the silhouette
    style: textures.Style
    radius: float  # pixels, of the silhouette
    jointed: bool


@dataclass(frozen=True)
class Piece:
    """A layer and the style of its paint; an object has several if it has limbs."""

    layer: Layer
    style: textures.Style


# looks --------------------------------------------------------------------------------------------
def _cast(setting: Setting, hue: float | None = None) -> Cast:
    """Choose a shape, a style and a size."""
    rng, plan = setting.rng, setting.plan
    thin = setting.chance(plan.thin)
    jointed = not thin and setting.chance(plan.jointed)
    if jointed:
        shape: silhouettes.Shape = silhouettes.trunk
    elif thin:
        shape = setting.pick(silhouettes.THIN)
    else:
        shape = setting.pick(silhouettes.SOLID, silhouettes.SOLID_ODDS)
    camouflaged = hue is None and setting.chance(0.15 * setting.difficulty)
    like = setting.backdrop if camouflaged else None
    style = textures.random_style(rng, background=False, hue=hue, like=like)
    seed = int(rng.integers(2**31))
    fuller = 1.3 if thin else 0.8 if jointed else 1  # limbs reach beyond the trunk
    radius = fuller * setting.between(plan.diameter) * setting.side / 2
    return Cast(shape, seed, style, radius, jointed)


def _casts(setting: Setting, hues: np.ndarray) -> list[Cast]:
    """Choose how the objects look: all alike, as it comes, or each of its own hue.

    The easier the clip, the likelier are hues of their own.
    """
    rng, hard = setting.rng, setting.difficulty
    if setting.plan.lookalike == 1 or setting.chance(setting.plan.lookalike * hard):
        model = replace(_cast(setting), jointed=False)
        model = replace(model, style=replace(model.style, patches=0, blended=False))
        casts = [replace(model, radius=model.radius * rng.uniform(0.95, 1.05)) for _ in hues]
    else:
        casts = [_cast(setting, None if setting.chance(hard) else hue) for hue in hues]
    crowding = min(1, np.sqrt(setting.plan.objects[1] / len(hues)))
    return [
        replace(cast, radius=max(crowding * cast.radius, _least_radius(setting, cast)))
        for cast in casts
    ]


def _least_area(cast: Cast) -> float:
    return LEAST_AREA_THIN if cast.shape in silhouettes.THIN else LEAST_AREA


def _least_radius(setting: Setting, cast: Cast) -> float:
    """Return the radius in pixels at which an object covers twice its least area.

    Some of it may be hidden.
    """
    covered = silhouettes.covered(np.random.default_rng(cast.seed), cast.shape)
    return silhouettes.REACH * np.sqrt(2 * _least_area(cast) * np.prod(setting.size) / covered)


def _layer(
    setting: Setting, label: int, cast: Cast, shape: silhouettes.Shape, pose: np.ndarray
) -> Layer:
    """Give a posed shape its silhouette, deformation and rolling texture."""
    rng, hard, frames = setting.rng, setting.difficulty, setting.frames
    pixels_per_unit = np.sqrt(np.abs(np.linalg.det(pose[:, :2, :2])).max())
    n = int(np.clip(16 * np.ceil(1.9 * pixels_per_unit / 16), 48, 256))
    rolling = rng.choice([0, 0.02, 0.06]) * hard
    roll = np.cumsum(np.stack([smooth(rng, frames, rolling), smooth(rng, frames, rolling)], 1), 0)
    bend = waves(rng, frames, setting.plan.bend * hard * rng.uniform(0, 1))
    body = silhouettes.body(np.random.default_rng(cast.seed), shape, n)
    return Layer(label, pose, roll - roll[0], bend, body)


def _background(setting: Setting) -> Piece:
    """Return the layer that fills the frame; where it ends it is mirrored."""
    rng, hard = setting.rng, setting.difficulty
    scale = np.full((1, 2), 0.62 * max(setting.size))
    pose = setting.camera @ poses(setting.corner[None] / 2, 0.0, scale)
    ripples = waves(rng, setting.frames, 0.08 * hard) if setting.chance(0.25) else None
    drift = rng.normal(0, 0.01 * hard, 2) if setting.chance(0.25) else np.zeros(2)
    roll = np.arange(setting.frames)[:, None] * drift
    return Piece(Layer(0, pose, roll, ripples, None), setting.backdrop)


# paths --------------------------------------------------------------------------------------------
def _starts(setting: Setting, count: int, taken: list[np.ndarray]) -> list[np.ndarray]:
    """Draw starting points well inside the frame, each far from those before.

    Of a few candidates it is the farthest.
    """
    points = list(taken)
    for _ in range(count):
        candidates = setting.rng.uniform(0.15, 0.85, (10, 2)) * setting.corner
        gaps = [
            min((np.hypot(*(candidate - point)) for point in points), default=0)
            for candidate in candidates
        ]
        points.append(candidates[np.argmax(gaps)])
    return points[len(taken) :]


def _strolls(setting: Setting, count: int, taken: list[np.ndarray]) -> list[np.ndarray]:
    """Return paths that wander about the frame and bounce off its edges; some stand still."""
    slowed = EASY_SPEED + (1 - EASY_SPEED) * setting.difficulty
    paths = []
    for start in _starts(setting, count, taken):
        still = setting.chance(setting.plan.still)
        speed = 0 if still else setting.between(setting.plan.speed) * setting.side * slowed
        beyond = setting.rng.choice([-0.1, 0.0, 0.15]) * setting.side  # the edges, in pixels
        path = wander(setting.rng, start, setting.frames, speed)
        paths.append(bounce(path, -beyond * np.ones(2), setting.corner + beyond))
    return paths


def _crossings(setting: Setting, count: int) -> list[np.ndarray]:
    """Return straight, slightly wavering paths that meet in one point at about the same time."""
    rng, frames = setting.rng, setting.frames
    meeting = setting.corner / 2 + rng.uniform(-0.1, 0.1, 2) * setting.side
    fan = np.arange(count) * rng.uniform(0.8, 1) * np.pi / count
    angles = rng.uniform(0, np.pi) + fan + np.pi * rng.integers(0, 2, count)
    paths = []
    for angle in angles:
        reach = 0.36 * setting.corner * [np.cos(angle), np.sin(angle)]
        waver = 0.02 * setting.side * np.stack([smooth(rng, frames, 1), smooth(rng, frames, 1)], 1)
        paths.append(straight(meeting - reach, meeting + reach, frames) + waver)
    return paths


def _escapes(setting: Setting, casts: list[Cast]) -> tuple[list[np.ndarray], list[Piece]]:
    """Return paths out of sight and back, and the walls that hide some of them.

    One or two objects pass behind a wall, the others leave the frame.
    """
    walls, paths = [], []
    starts = _starts(setting, len(casts), [])
    first = setting.rng.integers(2)
    for number, (cast, start) in enumerate(zip(casts, starts, strict=True)):
        if number not in (first, first + 2):
            axis = setting.rng.integers(2)
            away = start.copy()
            away[axis] = (
                -2 * cast.radius
                if start[axis] < setting.corner[axis] / 2
                else setting.corner[axis] + 2 * cast.radius
            )
            paths.append(excursion(start, away, setting.frames))
        else:
            inward = np.array([1 if start[0] < setting.corner[0] / 2 else -1, 0])
            across = setting.corner[0] * inward
            paths.append(straight(start, start + 0.64 * across, setting.frames))
            walls.append(_wall(setting, start + 0.32 * across, 1.7 * cast.radius))
    return paths, walls


def _wall(setting: Setting, place: np.ndarray, radius: float) -> Piece:
    """Return something large that stands still in the frame."""
    cast = replace(_cast(setting), shape=silhouettes.wall, radius=radius)
    scale = np.full((setting.frames, 2), radius / silhouettes.REACH)
    pose = poses(np.tile(place, (setting.frames, 1)), setting.rng.normal(0, 0.1), scale)
    return Piece(_layer(setting, 0, cast, silhouettes.wall, pose), cast.style)


def _turning(setting: Setting, cast: Cast, path: np.ndarray) -> np.ndarray:
    """Turn a path (T, 2) into poses (T, 3, 3) that spin, sway, grow, and narrow as if turning."""
    rng, plan, frames, hard = setting.rng, setting.plan, setting.frames, setting.difficulty
    t = np.arange(frames)
    larger = setting.between(plan.growth) ** np.linspace(0, 1, frames)[:: rng.choice([-1, 1])]
    scale = cast.radius / silhouettes.REACH * larger * np.exp(smooth(rng, frames, 0.05 * hard))
    spin = rng.normal(0, plan.spin * hard) * rng.choice([0.1, 1])
    angle = rng.normal(0, 0.25) + spin * t + smooth(rng, frames, 0.1 * hard)
    tilt = rng.choice([0, 0.25, 0.5]) * hard
    narrow = 1 - tilt * (0.5 - 0.5 * np.cos(rng.normal(0, 0.25) * t + rng.uniform(0, 2 * np.pi)))
    return poses(path, angle, np.stack([scale * narrow, scale], 1))


# pieces -------------------------------------------------------------------------------------------
def _limbs(setting: Setting, label: int, cast: Cast, trunk: np.ndarray) -> list[Piece]:
    """Return limbs that swing about a trunk with those poses."""
    rng, frames, limbs = setting.rng, setting.frames, []
    tempo = rng.normal(0, 0.7) * setting.difficulty
    sleeve = cast.style
    if setting.chance(0.4):
        sleeve = replace(sleeve, ramps=sleeve.ramps[::-1])
    # A limb's joint is at one of its ends
    from_end = poses(np.array([[0.6, 0.0]]), 0.0, np.ones((1, 2)))
    for number in range(int(rng.integers(2, 5))):
        joint = np.tile([rng.uniform(-0.2, 0.2), rng.choice([-0.42, 0.42])], (frames, 1))
        step = tempo * np.arange(frames) + np.pi * number
        swing = rng.uniform(0, 2 * np.pi) + rng.uniform(0.2, 0.9) * np.sin(step)
        length = np.full((frames, 2), rng.uniform(0.5, 0.85))
        pose = trunk @ poses(joint, swing, length) @ from_end
        limbs.append(Piece(_layer(setting, label, cast, silhouettes.limb, pose), sleeve))
    return limbs


def _pieces(
    setting: Setting, label: int, cast: Cast, path: np.ndarray, with_camera: bool
) -> list[Piece]:
    """Return the layers of one thing, back to front."""
    pose = _turning(setting, cast, path)
    if with_camera:
        pose = setting.camera @ pose
    if not cast.jointed:
        return [Piece(_layer(setting, label, cast, cast.shape, pose), cast.style)]
    limbs = _limbs(setting, label, cast, pose)
    return [
        *limbs[::2],
        Piece(_layer(setting, label, cast, silhouettes.trunk, pose), cast.style),
        *limbs[1::2],
    ]


def _distractors(setting: Setting, casts: list[Cast], taken: list[np.ndarray]) -> list[list[Piece]]:
    """Return moving or standing things that are not objects, some of them like the objects."""
    things = []
    count = min(int(setting.rng.poisson(setting.plan.distractors * setting.difficulty)), 4)
    for path in _strolls(setting, count, taken):
        cast = setting.pick(casts) if setting.chance(0.35) else _cast(setting)
        cast = replace(cast, radius=cast.radius * setting.rng.uniform(0.6, 1.1), jointed=False)
        things.append(_pieces(setting, 0, cast, path, with_camera=setting.chance(0.6)))
    return things


def _occluders(setting: Setting) -> list[Piece]:
    """Return things that stand in front of all others."""
    pieces = []
    count = min(int(setting.rng.poisson(setting.plan.occluders * setting.difficulty)), 2)
    for place in setting.rng.uniform(0.1, 0.9, (count, 2)) * setting.corner:
        radius = setting.rng.uniform(0.15, 0.5) * setting.side
        cast = replace(_cast(setting), radius=radius, jointed=False)
        cast = replace(cast, shape=setting.pick(silhouettes.OCCLUDERS))
        pieces += _pieces(setting, 0, cast, np.tile(place, (setting.frames, 1)), with_camera=True)
    return pieces


def _in_depth(rng: Rng, things: list[list[Piece]]) -> list[Piece]:
    """Stack things at random, with what is large more often behind what is small."""
    # Pixels per unit, squared
    sizes = np.array([np.linalg.det(thing[0].layer.pose[0]) for thing in things])
    order = np.argsort(-0.5 * np.log(sizes) + rng.normal(0, 0.7, len(things)))
    return [piece for i in order for piece in things[i]]


def random_scene(
    rng: Rng, plan: Plan, frames: int, size: tuple[int, int], count: int, difficulty: float
) -> Scene:
    """Draw one scene of `count` objects in frames of `size` (H, W)."""
    hues = (rng.random() + np.arange(count + 1) / (count + 1)) % 1
    hue = None if rng.random() < difficulty else hues[0]
    backdrop = textures.random_style(rng, background=True, hue=hue)
    moves = camera(rng, frames, size, difficulty)
    setting = Setting(rng, plan, frames, size, difficulty, moves, backdrop)
    casts = _casts(setting, hues[1:])
    walls: list[Piece] = []
    if plan.path == "cross":
        paths = _crossings(setting, count)
    elif plan.path == "away":
        paths, walls = _escapes(setting, casts)
    else:
        paths = _strolls(setting, count, [])
    things = []
    for label, (cast, path) in enumerate(zip(casts, paths, strict=True), start=1):
        with_camera = plan.path == "wander" and setting.chance(0.6)
        things.append(_pieces(setting, label, cast, path, with_camera))
    things += _distractors(setting, casts, [path[0] for path in paths])
    pieces = [_background(setting), *_in_depth(rng, things), *walls, *_occluders(setting)]
    least_areas = np.array([_least_area(cast) for cast in casts])
    return Scene([piece.layer for piece in pieces], [piece.style for piece in pieces], least_areas)
