"""Painting masks in a notebook: labels under a round brush, and a canvas with buttons to hold the brush.

MaskPainting     the labels, strokes, undo; needs no browser
painting_panel   the same as a widget: draw with the mouse, a finger or a pen
"""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets
import numpy as np
from ipycanvas import Canvas, hold_canvas

from minivos.errors import InputError
from minivos.video.mask_files import check_mask, describe_mask, read_mask
from minivos.video.masks import check_picture, object_colour, overlay

Point = tuple[float, float]  # (y, x) in pixels of the frame
MOST_UNDO = 50
WIDEST = 960  # pixels of the canvas on the screen


class MaskPainting:
    """Labels of one frame that grow stroke by stroke.

    Args:
        frame: uint8 (H, W, 3), what is painted on.
        labels: uint8 (H, W) to begin with; nothing if not given.
    """

    def __init__(self, frame: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.frame = check_picture(frame)
        self.labels = np.zeros(frame.shape[:2], np.uint8)
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
        if not isinstance(object_id, int) or not 0 <= object_id < 255 or not radius > 0:
            raise InputError(f"object {object_id}, radius {radius} came; give 0 (erase) to 254, and more than 0 pixels")
        pixels = np.moveaxis(np.indices(self.labels.shape), 0, -1).astype(float)  # (H, W, 2)
        start, way = np.array(start, float), np.subtract(end, start, dtype=float)
        share = ((pixels - start) @ way / max(way @ way, 1e-9)).clip(0, 1)  # of the way, at its point nearest to each
        distance = np.linalg.norm(pixels - start - share[..., None] * way, axis=-1)
        self.labels[distance <= radius] = object_id

    def undo(self) -> None:
        """Take back the last stroke, clearing or loading, if there is one."""
        if self._before:
            self.labels = self._before.pop()

    def set(self, labels: np.ndarray) -> None:
        """Take over labels (H, W) as they are; InputError unless they fit the frame and hold an object."""
        labels = check_mask(labels, self.labels.shape)
        self.begin()
        self.labels = labels.copy()

    def load(self, path: str | Path) -> None:
        """Take over the labels of a mask file; InputError as `set` and `read_mask`."""
        self.set(read_mask(path))

    def clear(self) -> None:
        """Erase everything."""
        self.begin()
        self.labels = np.zeros_like(self.labels)

    def picture(self) -> np.ndarray:
        """The frame under the labels, uint8 (H, W, 3)."""
        return overlay(self.frame, self.labels)


def painting_panel(painting: MaskPainting) -> widgets.VBox:
    """A canvas to paint on, with object, brush size, eraser, undo and clear; what is painted is `painting.labels`."""
    height, width = painting.labels.shape
    zoom = max(1, WIDEST // 2 // width)
    canvas = Canvas(width=zoom * width, height=zoom * height)
    canvas.layout.max_width = f"{WIDEST}px"
    number = widgets.BoundedIntText(1, min=1, max=254, description="object")
    radius = widgets.IntSlider(
        max(2, min(height, width) // 20), 1, max(3, min(height, width) // 4), description="brush"
    )
    eraser = widgets.ToggleButton(description="eraser", icon="eraser")
    undo, clear = widgets.Button(description="undo", icon="undo"), widgets.Button(description="clear", icon="trash")
    said = widgets.Label()
    last: list[Point] = []  # where the brush is, while it is down

    def show() -> None:
        large = painting.picture().repeat(zoom, axis=0).repeat(zoom, axis=1)
        with hold_canvas():
            canvas.put_image_data(large, 0, 0)
        said.value = describe_mask(painting.labels)

    def press(x: float, y: float) -> None:
        painting.begin()
        last[:] = [(y / zoom - 0.5, x / zoom - 0.5)]
        move(x, y)

    def move(x: float, y: float) -> None:
        if not last:
            return
        here = (y / zoom - 0.5, x / zoom - 0.5)
        object_id = 0 if eraser.value else number.value
        painting.stroke(last[0], here, radius.value, object_id)
        last[:] = [here]
        with hold_canvas():
            canvas.fill_style = "gray" if eraser.value else "rgb({}, {}, {})".format(*object_colour(object_id))
            canvas.fill_circle(x, y, zoom * radius.value)

    def release(*_: float) -> None:
        if last:
            last.clear()
            show()

    canvas.on_mouse_down(press)
    canvas.on_mouse_move(move)
    canvas.on_mouse_up(release)
    canvas.on_mouse_out(release)
    canvas.on_touch_start(lambda touches: press(*touches[0]))
    canvas.on_touch_move(lambda touches: move(*touches[0]))
    canvas.on_touch_end(release)
    undo.on_click(lambda _: (painting.undo(), show()))
    clear.on_click(lambda _: (painting.clear(), show()))
    canvas.on_client_ready(show)
    show()
    return widgets.VBox([canvas, widgets.HBox([number, radius]), widgets.HBox([eraser, undo, clear]), said])
