"""Painting masks: strokes, polygons, undo, loading; and the part of a frame that is seen."""

import numpy as np
import pytest

from minivos.errors import InputError
from minivos.video.mask_files import write_mask
from minivos.viewing.painting import MaskPainting, View

FRAME = np.full((20, 30, 3), 100, np.uint8)


def test_a_stroke_paints_what_is_near_its_way():
    painting = MaskPainting(FRAME)
    painting.stroke((5, 4), (5, 20), 2, 3)
    y, x = np.indices((20, 30))
    near = np.hypot(y - 5, x - x.clip(4, 20)) <= 2
    assert (painting.labels == np.where(near, 3, 0)).all()


@pytest.mark.parametrize("corners", [[(2, 3), (17.3, 8), (9, 26.2)], [(-5, -5), (-5, 40), (9.4, 40), (9.4, -5)]])
def test_a_polygon_paints_the_pixels_whose_centres_lie_inside(corners):
    painting = MaskPainting(FRAME)
    painting.polygon(corners, 3)
    y, x = np.indices((20, 30))
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    sides = [(x - ax) * (by - ay) - (y - ay) * (bx - ax) for (ay, ax), (by, bx) in edges]  # of each pixel, at each edge
    inside = (np.min(sides, axis=0) > 0) | (np.max(sides, axis=0) < 0)
    assert (painting.labels == np.where(inside, 3, 0)).all() and 100 < inside.sum() < 400
    painting.polygon(corners, 0)
    assert not painting.labels.any()


def test_strokes_beyond_the_frame_paint_nothing():
    painting = MaskPainting(FRAME)
    for away in ((-9, 5), (5, -9), (40, 5), (5, 50)):
        painting.stroke(away, away, 3, 1)
    assert not painting.labels.any()


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
        (lambda p: p.polygon([(0, 0), (9, 9)], 1), "polygon of 2 corners"),
        (lambda p: p.polygon([(0, 0), (9, 9), (9, 0)], 255), "object 255"),
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


def test_who_watches_is_told_when_the_labels_are_exchanged():
    painting, told = MaskPainting(FRAME), []
    painting.changed = lambda: told.append(painting.labels.max())
    painting.set(np.full((20, 30), 7, np.uint8))
    painting.clear()
    painting.undo()
    assert told == [7, 0, 7]


def test_a_view_shows_all_of_a_frame_as_large_as_the_canvas_can_be():
    for frame, canvas in (((20, 30), (540, 810)), ((480, 854), (540, 960)), ((2160, 3840), (540, 960))):
        view = View(frame)
        assert tuple(view.canvas) == canvas
        away = np.array([view.point(0, 0), view.point(*canvas[::-1])]) - [(-0.5, -0.5), np.array(frame) - 0.5]
        assert np.abs(away).max() <= 0.5 / view.scale  # half a pixel of the canvas, which has whole ones


def test_what_is_under_the_mouse_stays_there_when_it_grows():
    view = View((20, 30))
    before = view.point(400, 300)
    view.zoom_to(4, 400, 300)
    assert np.allclose(view.point(400, 300), before) and np.allclose(view.place(before), (400, 300))
    assert np.isclose(view.point(427, 300)[1] - before[1], 27 / (4 * 27))  # 27 pixels of the canvas were one
    view.zoom_to(0.1, 0, 0)
    assert view.zoom == 1 and np.allclose(view.corner, 0)


def test_a_view_stays_within_the_frame():
    view = View((20, 30))
    view.zoom_to(2, 0, 0)
    view.move((0, 0), (50, 50))
    assert np.allclose(view.corner, 0)
    view.move((50, 50), (0, 0))
    assert np.allclose(view.corner, (10, 15))  # half of each side


def test_a_crop_holds_what_its_places_point_at():
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    view = View((20, 30))
    view.zoom_to(3.3, 555, 333)
    y, x = np.indices(view.canvas) + 0.5  # the middles of the pixels of the canvas
    rows, columns = (np.stack([y, x]) / view.scale + view.corner[:, None, None]).astype(int)
    assert (view.crop(pixels) == pixels[rows, columns]).all()
    assert view.crop(pixels)[200, 701] == pixels[tuple(np.round(view.point(701.5, 200.5)).astype(int))]


def test_a_picture_of_a_view_draws_its_labels():
    painting = MaskPainting(FRAME)
    painting.stroke((10, 15), (10, 15), 3, 1)
    view = View((20, 30))
    assert (painting.picture(view)[270, 405] != FRAME[0, 0]).any()
    view.zoom_to(16, 0, 0)  # the object is out of sight
    assert (painting.picture(view) == FRAME[0, 0]).all()
