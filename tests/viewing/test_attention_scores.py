"""Maps whose right score is known, on a clip where a square slides by one cell per frame, get that score."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minivos import Clip, create_model
from minivos.errors import InputError
from minivos.nn.attention import window_index
from minivos.nn.recording import AttentionMap
from minivos.synthetic.clips import SyntheticClip, render
from minivos.synthetic.motion import Layer
from minivos.viewing.attention_scores import score_attention, score_maps
from minivos.viewing.cells import Cells, carried_masks, equal_weights, head_mean, middle_of_largest_object
from tiny import tiny_aot

CELL, GRID = 8, (8, 12)
HEIGHT, WIDTH = 64, 96
TOP, LEFT, SIDE = 16, 16, 24  # of the object in frame 0, in pixels: 3 x 3 cells


def layer(label: int, speed: int, frames: int) -> Layer:
    """A surface that slides to the right by so many pixels per frame."""
    pose = np.tile(np.eye(3), (frames, 1, 1))
    pose[:, 0, 2] = speed * np.arange(frames)
    return Layer(label, pose, np.zeros((frames, 2)), waves=None, body=None)


def sliding_clip(frames: int = 3, hidden: int | None = None, extra: int = 0) -> SyntheticClip:
    """A square that slides one cell to the right per frame over a still ground; a screen covers it in frame `hidden`.

    Frames are `extra` pixels larger than a whole number of cells.
    """
    owners = np.zeros((frames, HEIGHT + extra, WIDTH + extra), np.uint8)
    for t in range(frames):
        left = LEFT + CELL * t
        owners[t, TOP : TOP + SIDE, left : left + SIDE] = 2 if t == hidden else 1
    layers = (layer(0, 0, frames), layer(1, CELL, frames), layer(0, 0, frames))
    masks = (owners == 1).astype(np.uint8)
    return SyntheticClip(np.repeat(100 * owners[..., None], 3, axis=-1), masks, owners, layers)


def pointing_map(now: int, past: tuple[int, ...], trust: tuple[float, ...], off: int = 0) -> AttentionMap:
    """A cell's weight lies where the square's cell was, `off` rows off, in shares `trust` of the key frames."""
    height, width = GRID
    weights = torch.zeros(height, width, len(past), height, width)
    for y, x, (t, (frame, share)) in product(range(height), range(width), enumerate(zip(past, trust, strict=True))):
        weights[y, x, t, min(y + off, height - 1), max(x - (now - frame), 0)] = share
    weights = weights.reshape(1, 1, height * width, -1)
    return AttentionMap("look", weights, GRID, (len(past), *GRID), past, now)


# Cells


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("grid", "frame"), [((8, 12), (64, 96)), ((24, 36), (128, 192)), ((5, 7), (65, 97))])
def test_centres_fall_into_their_cells(grid, frame, aligned):
    cells = Cells(grid, frame, aligned)
    assert np.array_equal(cells.at(cells.centres()), np.moveaxis(np.indices(grid), 0, -1))


def test_corner_cells_lie_on_the_corners_or_within():
    within, aligned = Cells((5, 7), (65, 97)), Cells((5, 7), (65, 97), align_corners=True)
    assert np.allclose(aligned.centres()[[0, -1], [0, -1]], [(0, 0), (64, 96)])
    assert np.allclose(within.centres()[0, 0], (6.0, 97 / 14 - 0.5))
    assert within.extent() == (-0.5, 96.5, 64.5, -0.5)
    assert aligned.extent() == (-8, 104, 72, -8)
    assert np.array_equal(within.at(np.array([7.9, 13.0])), (0, 0))
    assert np.array_equal(aligned.at(np.array([7.9, 8.1])), (0, 1))  # halfway between centres 16 pixels apart
    assert np.array_equal(aligned.at(np.array([-3.0, 500.0])), (0, 6))  # beyond the frame: the nearest cell


def test_mean_of_a_cell():
    pixels = np.random.default_rng(0).random((2, HEIGHT, WIDTH))
    area = F.interpolate(torch.from_numpy(pixels)[None], GRID, mode="area")[0].numpy()
    assert np.allclose(Cells(GRID, (HEIGHT, WIDTH)).mean(pixels), area)
    aligned = Cells((9, 13), (HEIGHT + 1, WIDTH + 1), align_corners=True).mean(np.eye(HEIGHT + 1, WIDTH + 1))
    assert aligned[0, 0] == pytest.approx(4 / 16) and aligned[1, 1] == pytest.approx(8 / 64)  # 4 x 4 and 8 x 8 pixels


def test_middle_lies_on_the_largest_object():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:5, 2:5] = 1
    labels[6:19, 6:19] = 7
    labels[8:17, 8:17] = 0  # object 7 is a frame around nothing
    labels[:, 20:] = 255
    object_id, (y, x) = middle_of_largest_object(labels)
    assert object_id == 7 and labels[y, x] == 7
    labels[8:17, 8:17] = 7
    assert middle_of_largest_object(labels) == (7, (12, 12))


def test_an_object_that_the_edge_cuts_comes_after_whole_ones():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:5, 2:5] = 1
    labels[4:20, 10:26] = 7
    assert middle_of_largest_object(labels) == (1, (3, 3))
    labels[19, 13:] = 0  # three of 243 pixels are at the edge
    assert middle_of_largest_object(labels)[0] == 7
    labels[19, 13] = 7
    assert middle_of_largest_object(labels)[0] == 1
    labels[2:5, 2:5] = 0
    assert middle_of_largest_object(labels)[0] == 7


def test_a_grid_finer_than_the_frame_is_refused():
    with pytest.raises(InputError, match="finer than a frame"):
        Cells((8, 40), (16, 32))


# Carried masks


@pytest.fixture
def sparse():
    """Two heads that look at windows of 3 x 3 cells of one frame."""
    index = window_index((4, 5), 3)
    scores = torch.rand(1, 2, 20, 9, generator=torch.Generator().manual_seed(1)) * 5
    weights = scores.masked_fill(index < 0, float("-inf")).softmax(-1)
    return AttentionMap("block1/short_term", weights, (4, 5), (1, 4, 5), (2,), 3, index)


def test_masks_are_carried_as_a_loop_would(sparse):
    masks = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    carried = carried_masks(sparse, masks)
    expected = torch.zeros(3, 4, 5)
    for y, x in product(range(4), range(5)):
        expected[:, y, x] = torch.einsum("tyx,tkyx->k", sparse.look_from(y, x).mean(0), masks)
    assert torch.allclose(carried, expected, atol=1e-6)
    dense = replace(sparse, weights=sparse.dense(), index=None)
    assert torch.allclose(carried_masks(dense, masks.numpy()), expected, atol=1e-6)


def test_masks_of_several_frames_add_up():
    masks = torch.zeros(2, 2, *GRID)
    masks[0, 1, 3, 3], masks[1, 1, 3, 4] = 1, 0.5
    carried = carried_masks(pointing_map(2, (0, 1), (0.25, 0.75)), masks)
    assert carried[1, 3, 5] == pytest.approx(0.25 * 1 + 0.75 * 0.5)
    assert carried.sum() == carried[1, 3, 5]


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (1, 2, 5, 4), (1, 4, 5)])
def test_masks_that_do_not_fit_are_refused(sparse, shape):
    with pytest.raises(InputError, match="expected .1, 1.K, 4, 5."):
        carried_masks(sparse, torch.zeros(shape))


def test_equal_weights_lie_on_what_can_be_seen(sparse):
    equal = head_mean(equal_weights(sparse))
    assert torch.allclose(equal.sum(1), torch.ones(20))
    assert set(equal.unique().tolist()) == {0.0, *(torch.ones(3) / torch.tensor([4, 6, 9])).tolist()}
    assert torch.equal(equal > 0, head_mean(sparse) > 0)


# Scores


def test_all_weight_on_the_true_point_is_full_marks():
    (score,) = score_maps([pointing_map(2, (0, 1), (0.3, 0.7))], sliding_clip())
    assert score.cells == 9 and score.shares == (1, 1, 1)


@pytest.mark.parametrize(("off", "shares"), [(1, (6 / 9, 1, 1)), (2, (3 / 9, 0, 1)), (3, (0, 0, 0))])
def test_weight_off_the_true_point(off, shares):
    (score,) = score_maps([pointing_map(1, (0,), (1.0,), off)], sliding_clip())
    assert score.shares == pytest.approx(shares)


def test_equal_weights_score_the_chance_level():
    look = equal_weights(pointing_map(2, (0, 1), (0.5, 0.5)))
    (score,) = score_maps([look], sliding_clip())
    assert score.shares == score.chance == pytest.approx((9 / 96, 9 / 96, 25 / 96))


def test_chance_of_a_window_is_that_of_the_window():
    index = window_index(GRID, 5)
    weights = torch.zeros(1, 1, 96, 25)
    weights[..., 12] = 1  # the middle of the window: where the square now is, not where it was
    look = AttentionMap("short", weights, GRID, (1, *GRID), (0,), 1, index)
    (score,) = score_maps([look], sliding_clip())
    assert score.shares == pytest.approx((6 / 9, 1, 1))  # the square's front lies on what was ground
    assert score.chance.within_1 == pytest.approx(1 * 9 / 25)
    assert score.chance.within_2 == pytest.approx(4 / 5)  # the window shows 4 of the 5 columns around the point


def test_a_frame_that_hides_the_point_counts_for_the_object_only():
    (score,) = score_maps([pointing_map(2, (0, 1), (0.25, 0.75))], sliding_clip(hidden=1))
    assert score.shares == pytest.approx((0.25, 1, 1))
    (blind,) = score_maps([pointing_map(2, (1,), (1.0,))], sliding_clip(hidden=1))
    assert blind.shares.right_object == 0 and np.isnan(blind.shares.within_1)


def test_cells_partly_on_an_object_are_not_asked():
    clip = sliding_clip()
    for parts in (clip.masks, clip.owners):
        parts[1, TOP, :] = 0
    (score,) = score_maps([pointing_map(1, (0,), (1.0,))], clip)
    assert score.cells == 6


def test_grids_that_share_corner_centres():
    """Cells of 8 pixels around pixels 0, 8, ...: of the square's columns 24..47 in frame 1, cells 4 and 5 are whole."""
    clip, grid = sliding_clip(extra=1), (9, 13)
    weights = torch.zeros(*grid, *grid)
    for y, x in product(range(9), range(1, 13)):
        weights[y, x, y, x - 1] = 1
    look = AttentionMap("look", weights.reshape(1, 1, 117, 117), grid, (1, *grid), (0,), 1)
    (score,) = score_maps([look], clip, align_corners=True)
    assert score.cells == 4 and score.shares == (1, 1, 1)


