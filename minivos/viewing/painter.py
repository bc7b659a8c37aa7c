"""What one paints in a notebook.

paint            a panel to paint the objects of a frame: brush, polygon, zoom, a button to follow
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np
from ipycanvas import MultiCanvas, hold_canvas
from IPython.display import clear_output, display
from ipywidgets import HBox, IntSlider, VBox

from minivos.video.mask_files import describe_mask
from minivos.video.masks import check_picture, is_object, object_colour
from minivos.viewing.painting import MOST_ZOOM, MaskPainting, Point, View

NEAR = 8  # pixels of the canvas within which a click means a corner that is there already
PAUSE = 0.1  # seconds between two pictures while the picture is dragged
MOST_KEPT = 20  # panels

# A canvas that has the focus swallows all keys, Shift+Enter too: this one cannot get it.
NO_FOCUS = """document.addEventListener("mousedown", event => {
  if (event.target.matches("canvas.minivos")) event.target.removeAttribute("tabindex")
}, true)"""


def without_focus(canvas: MultiCanvas) -> widgets.Output:
    """What to show beside a canvas so that a click on it leaves the keyboard to the notebook."""
    canvas.add_class("minivos")
    script = {"output_type": "display_data", "data": {"application/javascript": NO_FOCUS}}
    return widgets.Output(outputs=({**script, "metadata": {}},))


_kept: dict[tuple, PaintingPanel] = {}  # by what they began with, the latest last


def paint(
    frame: np.ndarray,
    labels: np.ndarray | None = None,
    follow: Callable[[np.ndarray], Any] | None = None,
) -> PaintingPanel:
    """A panel to paint objects on a frame; asked for again, the same, with all that was painted.

    Args:
        frame: uint8 (H, W, 3).
        labels: uint8 (H, W) to begin with; nothing if not given. Others make another panel.
        follow: gets the labels when its button is pressed; what it displays appears below.

    `panel.painting.labels` is what was painted. Raises InputError for what cannot be painted on.
    """
    began = MaskPainting(np.array(check_picture(frame)), labels)
    key = (frame.shape, frame.tobytes(), began.labels.tobytes())
    panel = _kept.pop(key) if key in _kept else PaintingPanel(began)
    _kept[key] = panel
    while len(_kept) > MOST_KEPT:
        del _kept[next(iter(_kept))]
    panel.follow_with(follow)
    return panel


class PaintingPanel(VBox):
    """Tools and a canvas that paint `painting.labels`.

    Brush: drag. Polygon: click its corners, and the last or the first once more to close it. Move:
    drag the picture. The wheel and the slider zoom.
    """

    def __init__(self, painting: MaskPainting) -> None:
        self.painting = painting
        self.view = View(painting.labels.shape)
        height, width = self.view.canvas.tolist()
        self.canvas = MultiCanvas(2, width=width, height=height)
        self.canvas.layout.width, self.canvas.layout.max_width = f"{width}px", "100%"
        side = min(painting.labels.shape)
        self.tool = widgets.ToggleButtons(options=["brush", "polygon", "move"])
        self.tool.style.button_width = "7em"
        self.number = widgets.BoundedIntText(1, min=1, max=254, description="object")
        self.radius = IntSlider(max(2, side // 20), 1, max(3, side // 4), description="brush")
        self.zoom = widgets.FloatSlider(1, min=1, max=MOST_ZOOM, step=0.1, description="zoom")
        self.eraser = widgets.ToggleButton(description="eraser", icon="eraser")
        self.undo = widgets.Button(description="undo", icon="undo")
        self.clear = widgets.Button(description="clear", icon="trash")
        self.follow = widgets.Button(description="follow", icon="play", button_style="success")
        for button in (self.eraser, self.undo, self.clear, self.follow):
            button.layout.width = "7em"
        self.said = widgets.Label()
        self.below = widgets.Output()
        self._follow: Callable[[np.ndarray], Any] = display
        self._last: Point | None = None  # where brush or hand is, while it is down
        self._mouse = (width / 2, height / 2)
        self._corners: list[Point] = []  # of the polygon that is not closed yet
        tools = HBox([self.tool, self.eraser, self.undo, self.clear, self.follow])
        tools.layout.flex_flow = "wrap"
        sizes = HBox([self.number, self.radius, self.zoom])
        sizes.layout.flex_flow = "wrap"
        quiet = without_focus(self.canvas)
        super().__init__([tools, sizes, self.canvas, self.said, self.below, quiet])
        self._listen()
        self.show()

    def show(self) -> None:
        """Draw the canvas anew, and say what is painted."""
        with hold_canvas():
            self.canvas[0].put_image_data(self.painting.picture(self.view), 0, 0)
            self._draw_cursor()
        self.said.value = describe_mask(self.painting.labels)
        self._shown = time.monotonic()

    def follow_with(self, follow: Callable[[np.ndarray], Any] | None) -> None:
        """What the button does; without anything to do it is not shown."""
        self._follow = follow or display
        self.follow.layout.display = "none" if follow is None else ""

    def _listen(self) -> None:
        self.canvas.on_mouse_down(self._press)
        self.canvas.on_mouse_move(self._drag)
        self.canvas.on_mouse_up(self._release)
        self.canvas.on_mouse_out(self._leave)
        self.canvas.on_mouse_wheel(self._turn)
        self.canvas.on_touch_start(lambda touches: self._press(*touches[0]))
        self.canvas.on_touch_move(lambda touches: self._drag(*touches[0]))
        self.canvas.on_touch_end(self._release)
        self.canvas.on_client_ready(self.show)
        self.painting.changed = self.show
        self.undo.on_click(lambda _: self._take_back())
        self.clear.on_click(lambda _: self.painting.clear())
        self.follow.on_click(lambda _: self._run())
        self.tool.observe(lambda _: self._forget_corners(), "value")
        self.zoom.observe(lambda change: self._zoom_to(change.new), "value")

    def _object(self) -> int:
        return 0 if self.eraser.value else self.number.value

    def _press(self, x: float, y: float) -> None:
        self._mouse = (x, y)
        if self.tool.value == "polygon":
            self._add_corner(x, y)
            return
        self._last = self.view.point(x, y)
        if self.tool.value == "brush":
            self.painting.begin()
            self._drag(x, y)

    def _drag(self, x: float, y: float) -> None:
        self._mouse = (x, y)
        with hold_canvas():
            if self._last is not None and self.tool.value == "brush":
                self._brush(self._last, self.view.point(x, y))
            elif self._last is not None:
                self.view.move(self._last, self.view.point(x, y))
                if time.monotonic() > self._shown + PAUSE:
                    self.show()
            self._draw_cursor()

    def _release(self, *_: Any) -> None:
        if self._last is not None:
            self._last = None
            self.show()

    def _leave(self, *_: float) -> None:
        height, width = self.view.canvas.tolist()
        self._mouse = (width / 2, height / 2)
        self._release()

    def _turn(self, _: float, down: float) -> None:
        """The mouse wheel enlarges what is under the mouse."""
        self.zoom.value = self.view.zoom * 2 ** (-down / 200)

    def _zoom_to(self, zoom: float) -> None:
        self.view.zoom_to(zoom, *self._mouse)
        self.show()

    def _brush(self, start: Point, end: Point) -> None:
        self.painting.stroke(start, end, self.radius.value, self._object())
        self._last = end
        layer, radius = self.canvas[0], self.view.scale * self.radius.value
        layer.fill_style = layer.stroke_style = self._colour()
        layer.line_width = 2 * radius
        layer.stroke_line(*self.view.place(start), *self.view.place(end))
        layer.fill_circle(*self.view.place(end), radius)

    def _add_corner(self, x: float, y: float) -> None:
        """Add a corner to the polygon, or close it where its last or its first corner is."""
        ends = [self.view.place(corner) for corner in self._corners[:1] + self._corners[-1:]]
        if not any(np.hypot(x - at[0], y - at[1]) < NEAR for at in ends):
            self._corners.append(self.view.point(x, y))
            self._draw_cursor()
        elif len(self._corners) > 2:
            self.painting.begin()
            self.painting.polygon(self._corners, self._object())
            self._corners.clear()
            self.show()

    def _draw_cursor(self) -> None:
        """The brush, or the polygon so far, over the picture."""
        layer = self.canvas[1]
        layer.clear()
        layer.stroke_style, layer.line_width = self._colour(), 2
        if self._corners:
            places = [self.view.place(corner) for corner in self._corners]
            layer.fill_style = self._colour()
            layer.fill_circles(*np.array(places).T, 3)
            layer.stroke_lines([*places, self._mouse])
        elif self.tool.value == "brush":
            layer.stroke_circle(*self._mouse, self.view.scale * self.radius.value)

    def _colour(self) -> str:
        red, green, blue = object_colour(self._object())
        return "gray" if self.eraser.value else f"rgb({red}, {green}, {blue})"

    def _forget_corners(self) -> None:
        self._corners.clear()
        self._draw_cursor()

    def _take_back(self) -> None:
        """Undo the last corner of an open polygon, else what was painted last."""
        if self._corners:
            self._corners.pop()
            self._draw_cursor()
        else:
            self.painting.undo()

    def _run(self) -> None:
        """Hand the labels to `follow`, and show what it displays."""
        if not is_object(self.painting.labels).any():
            self.said.value = "Paint at least one object first."
            return
        self.follow.disabled = True
        with self.below:  # a traceback, too, appears there
            clear_output()
            self._follow(self.painting.labels.copy())
        self.follow.disabled = False
        self.said.value += "; the result is below"
