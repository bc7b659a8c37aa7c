"""J and F against values worked out by hand, a slow reference, and the values of the official program."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from minivos.errors import InputError
from minivos.video.metrics import boundary_map, contour_accuracy, region_similarity, score_labels, statistics

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "metrics"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference values are not on this machine")


def box(top: int, bottom: int, left: int, right: int, size: tuple[int, int] = (120, 200)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Boxes and stray pixels: objects at the border, thin parts, holes."""
    mask = rng.random((height, width)) < rng.choice([0, 0.02, 0.5])
    for _ in range(rng.integers(4)):
        y, x = rng.integers(height), rng.integers(width)
        mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] ^= True
    return mask


# A slow reference: the definition of F word for word, with disks painted one by one ----------------------------------


def slow_boundary(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    boundary = np.zeros(mask.shape, bool)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            boundary[y, x] = any(mask[y, x] != mask[v, u] for v, u in neighbours if v < height and u < width)
    return boundary


def slow_dilation(boundary: np.ndarray, radius: int) -> np.ndarray:
    y, x = np.indices(boundary.shape)
    dilated = np.zeros(boundary.shape, bool)
    for v, u in np.argwhere(boundary):
        dilated |= (y - v) ** 2 + (x - u) ** 2 <= radius**2
    return dilated


def slow_contour_accuracy(gt: np.ndarray, pred: np.ndarray, radius: int) -> float:
    gt, pred = slow_boundary(gt), slow_boundary(pred)
    if not gt.any() or not pred.any():
        return float(gt.any() == pred.any())
    precision = (pred & slow_dilation(gt, radius)).sum() / pred.sum()
    recall = (gt & slow_dilation(pred, radius)).sum() / gt.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(60))
def test_contour_accuracy_equals_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 24, size=2)
    gt, pred = random_mask(rng, height, width), random_mask(rng, height, width)
    radius = int(rng.integers(1, 6))
    assert contour_accuracy(gt, pred, bound_th=radius) == pytest.approx(
        slow_contour_accuracy(gt, pred, radius), abs=1e-12
    )
    assert np.array_equal(boundary_map(gt), slow_boundary(gt))


def test_tolerance_zero_asks_for_the_same_pixels():
    gt, pred = box(4, 9, 4, 9, (14, 14)), box(4, 9, 4, 10, (14, 14))
    assert contour_accuracy(gt, pred, bound_th=0) == pytest.approx(slow_contour_accuracy(gt, pred, 0))


# Values of the official program for masks that one line draws: (gt, pred, J, F), radius 2 ----------------------------

EMPTY, FULL = box(0, 0, 0, 0), box(0, 120, 0, 200)
SQUARE, LINE = box(40, 80, 60, 120), box(60, 61, 20, 180)
OFFICIAL = {
    "empty, empty": (EMPTY, EMPTY, 1, 1),
    "square, empty": (SQUARE, EMPTY, 0, 0),
    "empty, square": (EMPTY, SQUARE, 0, 0),
    "full, full": (FULL, FULL, 1, 1),
    "full, empty": (FULL, EMPTY, 0, 1),
    "empty, full": (EMPTY, FULL, 0, 1),
    "shift x 2": (SQUARE, box(40, 80, 62, 122), 0.9354838709677419, 1),
    "shift x 3": (SQUARE, box(40, 80, 63, 123), 0.9047619047619048, 0.62),
    "shift x 6": (SQUARE, box(40, 80, 66, 126), 0.8181818181818182, 0.59),
    "diagonal 1": (SQUARE, box(41, 81, 61, 121), 0.9207683073229291, 1),
    "diagonal 2": (SQUARE, box(42, 82, 62, 122), 0.8489984591679507, 0.985),
    "diagonal 3": (SQUARE, box(43, 83, 63, 123), 0.7837235228539576, 0.05),
    "grow 1": (SQUARE, box(39, 81, 59, 121), 0.9216589861751152, 1),
    "grow 3": (SQUARE, box(37, 83, 57, 123), 2400 / 3036, 0),
    "shrink 1": (SQUARE, box(41, 79, 61, 119), 0.9183333333333333, 1),
    "line 2": (LINE, box(62, 63, 20, 180), 0, 1),
    "line 3": (LINE, box(63, 64, 20, 180), 0, 0.5),
    "line 4": (LINE, box(64, 65, 20, 180), 0, 0),
    "line, square": (LINE, SQUARE, 0.024, 0.06103763987792472),
    "top": (box(0, 30, 50, 90), box(2, 32, 52, 92), 0.7964071856287425, 0.8393651859937862),
    "bottom": (box(90, 120, 50, 90), box(92, 120, 52, 92), 0.8471337579617835, 0.9849246231155778),
    "top left": (box(0, 20, 0, 20), box(2, 22, 2, 22), 0.680672268907563, 0.7301587301587301),
    "bottom right": (box(100, 120, 180, 200), box(102, 120, 182, 200), 0.81, 0.9620253164556963),
    "first row": (box(0, 1, 0, 200), box(2, 3, 2, 200), 0, 1),
    "last row": (box(119, 120, 0, 200), EMPTY, 0, 0),
}


