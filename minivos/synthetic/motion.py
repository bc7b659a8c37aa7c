"""How things move in synthetic video: paths, poses, cameras, and the layers that they carry.

Everything is a function of the frame number, drawn once for the whole clip. Positions are (x, y) in
pixels, angles in radians. A pose is a 3 x 3 matrix that takes a surface's own coordinates ([-1, 1]
x [-1, 1]) to pixels of a frame.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Rng = np.random.Generator
SILHOUETTE = 0.86  # radius in surface units within which a silhouette and its shadow lie
FIXED_POINT_STEPS = 40  # a layer's deformation contracts by 0.5 a step at worst


def poses(centre: np.ndarray, angle: np.ndarray | float, scale: np.ndarray) -> np.ndarray:
    """Return matrices (T, 3, 3) that scale by (T, 2), turn by (T,), then move to centre (T, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    matrices = np.zeros((len(centre), 3, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = c * scale[:, 0], -s * scale[:, 1]
    matrices[:, 1, 0], matrices[:, 1, 1] = s * scale[:, 0], c * scale[:, 1]
    matrices[:, :2, 2], matrices[:, 2, 2] = centre, 1
    return matrices


def smooth(rng: Rng, frames: int, spread: float, every: int = 5) -> np.ndarray:
    """Return a slowly varying random series (T,) of standard deviation `spread`."""
    knots = rng.normal(0, spread, frames // every + 2)
    return np.interp(np.arange(frames) / every, np.arange(len(knots)), knots)


def bounce(path: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Fold a path (T, 2) back into the box [low, high], as a ball bounces between walls."""
    span = high - low
    return low + span - np.abs((path - low) % (2 * span) - span)


def pace(rng: Rng, frames: int) -> np.ndarray:
    """Return a speed factor (T,) around 1 that varies, and sometimes pauses for a while."""
    factor = np.exp(smooth(rng, frames, 0.4))
    if rng.random() < 0.25:
        start = rng.integers(0, frames)
        factor[start : start + rng.integers(2, 6)] = 0
    return factor


def wander(rng: Rng, start: np.ndarray, frames: int, speed: float) -> np.ndarray:
    """Return a path (T, 2) that starts there and strolls at about `speed` pixels per frame."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, rng.uniform(0.02, 0.4), frames))
    steps = speed * pace(rng, frames)[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
    return start + np.cumsum(steps, 0) - steps[0]


def straight(start: np.ndarray, end: np.ndarray, frames: int) -> np.ndarray:
    """Return the even path (T, 2) from start to end."""
    return start + (end - start) * np.linspace(0, 1, frames)[:, None]


def excursion(start: np.ndarray, away: np.ndarray, frames: int) -> np.ndarray:
    """Return a path (T, 2) that goes from start to `away`, stays a while, and comes back."""
    gone = np.clip(1.35 * np.sin(np.pi * np.linspace(0, 1, frames)), 0, 1)
    return start + (away - start) * gone[:, None]


def camera(rng: Rng, frames: int, size: tuple[int, int], strength: float) -> np.ndarray:
    """Return world-to-frame matrices (T, 3, 3): pan, shake, zoom and roll up to `strength`.

    That of frame 0 is the identity.
    """
    middle, side = np.array(size[::-1]) / 2, min(size)
    pan = wander(rng, np.zeros(2), frames, strength * side * rng.choice([0, 0.004, 0.012, 0.03]))
    shake = rng.normal(0, strength * side * rng.choice([0, 0, 0.003, 0.008]), (frames, 2))
    growth = strength * rng.choice([0, 0.006, 0.015]) * rng.choice([-1, 1])
    zoom = np.exp(np.cumsum(growth * np.ones(frames)))
    zoom = np.clip(zoom / zoom[0], 0.6, 1.8)
    roll = np.cumsum(smooth(rng, frames, strength * rng.choice([0, 0.003, 0.01])))
    move = poses(pan + shake - shake[0] + middle, roll - roll[0], np.stack([zoom, zoom], 1))
    return move @ poses(-middle[None], 0.0, np.ones((1, 2)))


@dataclass(frozen=True)
class Waves:
    """A smooth deformation: travelling sine waves that shift points by at most 0.2 in all."""

    direction: np.ndarray  # (K, 2) shift at the crest, in surface units
    frequency: np.ndarray  # (K, 2) radians per surface unit
    phase: np.ndarray  # (K, T)

    def shift(self, x: np.ndarray, y: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much points of the surface are shifted in frame t."""
        crests = [
            np.sin(fx * x + fy * y + p)
            for (fx, fy), p in zip(self.frequency, self.phase[:, t], strict=True)
        ]
        dx, dy = (
            sum(d * crest for d, crest in zip(axis, crests, strict=True))
            for axis in self.direction.T
        )
        return dx, dy


def waves(rng: Rng, frames: int, strength: float) -> Waves | None:
    """Draw two waves whose slope is at most `strength` (below 0.25) each, None if it is nothing."""
    if strength < 0.01:
        return None
    angles, lengths = rng.uniform(0, 2 * np.pi, (2, 2)), rng.uniform(1.5, 6, 2)
    crest = np.minimum(strength * rng.uniform(0.4, 1, 2) / lengths, 0.1)
    unit = np.stack([np.cos(angles), np.sin(angles)], -1)  # (2 roles, 2 waves, 2)
    speed = rng.normal(0, 0.5, (2, 1))
    phase = rng.uniform(0, 2 * np.pi, (2, 1)) + speed * np.arange(frames)
    parts = (unit[0] * crest[:, None], unit[1] * lengths[:, None], phase)
    return Waves(*(part.astype(np.float32) for part in parts))


@dataclass(frozen=True)
class Layer:
    """One surface of the scene: whose it is, and where its points are in every frame."""

    label: int  # 0 for everything that is not an object
    pose: np.ndarray  # (T, 3, 3) from surface to frame
    roll: np.ndarray  # (T, 2) how far the texture has slid along, as on a turning ball
    waves: Waves | None
    body: np.ndarray | None  # (3, n, n) inside, shade, shadow; None: the background, everywhere

    def to_surface(self, x: np.ndarray, y: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Take pixels of frame t (two arrays that broadcast) to surface coordinates."""
        (a, b, c), (d, e, f), _ = self.inverse[t].astype(x.dtype)
        u, v = (a * x + c) + b * y, (d * x + f) + e * y
        if self.waves is None:
            return u, v
        du, dv = self.waves.shift(u, v, t)
        return u + du, v + dv

    def to_frame(self, u: np.ndarray, v: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Take surface coordinates to pixels of frame t, the inverse of `to_surface`."""
        x, y = u, v
        if self.waves is not None:
            for _ in range(FIXED_POINT_STEPS):
                dx, dy = self.waves.shift(x, y, t)
                x, y = u - dx, v - dy
        (a, b, c), (d, e, f), _ = self.pose[t]
        return a * x + b * y + c, d * x + e * y + f

    @cached_property
    def reach(self) -> float:
        """Radius in surface units beyond which this layer shows nothing, however it bends."""
        return SILHOUETTE + (0 if self.waves is None else np.hypot(*self.waves.direction.T).sum())

    @cached_property
    def inverse(self) -> np.ndarray:
        """The poses (T, 3, 3) from frame to surface."""
        return np.linalg.inv(self.pose)

    @cached_property
    def velocity(self) -> np.ndarray:
        """How far the surface's centre moves per frame, in pixels (T, 2)."""
        centres = self.pose[:, :2, 2]
        return np.gradient(centres, axis=0) if len(centres) > 1 else np.zeros((1, 2))
