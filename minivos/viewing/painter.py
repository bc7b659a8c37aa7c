"""What one paints and clicks on in a notebook: masks under a round brush, pixels of a picture.

MaskPainting     the labels, strokes, undo; needs no browser
painting_panel   the same as a widget: draw with the mouse, a finger or a pen
PixelPicker      a picture whose pixels, or cells, can be chosen
"""

from __future__ import annotations

from numbers import Integral
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import traitlets
from ipycanvas import Canvas, hold_canvas
from ipywidgets import HBox, IntSlider, ValueWidget, VBox, link

from minivos.errors import InputError
from minivos.video.mask_files import check_mask, describe_mask, read_mask
from minivos.video.masks import check_picture, object_colour, overlay

Point = tuple[float, float]  # (y, x) in pixels of the frame
MOST_UNDO = 50
WIDEST = 960  # pixels of the canvas on the screen
WIDTH = 384  # of the picture to click on, in pixels of the screen
RADIUS = 4  # of the ring around what was chosen, in pixels of the picture


class MaskPainting:
    """Labels of one frame that grow stroke by stroke.

    Args:
        frame: uint8 (H, W, 3), what is painted on.
        labels: uint8 (H, W) to begin with; nothing if not given.
    """

    def __init__(self, frame: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.frame = check_picture(frame)
        self.labels: np.ndarray = np.zeros(frame.shape[:2], np.uint8)
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
            raise InputError(
                f"got object {object_id} and radius {radius}; expected 0 (erase) to 254, "
                "and more than 0 pixels"
            )
        pixels = np.moveaxis(np.indices(self.labels.shape), 0, -1)  # (H, W, 2)
        away, way = pixels - np.array(start, float), np.subtract(end, start, dtype=float)
        share = (away @ way / max(way @ way, 1e-9)).clip(0, 1)  # of the way, nearest to each pixel
        distance = np.linalg.norm(away - share[..., None] * way, axis=-1)
        self.labels[distance <= radius] = object_id

    def undo(self) -> None:
        """Take back the last stroke, clearing or loading, if there is one."""
        if self._before:
            self.labels = self._before.pop()

    def set(self, labels: np.ndarray) -> None:
        """Take over labels (H, W) as they are; InputError if they do not fit or hold no object."""
        height, width = self.labels.shape
        labels = check_mask(labels, (height, width))
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


def painting_panel(painting: MaskPainting) -> VBox:
    """A canvas with object, brush size, eraser, undo and clear, that paints `painting.labels`."""
    height, width = painting.labels.shape
    zoom = max(1, WIDEST // 2 // width)
    canvas = Canvas(width=zoom * width, height=zoom * height)
    canvas.layout.max_width = f"{WIDEST}px"
    number = widgets.BoundedIntText(1, min=1, max=254, description="object")
    side = min(height, width)
    radius = widgets.IntSlider(max(2, side // 20), 1, max(3, side // 4), description="brush")
    eraser = widgets.ToggleButton(description="eraser", icon="eraser")
    undo = widgets.Button(description="undo", icon="undo")
    clear = widgets.Button(description="clear", icon="trash")
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
            red, green, blue = object_colour(object_id)
            canvas.fill_style = "gray" if eraser.value else f"rgb({red}, {green}, {blue})"
            canvas.fill_circle(x, y, zoom * radius.value)

    def release(*_: float) -> None:
        if last:
            last.clear()
            show()

    def take_back(_: widgets.Button) -> None:
        painting.undo()
        show()

    def erase(_: widgets.Button) -> None:
        painting.clear()
        show()

    canvas.on_mouse_down(press)
    canvas.on_mouse_move(move)
    canvas.on_mouse_up(release)
    canvas.on_mouse_out(release)
    canvas.on_touch_start(lambda touches: press(*touches[0]))
    canvas.on_touch_move(lambda touches: move(*touches[0]))
    canvas.on_touch_end(release)
    undo.on_click(take_back)
    clear.on_click(erase)
    canvas.on_client_ready(show)
    show()
    return VBox([canvas, HBox([number, radius]), HBox([eraser, undo, clear]), said])


class PixelPicker(VBox, ValueWidget):
    """A widget whose `value` (y, x) is the pixel that was clicked, or that its sliders say.

    `value` changes once per click, so whoever observes it draws once; it can be an argument of
    `interactive`, too.

    Args:
        picture: uint8 (H, W, 3), what is clicked on.
        grid: rows and columns of `value`: (H, W) to choose pixels, fewer to choose cells of a grid
            over the picture.
        at: `value` to begin with, counted from 0.

    Raises InputError for a picture or a grid of another kind, and for any `value` outside the grid.
    """

    value = traitlets.Tuple(traitlets.Int(), traitlets.Int())

    def __init__(self, picture: np.ndarray, grid: tuple[int, int], at: tuple[int, int]) -> None:
        if not all(isinstance(cells, Integral) and cells > 0 for cells in grid):
            raise InputError(f"got grid={grid}; expected rows and columns, whole numbers from 1 up")
        self.grid = grid
        self.sliders = [
            IntSlider(0, 0, cells - 1, description=name, continuous_update=False)
            for name, cells in zip("yx", grid, strict=True)
        ]
        height, width = check_picture(picture, "the picture").shape[:2]
        self.canvas = Canvas(width=width, height=height)
        self.canvas.layout.width = f"{WIDTH}px"
        self.canvas.layout.height = f"{WIDTH * height // width}px"
        super().__init__([self.canvas, HBox(self.sliders)], value=at)
        y, x = self.sliders
        rows = (lambda at: at[0], lambda row: (row, self.value[1]))
        columns = (lambda at: at[1], lambda column: (self.value[0], column))
        link((self, "value"), (y, "value"), rows)
        link((self, "value"), (x, "value"), columns)
        self.canvas.on_mouse_down(self._choose)
        self.canvas.on_touch_start(lambda touches: self._choose(*touches[0]))
        self.canvas.on_client_ready(self._draw)
        self.observe(lambda _: self._draw(), "value")
        self.show(picture)

    def show(self, picture: np.ndarray) -> None:
        """Exchange the picture, uint8 (H, W, 3), for one of the same size; InputError otherwise."""
        expected = (self.canvas.height, self.canvas.width, 3)
        if check_picture(picture, "the picture").shape != expected:
            raise InputError(
                f"got a picture of shape {picture.shape}; expected {expected}, as the one before"
            )
        self.picture = picture
        self._draw()

    def _choose(self, x: float, y: float) -> None:
        """Take over a place in pixels of the picture, which may lie on its very edge."""
        place, size = (y, x), (self.canvas.height, self.canvas.width)
        self.value = tuple(
            min(max(int(at * cells / side), 0), cells - 1)
            for at, cells, side in zip(place, self.grid, size, strict=True)
        )

    def _draw(self) -> None:
        """The picture, and a ring around the middle of what was chosen."""
        rows, columns = self.grid
        y = (self.value[0] + 0.5) * self.canvas.height / rows
        x = (self.value[1] + 0.5) * self.canvas.width / columns
        with hold_canvas():
            self.canvas.put_image_data(self.picture, 0, 0)
            for colour, thickness in (("black", 3), ("white", 1)):
                self.canvas.stroke_style, self.canvas.line_width = colour, thickness
                self.canvas.stroke_circle(x, y, RADIUS)

    @traitlets.validate("value")
    def _inside(self, proposal: traitlets.Bunch) -> tuple[int, int]:
        value = proposal["value"]
        if not all(0 <= at < cells for at, cells in zip(value, self.grid, strict=True)):
            raise InputError(
                f"(y, x) = {value} is outside the grid {self.grid}; count from 0, y before x"
            )
        return value
