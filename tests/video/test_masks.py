"""Masks as arrays: palettes, one-hot, resizing, soft aggregation and the overlay."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minivos.errors import InputError
from minivos.nn.objects import merge_answers, object_log_odds, padding, soft_aggregate
from minivos.video.mask_tensors import expected_j, highest, one_hot, resize
from minivos.video.masks import OKABE_ITO, davis_palette, object_colour, overlay, screen_colours


def test_davis_palette_holds_the_published_colours():
    palette = davis_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert [tuple(colour) for colour in palette[:7].tolist()] == first
    assert palette[20].tolist() == [0, 64, 128] and palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


def test_the_first_objects_have_the_colours_of_okabe_and_ito_and_background_and_void_none():
    assert [object_colour(number) for number in range(8)] == [tuple(colour) for colour in OKABE_ITO.tolist()]
    assert object_colour(0) == object_colour(255) == (0, 0, 0)
    assert len(np.unique(screen_colours(), axis=0)) == 255  # 254 objects and black
    with pytest.raises(ValueError, match="read-only"):
        screen_colours()[1] = 0


# How much light the cones of a viewer without red, and without green, cones take from linear sRGB
# (Vienot, Brettel and Mollon 1999), and XYZ of sRGB under D65: not what the colours were chosen by
VIEWERS = {
    "usual": np.eye(3),
    "without red": [(0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)],
    "without green": [(0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)],
}
TO_XYZ = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])


def cielab(colours, viewer):
    """CIE L*a*b* (N,3) of sRGB (N,3) in 0..255, as a viewer sees it."""
    light = np.where(colours <= 10, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    xyz = (light @ np.array(VIEWERS[viewer]).T).clip(0, 1) @ TO_XYZ.T / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize(
    ("viewer", "any_two", "next_to"), [("usual", 9, 20), ("without red", 6, 18), ("without green", 5, 15)]
)
def test_no_two_of_44_objects_look_alike(viewer, any_two, next_to):
    seen = cielab(screen_colours()[1:45].astype(float), viewer)
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert apart[~np.eye(44, dtype=bool)].min() > any_two
    assert min(np.diag(apart, 1).min(), np.diag(apart, 7).min()) > next_to  # the old colours came again after 7


def test_one_hot_marks_each_label_once_and_void_never():
    labels = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    masks = one_hot(labels, objects=3)
    assert masks.shape == (1, 4, 2, 2) and masks.dtype == torch.float32
    assert masks.sum(dim=1).tolist() == [[[1, 1], [1, 0]]]
    assert [masks[0, channel].nonzero().tolist() for channel in range(4)] == [[[0, 0]], [[0, 1]], [[1, 0]], []]


def test_one_hot_refuses_labels_beyond_the_objects():
    with pytest.raises(InputError, match=r"labels \[0, 3\] for 2 objects; expected 0..2"):
        one_hot(torch.tensor([[[0, 3]]]), objects=2)


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (16, 9), (23, 31)])
def test_resize_takes_labels_by_nearest_neighbour(size):
    labels = torch.randint(0, 256, (2, 11, 13), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    resized = resize(labels, size)
    assert resized.dtype == torch.uint8
    assert torch.equal(resized, F.interpolate(labels[:, None].double(), size, mode="nearest")[:, 0].byte())


def test_resize_blends_probabilities_and_passes_align_corners_on():
    ramp = torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2)
    assert torch.allclose(resize(ramp, (2, 4), align_corners=True)[0, 0, 0], torch.tensor([0, 1 / 3, 2 / 3, 1]))
    assert torch.allclose(resize(ramp, (2, 4))[0, 0, 0], torch.tensor([0, 0.25, 0.75, 1]))


def test_soft_aggregation_of_one_object_is_its_odds():
    merged = soft_aggregate(torch.full((1, 1, 1, 1), 0.8)).flatten()
    odds = torch.tensor([0.2 / 0.8, 0.8 / 0.2])
    assert torch.allclose(merged, odds / odds.sum(), atol=1e-5)


def test_soft_aggregation_by_hand_for_two_objects():
    merged = soft_aggregate(torch.tensor([0.9, 0.5]).view(1, 2, 1, 1)).flatten()
    odds = torch.tensor([0.05 / 0.95, 9.0, 1.0])
    assert torch.allclose(merged, odds / odds.sum(), atol=1e-5)


def test_the_log_odds_of_objects_are_soft_aggregation_before_its_softmax():
    objects = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    log_odds = object_log_odds(objects)
    assert torch.allclose(log_odds.softmax(dim=1), soft_aggregate(objects), atol=1e-5)
    assert torch.allclose(log_odds[:, 1:], (objects / (1 - objects)).log(), atol=1e-3)
    assert object_log_odds(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)).isfinite().all()


def test_soft_aggregation_sums_to_one_and_keeps_certainty_and_gradients():
    certain = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]).view(1, 2, 1, 4).requires_grad_()
    merged = soft_aggregate(certain)
    assert merged.shape == (1, 3, 1, 4)
    assert torch.allclose(merged.sum(dim=1), torch.ones(1, 1, 4))
    assert merged.argmax(dim=1).flatten().tolist()[:3] == [1, 2, 0]
    merged[:, 1].sum().backward()
    assert certain.grad.isfinite().all()
    assert soft_aggregate(certain.detach().half()).isfinite().all()


@pytest.fixture
def drawn():
    frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    labels = np.zeros((30, 40), dtype=np.uint8)
    labels[5:20, 5:20] = 1
    labels[5:20, 20:30] = 2
    labels[25:, 35:] = 255
    return frame, labels, overlay(frame, labels, alpha=0.5)


def test_overlay_tints_inside_and_leaves_background_and_void(drawn):
    frame, labels, picture = drawn
    assert picture.shape == frame.shape and picture.dtype == np.uint8
    tint = np.rint(0.5 * frame[12, 12] + 0.5 * np.array(object_colour(1)))
    assert picture[12, 12].tolist() == tint.tolist()
    assert np.array_equal(picture[labels == 255], frame[labels == 255])
    assert np.array_equal(picture[:3], frame[:3])


def test_overlay_outlines_in_colour_then_white_then_black(drawn):
    _, _, picture = drawn
    assert [tuple(picture[row, 10].tolist()) for row in (5, 4, 3)] == [object_colour(1), (255,) * 3, (0,) * 3]
    across = [tuple(picture[12, column].tolist()) for column in (19, 20)]
    assert across == [(255,) * 3, object_colour(2)]  # touching objects are parted by one white line


def test_overlay_leaves_its_inputs_alone_and_refuses_other_sizes(drawn):
    frame, labels, _ = drawn
    before = frame.copy()
    overlay(frame, labels, alpha=1.0)
    assert np.array_equal(frame, before)
    for bad in (frame[:-1], frame / 255):
        with pytest.raises(InputError, match=r"expected \(H,W\) and uint8 \(H,W,3\)"):
            overlay(bad, labels)


def test_answers_are_merged_by_clip_and_the_absent_get_nothing():
    present = torch.tensor([[True, False, True], [False, True, False]])
    logits = torch.randn(3, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    odds = merge_answers(logits, (4, 6), present)
    objects = torch.zeros(2, 3, 4, 6)
    objects[0, 0], objects[0, 2], objects[1, 1] = logits.softmax(dim=1)[:, 1]
    assert torch.allclose(odds, object_log_odds(objects), atol=1e-4)
    assert merge_answers(logits, (8, 12), present).shape == (2, 4, 8, 12)


def test_padding_puts_the_smaller_half_first_and_answers_lose_it_again():
    border = padding((13, 16), 8)
    assert border == (0, 0, 1, 2) and F.pad(torch.rand(1, 2, 13, 16), border).shape[-2:] == (16, 16)
    logits, present = torch.randn(1, 2, 4, 4), torch.tensor([[True]])
    whole = merge_answers(logits, (16, 16), present)
    assert torch.equal(merge_answers(logits, (16, 16), present, border), whole[:, :, 1:-2])


def test_an_overlay_takes_a_few_times_the_memory_of_its_frame():
    """Floats of a whole picture took 25 times as much: gigabytes for a frame of 8k."""
    frame = np.full((1000, 1500, 3), 90, dtype=np.uint8)
    labels = np.full((1000, 1500), 3, dtype=np.uint8)
    screen_colours()
    tracemalloc.start()
    overlay(frame, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 7 * frame.nbytes


def test_the_highest_channel_is_that_of_argmax_and_the_first_of_equals():
    scores = torch.randint(0, 5, (2, 7, 40, 50), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(highest(scores).long(), scores.argmax(dim=1))
    assert highest(torch.zeros(1, 255, 2, 3)).tolist() == [[[0] * 3] * 2]
    assert highest(torch.arange(255.0).view(1, 255, 1, 1)).item() == 254


def test_expected_j_counts_what_is_likely_inside_and_outside_of_a_mask():
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.3, 0.6, 0.1]]).T.reshape(1, 3, 1, 3)
    labels = highest(probabilities)  # 2, 0, 1
    assert expected_j(probabilities, labels) == pytest.approx([0.6 / 1.3, 0.7 / 1.2])
    assert expected_j(probabilities, torch.zeros_like(labels)) == [0, 0]
