"""Painting without a browser: labels that grow stroke by stroke, and the part of them that is seen.

MaskPainting     the labels of a frame: strokes, polygons, undo
View             the part of a frame that fills a canvas: zoom, and where a click falls

In a browser alone, without Python, painting.js does the same; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.path import Path as Outline

from minivos.errors import InputError
from minivos.video.mask_files import check_mask, read_mask
from minivos.video.masks import check_picture, overlay

Point = tuple[float, float]  # (y, x) in pixels of the frame; whole numbers are centres of pixels
MOST_UNDO = 50
WIDEST, TALLEST = 960, 540  # pixels of a canvas
MOST_ZOOM = 16


class MaskPainting:
    """Labels of one frame that grow stroke by stroke.

    Args:
        frame: uint8 (H, W, 3), what is painted on.
        labels: uint8 (H, W) to begin with; nothing if not given.
    """

    def __init__(self, frame: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.frame = check_picture(frame)
        self.labels: np.ndarray = np.zeros(frame.shape[:2], np.uint8)
        self.changed: Callable[[], None] = lambda: None  # called when the labels are exchanged
        self._before: list[np.ndarray] = []
        if labels is not None:
            self.set(labels)
            self._before.clear()

    def begin(self) -> None:
        """Remember the labels, so that `undo` comes back to them; call it before each stroke."""
        self._before = [*self._before[1 - MOST_UNDO :], self.labels.copy()]

    def stroke(self, start: Point, end: Point, radius: float, object_id: int) -> None:
        """Paint all pixels within `radius` of the way from start to end; object 0 erases.

        Raises InputError for an object beyond 0 to 254 and for a radius of 0 or less.
        """
        if not radius > 0:
            raise InputError(f"got radius {radius}; expected more than 0 pixels")
        labels, pixels = self._around([start, end], radius)
        away, way = pixels - np.array(start, float), np.subtract(end, start, dtype=float)
        share = (away @ way / max(way @ way, 1e-9)).clip(0, 1)  # of the way, nearest to each pixel
        distance = np.linalg.norm(away - share[..., None] * way, axis=-1)
        labels[distance <= radius] = _check_object(object_id)

    def polygon(self, corners: Sequence[Point], object_id: int) -> None:
        """Paint all pixels whose centres lie inside a polygon; object 0 erases.

        Raises InputError for fewer than three corners and for an object beyond 0 to 254.
        """
        if len(corners) < 3:
            raise InputError(f"got a polygon of {len(corners)} corners; expected 3 or more")
        labels, pixels = self._around(corners, 0)
        inside = Outline(corners).contains_points(pixels.reshape(-1, 2)).reshape(labels.shape)
        labels[inside] = _check_object(object_id)

    def undo(self) -> None:
        """Take back the last stroke, clearing or loading, if there is one."""
        if self._before:
            self._exchange(self._before.pop())

    def set(self, labels: np.ndarray) -> None:
        """Take over labels (H, W) as they are; InputError if they do not fit or hold no object."""
        height, width = self.labels.shape
        labels = check_mask(labels, (height, width))
        self.begin()
        self._exchange(labels.copy())

    def load(self, path: str | Path) -> None:
        """Take over the labels of a mask file; InputError as `set` and `read_mask`."""
        self.set(read_mask(path))

    def clear(self) -> None:
        """Erase everything."""
        self.begin()
        self._exchange(np.zeros_like(self.labels))

    def picture(self, view: View | None = None) -> np.ndarray:
        """The frame under the labels, uint8 (H, W, 3); with a view, what is seen of it."""
        if view is None:
            return overlay(self.frame, self.labels)
        return overlay(view.crop(self.frame), view.crop(self.labels))

    def _exchange(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.changed()

    def _around(self, points: Sequence[Point], margin: float) -> tuple[np.ndarray, np.ndarray]:
        """The labels around points, as a part (h, w) of all, and their pixels (h, w, 2)."""
        shape = self.labels.shape
        first = np.floor(np.min(points, axis=0) - margin).clip(0, shape).astype(int)
        end = np.ceil(np.max(points, axis=0) + margin + 1).clip(0, shape).astype(int)
        part = self.labels[first[0] : end[0], first[1] : end[1]]
        return part, np.moveaxis(np.indices(part.shape), 0, -1) + first


def _check_object(object_id: int) -> int:
    if not isinstance(object_id, int) or not 0 <= object_id < 255:
        raise InputError(f"got object {object_id}; expected 0 (erase) to 254")
    return object_id


class View:
    """The part of a frame (H, W) that fills a canvas, all of it at first.

    Places on the canvas are (x, y) in its pixels, as the browser counts; points are (y, x).
    """

    def __init__(self, frame: tuple[int, int]) -> None:
        self.frame = np.array(frame)
        self.fit = min(TALLEST / frame[0], WIDEST / frame[1])  # canvas pixels per pixel of frame
        self.canvas = np.maximum(1, np.round(self.frame * self.fit)).astype(int)  # (H, W)
        self.zoom = 1.0
        self.corner = np.zeros(2)  # how much of the frame lies above, and left of, the canvas

    @property
    def scale(self) -> float:
        """Pixels of the canvas per pixel of the frame."""
        return self.fit * self.zoom

    def point(self, x: float, y: float) -> Point:
        """What lies at a place of the canvas."""
        row, column = self.corner + np.array([y, x]) / self.scale - 0.5
        return float(row), float(column)

    def place(self, point: Point) -> tuple[float, float]:
        """Where on the canvas a point lies: (x, y)."""
        y, x = (np.array(point) + 0.5 - self.corner) * self.scale
        return float(x), float(y)

    def zoom_to(self, zoom: float, x: float, y: float) -> None:
        """Enlarge up to 16 times, 1 is the whole frame; what lies at (x, y) stays there."""
        before = self.point(x, y)
        self.zoom = float(np.clip(zoom, 1, MOST_ZOOM))
        self.move(before, self.point(x, y))

    def move(self, start: Point, end: Point) -> None:
        """Bring what lies at `start` to where `end` is now, as far as the frame reaches."""
        moved = self.corner + np.subtract(start, end)
        self.corner = moved.clip(0, self.frame - self.frame / self.zoom)

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """What the canvas shows of pixels (H, W, ...), the nearest for each of its own."""
        rows, columns = (
            (corner + (np.arange(cells) + 0.5) / self.scale).clip(0, size - 1).astype(int)
            for corner, cells, size in zip(self.corner, self.canvas, self.frame, strict=True)
        )
        return pixels[rows[:, None], columns]
