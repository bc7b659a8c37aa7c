"""Painting masks: strokes, eraser, undo, loading; and the panel, driven as a browser would."""

import numpy as np
import pytest

from minivos.errors import InputError
from minivos.video.mask_files import write_mask
from minivos.viewing.painter import MaskPainting, painting_panel

FRAME = np.full((20, 30, 3), 100, np.uint8)


def test_a_stroke_paints_what_is_near_its_way():
    painting = MaskPainting(FRAME)
    painting.stroke((5, 4), (5, 20), 2, 3)
    y, x = np.indices((20, 30))
    near = np.hypot(y - 5, x - x.clip(4, 20)) <= 2
    assert (painting.labels == np.where(near, 3, 0)).all()


def test_eraser_undo_and_clear():
    painting = MaskPainting(FRAME)
    painting.begin()
    painting.stroke((5, 5), (5, 5), 3, 1)
    painted = painting.labels.copy()
    painting.begin()
    painting.stroke((5, 5), (5, 5), 1, 0)
    assert painting.labels[5, 5] == 0 and painting.labels[5, 8] == 1
    painting.undo()
    assert (painting.labels == painted).all()
    painting.clear()
    assert not painting.labels.any()
    painting.undo()
    assert (painting.labels == painted).all()
    for _ in range(3):  # more than there is to take back
        painting.undo()
    assert not painting.labels.any()


def test_masks_can_be_loaded_instead(tmp_path):
    labels = np.zeros((20, 30), np.uint8)
    labels[3:9] = 2
    write_mask(tmp_path / "mask.png", labels)
    painting = MaskPainting(FRAME)
    painting.load(tmp_path / "mask.png")
    assert (painting.labels == labels).all() and painting.picture().shape == FRAME.shape
    assert (MaskPainting(FRAME, labels).labels == labels).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda p: p.stroke((0, 0), (1, 1), 0, 1), "radius 0"),
        (lambda p: p.stroke((0, 0), (1, 1), 2, 255), "object 255"),
        (lambda p: p.stroke((0, 0), (1, 1), 2, 1.9), "object 1.9"),
        (lambda p: p.stroke((0, 0), (1, 1), np.nan, 1), "radius nan"),
        (lambda p: p.set(np.ones((4, 4), np.uint8)), "4x4 pixels"),
        (lambda p: p.set(np.zeros((20, 30), np.uint8)), "holds no object"),
        (lambda p: MaskPainting(FRAME[0]), "uint8"),
        (lambda p: MaskPainting(FRAME.tolist()), "got list as the frame; expected a NumPy array"),
    ],
)
def test_what_cannot_be_painted_is_refused_and_changes_nothing(wrong, message):
    painting = MaskPainting(FRAME)
    with pytest.raises(InputError, match=message):
        wrong(painting)
    assert not painting.labels.any()


def test_the_panel_paints_where_the_mouse_goes():
    painting = MaskPainting(FRAME)
    panel = painting_panel(painting)
    canvas, (number, radius), (eraser, undo, clear), said = (getattr(part, "children", part) for part in panel.children)
    zoom = canvas.width // 30

    def mouse(event: str, y: int, x: int) -> None:  # what the browser sends
        canvas._handle_frontend_event(None, {"event": event, "x": zoom * (x + 0.5), "y": zoom * (y + 0.5)}, None)

    number.value, radius.value = 5, 2
    mouse("mouse_move", 3, 3)  # the button is up
    assert not painting.labels.any()
    for event, y, x in (("mouse_down", 5, 4), ("mouse_move", 5, 20), ("mouse_up", 5, 20), ("mouse_move", 15, 20)):
        mouse(event, y, x)
    alone = MaskPainting(FRAME)
    alone.stroke((5, 4), (5, 20), 2, 5)
    assert (painting.labels == alone.labels).all() and "5 (" in said.value
    eraser.value = True
    for event in ("mouse_down", "mouse_out"):
        mouse(event, 5, 10)
    assert painting.labels[5, 10] == 0 and painting.labels[5, 4] == 5
    undo.click()
    assert (painting.labels == alone.labels).all()
    clear.click()
    assert not painting.labels.any() and said.value == "no object"
