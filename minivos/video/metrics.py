"""Region similarity J and contour accuracy F of DAVIS, and the protocol that makes a score of them.

Papers: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016 (J, F, recall, decay); Pont-Tuset et al., "The 2017 DAVIS Challenge on
Video Object Segmentation", 2017 (several objects).

    1. J and F of masks         region_similarity, contour_accuracy, boundary_map
    2. many frames, one number  statistics
    3. label maps, many objects score_labels, score_frame, collect_scores

The values equal those of the official program (davis2017-evaluation, semi-supervised task), with
one deliberate difference: its decay is not a number for 256 and more scored frames, because it
keeps frame numbers in 8 bits.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real

import numpy as np

from minivos.errors import InputError
from minivos.video.masks import VOID

# 1. J and F of masks ------------------------------------------------------------------------------


def region_similarity(
    gt: np.ndarray, pred: np.ndarray, void: np.ndarray | None = None
) -> np.ndarray:
    """J, intersection over union: bool (T,H,W) -> float64 (T,) in [0,1], or (H,W) -> ().

    Two empty masks score 1. Pixels where the bool mask `void` is set do not count. Raises
    InputError for unequal shapes or values besides 0, 1.
    """
    return _score_frames(_intersection_over_union, *_checked_masks(gt, pred, void))


def contour_accuracy(
    gt: np.ndarray, pred: np.ndarray, bound_th: float = 0.008, void: np.ndarray | None = None
) -> np.ndarray:
    """F, of boundary precision and recall: bool (T,H,W) -> float64 (T,) in [0,1], or (H,W) -> ().

    It is their harmonic mean. A boundary pixel is right when the other boundary passes within r
    pixels of it: r = `bound_th` if that is a whole number >= 1, else `bound_th` times the image
    diagonal, rounded up (8 at 480x854). `void` as in region_similarity. Raises InputError for
    unequal shapes, values besides 0 and 1, or an unusable `bound_th`.
    """
    gt, pred = _checked_masks(gt, pred, void)
    radius = _match_radius(bound_th, *gt.shape[-2:])
    return _score_frames(partial(_boundary_f_score, radius=radius), gt, pred)


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Mark the pixels at boundaries: bool (...,H,W) -> bool (...,H,W).

    Those are the pixels that differ from their right, lower or lower-right neighbour. The image
    border is no boundary, so a mask that fills the frame has none.
    """
    boundary = np.zeros(mask.shape, bool)
    boundary[..., :, :-1] |= mask[..., :, :-1] != mask[..., :, 1:]
    boundary[..., :-1, :] |= mask[..., :-1, :] != mask[..., 1:, :]
    boundary[..., :-1, :-1] |= mask[..., :-1, :-1] != mask[..., 1:, 1:]
    return boundary


def _checked_masks(
    gt: np.ndarray, pred: np.ndarray, void: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    gt, pred = _as_bool("gt", gt), _as_bool("pred", pred)
    if gt.shape != pred.shape or gt.ndim not in (2, 3):
        raise InputError(
            f"masks have shapes {gt.shape} (gt) and {pred.shape} (pred); "
            "expected the same (T,H,W) or (H,W) for both: "
            "compare frame by frame at the size of the ground truth"
        )
    if void is None:
        return gt, pred
    void = _as_bool("void", void)
    if void.shape != gt.shape:
        raise InputError(
            f"void has shape {void.shape}; expected {gt.shape}, one flag for each pixel of gt"
        )
    return gt & ~void, pred & ~void


def _as_bool(name: str, mask: np.ndarray) -> np.ndarray:
    try:
        mask = np.asarray(mask)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name} is no array ({error}); expected bool (T,H,W) or (H,W)") from error
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iu" or not np.isin(mask, (0, 1)).all():
        raise InputError(
            f"{name} holds {mask.dtype} values that are no mask; "
            "expected bool, or integers 0 and 1: "
            "compare label maps with one object id (labels == 1), or use score_labels"
        )
    return mask.astype(bool)


