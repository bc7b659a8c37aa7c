"""Contours that follow the colours of the frame: what gets better, and what must never change."""

import numpy as np
import pytest
from PIL import Image

from minivos.evaluation.loop import run_task
from minivos.propagation import follow
from minivos.video.clip import Clip
from minivos.video.contours import REACH, refine_contours
from minivos.video.masks import VOID
from minivos.video.metrics import contour_accuracy, region_similarity
from minivos.video.task import Task
from tiny import tiny_aot

SIZE, WORKING = (120, 160), (40, 53)
COLOURS = np.array([(90, 110, 90), (190, 90, 60), (60, 90, 190)])


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy frame with a disc and a bar, their true labels, and labels as coarse as a small network makes them."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    truth = np.uint8((y - 55) ** 2 + (x - 50) ** 2 < 30**2)
    truth[(abs(y - x + 55) < 14) & (y > 20) & (y < 100)] = 2
    noise = np.random.default_rng(0).normal(0, 6, (*SIZE, 3))
    frame = (COLOURS[truth] + noise).clip(0, 255).astype(np.uint8)
    coarse = Image.fromarray(truth).resize((20, 15), Image.Resampling.NEAREST)
    return frame, truth, np.array(coarse.resize(SIZE[::-1], Image.Resampling.NEAREST))


def scores(truth: np.ndarray, labels: np.ndarray, i: int) -> tuple[float, float]:
    """J and F (within a pixel) of an object."""
    pair = truth[None] == i, labels[None] == i
    return region_similarity(*pair)[0], contour_accuracy(*pair, bound_th=1)[0]


@pytest.mark.parametrize("object_id", [1, 2])
def test_coarse_contours_move_to_where_the_colour_changes(object_id):
    frame, truth, coarse = scene()
    before, after = (scores(truth, labels, object_id) for labels in (coarse, refine_contours(frame, coarse, WORKING)))
    assert after[0] > before[0] + 0.05 and after[1] > before[1] + 0.3, (before, after)


def test_ids_are_kept_whatever_their_numbers():
    frame, _, coarse = scene()
    renamed = np.array([0, 200, 7], np.uint8)
    refined = refine_contours(frame, renamed[coarse], WORKING)
    np.testing.assert_array_equal(refined, renamed[refine_contours(frame, coarse, WORKING)])


def test_pixels_far_from_a_contour_stay():
    frame, _, coarse = scene()
    changed = refine_contours(frame, coarse, WORKING) != coarse
    reach = (2 * REACH + 2) * 3 * SIZE[0] // WORKING[0]
    rim = np.zeros(SIZE, bool)
    for y, x in np.argwhere((np.diff(coarse, axis=0)[:, :-1] != 0) | (np.diff(coarse, axis=1)[:-1] != 0)):
        rim[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = True
    assert changed.any() and not (changed & ~rim).any()


def test_a_frame_of_one_colour_moves_no_straight_contour():
    labels = np.zeros(SIZE, np.uint8)
    labels[:, 80:] = 1
    refined = refine_contours(np.full((*SIZE, 3), 80, np.uint8), labels, (45, 60))
    assert np.count_nonzero(refined != labels) <= 2 * SIZE[0]


def test_no_object_disappears_and_void_stays():
    frame, _, coarse = scene()
    coarse[5:7, 5:7] = 9  # as large as a fly, and of no colour of its own
    coarse[50:55, :] = VOID
    refined = refine_contours(frame, coarse, WORKING)
    assert (refined == 9).sum() >= 2
    np.testing.assert_array_equal(refined == VOID, coarse == VOID)


@pytest.mark.parametrize("working", [SIZE, (480, 640), (81, 108)])
def test_where_the_network_sees_nearly_the_whole_frame_nothing_changes(working):
    frame, _, coarse = scene()
    assert refine_contours(frame, coarse, working) is coarse


def test_masks_that_are_given_are_never_touched_and_others_are():
    frame, _, coarse = scene()
    given = {0: coarse, 2: coarse}
    network = tiny_aot()
    plain, refined = (list(follow(network, [frame] * 4, given, refine=choice, side=32)) for choice in (False, True))
    for t in given:
        np.testing.assert_array_equal(refined[t].labels, plain[t].labels)
    for t in (1, 3):
        expected = refine_contours(frame, plain[t].labels, network.sizing(SIZE, 32))
        np.testing.assert_array_equal(refined[t].labels, expected)
    assert any((refined[t].labels != plain[t].labels).any() for t in (1, 3))


def test_benchmarks_score_what_segment_writes():
    frame, _, coarse = scene()
    clip, found = Clip(np.stack([frame] * 4), {0: coarse}), {}
    run_task(tiny_aot(), Task.of(clip), found.__setitem__, refine=True, side=32)
    answers = follow(tiny_aot(), clip.frames, {0: coarse}, refine=True, side=32)
    np.testing.assert_array_equal(list(found.values()), [answer.labels for answer in answers])
