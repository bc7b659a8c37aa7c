"""Choosing a pixel in a notebook: a picture to click on, and two sliders that say the same."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import traitlets
from ipycanvas import Canvas, hold_canvas
from ipywidgets import HBox, IntSlider, ValueWidget, VBox, link

from minivos.errors import InputError
from minivos.video.masks import check_picture

WIDTH = 384  # of the picture on the screen, in pixels
RADIUS = 4  # of the ring around what was chosen, in pixels of the picture


class PixelPicker(VBox, ValueWidget):
    """A widget whose `value` (y, x) is the pixel that was clicked, or set by the sliders below the picture.

    `value` changes once per click, so whoever observes it draws once; it can be an argument of `interactive`, too.

    Args:
        picture: uint8 (H, W, 3), what is clicked on.
        grid: rows and columns of `value`: (H, W) to choose pixels, fewer to choose cells of a grid over the picture.
        at: `value` to begin with, counted from 0.

    Raises InputError for a picture or a grid of another kind, and for any `value` outside the grid.
    """

    value = traitlets.Tuple(traitlets.Int(), traitlets.Int())

    def __init__(self, picture: np.ndarray, grid: tuple[int, int], at: tuple[int, int]) -> None:
        if not all(isinstance(cells, Integral) and cells > 0 for cells in grid):
            raise InputError(f"grid={grid} came; give rows and columns, whole numbers from 1 up")
        self.grid = grid
        self.sliders = [
            IntSlider(0, 0, cells - 1, description=name, continuous_update=False)
            for name, cells in zip("yx", grid, strict=True)
        ]
        height, width = check_picture(picture, "the picture").shape[:2]
        self.canvas = Canvas(width=width, height=height)
        self.canvas.layout.width, self.canvas.layout.height = f"{WIDTH}px", f"{WIDTH * height // width}px"
        super().__init__([self.canvas, HBox(self.sliders)], value=at)
        y, x = self.sliders
        link((self, "value"), (y, "value"), (lambda at: at[0], lambda row: (row, self.value[1])))
        link((self, "value"), (x, "value"), (lambda at: at[1], lambda column: (self.value[0], column)))
        self.canvas.on_mouse_down(self._choose)
        self.canvas.on_touch_start(lambda touches: self._choose(*touches[0]))
        self.canvas.on_client_ready(self._draw)
        self.observe(lambda _: self._draw(), "value")
        self.show(picture)

    def show(self, picture: np.ndarray) -> None:
        """Exchange the picture for another, uint8 (H, W, 3) of the same size; InputError for any other."""
        expected = (self.canvas.height, self.canvas.width, 3)
        if check_picture(picture, "the picture").shape != expected:
            raise InputError(f"a picture of shape {picture.shape} came; expected {expected}, as the one before")
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
            raise InputError(f"(y, x) = {value} is outside the grid {self.grid}; count from 0, y before x")
        return value
