"""From layers to pixels: drawing synthetic video, and filming it with an imperfect camera.

To draw a frame, every pixel is taken back to each layer's surface, where silhouette, shading and
colour are looked up.
"""

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import grid_sample

from minivos.synthetic.motion import Layer, smooth

Rng = np.random.Generator
Box = tuple[slice, slice]


def _box(layer: Layer, t: int, size: tuple[int, int], margin: float) -> Box | None:
    """Return the rows and columns that a layer can touch in frame t, or None if it is outside."""
    centre, reach = layer.pose[t, :2, 2], layer.reach * np.hypot(*layer.pose[t, :2, :2].T) + margin
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, size[::-1]).astype(int)
    return (slice(low[1], high[1]), slice(low[0], high[0])) if (high > low).all() else None


def _surface(layer: Layer, t: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface coordinates (h, w) of all pixels in a box of frame t."""
    y = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None]
    x = np.arange(box[1].start, box[1].stop, dtype=np.float32)[None, :]
    return layer.to_surface(x, y, t)


def _rolled(layer: Layer, t: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the texture has slid, in frame t, that covers these surface coordinates."""
    du, dv = layer.roll[t].astype(np.float32)
    return u + du, v + dv


def _look_up(picture: np.ndarray, u: np.ndarray, v: np.ndarray, padding: str) -> np.ndarray:
    """Return the values (C, h, w) of a picture (C, n, n) at surface coordinates."""
    grid = torch.from_numpy(np.stack([u, v], -1).astype(np.float32, copy=False))[None]
    return grid_sample(
        torch.from_numpy(picture)[None], grid, padding_mode=padding, align_corners=False
    )[0].numpy()


def _shift(patch: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Move the content of (..., h, w) by whole pixels, repeating the border."""
    height, width = patch.shape[-2:]
    rows, columns = np.arange(height) - dy, np.arange(width) - dx
    return patch.take(rows, axis=-2, mode="clip").take(columns, axis=-1, mode="clip")


def _smear(patch: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Blur (C, h, w) along a motion in pixels (x, y), by averaging shifted copies."""
    for part in (0.25, 0.125, 0.0625):
        dx, dy = np.rint(motion * part).astype(int)
        if dx or dy:
            patch = (_shift(patch, dx, dy) + _shift(patch, -dx, -dy)) / 2
    return patch


def owners_of(layers: list[Layer], t: int, size: tuple[int, int]) -> np.ndarray:
    """Return which layer each pixel of frame t shows (H, W)."""
    owners = np.zeros(size, np.uint8)
    for index, layer in enumerate(layers):
        box = _box(layer, t, size, 0)
        if layer.body is not None and box is not None:
            inside = _look_up(layer.body[:1], *_surface(layer, t, box), "zeros")[0]
            owners[box][inside > 0.5] = index
    return owners


@dataclass(frozen=True)
class Look:
    """How a clip is lit and filmed."""

    exposure: float  # motion blur, fraction of a frame
    shadow: float  # darkness of soft shadows, 0..1
    shadow_offset: tuple[int, int]  # (x, y) pixels


def random_look(rng: Rng, exposure: tuple[float, float], side: int, strength: float) -> Look:
    """Draw a look: blur within the bounds of `exposure`, shadows for frames of `side` pixels."""
    blur = rng.uniform(*exposure) if rng.random() < 0.7 else exposure[0]
    dx, dy = np.rint(0.02 * side * rng.uniform(-1, 1, 2)).astype(int).tolist()
    return Look(blur * strength, rng.choice([0.0, 0.2, 0.45]) * strength, (dx, dy))


def _draw(
    canvas: np.ndarray,
    owners: np.ndarray,
    index: int,
    layer: Layer,
    paint: np.ndarray,
    t: int,
    look: Look,
) -> None:
    """Draw a layer on the canvas (3, H, W), and its index where it is seen on `owners` (H, W)."""
    motion = layer.velocity[t] * look.exposure
    box = _box(layer, t, owners.shape, np.abs(motion).max())
    if box is None or layer.body is None:
        return
    u, v = _surface(layer, t, box)
    inside, shade, shadow = _look_up(layer.body, u, v, "zeros")
    colour = _look_up(paint, *_rolled(layer, t, u, v), "reflection") * shade
    texels_per_pixel = layer.body.shape[1] / 2 / np.sqrt(abs(np.linalg.det(layer.pose[t, :2, :2])))
    opacity = np.clip(0.5 + (inside - 0.5) * max(1, 2 / texels_per_pixel), 0, 1)
    owners[box][inside > 0.5] = index
    if look.shadow:
        canvas[:, box[0], box[1]] *= 1 - look.shadow * _shift(shadow, *look.shadow_offset)
    veiled = _smear(np.concatenate([colour * opacity, opacity[None]]), motion)
    canvas[:, box[0], box[1]] *= 1 - veiled[3]
    canvas[:, box[0], box[1]] += veiled[:3]


def expose(
    layers: list[Layer], paints: list[np.ndarray], size: tuple[int, int], look: Look
) -> tuple[np.ndarray, np.ndarray]:
    """Draw layers back to front in their paints: frames (T, 3, H, W) and owners (T, H, W).

    A paint is a texture (3, n, n); the values of the frames lie around [0, 1].
    """
    frames = len(layers[0].pose)
    canvas, owners = np.empty((frames, 3, *size), np.float32), np.zeros((frames, *size), np.uint8)
    everywhere = (slice(0, size[0]), slice(0, size[1]))
    ground = layers[0]
    for t in range(frames):
        surface = _rolled(ground, t, *_surface(ground, t, everywhere))
        colour = _look_up(paints[0], *surface, "reflection")
        canvas[t] = _smear(colour, ground.velocity[t] * look.exposure)
        for index, (layer, paint) in enumerate(zip(layers[1:], paints[1:], strict=True), start=1):
            _draw(canvas[t], owners[t], index, layer, paint, t, look)
    return canvas, owners


# the camera ---------------------------------------------------------------------------------------
def _lighting(rng: Rng, frames: int, size: tuple[int, int], strength: float) -> np.ndarray:
    """Return brightness (T, 1, H, W) around 1: large soft patches of light that may drift."""
    height, width = size
    contrast = strength * rng.choice([0, 0.1, 0.22])
    coarse = Image.fromarray(np.exp(contrast * rng.standard_normal((5, 5))).astype(np.float32))
    field = np.asarray(coarse.resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
    start, drift = rng.uniform(0, 1, 2), rng.normal(0, 0.02 * strength, 2)
    where = np.clip(start + np.arange(frames)[:, None] * drift, 0, 1) * size
    return np.stack([field[None, y : y + height, x : x + width] for y, x in where.astype(int)])


def _tone_curves(rng: Rng, frames: int, strength: float) -> np.ndarray:
    """Return look-up tables (T, 3, 256) uint8 for gamma, contrast, white balance and exposure."""
    grey = np.linspace(0, 1, 256)
    gamma = np.exp(strength * rng.normal(0, 0.2))
    contrast = np.exp(strength * rng.normal(-0.05, 0.13))
    balance = np.exp(strength * rng.normal(0, 0.06, 3))
    gain = np.exp(smooth(rng, frames, strength * rng.choice([0, 0.05, 0.15]), every=6))
    curve = 0.5 + contrast * (grey**gamma - 0.5)
    return np.clip(255 * curve * gain[:, None, None] * balance[:, None], 0, 255).astype(np.uint8)


def _grain(rng: Rng, size: tuple[int, int], strength: float) -> np.ndarray:
    """Return sensor noise (H+32, W+32) int16; every channel and frame shows another part of it."""
    deviation = 255 * strength * rng.choice([0, 0.01, 0.02, 0.045], p=[0.4, 0.25, 0.25, 0.1])
    noise = rng.standard_normal((size[0] + 32, size[1] + 32), dtype=np.float32)
    return (deviation * noise).astype(np.int16)


def _recode(frame: np.ndarray, shrink: float, quality: int | None) -> np.ndarray:
    """Return a frame (H, W, 3) as it looks after a low-resolution sensor and JPEG compression."""
    picture = Image.fromarray(frame)
    if shrink < 1:
        width, height = picture.size
        small = (round(shrink * width), round(shrink * height))
        picture = picture.resize(small, Image.Resampling.BILINEAR)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    if quality is not None:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        picture = Image.open(buffer)
    return np.asarray(picture)


def film(rng: Rng, light: np.ndarray, difficulty: float) -> np.ndarray:
    """Turn frames (T, 3, H, W) around [0, 1] into uint8 (T, H, W, 3), as a real camera would."""
    frames, _, height, width = light.shape
    size = (height, width)
    lit = light * _lighting(rng, frames, size, difficulty)
    digital = (np.clip(lit, 0, 1) * 255).astype(np.uint8)
    curves, grain = _tone_curves(rng, frames, difficulty), _grain(rng, size, difficulty)
    shrink = rng.uniform(0.5, 0.9) if rng.random() < 0.3 * difficulty else 1.0
    quality = int(rng.integers(30, 95)) if rng.random() < 0.5 * difficulty else None
    developed = np.empty((frames, *size, 3), np.uint8)
    for t, shifts in enumerate(rng.integers(0, 32, (frames, 3, 2))):
        for channel, (dy, dx) in enumerate(shifts):
            toned = curves[t, channel].take(digital[t, channel])
            grainy = toned + grain[dy : dy + height, dx : dx + width]
            developed[t, ..., channel] = np.clip(grainy, 0, 255)
        developed[t] = _recode(developed[t], shrink, quality)
    return developed
