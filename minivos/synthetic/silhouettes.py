"""Silhouettes for synthetic video: what is object and what is not, with shading and a soft shadow.

Every shape lives in the square [-1, 1] x [-1, 1] and keeps within a radius of REACH, which leaves
room for deformation.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Rng = np.random.Generator
REACH = 0.78


class Sheet:
    """A grey picture to draw on, in coordinates [-1, 1], for a silhouette (n, n)."""

    def __init__(self, n: int) -> None:
        self.picture = Image.new("L", (2 * n, 2 * n))  # twice as fine, for smooth edges
        self.draw = ImageDraw.Draw(self.picture)
        self.n = n

    def _pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        return [(x, y) for x, y in ((points + 1) * self.n).tolist()]

    def polygon(self, points: np.ndarray) -> None:
        """Fill the outline through points (k, 2)."""
        self.draw.polygon(self._pixels(points), 255)

    def disc(self, x: float, y: float, rx: float, ry: float, fill: int = 255) -> None:
        """Fill an ellipse around (x, y) with radii rx and ry."""
        corners = np.array([[x - rx, y - ry], [x + rx, y + ry]])
        self.draw.ellipse(self._pixels(corners), fill)

    def stroke(self, points: np.ndarray, width: float) -> None:
        """Draw a line with round joints and ends through points (k, 2)."""
        self.draw.line(self._pixels(points), 255, max(2, round(width * self.n)))
        for x, y in points:
            self.disc(x, y, width / 2, width / 2)

    def silhouette(self) -> Image.Image:
        """Return what was drawn as a smooth-edged grey picture (n, n)."""
        return self.picture.reduce(2)


def _ring(angles: np.ndarray, radii: np.ndarray | float) -> np.ndarray:
    """Return points (k, 2) at those angles and radii around the centre."""
    unit = np.stack([np.cos(angles), np.sin(angles)], -1)
    return unit * np.broadcast_to(radii, angles.shape)[:, None]


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Return points (k, 2) turned around the centre."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


# solid shapes -------------------------------------------------------------------------------------
def blob(rng: Rng, sheet: Sheet) -> None:
    """A smooth outline: a circle whose radius is a short random Fourier series, often elongated."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = sum(
        rng.normal(0, 0.28 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        for k in range(2, 7)
    )
    points = _ring(angles, np.exp(waves)) * [1, rng.uniform(0.45, 1)]
    sheet.polygon(_turned(points * REACH / np.hypot(*points.T).max(), rng.uniform(0, 2 * np.pi)))


def polygon(rng: Rng, sheet: Sheet) -> None:
    """Three to seven irregular corners."""
    corners = int(rng.integers(3, 8))
    steps = np.arange(corners) + rng.uniform(-0.3, 0.3, corners)
    angles = steps * 2 * np.pi / corners + rng.uniform(0, 2 * np.pi)
    sheet.polygon(_ring(angles, REACH * rng.uniform(0.7, 1, corners)))


def box(rng: Rng, sheet: Sheet) -> None:
    """A rectangle, sometimes with a smaller one on top, like a vehicle, a house or a book."""
    width, height = 0.62, 0.62 * rng.uniform(0.35, 0.95)
    base = np.array([[-width, height], [width, height], [width, -height], [-width, -height]])
    sheet.polygon(base * [1, 0.6] + [0, 0.2])
    if rng.random() < 0.7:
        left, right = width * rng.uniform(0.2, 0.9, 2)
        top = [[-left, 0], [right, 0], [width * 0.3, -0.55], [-width * 0.3, -0.55]]
        sheet.polygon(np.array(top))
    if rng.random() < 0.4:
        for x in (-0.35, 0.35):
            sheet.disc(x, 0.2 + 0.6 * height, 0.15, 0.15)


