"""Paint for synthetic video: random scalar fields, seen through random colour ramps.

A texture is made in two steps. A *field* is a grey picture in [0, 1] (clouds, stripes, cells, ...);
a *ramp* is a list of 256 colours. Looking every grey value up in the ramp gives a coloured texture,
so a dozen fields and endless ramps give endless textures, and two objects that share a ramp and a
field kind are look-alikes without being copies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image, ImageDraw

from minivos.errors import InputError
from minivos.video.files import is_picture, open_picture, to_rgb

Rng = np.random.Generator
MOST_PHOTOS = 400  # kept in memory at once, about 0.3 MB each
PHOTO_SIDE = 320
PATCH_RAMPS = 4
LARGEST = 1024  # side of a texture


def lattice(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (1, n) and y (n, 1) in [-1, 1], the coordinates of an n-by-n texture."""
    line = np.linspace(-1, 1, n, dtype=np.float32)
    return line[None, :], line[:, None]


@lru_cache(maxsize=128)
def _frequencies(n: int) -> np.ndarray:
    """Return the distance from zero frequency, in cycles per texture, for `irfft2` (n, n//2+1)."""
    y, x = np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n)[None, :]
    return np.hypot(y, x).astype(np.float32)


def _noise(rng: Rng, n: int, spectrum: np.ndarray) -> np.ndarray:
    """Return periodic Gaussian noise (n, n) of that spectrum, with zero mean, unit variance."""
    white = rng.standard_normal((2, n, n // 2 + 1), dtype=np.float32)
    field = np.fft.irfft2((white[0] + 1j * white[1]) * spectrum, (n, n)).astype(np.float32)
    return (field - field.mean()) / (field.std() + 1e-9)


def fractal(rng: Rng, n: int, exponent: float) -> np.ndarray:
    """Return 1/f^exponent noise (n, n): 1 is grainy, 2 cloudy, 3 almost a gradient."""
    frequencies = _frequencies(n)
    spectrum = np.maximum(frequencies, 1) ** -exponent * (frequencies > 0)
    return _noise(rng, n, spectrum)


def _band(rng: Rng, n: int, cycles: float) -> np.ndarray:
    """Return noise (n, n) whose structures repeat about `cycles` times across the texture."""
    return _noise(rng, n, np.exp(-0.5 * ((_frequencies(n) - cycles) / (0.25 * cycles + 0.5)) ** 2))


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Return the fine noise of which every texture takes a piece."""
    return fractal(np.random.default_rng(0), LARGEST, 0.7)


def _soften(signed: np.ndarray, width: float = 0.2) -> np.ndarray:
    """Map a signed field to [0, 1] with a soft step at zero."""
    return np.clip(0.5 + signed / width, 0, 1)


def _phase(rng: Rng, n: int, low: float, high: float) -> np.ndarray:
    """Return the phase (n, n) of a slightly bent plane wave of `low` to `high` periods."""
    x, y = lattice(n)
    angle, periods = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
    bend = rng.choice([0.0, 0.5, 1.5]) * fractal(rng, n, 3)
    return np.pi * periods * (np.cos(angle) * x + np.sin(angle) * y) + bend


# fields, (n, n) in [0, 1] -------------------------------------------------------------------------
def clouds(rng: Rng, n: int) -> np.ndarray:
    """Smooth or grainy clouds."""
    return np.clip(0.5 + 0.25 * fractal(rng, n, rng.uniform(1.0, 2.8)), 0, 1)


def flat(rng: Rng, n: int) -> np.ndarray:
    """One tone with a little variation."""
    return np.clip(0.5 + 0.05 * fractal(rng, n, rng.uniform(1, 3)), 0, 1)


def gradient(rng: Rng, n: int) -> np.ndarray:
    """A slope or a ball of brightness."""
    x, y = lattice(n)
    angle = rng.uniform(0, 2 * np.pi)
    slope = 0.5 + 0.4 * (np.cos(angle) * x + np.sin(angle) * y)
    ball = np.hypot(x - rng.uniform(-0.7, 0.7), y - rng.uniform(-0.7, 0.7)) / 1.4
    return np.clip(slope if rng.random() < 0.6 else ball, 0, 1)


def stripes(rng: Rng, n: int) -> np.ndarray:
    """Straight or bent stripes, sharp or soft."""
    wave = np.sin(_phase(rng, n, 2, 9))
    return _soften(wave + rng.uniform(-0.5, 0.5), rng.choice([0.4, 2.0]))


def checks(rng: Rng, n: int) -> np.ndarray:
    """Two crossing sets of stripes."""
    wave = np.sin(_phase(rng, n, 2, 7)) * np.sin(_phase(rng, n, 2, 7))
    return _soften(wave, rng.choice([0.3, 1.0]))


def spots(rng: Rng, n: int) -> np.ndarray:
    """Dots or blotches of one size."""
    return _soften(_band(rng, n, rng.uniform(2, 9)) - rng.uniform(-0.3, 1.2), rng.uniform(0.3, 1.5))


def veins(rng: Rng, n: int) -> np.ndarray:
    """Dark lines on light clouds, as in marble."""
    return np.clip(np.abs(fractal(rng, n, rng.uniform(1.5, 2.5))) / 1.5, 0, 1)


def rings(rng: Rng, n: int) -> np.ndarray:
    """Contour lines, as in wood."""
    return 0.5 + 0.5 * np.sin(rng.uniform(3, 10) * fractal(rng, n, rng.uniform(2.2, 3)))


def cells(rng: Rng, n: int) -> np.ndarray:
    """Patches around random seeds, as in stones, scales or fields."""
    coarse = max(n // 2, 16)
    x, y = lattice(coarse)
    count = int(rng.integers(8, 36))
    seeds = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
    distance = (x[None] - seeds[:, :1, None]) ** 2 + (y[None] - seeds[:, 1:, None]) ** 2
    tone = rng.random(count, dtype=np.float32)[distance.argmin(0)]
    relief = np.sqrt(distance.min(0) * count) / 1.4
    mix = rng.uniform(0, 1)
    small = np.clip(mix * tone + (1 - mix) * relief, 0, 1)
    return np.asarray(Image.fromarray(small).resize((n, n), Image.Resampling.BILINEAR))


def collage(rng: Rng, n: int) -> np.ndarray:
    """Overlapping strokes, boxes and ellipses, like foliage, shelves or house fronts."""
    picture = Image.new("L", (n, n), int(rng.integers(256)))
    draw = ImageDraw.Draw(picture)
    kind, grain = rng.integers(4), rng.uniform(0.02, 0.15) * n
    upright = rng.random() < 0.5
    for cx, cy, dx, dy, tone in rng.random((int(rng.integers(25, 120)), 5)):
        x, y, grey = cx * n, cy * n, int(256 * tone)
        half_w, half_h = grain * (0.3 + dx), grain * (0.3 + dy)
        if kind == 0:
            draw.ellipse([x - half_w, y - half_h, x + half_w, y + half_h], fill=grey)
        elif kind == 1:
            draw.rectangle([x - half_w, y - half_h, x + half_w, y + half_h], fill=grey)
        elif kind == 2:
            reach = (0, 4 * half_h) if upright else (5 * grain * (dx - 0.5), 5 * grain * (dy - 0.5))
            draw.line([x, y, x + reach[0], y + reach[1]], fill=grey, width=max(1, int(grain / 3)))
        else:
            leaf = [x, y, x + 3 * grain * (dx - 0.5), y + half_h]
            draw.polygon([*leaf, x - half_w, y + 3 * grain * (dy - 0.5)], fill=grey)
    return np.asarray(picture, dtype=np.float32) / 255


FIELDS: dict[str, Callable[[Rng, int], np.ndarray]] = {
    field.__name__: field
    for field in (clouds, flat, gradient, stripes, checks, spots, veins, rings, cells, collage)
}
OBJECT_ODDS = np.array([5, 3, 2, 3, 2, 3, 2, 2, 2, 3]) / 27
BACKGROUND_ODDS = np.array([6, 1, 1, 1, 1, 2, 2, 2, 3, 6]) / 25


# colours ------------------------------------------------------------------------------------------
def hsv_to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Turn hue (in turns), saturation and value, each (n,), into RGB (n, 3) in [0, 1]."""
    k = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6
    return value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(k, 4 - k), 0, 1))


