"""The two baselines: nothing moves, and everything moves as the pixels seem to."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minivos.errors import InputError
from minivos.evaluation.evaluate import Evaluation
from minivos.video.baselines import block_matching, repeat_first_mask
from minivos.video.clip import Clip

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "clips"


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Random colours every 8 pixels and smooth transitions between them, uint8 (H,W,3)."""
    colours = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
    return np.array(colours.resize((width, height), Image.Resampling.BICUBIC))


def moving_square(step: tuple[int, int], frames: int = 4, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A textured square that moves by `step` (down, right) on a still background: frames (T,H,W,3), labels (T,H,W)."""
    rng = np.random.default_rng(0)
    background, surface = texture(rng, 64, 80), texture(rng, side, side)
    video, labels = np.repeat(background[None], frames, axis=0), np.zeros((frames, 64, 80), np.uint8)
    for t in range(frames):
        y, x = 20 + t * step[0], 28 + t * step[1]
        video[t, y : y + side, x : x + side] = surface
        labels[t, y : y + side, x : x + side] = 3
    return video, labels


def score(gt: np.ndarray, pred: np.ndarray) -> float:
    """J&F of the object 3."""
    return Evaluation.of({"clip": (gt, pred)}).scores["clip"][2].mean


def test_repeated_mask_starts_with_the_first_mask_and_holds_no_void():
    video, labels = moving_square((1, 1))
    labels[2, :5] = 255
    pred = repeat_first_mask(Clip(video, {3: labels[3], 2: labels[2]}))
    assert pred.dtype == np.uint8
    assert not pred[:2].any()
    assert all(np.array_equal(mask, np.where(labels[2] == 255, 0, labels[2])) for mask in pred[2:])


@pytest.mark.parametrize(("step", "expected"), [((0, 1), 0.98), ((3, -2), 0.85), ((-4, 4), 0.75)])
def test_block_matching_follows_a_moving_texture(step, expected):
    video, labels = moving_square(step)
    clip = Clip(video, {0: labels[0]})
    matched, repeated = score(labels, block_matching(clip)), score(labels, repeat_first_mask(clip))
    assert matched > expected
    assert matched > repeated + 0.15


def test_motion_beyond_reach_is_lost():
    video, labels = moving_square((-4, 4))
    clip = Clip(video, {0: labels[0]})
    assert score(labels, block_matching(clip, reach=2)) < score(labels, block_matching(clip)) - 0.2


def test_uncovered_background_is_not_the_object():
    """The strip behind the square has no match one frame earlier, least of all in the square that hid it."""
    video, labels = moving_square((0, 6))
    pred = block_matching(Clip(video, {0: labels[0]}))
    assert (pred[-1] == 3)[20:44, 28:46].mean() < 0.5


def test_what_enters_at_the_border_looks_like_what_was_there():
    """The camera pans over sky (1) above grass (2), so that rows of grass come in at the bottom."""
    scene = texture(np.random.default_rng(0), 80, 80) // 4
    video = np.stack([scene[8 * t : 64 + 8 * t] for t in range(3)])
    first = np.repeat([1, 2], 32).astype(np.uint8)[:, None].repeat(80, axis=1)
    pred = block_matching(Clip(video, {0: first}))
    assert (pred[-1, 32:] == 2).all()


def test_where_nothing_moves_both_agree_and_flat_areas_stay():
    video, labels = moving_square((0, 0))
    video[:, :30] = 128
    clip = Clip(video, {1: labels[1]})
    assert np.array_equal(block_matching(clip), repeat_first_mask(clip))


def test_odd_sizes_and_single_frames():
    video, labels = moving_square((1, 0))
    clip = Clip(video[:, :63, :79], {0: labels[0, :63, :79]})
    assert block_matching(clip).shape == (4, 63, 79)
    assert np.array_equal(block_matching(Clip(video[:1], {0: labels[0]})), labels[:1])
    assert block_matching(Clip(video[:2, :1, :1], {0: labels[0, :1, :1]})).shape == (2, 1, 1)


def test_bad_input_is_refused():
    video, labels = moving_square((0, 0), frames=2)
    for baseline in (repeat_first_mask, block_matching):
        with pytest.raises(InputError, match="no mask"):
            baseline(Clip(video))
    with pytest.raises(InputError, match="got reach=0"):
        block_matching(Clip(video, {0: labels[0]}), reach=0)


@pytest.fixture
def every_warning():
    """Warnings are errors, those of PyTorch too, which else it gives once in a program."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_warn_always(before)


@pytest.mark.parametrize("baseline", [repeat_first_mask, block_matching])
def test_read_only_arrays_give_the_same_answer_without_a_warning(baseline, every_warning):
    video, labels = moving_square((1, 2))
    expected = baseline(Clip(video, {0: labels[0]}))
    video.flags.writeable = labels.flags.writeable = False
    assert np.array_equal(baseline(Clip(video, {0: labels[0]})), expected)


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the real clips are not on this machine")
@pytest.mark.parametrize(("name", "repeated"), [("car-roundabout", 0.611), ("chair", 0.673)])
def test_real_clips(name, repeated):
    clip = Clip.load(REAL_CLIPS / name)
    gt = np.stack(list(clip.masks.values()))
    assert Evaluation.of({name: (gt, repeat_first_mask(clip))}).mean == pytest.approx(repeated, abs=5e-4)
