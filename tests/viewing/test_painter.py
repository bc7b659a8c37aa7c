"""The panel in a notebook: what the mouse does, what is kept, what the button starts. No browser is needed."""

import numpy as np
import pytest

from minivos.errors import InputError
from minivos.viewing import painter
from minivos.viewing.painter import PaintingPanel, paint
from minivos.viewing.painting import MaskPainting

FRAME = np.full((20, 30, 3), 100, np.uint8)
SCALE = 27  # pixels of the canvas per pixel of the frame


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> PaintingPanel:
    monkeypatch.setattr(painter, "_kept", {})
    return paint(FRAME)


def send(panel: PaintingPanel, **event: object) -> None:
    """What the browser sends."""
    panel.canvas[-1]._handle_frontend_event(None, event, None)


def mouse(panel: PaintingPanel, event: str, y: float, x: float) -> None:
    """The mouse, at the middle of pixel (y, x) of the frame as it lies on the canvas without zoom."""
    send(panel, event=f"mouse_{event}", x=SCALE * (x + 0.5), y=SCALE * (y + 0.5))


def stroke(panel: PaintingPanel, *places: tuple[float, float]) -> None:
    mouse(panel, "down", *places[0])
    for place in places:
        mouse(panel, "move", *place)
    mouse(panel, "up", *places[-1])


def click(panel: PaintingPanel, *places: tuple[float, float]) -> None:
    for place in places:
        mouse(panel, "down", *place)
        mouse(panel, "up", *place)


def stroked(*strokes: tuple) -> np.ndarray:
    """Labels after strokes (start, end, radius, object)."""
    painting = MaskPainting(FRAME)
    for each in strokes:
        painting.stroke(*each)
    return painting.labels


def test_the_brush_paints_where_the_mouse_goes(panel):
    panel.number.value, panel.radius.value = 5, 2
    mouse(panel, "move", 3, 3)  # the button is up
    assert not panel.painting.labels.any()
    stroke(panel, (5, 4), (5, 20))
    mouse(panel, "move", 15, 20)
    assert (panel.painting.labels == (painted := stroked(((5, 4), (5, 20), 2, 5)))).all() and "5 (" in panel.said.value
    panel.eraser.value = True
    mouse(panel, "down", 5, 10)
    mouse(panel, "out", 5, 10)
    mouse(panel, "move", 5, 4)
    assert panel.painting.labels[5, 10] == 0 and panel.painting.labels[5, 4] == 5
    panel.undo.click()
    assert (panel.painting.labels == painted).all()
    panel.clear.click()
    assert not panel.painting.labels.any() and panel.said.value == "no object"


def test_a_finger_paints_too(panel):
    panel.radius.value = 2
    for event, x in (("touch_start", 4.5), ("touch_move", 12.5), ("touch_end", 12.5)):
        send(panel, event=event, touches=[{"x": SCALE * x, "y": SCALE * 5.5}] if event != "touch_end" else [])
    assert (panel.painting.labels == stroked(((5, 4), (5, 12), 2, 1))).all()


@pytest.mark.parametrize("last", [(15, 8), (2, 3)], ids=["double click", "first corner"])
def test_clicks_make_a_polygon(panel, last):
    panel.tool.value, panel.number.value = "polygon", 4
    corners = [(2, 3), (3, 25), (15, 8)]
    click(panel, *corners)
    assert not panel.painting.labels.any()
    click(panel, last)
    alone = MaskPainting(FRAME)
    alone.polygon(corners, 4)
    assert (panel.painting.labels == alone.labels).all() and alone.labels.any()
    click(panel, (18, 28))  # the next polygon begins
    assert (panel.painting.labels == alone.labels).all()
    panel.undo.click()  # its corner
    assert panel.painting.labels.any()
    panel.undo.click()
    assert not panel.painting.labels.any()


def test_an_open_polygon_goes_corner_by_corner_and_with_its_tool(panel):
    panel.tool.value = "polygon"
    click(panel, (2, 3), (3, 25), (18, 25), (15, 8))
    panel.undo.click()
    click(panel, (18, 25))  # closes what is left
    alone = MaskPainting(FRAME)
    alone.polygon([(2, 3), (3, 25), (18, 25)], 1)
    assert (panel.painting.labels == alone.labels).all()
    panel.clear.click()
    click(panel, (2, 3), (3, 25), (18, 25))
    panel.tool.value = "brush"
    panel.tool.value = "polygon"
    click(panel, (2, 3), (2, 3), (3, 25), (3, 25))  # two corners are no polygon
    assert not panel.painting.labels.any()