@pytest.mark.parametrize(("gt", "pred", "j", "f"), OFFICIAL.values(), ids=OFFICIAL)
def test_official_values_of_boxes(gt, pred, j, f):
    assert region_similarity(gt, pred) == pytest.approx(j, abs=1e-9)
    assert contour_accuracy(gt, pred) == pytest.approx(f, abs=1e-9)


@pytest.mark.parametrize(("bound_th", "f"), [(0.002, 0.03), (0.02, 1), (1, 0.03), (3, 0.99), (5.0, 1)])
def test_official_values_of_other_tolerances(bound_th, f):
    assert contour_accuracy(SQUARE, box(43, 83, 62, 122), bound_th) == pytest.approx(f, abs=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "radius"),
    [(240, 432, 4), (480, 854, 8), (480, 910, 9), (720, 1280, 12), (88, 88, 1), (89, 89, 2)],
)
def test_tolerance_grows_with_the_image_not_with_the_object(height, width, radius):
    line = box(30, 31, 5, 80, (height, width))
    assert contour_accuracy(line, np.roll(line, radius, axis=0)) == 1
    assert contour_accuracy(line, np.roll(line, radius + 1, axis=0)) < 1


# Void, frames, and bad input -----------------------------------------------------------------------------------------


def test_void_pixels_do_not_count():
    gt, pred, void = box(0, 4, 0, 4, (8, 8)), box(0, 4, 0, 6, (8, 8)), box(0, 8, 4, 8, (8, 8))
    assert region_similarity(gt, pred) == pytest.approx(16 / 24)
    assert region_similarity(gt, pred, void) == 1
    assert contour_accuracy(gt, pred, void=void) == contour_accuracy(gt, pred & ~void)
    assert region_similarity(gt, pred, np.ones_like(gt)) == 1


def test_frames_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    gt, pred = (np.stack([random_mask(rng, 30, 40) for _ in range(4)]) for _ in range(2))
    for score in (region_similarity, contour_accuracy):
        assert score(gt, pred).dtype == np.float64
        assert score(gt[0], pred[0]).shape == ()
        assert score(gt, pred).tolist() == [float(score(*frame)) for frame in zip(gt, pred, strict=True)]


def test_integers_zero_and_one_are_masks():
    pred = box(40, 80, 63, 123)
    assert contour_accuracy(SQUARE.astype(np.uint8), pred.astype(np.int64)) == contour_accuracy(SQUARE, pred)


@pytest.mark.parametrize("score", [region_similarity, contour_accuracy])
def test_bad_masks_are_refused(score):
    with pytest.raises(InputError, match=r"\(120, 200\) \(gt\) and \(120, 199\) \(pred\)"):
        score(SQUARE, SQUARE[:, 1:])
    with pytest.raises(InputError, match="same"):
        score(SQUARE[0], SQUARE[0])
    with pytest.raises(InputError, match="pred holds float64"):
        score(SQUARE, SQUARE.astype(float))
    with pytest.raises(InputError, match="gt holds uint8"):
        score(np.uint8(2) * SQUARE, SQUARE)
    with pytest.raises(InputError, match="void has shape"):
        score(SQUARE, SQUARE, void=SQUARE[1:])