def random_ramp(rng: Rng, hue: float | None = None) -> np.ndarray:
    """Return 256 colours (256, 3) float32: vivid and around `hue`, or mostly those of nature."""
    stops = int(rng.integers(2, 6))
    vivid = rng.choice([0.12, 0.35, 0.75], p=[0.42, 0.44, 0.14]) if hue is None else 0.7
    if hue is None:
        natural = rng.random() < 0.6
        hue = rng.choice([0.08, 0.28, 0.58]) + rng.normal(0, 0.05) if natural else rng.random()
    hues = hue + rng.choice([0.03, 0.08, 0.3], p=[0.5, 0.35, 0.15]) * rng.standard_normal(stops)
    saturation = np.clip(vivid + 0.15 * rng.standard_normal(stops), 0, 1)
    middle, contrast = rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.45)
    value = np.clip(middle + contrast * rng.uniform(-1, 1, stops), 0.05, 1)
    return stretch(hsv_to_rgb(hues % 1, saturation, value))


@lru_cache(maxsize=8)
def _mixing(stops: int) -> np.ndarray:
    """Return the weights (256, stops) that interpolate a few colours to a ramp."""
    where = np.linspace(0, stops - 1, 256)
    return np.clip(1 - np.abs(where[:, None] - np.arange(stops)), 0, 1).astype(np.float32)