def test_maps_of_one_name_are_pooled():
    right, wrong = pointing_map(1, (0,), (1.0,)), pointing_map(2, (0,), (1.0,), off=3)
    (score,) = score_maps([right, wrong], sliding_clip())
    assert score.cells == 18 and score.shares == pytest.approx((0.5, 0.5, 0.5))
    other = replace(wrong, name="other")
    assert [score.name for score in score_maps([right, other], sliding_clip())] == ["look", "other"]


def test_what_cannot_be_scored_is_refused():
    clip = sliding_clip()
    with pytest.raises(InputError, match="got a Clip; expected a synthetic clip"):
        score_maps([pointing_map(1, (0,), (1.0,))], Clip(clip.frames, {0: clip.masks[0]}))
    with pytest.raises(InputError, match="nothing to score"):
        score_maps([], clip)
    clip.masks[1] = 0
    with pytest.raises(InputError, match="nothing to score"):
        score_maps([pointing_map(1, (0,), (1.0,))], clip)


# A network


def test_every_read_of_the_memory_is_scored_and_self_attention_is_not():
    scores = score_attention(tiny_aot(), sliding_clip(frames=4))
    assert [score.name for score in scores] == [
        "block1/long_term", "block1/short_term", "block2/long_term", "block2/short_term",
    ]  # fmt: skip
    assert {score.cells for score in scores} == {3}  # of 16 x 16 pixels, one in each predicted frame
    assert all(0 <= share <= 1 for score in scores for share in (*score.shares, *score.chance))


def test_clips_are_scored_together():
    clip = sliding_clip(frames=3)
    once, twice = score_attention(tiny_aot(), clip), score_attention(tiny_aot(), clip, clip)
    assert [score.cells for score in twice] == [2 * score.cells for score in once]
    for alone, both in zip(once, twice, strict=True):
        assert both.name == alone.name and both.shares == pytest.approx(alone.shares)
        assert both.chance == pytest.approx(alone.chance)


def test_maps_of_single_objects_count_as_one_attention():
    right, wrong = pointing_map(1, (0,), (1.0,)), pointing_map(1, (0,), (1.0,), off=3)
    (score,) = score_maps([replace(right, object=1), replace(wrong, object=2)], sliding_clip())
    assert score.cells == 18 and score.shares == pytest.approx((0.5, 0.5, 0.5))


def test_the_trained_network_looks_at_the_right_object():
    clip = render(0, frames=2, size=(96, 96), scenario="plain")
    for score in score_attention(create_model("aot_mini", weights="shipped"), clip):
        assert score.shares.right_object > 2 * score.chance.right_object
        assert score.shares.within_2 > 2 * score.chance.within_2