def star(rng: Rng, sheet: Sheet) -> None:
    """Four to eight tips."""
    tips = int(rng.integers(4, 9))
    turns = np.arange(2 * tips)
    angles = turns * np.pi / tips + rng.uniform(0, np.pi)
    sheet.polygon(_ring(angles, np.where(turns % 2, rng.uniform(0.35, 0.65), 1.0) * REACH))


def crescent(rng: Rng, sheet: Sheet) -> None:
    """A disc with a bite taken out."""
    sheet.disc(0, 0, REACH, REACH)
    x, y = _ring(np.array([rng.uniform(0, 2 * np.pi)]), rng.uniform(0.35, 0.5))[0]
    sheet.disc(x, y, 0.6, 0.6, fill=0)


def hoop(rng: Rng, sheet: Sheet) -> None:
    """A blob with one to three holes."""
    blob(rng, sheet)
    for x, y in rng.uniform(-0.35, 0.35, (int(rng.integers(1, 4)), 2)):
        rx, ry = rng.uniform(0.1, 0.28, 2)
        sheet.disc(x, y, rx, ry, fill=0)


def creature(rng: Rng, sheet: Sheet) -> None:
    """A body, a head, legs and perhaps a tail, in one piece."""
    rx, ry = rng.uniform(0.3, 0.45), rng.uniform(0.16, 0.3)
    sheet.disc(0, 0, rx, ry)
    head = np.array([rx + 0.08, -rng.uniform(0.05, 0.35)])
    sheet.disc(*head, *rng.uniform(0.12, 0.2, 2))
    sheet.stroke(np.array([[0.6 * rx, 0], head]), rng.uniform(0.12, 0.25))
    for x in np.linspace(-0.75 * rx, 0.75 * rx, int(rng.integers(2, 5))):
        foot = np.array([x + rng.uniform(-0.12, 0.12), rng.uniform(0.45, 0.65)])
        sheet.stroke(np.array([[x, 0], foot]), rng.uniform(0.08, 0.15))
    if rng.random() < 0.6:
        tail = np.array([[-rx, 0], [-rx - 0.15, -0.15], [-rx - 0.2, rng.uniform(-0.5, 0.2)]])
        sheet.stroke(tail, rng.uniform(0.06, 0.1))


def figure(rng: Rng, sheet: Sheet) -> None:
    """An upright figure: head, trunk, arms and legs in one piece."""
    width, girth = rng.uniform(0.1, 0.17), rng.uniform(0.14, 0.26)
    sheet.disc(0, -0.58, rng.uniform(0.13, 0.19), 0.17)
    sheet.disc(0, -0.12, girth, 0.36)
    for side in (-1, 1):
        elbow = [side * rng.uniform(0.25, 0.45), -0.1]
        hand = [side * rng.uniform(0.1, 0.55), rng.uniform(-0.5, 0.25)]
        sheet.stroke(np.array([[side * girth * 0.7, -0.32], elbow, hand]), 0.8 * width)
        foot = [side * rng.uniform(0.05, 0.35), 0.7]
        sheet.stroke(np.array([[side * girth * 0.5, 0.1], foot]), width)


# thin shapes --------------------------------------------------------------------------------------
def stick(rng: Rng, sheet: Sheet) -> None:
    """A straight rod, sometimes with a knob."""
    tip = _ring(np.array([rng.uniform(0, 2 * np.pi)]), 0.72)[0]
    sheet.stroke(np.array([-tip, tip]), rng.uniform(0.09, 0.16))
    if rng.random() < 0.5:
        x, y = tip * 0.9
        sheet.disc(x, y, 0.12, 0.12)


def curve(rng: Rng, sheet: Sheet) -> None:
    """A snake or a rope."""
    along = np.linspace(-0.7, 0.7, 24)
    across = rng.uniform(0.1, 0.35) * np.sin(along * rng.uniform(2, 7) + rng.uniform(0, 2 * np.pi))
    snake = _turned(np.stack([along, across], -1), rng.uniform(0, 2 * np.pi))
    sheet.stroke(snake, rng.uniform(0.09, 0.15))