def stretch(colours: np.ndarray) -> np.ndarray:
    """Interpolate a few colours (n, 3) to a ramp (256, 3) float32."""
    return _mixing(len(colours)) @ colours.astype(np.float32)


# styles -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Style:
    """What two look-alikes have in common: kinds of field and ramps, but not the field itself."""

    kinds: tuple[str, str]
    ramps: tuple[np.ndarray, np.ndarray]
    blended: bool  # the second field shows through a smooth mask
    patches: int  # small areas in other colours
    grain: float  # contrast of the fine noise over everything


def random_style(
    rng: Rng, *, background: bool, hue: float | None = None, like: Style | None = None
) -> Style:
    """Draw a style; `hue` fixes its main colour, `like` takes over another style's ramps."""
    names, odds = list(FIELDS), BACKGROUND_ODDS if background else OBJECT_ODDS
    kinds = rng.choice(names, 2, p=odds)
    ramps = like.ramps if like is not None else (random_ramp(rng, hue), random_ramp(rng, hue))
    if like is None and hue is None and rng.random() < 0.4:
        ramps = (ramps[0], np.clip(ramps[0] * rng.uniform(0.5, 1.5), 0, 1))
    patches = int(rng.integers(0, 14) if background else rng.choice([0, 0, 1, 2, 4]))
    blended = rng.random() < 0.5
    return Style(tuple(kinds), ramps, blended, patches, grain=rng.uniform(0, 0.12))