def test_zoomed_in_the_brush_paints_the_pixel_that_is_seen_there(panel):
    panel.radius.value, panel.zoom.value = 1, 2  # around the middle: rows 5 to 15, columns 7.5 to 22.5
    stroke(panel, (9.5, 14.5))  # the middle of the canvas, the corner of four pixels
    assert np.argwhere(panel.painting.labels).tolist() == [[9, 14], [9, 15], [10, 14], [10, 15]]
    panel.clear.click()
    stroke(panel, (0.5, 2.5))  # one pixel from the upper edge of the canvas, three from its left one
    assert panel.painting.labels[5, 8] and panel.painting.labels.sum() <= 5
    assert np.abs(np.argwhere(panel.painting.labels).mean(0) - (5, 8.5)).max() <= 0.5


def test_the_wheel_enlarges_what_is_under_the_mouse_and_the_hand_moves_it(panel):
    mouse(panel, "move", 15, 25)
    seen = panel.view.point(25.5 * SCALE, 15.5 * SCALE)
    send(panel, event="mouse_wheel", x=0, y=-400)
    assert panel.zoom.value == panel.view.zoom == 4
    assert np.allclose(panel.view.point(25.5 * SCALE, 15.5 * SCALE), seen)
    panel.tool.value = "move"
    stroke(panel, (15, 25), (11, 21))
    assert np.allclose(panel.view.point(21.5 * SCALE, 11.5 * SCALE), seen) and not panel.painting.labels.any()
    send(panel, event="mouse_wheel", x=0, y=4000)
    assert panel.view.zoom == 1
    mouse(panel, "out", 19, 25)  # on the way to the slider, which enlarges the middle
    panel.zoom.value = 2
    assert np.allclose(panel.view.corner, (5, 7.5))


def test_the_same_frame_comes_with_what_was_painted_on_it(panel):
    stroke(panel, (5, 4), (5, 20))
    panel.radius.value = 3
    again = paint(FRAME.copy())
    assert again is panel and again.painting.labels.any() and again.radius.value == 3
    start = np.ones((20, 30), np.uint8)
    assert paint(FRAME + 1) is not panel and (paint(FRAME, start).painting.labels == start).all()
    assert paint(FRAME) is panel


def test_a_painting_stays_when_the_array_of_its_frame_changes(panel):
    frame = FRAME.copy()
    other = paint(frame, np.ones((20, 30), np.uint8))
    frame[:] = 0
    assert (other.painting.frame == FRAME).all()


def test_only_the_latest_panels_are_kept(panel):
    for shade in range(painter.MOST_KEPT - 1):
        paint(np.full((4, 6, 3), shade, np.uint8))
    assert paint(FRAME) is panel  # asked for, and so the latest
    for shade in range(painter.MOST_KEPT):
        paint(np.full((4, 6, 3), shade + 50, np.uint8))
    assert len(painter._kept) == painter.MOST_KEPT and paint(FRAME) is not panel


def test_the_button_hands_the_labels_on(panel):
    assert panel.follow.layout.display == "none"
    given: list[np.ndarray] = []
    assert paint(FRAME, follow=given.append) is panel and panel.follow.layout.display == ""
    panel.follow.click()
    assert not given and "Paint at least one object first" in panel.said.value
    stroke(panel, (5, 4), (5, 20))
    panel.follow.click()
    assert (given[0] == panel.painting.labels).all() and not panel.follow.disabled and "below" in panel.said.value
    given[0][:] = 0
    assert panel.painting.labels.any()  # it was a copy


def test_labels_that_are_set_elsewhere_are_shown(panel):
    panel.painting.set(np.full((20, 30), 9, np.uint8))
    assert "9 (600 px)" in panel.said.value


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: paint(FRAME[0]), "uint8"),
        (lambda: paint(FRAME / 255), "float64"),
        (lambda: paint(FRAME, np.ones((4, 4), np.uint8)), "4x4 pixels"),
    ],
)
def test_what_cannot_be_painted_on_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