def _score_frames(score: Callable[..., float], gt: np.ndarray, pred: np.ndarray) -> np.ndarray:
    if gt.ndim == 2:
        return np.asarray(score(gt, pred), np.float64)
    return np.array([score(*frame) for frame in zip(gt, pred, strict=True)], np.float64)


def _intersection_over_union(gt: np.ndarray, pred: np.ndarray) -> float:
    union = np.count_nonzero(gt | pred)
    return np.count_nonzero(gt & pred) / union if union else 1.0


def _match_radius(bound_th: float, height: int, width: int) -> int:
    diagonal = math.sqrt(height**2 + width**2)
    number = isinstance(bound_th, Real)
    if number and 0 <= bound_th < 1:
        return math.ceil(bound_th * diagonal)
    if number and bound_th >= 1 and float(bound_th).is_integer():
        return min(int(bound_th), math.ceil(diagonal))  # which reaches every pixel already
    raise InputError(
        f"got bound_th={bound_th}; "
        "expected a share of the image diagonal in [0,1) or a whole number of pixels: "
        "leave it at 0.008 to compare with published numbers"
    )


def _boundary_f_score(gt: np.ndarray, pred: np.ndarray, radius: int) -> float:
    region = _surroundings(gt | pred)
    # With this margin no disk around a boundary pixel leaves its row of the array.
    gt_boundary = np.pad(boundary_map(gt[region]), radius + 1)
    pred_boundary = np.pad(boundary_map(pred[region]), radius + 1)
    if not gt_boundary.any() or not pred_boundary.any():
        return float(gt_boundary.any() == pred_boundary.any())
    precision = _share_near(pred_boundary, gt_boundary, radius)
    recall = _share_near(gt_boundary, pred_boundary, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _surroundings(mask: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of `mask`, one pixel wider all around, so that it holds all boundaries."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return slice(0), slice(0)
    band = slice(max(rows[0] - 1, 0), rows[-1] + 2)
    columns = np.flatnonzero(mask[band].any(axis=0))
    return band, slice(max(columns[0] - 1, 0), columns[-1] + 2)


def _share_near(boundary: np.ndarray, other: np.ndarray, radius: int) -> float:
    """The share of the pixels of `boundary` that have one of `other` within the radius.

    Within it lies a disk, dx^2 + dy^2 <= radius^2. A disk is a stack of horizontal runs, and a run
    holds a pixel of `other` if a running count grows along it. So we look up two counts for each
    boundary pixel and run, instead of dilating the whole image.
    """
    counts = np.cumsum(other, dtype=np.int32)  # (H,W) -> (H*W,)
    centres = np.flatnonzero(boundary)
    near = np.zeros(centres.shape, bool)
    for dy in range(-radius, radius + 1):
        run = centres + dy * boundary.shape[1]
        reach = math.isqrt(radius**2 - dy**2)
        near |= counts[run + reach] > counts[run - reach - 1]
    return np.count_nonzero(near) / near.size


# 2. Many frames, one number -----------------------------------------------------------------------


@dataclass(frozen=True)
class Statistics:
    """What DAVIS reports of the scores of one object over time."""

    mean: float  # of all frames, in [0,1]
    recall: float  # share of frames that score more than 0.5, in [0,1]
    decay: float  # mean of the first quarter minus that of the last, in [-1,1]; of a loss above 0


def statistics(values: np.ndarray) -> Statistics:
    """Mean, recall and decay of scores (N,).

    NaN is left out of means and counts as a miss in the recall. Raises InputError when there is no
    score.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise InputError(
            f"scores have shape {values.shape}; expected (N,) with N >= 1, one score for each frame"
        )
    # Neighbouring quarters share a frame; 1e-10 rounds halves up, which numpy rounds to even.
    limits = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[limits[0] : limits[1] + 1], values[limits[3] : limits[4] + 1]
    return Statistics(
        mean=_mean_of_known(values),
        recall=float(np.mean(values > 0.5)),
        decay=_mean_of_known(first) - _mean_of_known(last),
    )


def _mean_of_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


# 3. Label maps, many objects ----------------------------------------------------------------------


@dataclass(frozen=True)
class ObjectScore:
    """J and F of one object, one value for each scored frame."""

    object_id: int  # 1..255
    J: np.ndarray  # float64 (T-2,)
    F: np.ndarray  # float64 (T-2,)

    @property
    def J_statistics(self) -> Statistics:
        """Mean, recall and decay of J."""
        return statistics(self.J)

    @property
    def F_statistics(self) -> Statistics:
        """Mean, recall and decay of F."""
        return statistics(self.F)

    @property
    def mean(self) -> float:
        """J&F, the mean of the two means, in [0,1]."""
        return (self.J_statistics.mean + self.F_statistics.mean) / 2


def score_labels(gt: np.ndarray, pred: np.ndarray) -> list[ObjectScore]:
    """Score each object of label maps uint8 (T,H,W) by the semi-supervised protocol of DAVIS.

    Objects are 1..n, where n is the highest id in the first frame of `gt`. The first frame (it is
    given) and the last are not scored. Void pixels (255) of `gt` count as background, and so do
    objects that enter later. An object that is missing in `pred` scores as an empty mask. Raises
    InputError for clips of fewer than three frames, unequal shapes, a first frame without objects,
    and ids above n in scored frames of `pred`.
    """
    gt, pred = _checked_labels("gt", gt), _checked_labels("pred", pred)
    if gt.shape != pred.shape or len(gt) < 3:
        raise InputError(
            f"label maps have shapes {gt.shape} (gt) and {pred.shape} (pred); "
            "expected the same (T,H,W) with T >= 3 (the first and the last frame are not scored): "
            "predict every frame at the size of the ground truth"
        )
    objects = int(np.where(gt[0] == VOID, 0, gt[0]).max(initial=0))
    if not objects:
        raise InputError(
            "the first ground-truth frame shows no object; "
            "expected ids 1..n: start the clip at a frame with a mask"
        )
    gt, pred = gt[1:-1], pred[1:-1]
    highest = int(pred.max())
    if highest > objects:
        raise InputError(
            f"the prediction holds id {highest}, "
            f"but the first ground-truth frame has ids up to {objects}: "
            "set ids that were never given to 0 (background), "
            "or check that the ground truth belongs to this clip"
        )
    ids = range(1, objects + 1)
    return collect_scores(score_frame(*pair, ids) for pair in zip(gt, pred, strict=True))


def score_frame(
    gt: np.ndarray, pred: np.ndarray, ids: Iterable[int]
) -> dict[int, tuple[float, float]]:
    """J and F of these objects in one frame, of labels (H,W); errors as in region_similarity."""
    masks = ((k, gt == k, pred == k) for k in ids)
    return {
        k: (float(region_similarity(*pair)), float(contour_accuracy(*pair))) for k, *pair in masks
    }


def collect_scores(frames: Iterable[Mapping[int, tuple[float, float]]]) -> list[ObjectScore]:
    """The scores of every object from those of single frames, by id."""
    values: dict[int, list[tuple[float, float]]] = {}
    for frame in frames:
        for k, pair in frame.items():
            values.setdefault(k, []).append(pair)
    return [ObjectScore(k, *np.array(pairs, np.float64).T) for k, pairs in sorted(values.items())]


def _checked_labels(name: str, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    integers = labels.dtype.kind in "iu" and labels.ndim == 3 and labels.size > 0
    if not integers or labels.min() < 0 or labels.max() > 255:
        raise InputError(
            f"{name} is {labels.dtype} of shape {labels.shape}; expected label maps uint8 (T,H,W) "
            "with 0 for background, object ids and 255 for void"
        )
    return labels.astype(np.uint8, copy=False)
