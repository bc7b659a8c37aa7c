"""Choosing a pixel: what a click, a slider and a value do to each other, and how often the picture is drawn."""

import numpy as np
import pytest
from ipywidgets import IntSlider, interactive

from minivos.errors import InputError
from minivos.viewing.painter import PixelPicker

PICTURE = np.full((16, 24, 3), 100, np.uint8)


def click(picker: PixelPicker, y: float, x: float) -> None:
    """What the browser sends when the mouse goes down at pixel (y, x) of the picture."""
    picker.canvas._handle_frontend_event(None, {"event": "mouse_down", "x": x, "y": y}, None)


def slider_values(picker: PixelPicker) -> tuple[int, ...]:
    return tuple(slider.value for slider in picker.sliders)


def seen_values(picker: PixelPicker) -> list[tuple[int, int]]:
    """A list that grows by each value that an observer is told."""
    seen = []
    picker.observe(lambda change: seen.append(change.new), "value")
    return seen


@pytest.mark.parametrize(
    ("grid", "place", "chosen"),
    [
        ((16, 24), (5.5, 20.9), (5, 20)),  # pixels
        ((4, 6), (5.5, 20.9), (1, 5)),  # cells of 4 x 4 pixels
        ((4, 6), (3.9, 4.0), (0, 1)),
        ((4, 6), (16, 24), (3, 5)),  # the far edge
        ((4, 6), (-0.5, -0.5), (0, 0)),
    ],
)
def test_a_click_sets_value_and_sliders_at_once(grid, place, chosen):
    picker = PixelPicker(PICTURE, grid, at=(2, 3))
    seen = seen_values(picker)
    click(picker, *place)
    assert picker.value == slider_values(picker) == chosen
    assert seen == [chosen]  # drawn once, never with the new y and the old x


def test_a_finger_does_what_a_click_does():
    picker = PixelPicker(PICTURE, (16, 24), at=(2, 3))
    picker.canvas._handle_frontend_event(None, {"event": "touch_start", "touches": [{"x": 20.9, "y": 5.5}]}, None)
    assert picker.value == (5, 20)


def test_a_slider_sets_the_value_as_a_click_does():
    picker = PixelPicker(PICTURE, (4, 6), at=(2, 3))
    assert slider_values(picker) == (2, 3)
    seen = seen_values(picker)
    y, x = picker.sliders
    y.value = 1
    x.value = 5
    assert seen == [(1, 3), (1, 5)] and picker.value == (1, 5)


def test_the_canvas_shows_the_picture_and_a_ring_where_the_choice_is(monkeypatch):
    picker, drawn = PixelPicker(PICTURE, (4, 6), at=(2, 3)), []
    for name in ("put_image_data", "stroke_circle"):
        monkeypatch.setattr(picker.canvas, name, lambda *args: drawn.append(args))
    click(picker, 9, 21)
    (picture, *_), *rings = drawn
    assert picture is PICTURE and {ring[:2] for ring in rings} == {(22, 10)}  # x, y of the middle of cell (2, 5)
    drawn.clear()
    picker.show(brighter := PICTURE + 50)
    assert drawn[0][0] is brighter


def test_it_is_an_argument_of_interactive():
    looks = []
    picker = PixelPicker(PICTURE, (16, 24), at=(1, 2))
    interactive(lambda head, at: looks.append((head, at)), head=IntSlider(1, 1, 3), at=picker).update()
    looks.clear()
    click(picker, 7, 8)
    assert looks == [(1, (7, 8))]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: PixelPicker(PICTURE, (4, 6), at=(4, 0)), "outside the grid"),
        (lambda: PixelPicker(PICTURE / 255, (4, 6), at=(0, 0)), "float64"),
        (lambda: PixelPicker(PICTURE[0], (4, 6), at=(0, 0)), "uint8"),
        (lambda: PixelPicker(PICTURE[:, :0], (4, 6), at=(0, 0)), "uint8"),
        (lambda: PixelPicker(PICTURE, (0, 6), at=(0, 0)), "rows and columns, whole numbers from 1 up"),
        (lambda: PixelPicker(PICTURE, (4, 6), at=(0, 0)).show(PICTURE[1:]), "as the one before"),
        (lambda: setattr(PixelPicker(PICTURE, (4, 6), at=(0, 0)), "value", (0, -1)), "outside the grid"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