@pytest.mark.parametrize("values", [[[1], [1, 2]], torch.ones(9, 9, requires_grad=True)])
def test_what_is_no_array_is_named(values):
    with pytest.raises(InputError, match="gt is no array"):
        region_similarity(values, values)


def test_a_tolerance_beyond_the_picture_costs_no_memory():
    assert contour_accuracy(SQUARE, box(43, 83, 62, 122), 10**9) == 1


@pytest.mark.parametrize("bound_th", [-0.1, 2.5, math.nan, math.inf, "8", None])
def test_bad_tolerances_are_refused(bound_th):
    with pytest.raises(InputError, match="bound_th"):
        contour_accuracy(SQUARE, SQUARE, bound_th)


# Statistics ----------------------------------------------------------------------------------------------------------


def test_statistics_by_hand():
    """Nine scores make quarters of three that share their ends: 0-2, 2-4, 4-6, 6-8."""
    result = statistics(np.array([0.9, 0.8, 0.7, 0.5, 0.5, 0.6, 0.1, 0.2, 0.3]))
    assert result.mean == pytest.approx(4.6 / 9)
    assert result.recall == pytest.approx(4 / 9)  # 0.5 itself is a miss
    assert result.decay == pytest.approx(0.8 - 0.2)


@pytest.mark.parametrize(
    ("frames", "mean", "recall", "decay"),
    [
        (1, 1, 1, 0),
        (2, 0.75, 0.5, 0.5),
        (3, 2 / 3, 2 / 3, 0.5),
        (7, 0.5714285714285715, 0.5714285714285714, 0.6428571428571429),
        (11, 0.5454545454545454, 0.5454545454545454, 0.681818181818182),
        (76, 0.506578947368421, 0.5, 0.736842105263158),
        (255, 0.5019607843137254, 0.5019607843137255, 0.7470588235294118),
    ],
)
def test_official_statistics_of_a_ramp(frames, mean, recall, decay):
    result = statistics(1 - np.arange(frames) / frames)
    assert (result.mean, result.recall, result.decay) == pytest.approx((mean, recall, decay), abs=1e-9)


@pytest.mark.parametrize("frames", [256, 257, 300, 600])
def test_long_clips_have_a_decay(frames):
    quarter = round((frames - 1) / 4)
    ramp = 1 - np.arange(frames) / frames
    assert statistics(ramp).decay == pytest.approx(ramp[: quarter + 1].mean() - ramp[-quarter - 1 :].mean(), abs=2e-3)


@pytest.mark.filterwarnings("error")
def test_unknown_scores_are_left_out():
    result = statistics(np.array([1, math.nan, 0.8, 0.2]))
    assert result.mean == pytest.approx(2 / 3)
    assert result.recall == pytest.approx(0.5)
    assert math.isnan(statistics(np.full(12, math.nan)).mean)
    with pytest.raises(InputError, match="N >= 1"):
        statistics(np.zeros(0))


# Label maps ----------------------------------------------------------------------------------------------------------


def two_objects(frames: int = 6) -> np.ndarray:
    labels = np.zeros((frames, 20, 30), np.uint8)
    labels[:, 2:10, 2:10], labels[:, 5:15, 15:25] = 1, 2
    return labels


def test_perfect_labels():
    scores = score_labels(two_objects(), two_objects())
    assert [score.object_id for score in scores] == [1, 2]
    assert [score.mean for score in scores] == [1, 1]
    assert all(score.J.shape == score.F.shape == (4,) for score in scores)


def test_first_and_last_frame_are_not_scored():
    pred = two_objects()
    pred[[0, -1]] = 7
    assert [score.mean for score in score_labels(two_objects(), pred)] == [1, 1]
    pred = two_objects()
    pred[1] = 0
    assert [score.J.tolist() for score in score_labels(two_objects(), pred)] == [[0, 1, 1, 1]] * 2