def _coloured(field: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    """Look a field (n, n) up in a ramp, giving (n, n, 3)."""
    return ramp.take((field * 255).astype(np.uint8), axis=0)


def _draw_patch(rng: Rng, draw: ImageDraw.ImageDraw, n: int, fill: int) -> None:
    """Draw one random area: an ellipse, a box or a polygon."""
    x, y = rng.uniform(0, n, 2)
    half_w, half_h = rng.uniform(0.05, 0.25, 2) * n
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse([x - half_w, y - half_h, x + half_w, y + half_h], fill=fill)
    elif kind == 1:
        draw.rectangle([x - half_w, y - half_h, x + half_w, y + half_h], fill=fill)
    else:
        corners = int(rng.integers(3, 8))
        angles, radii = np.sort(rng.uniform(0, 2 * np.pi, corners)), rng.uniform(0.5, 1, corners)
        xs, ys = x + half_w * radii * np.cos(angles), y + half_h * radii * np.sin(angles)
        draw.polygon(list(zip(xs, ys, strict=True)), fill=fill)


def _add_patches(rng: Rng, picture: np.ndarray, field: np.ndarray, style: Style) -> None:
    """Lay areas over a picture (n, n, 3): the field (n, n) seen through a few other ramps."""
    n = len(picture)
    areas = Image.new("L", (n, n))
    draw = ImageDraw.Draw(areas)
    if rng.random() < 0.3:  # a horizon
        tilt = rng.normal(0, 0.1, 2) * n
        draw.polygon([0, n / 2 + tilt[0], n, n / 2 + tilt[1], n, n, 0, n], fill=1)
    for _ in range(style.patches):
        _draw_patch(rng, draw, n, int(rng.integers(1, PATCH_RAMPS + 1)))
    numbers = np.asarray(areas, dtype=int)
    covered = numbers > 0
    ramps = np.concatenate([style.ramps[1], *(random_ramp(rng) for _ in range(PATCH_RAMPS - 1))])
    shades = 256 * (numbers[covered] - 1) + (255 * field[covered]).astype(int)
    picture[covered] = ramps.take(shades, axis=0)


def paint(rng: Rng, style: Style, n: int, photo: np.ndarray | None = None) -> np.ndarray:
    """Render a texture (3, n, n) float32 in [0, 1], of that style or of a photograph (n, n, 3)."""
    first = FIELDS[style.kinds[0]](rng, n)
    picture = _coloured(first, style.ramps[0]) if photo is None else photo
    if style.blended and photo is None:
        through = _soften(fractal(rng, n, 2.5), rng.uniform(0.1, 1.5))[..., None]
        second = _coloured(FIELDS[style.kinds[1]](rng, n), style.ramps[1])
        picture = picture + through * (second - picture)
    if style.patches and photo is None:
        _add_patches(rng, picture, np.roll(first, n // 3, (0, 1)), style)
    top, left = rng.integers(0, LARGEST - n + 1, 2)
    grain = 1 + style.grain * _grain()[top : top + n, left : left + n, None]
    return np.ascontiguousarray(rearrange(np.clip(picture * grain, 0, 1), "h w c -> c h w"))


# photos -------------------------------------------------------------------------------------------
@lru_cache(maxsize=4)
def load_photos(folder: Path) -> tuple[np.ndarray, ...]:
    """Read the photographs in a folder as uint8 (H, W, 3), the longer side at most 320 px.

    Raises InputError for no folder, no photograph or a damaged one.
    """
    if not folder.is_dir():
        raise InputError(
            f"got photos={str(folder)!r}, which is not a folder; "
            "expected a folder with .jpg or .png photographs."
        )
    paths = sorted(path for path in folder.rglob("*") if is_picture(path))[:MOST_PHOTOS]
    if not paths:
        raise InputError(
            f"got photos={str(folder)!r}, which holds no photograph; "
            "expected .jpg or .png files in it: put some there or omit `photos`."
        )
    return tuple(_load_photo(path) for path in paths)


def _load_photo(path: Path) -> np.ndarray:
    picture = to_rgb(open_picture(path))
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    return np.asarray(picture)


def crop_photo(rng: Rng, photo: np.ndarray, n: int) -> np.ndarray:
    """Cut a random square out of a photograph and return it as (n, n, 3) float32 in [0, 1]."""
    side = int(rng.uniform(0.4, 1) * min(photo.shape[:2]))
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    crop = Image.fromarray(photo[top : top + side, left : left + side])
    resized = crop.resize((n, n), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32) / 255
