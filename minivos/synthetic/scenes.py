"""What happens in synthetic video: plans for the scenarios, and the scenes laid out after them.

A plan says how many objects there are, how large, how fast and along which kind of path; a scene is
a stack of layers drawn at random after a plan: the background, objects, moving things that are not
objects (distractors), and things that stand in front (occluders).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minivos.synthetic import silhouettes as shapes
from minivos.synthetic import textures
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
    """Layers back to front, the style of each layer's paint, and the least area of each object
    (K,) in frame 0.
    """

    layers: list[Layer]
    styles: list[textures.Style]
    least_areas: np.ndarray


@dataclass(frozen=True)
class Stage:
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

    def between(self, bounds: tuple[float, float]) -> float:
        """Draw a number between two positive bounds, evenly on a logarithmic scale."""
        return float(np.exp(self.rng.uniform(*np.log(bounds))))


@dataclass(frozen=True)
class Cast:
    """How one thing looks, before it moves."""

    shape: shapes.Shape
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
def _cast(stage: Stage, hue: float | None = None) -> Cast:
    """Choose a shape, a style and a size."""
    rng, plan = stage.rng, stage.plan
    thin = stage.chance(plan.thin)
    jointed = not thin and stage.chance(plan.jointed)
    kinds, odds = (shapes.THIN, None) if thin else (shapes.SOLID, shapes.SOLID_ODDS)
    shape = shapes.trunk if jointed else rng.choice(kinds, p=odds)
    camouflaged = hue is None and stage.chance(0.15 * stage.difficulty)
    style = textures.random_style(
        rng, background=False, hue=hue, like=stage.backdrop if camouflaged else None
    )
    fuller = 1.3 if thin else 0.8 if jointed else 1  # limbs reach beyond the trunk
    return Cast(
        shape,
        int(rng.integers(2**31)),
        style,
        fuller * stage.between(plan.diameter) * stage.side / 2,
        jointed,
    )


def _casts(stage: Stage, hues: np.ndarray) -> list[Cast]:
    """Choose how the objects look: all alike, as it comes, or (the easier, the likelier) each of
    its own hue.
    """
    rng, hard = stage.rng, stage.difficulty
    if stage.plan.lookalike == 1 or stage.chance(stage.plan.lookalike * hard):
        model = replace(_cast(stage), jointed=False)
        model = replace(model, style=replace(model.style, patches=0, blended=False))
        casts = [replace(model, radius=model.radius * rng.uniform(0.95, 1.05)) for _ in hues]
    else:
        casts = [_cast(stage, None if stage.chance(hard) else hue) for hue in hues]
    crowding = min(1, np.sqrt(stage.plan.objects[1] / len(hues)))
    return [
        replace(cast, radius=max(crowding * cast.radius, _least_radius(stage, cast)))
        for cast in casts
    ]


def _least_area(cast: Cast) -> float:
    return LEAST_AREA_THIN if cast.shape in shapes.THIN else LEAST_AREA


def _least_radius(stage: Stage, cast: Cast) -> float:
    """Return the radius in pixels at which an object covers twice its least area: some of it may
    be hidden.
    """
    covered = shapes.covered(np.random.default_rng(cast.seed), cast.shape)
    return shapes.REACH * np.sqrt(2 * _least_area(cast) * np.prod(stage.size) / covered)


def _layer(stage: Stage, label: int, cast: Cast, shape: shapes.Shape, pose: np.ndarray) -> Layer:
    """Give a posed shape its silhouette, deformation and rolling texture."""
    rng, hard, frames = stage.rng, stage.difficulty, stage.frames
    pixels_per_unit = np.sqrt(np.abs(np.linalg.det(pose[:, :2, :2])).max())
    n = int(np.clip(16 * np.ceil(1.9 * pixels_per_unit / 16), 48, 256))
    rolling = rng.choice([0, 0.02, 0.06]) * hard
    roll = np.cumsum(np.stack([smooth(rng, frames, rolling), smooth(rng, frames, rolling)], 1), 0)
    bend = waves(rng, frames, stage.plan.bend * hard * rng.uniform(0, 1))
    return Layer(
        label, pose, roll - roll[0], bend, shapes.body(np.random.default_rng(cast.seed), shape, n)
    )


def _background(stage: Stage) -> Piece:
    """Return the layer that fills the frame; where it ends it is mirrored."""
    rng, hard = stage.rng, stage.difficulty
    pose = stage.camera @ poses(
        stage.corner[None] / 2, 0.0, np.full((1, 2), 0.62 * max(stage.size))
    )
    ripples = waves(rng, stage.frames, 0.08 * hard) if stage.chance(0.25) else None
    drift = rng.normal(0, 0.01 * hard, 2) if stage.chance(0.25) else np.zeros(2)
    return Piece(
        Layer(0, pose, np.arange(stage.frames)[:, None] * drift, ripples, None), stage.backdrop
    )


# paths --------------------------------------------------------------------------------------------
def _starts(stage: Stage, count: int, taken: list[np.ndarray]) -> list[np.ndarray]:
    """Draw starting points well inside the frame, each the farthest of a few candidates from
    those before.
    """
    points = list(taken)
    for _ in range(count):
        candidates = stage.rng.uniform(0.15, 0.85, (10, 2)) * stage.corner
        gaps = [
            min((np.hypot(*(candidate - point)) for point in points), default=0)
            for candidate in candidates
        ]
        points.append(candidates[int(np.argmax(gaps))])
    return points[len(taken) :]


def _strolls(stage: Stage, count: int, taken: list[np.ndarray]) -> list[np.ndarray]:
    """Return paths that wander about the frame, bounce off its edges or just beyond; some stand
    still.
    """
    slowed = EASY_SPEED + (1 - EASY_SPEED) * stage.difficulty
    paths = []
    for start in _starts(stage, count, taken):
        still = stage.chance(stage.plan.still)
        speed = 0 if still else stage.between(stage.plan.speed) * stage.side * slowed
        beyond = stage.rng.choice([-0.1, 0.0, 0.15]) * stage.side
        paths.append(
            bounce(
                wander(stage.rng, start, stage.frames, speed),
                -beyond * np.ones(2),
                stage.corner + beyond,
            )
        )
    return paths


def _crossings(stage: Stage, count: int) -> list[np.ndarray]:
    """Return straight, slightly wavering paths through one point, reached by all at about the
    same time.
    """
    rng, frames = stage.rng, stage.frames
    meeting = stage.corner / 2 + rng.uniform(-0.1, 0.1, 2) * stage.side
    fan = np.arange(count) * rng.uniform(0.8, 1) * np.pi / count
    angles = rng.uniform(0, np.pi) + fan + np.pi * rng.integers(0, 2, count)
    paths = []
    for angle in angles:
        reach = 0.36 * stage.corner * [np.cos(angle), np.sin(angle)]
        waver = 0.02 * stage.side * np.stack([smooth(rng, frames, 1), smooth(rng, frames, 1)], 1)
        paths.append(straight(meeting - reach, meeting + reach, frames) + waver)
    return paths


def _escapes(stage: Stage, casts: list[Cast]) -> tuple[list[np.ndarray], list[Piece]]:
    """Return paths that leave the frame or (one or two of them) pass behind a wall, and come
    back; and the walls.
    """
    walls, paths = [], []
    starts = _starts(stage, len(casts), [])
    first = stage.rng.integers(2)
    for number, (cast, start) in enumerate(zip(casts, starts, strict=True)):
        if number not in (first, first + 2):
            axis = stage.rng.integers(2)
            away = start.copy()
            away[axis] = (
                -2 * cast.radius
                if start[axis] < stage.corner[axis] / 2
                else stage.corner[axis] + 2 * cast.radius
            )
            paths.append(excursion(start, away, stage.frames))
        else:
            inward = np.array([1 if start[0] < stage.corner[0] / 2 else -1, 0])
            paths.append(straight(start, start + 0.64 * stage.corner[0] * inward, stage.frames))
            walls.append(_wall(stage, start + 0.32 * stage.corner[0] * inward, 1.7 * cast.radius))
    return paths, walls


def _wall(stage: Stage, place: np.ndarray, radius: float) -> Piece:
    """Return something large that stands still in the frame."""
    cast = replace(_cast(stage), shape=shapes.wall, radius=radius)
    scale = np.full((stage.frames, 2), radius / shapes.REACH)
    pose = poses(np.tile(place, (stage.frames, 1)), stage.rng.normal(0, 0.1), scale)
    return Piece(_layer(stage, 0, cast, shapes.wall, pose), cast.style)


def _turning(stage: Stage, cast: Cast, path: np.ndarray) -> np.ndarray:
    """Turn a path (T, 2) into poses (T, 3, 3): spin, sway, growth, and narrowing as if turning
    away.
    """
    rng, plan, frames, hard = stage.rng, stage.plan, stage.frames, stage.difficulty
    t = np.arange(frames)
    larger = stage.between(plan.growth) ** np.linspace(0, 1, frames)[:: rng.choice([-1, 1])]
    scale = cast.radius / shapes.REACH * larger * np.exp(smooth(rng, frames, 0.05 * hard))
    spin = rng.normal(0, plan.spin * hard) * rng.choice([0.1, 1])
    angle = rng.normal(0, 0.25) + spin * t + smooth(rng, frames, 0.1 * hard)
    tilt = rng.choice([0, 0.25, 0.5]) * hard
    narrow = 1 - tilt * (0.5 - 0.5 * np.cos(rng.normal(0, 0.25) * t + rng.uniform(0, 2 * np.pi)))
    return poses(path, angle, np.stack([scale * narrow, scale], 1))


# pieces -------------------------------------------------------------------------------------------
def _limbs(stage: Stage, label: int, cast: Cast, trunk: np.ndarray) -> list[Piece]:
    """Return limbs that swing about a trunk with those poses."""
    rng, frames, limbs = stage.rng, stage.frames, []
    tempo = rng.normal(0, 0.7) * stage.difficulty
    sleeve = replace(cast.style, ramps=cast.style.ramps[::-1]) if stage.chance(0.4) else cast.style
    from_end = poses(
        np.array([[0.6, 0.0]]), 0.0, np.ones((1, 2))
    )  # a limb's joint is at one of its ends
    for number in range(int(rng.integers(2, 5))):
        joint = np.tile([rng.uniform(-0.2, 0.2), rng.choice([-0.42, 0.42])], (frames, 1))
        swing = rng.uniform(0, 2 * np.pi) + rng.uniform(0.2, 0.9) * np.sin(
            tempo * np.arange(frames) + np.pi * number
        )
        length = np.full((frames, 2), rng.uniform(0.5, 0.85))
        pose = trunk @ poses(joint, swing, length) @ from_end
        limbs.append(Piece(_layer(stage, label, cast, shapes.limb, pose), sleeve))
    return limbs


def _pieces(
    stage: Stage, label: int, cast: Cast, path: np.ndarray, with_camera: bool
) -> list[Piece]:
    """Return the layers of one thing, back to front."""
    pose = _turning(stage, cast, path)
    if with_camera:
        pose = stage.camera @ pose
    if not cast.jointed:
        return [Piece(_layer(stage, label, cast, cast.shape, pose), cast.style)]
    limbs = _limbs(stage, label, cast, pose)
    return [
        *limbs[::2],
        Piece(_layer(stage, label, cast, shapes.trunk, pose), cast.style),
        *limbs[1::2],
    ]


def _distractors(stage: Stage, casts: list[Cast], taken: list[np.ndarray]) -> list[list[Piece]]:
    """Return moving or standing things that are not objects, some of them like the objects."""
    things = []
    count = min(int(stage.rng.poisson(stage.plan.distractors * stage.difficulty)), 4)
    for path in _strolls(stage, count, taken):
        cast = stage.rng.choice(casts) if stage.chance(0.35) else _cast(stage)
        cast = replace(cast, radius=cast.radius * stage.rng.uniform(0.6, 1.1), jointed=False)
        things.append(_pieces(stage, 0, cast, path, with_camera=stage.chance(0.6)))
    return things


def _occluders(stage: Stage) -> list[Piece]:
    """Return things that stand in front of all others."""
    pieces = []
    count = min(int(stage.rng.poisson(stage.plan.occluders * stage.difficulty)), 2)
    for place in stage.rng.uniform(0.1, 0.9, (count, 2)) * stage.corner:
        radius = stage.rng.uniform(0.15, 0.5) * stage.side
        cast = replace(
            _cast(stage), shape=stage.rng.choice(shapes.OCCLUDERS), radius=radius, jointed=False
        )
        pieces += _pieces(stage, 0, cast, np.tile(place, (stage.frames, 1)), with_camera=True)
    return pieces


def _in_depth(rng: Rng, things: list[list[Piece]]) -> list[Piece]:
    """Stack things at random, with what is large more often behind what is small."""
    sizes = np.array(
        [np.linalg.det(thing[0].layer.pose[0]) for thing in things]
    )  # pixels per unit, squared
    order = np.argsort(-0.5 * np.log(sizes) + rng.normal(0, 0.7, len(things)))
    return [piece for i in order for piece in things[i]]


def random_scene(
    rng: Rng, plan: Plan, frames: int, size: tuple[int, int], count: int, difficulty: float
) -> Scene:
    """Draw one scene of `count` objects in frames of `size` (H, W)."""
    hues = (rng.random() + np.arange(count + 1) / (count + 1)) % 1
    backdrop = textures.random_style(
        rng, background=True, hue=None if rng.random() < difficulty else hues[0]
    )
    stage = Stage(
        rng, plan, frames, size, difficulty, camera(rng, frames, size, difficulty), backdrop
    )
    casts, walls = _casts(stage, hues[1:]), []
    if plan.path == "cross":
        paths = _crossings(stage, count)
    elif plan.path == "away":
        paths, walls = _escapes(stage, casts)
    else:
        paths = _strolls(stage, count, [])
    things = [
        _pieces(stage, label, cast, path, with_camera=plan.path == "wander" and stage.chance(0.6))
        for label, (cast, path) in enumerate(zip(casts, paths, strict=True), start=1)
    ]
    things += _distractors(stage, casts, [path[0] for path in paths])
    pieces = [_background(stage), *_in_depth(rng, things), *walls, *_occluders(stage)]
    least_areas = np.array([_least_area(cast) for cast in casts])
    return Scene([piece.layer for piece in pieces], [piece.style for piece in pieces], least_areas)