def test_missing_object_scores_as_empty_and_swapped_ids_as_wrong():
    gt = two_objects()
    assert [score.mean for score in score_labels(gt, np.where(gt == 2, 0, gt))] == [1, 0]
    assert [score.mean for score in score_labels(gt, np.array([0, 2, 1], np.uint8)[gt])] == [0, 0]


def test_first_frame_decides_which_objects_count():
    gt = two_objects()
    gt[0][gt[0] == 1] = 0  # absent at first, but below the highest id
    gt[2:, 16:, :5] = 3  # enters late
    pred = np.where(gt == 3, 0, gt)
    assert [score.mean for score in score_labels(gt, pred)] == [1, 1]
    with pytest.raises(InputError, match="holds id 3, .* up to 2: set ids"):
        score_labels(gt, gt)


def test_an_id_that_no_frame_shows_scores_one():
    labels = np.array([0, 1, 3], np.uint8)[two_objects()]
    assert [score.mean for score in score_labels(labels, labels)] == [1, 1, 1]


def test_void_labels_of_the_ground_truth_are_background():
    gt = two_objects()
    gt[:, 2:10, 2:6] = 255  # half of object 1
    assert [score.J_statistics.mean for score in score_labels(gt, two_objects())] == [0.5, 1]


@pytest.mark.parametrize(
    ("gt", "pred", "message"),
    [
        (two_objects(2), two_objects(2), "T >= 3"),
        (two_objects(), two_objects(5), r"\(6, 20, 30\) \(gt\) and \(5, 20, 30\) \(pred\)"),
        (two_objects()[0], two_objects()[0], "gt is uint8 of shape"),
        (two_objects(), two_objects().astype(float), "pred is float64"),
        (two_objects(), two_objects().astype(int) - 1, "pred is int64"),
        (0 * two_objects(), two_objects(), "no object"),
        (two_objects(), two_objects() | 255, "holds id 255"),
    ],
)
def test_bad_labels_are_refused(gt, pred, message):
    with pytest.raises(InputError, match=message):
        score_labels(gt, pred)


# All values of the official program, where they are at hand ----------------------------------------------------------


def golden_inputs():
    spec = importlib.util.spec_from_file_location("edge_cases", GOLDEN / "edge_cases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_values(kind: str) -> dict:
    return json.loads((GOLDEN / "edge_cases.json").read_text())[kind]


@needs_golden
def test_all_official_pairs():
    expected = golden_values("pairs")
    for case in golden_inputs().pair_cases():
        gt, pred, values = case["gt"], case["pred"], expected.pop(case["name"])
        assert region_similarity(gt, pred, case["void"]) == pytest.approx(values["J"], abs=1e-9), case["name"]
        f = contour_accuracy(gt, pred, case["bound_th"], case["void"])
        assert f == pytest.approx(values["F"], abs=1e-9), case["name"]
    assert not expected


@needs_golden
def test_all_official_label_clips():
    expected = golden_values("labels")
    for case in golden_inputs().label_cases():
        values = expected.pop(case["name"])
        if "error" in values:
            with pytest.raises(InputError, match="holds id"):
                score_labels(case["gt"], case["pred"])
            continue
        scores = score_labels(case["gt"], case["pred"])
        for name, results in (("J", [s.J_statistics for s in scores]), ("F", [s.F_statistics for s in scores])):
            for key, official in values[name].items():
                ours = [getattr(result, key) for result in results]
                assert_equal_where_known(ours, official, case["name"])
    assert not expected


@needs_golden
def test_all_official_statistics():
    expected = golden_values("stats")
    for case in golden_inputs().stat_cases():
        values, result = expected.pop(case["name"]), statistics(case["values"])
        for key in ("mean", "recall", "decay"):
            assert_equal_where_known([getattr(result, key)], [values[key]], case["name"])
    assert not expected


def assert_equal_where_known(ours: list[float], official: list[float | None], name: str) -> None:
    """The official decay of 256 and more frames is not a number, and so stands for no value."""
    known = [(a, b) for a, b in zip(ours, official, strict=True) if b is not None]
    assert [a for a, _ in known] == pytest.approx([b for _, b in known], abs=1e-9), name