def letter(rng: Rng, sheet: Sheet) -> None:
    """Three to five strokes between the knots of a 3 x 3 grid, each joined to the one before."""
    knots = np.array(list(product([-0.5, 0, 0.5], repeat=2)))
    path = knots[rng.choice(9, int(rng.integers(4, 7)), replace=False)]
    sheet.stroke(path, rng.uniform(0.1, 0.16))


def spider(rng: Rng, sheet: Sheet) -> None:
    """Thin bent legs around a small body."""
    sheet.disc(0, 0, 0.18, 0.18)
    legs = int(rng.integers(4, 9))
    for angle in np.arange(legs) * 2 * np.pi / legs + rng.normal(0, 0.15, legs):
        knee, foot = _ring(np.array([angle, angle + rng.uniform(-0.5, 0.5)]), np.array([0.4, 0.72]))
        sheet.stroke(np.array([[0, 0], knee, foot]), 0.09)


# parts and occluders ------------------------------------------------------------------------------
def limb(rng: Rng, sheet: Sheet) -> None:
    """One segment of an articulated object, along x from joint to joint at -0.6 and 0.6."""
    sheet.stroke(np.array([[-0.6, 0], [0.6, 0]]), rng.uniform(0.14, 0.26))


def trunk(rng: Rng, sheet: Sheet) -> None:
    """The middle of an articulated object."""
    sheet.disc(0, 0, rng.uniform(0.18, 0.36), rng.uniform(0.4, 0.6))


def bar(rng: Rng, sheet: Sheet) -> None:
    """A post or a tree in front of the scene."""
    ends = np.array([[rng.uniform(-0.1, 0.1), -0.74], [rng.uniform(-0.1, 0.1), 0.74]])
    sheet.stroke(ends, rng.uniform(0.15, 0.4))


def wall(rng: Rng, sheet: Sheet) -> None:
    """A large, almost rectangular board."""
    corners = np.array([[-0.5, -0.6], [0.5, -0.6], [0.5, 0.6], [-0.5, 0.6]])
    sheet.polygon(corners * rng.uniform(0.8, 1, (4, 2)))


Shape = Callable[[Rng, Sheet], None]
SOLID: tuple[Shape, ...] = (blob, polygon, box, star, crescent, hoop, creature, figure)
SOLID_ODDS = (0.3, 0.08, 0.12, 0.05, 0.05, 0.08, 0.17, 0.15)
THIN: tuple[Shape, ...] = (stick, curve, letter, spider)
OCCLUDERS: tuple[Shape, ...] = (bar, bar, wall, blob)


def _grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.float32) / 255


def covered(rng: Rng, shape: Shape) -> float:
    """Return the area of a shape in square units, of the 4 that the whole square has."""
    sheet = Sheet(24)
    shape(rng, sheet)
    return 4 * float(_grey(sheet.silhouette()).mean())


def body(rng: Rng, shape: Shape, n: int) -> np.ndarray:
    """Draw a shape as its inside, shading and soft shadow (3, n, n), float32.

    Inside is above 0.5 on the object, shading is a brightness around 1, shadow lies in [0, 1].
    """
    sheet = Sheet(n)
    shape(rng, sheet)
    silhouette = sheet.silhouette()
    inside = silhouette.filter(ImageFilter.GaussianBlur(0.8))
    height = silhouette.filter(ImageFilter.BoxBlur(n * rng.uniform(0.03, 0.12)))
    dx, dy = rng.integers(-n // 10, n // 10 + 1, 2).tolist()  # towards the light
    lit = _grey(ImageChops.offset(height, dx, dy)) - _grey(ImageChops.offset(height, -dx, -dy))
    shade = 1 - rng.uniform(0, 0.35) * (1 - _grey(height)) + rng.uniform(0, 0.4) * lit
    shadow = _grey(silhouette.filter(ImageFilter.BoxBlur(n * 0.04)))
    return np.stack([_grey(inside), shade, shadow])
