"""Whole videos through a Tracker: every frame of an iterable, or of a clip; backwards, too."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.tracker import Tracker
from minivos.video.clip import Clip
from minivos.video.contours import refine_contours
from minivos.video.mask_files import check_mask
from minivos.video.masks import is_object

log = logging.getLogger(__name__)
HELD_BYTES = 256 * 2**20  # of frames that are held to be gone through from behind


@dataclass(frozen=True)
class Answer:
    """What is found in one frame."""

    frame: np.ndarray  # uint8 (H, W, 3), in which it is found
    labels: np.ndarray  # uint8 (H, W)
    confidence: dict[int, float]  # of each object: J to expect, in [0, 1], see Tracker


def track(
    model: VOSNetwork,
    frames: Iterable[np.ndarray],
    masks: dict[int, np.ndarray],
    backward: bool = False,
    **settings: Any,
) -> Iterator[np.ndarray]:
    """Labels, uint8 (H, W), of each frame in turn; `masks` {frame number: labels} are given.

    Frames before an object's first mask are without it, unless `backward`: then it is also followed
    from there to frame 0, which needs frames that can be gone through more than once. `settings` go
    to `follow` and `Tracker`. A warning in the log names each object that is lost: not seen from
    some frame to the end. Raises InputError without masks and, at the end, for masks of frames that
    the video lacks.
    """
    last_seen: dict[int, int] = {}  # of each object, the newest frame that shows it
    t = -1
    for t, answer in enumerate(follow(model, frames, masks, backward, **settings)):
        last_seen |= {i: t for i, confidence in answer.confidence.items() if confidence > 0}
        yield answer.labels
    for i, last in last_seen.items():
        if last < t:
            log.warning("Object %d is not seen after frame %d", i, last)


def follow(
    model: VOSNetwork,
    frames: Iterable[np.ndarray],
    masks: dict[int, np.ndarray],
    backward: bool = False,
    refine: bool = False,
    **settings: Any,
) -> Iterator[Answer]:
    """As `track`, with the frames and the confidence of each object, and no warning.

    `refine` the contours of masks that are not given, see `video.contours`.
    """
    _check_masks(masks)
    tracker, missed = Tracker(model, **settings), set(masks)
    earlier = _from_behind(model, frames, masks, settings) if backward else {}
    for t, frame in enumerate(frames):
        missed.discard(t)
        labels = np.zeros(frame.shape[:2], np.uint8)
        confidence: dict[int, float] = {}
        if t >= min(masks):
            labels, confidence = tracker.step(frame, masks.get(t)), tracker.confidence
        if t in earlier:
            labels, confidence = _add(tracker.ids, labels, confidence, *earlier[t])
        if refine and t not in masks:
            height, width = frame.shape[:2]
            working = model.sizing((height, width), tracker.side)
            labels = refine_contours(frame, labels, working)
        yield Answer(frame, labels, confidence)
    if missed:
        raise _lacking(missed)


def propagate(model: VOSNetwork, clip: Clip, backward: bool = False, **settings: Any) -> np.ndarray:
    """Follow the objects of a clip's first mask through the clip: uint8 (T, H, W).

    Later masks of the clip are not looked at; `track` takes them. `backward`: also from that mask
    to frame 0. `settings` go to `follow` and `Tracker`.
    """
    if not isinstance(clip, Clip):
        raise InputError(f"got a {type(clip).__name__}; expected Clip(video.frames, {{0: mask}}).")
    if not clip.masks:
        raise InputError(f"The clip {clip.name} has no mask that says which objects to follow.")
    first = min(clip.masks)
    given = {first: clip.masks[first]}
    return np.stack(list(track(model, clip.frames, given, backward, **settings)))


def _check_masks(masks: dict[int, np.ndarray]) -> None:
    if not isinstance(masks, dict):
        raise InputError(f"got masks as {type(masks).__name__}; expected {{frame number: mask}}.")
    if not masks:
        raise InputError("No mask was given: nothing says which objects to follow.")
    if names := [t for t in masks if not isinstance(t, Integral) or t < 0]:
        raise InputError(f"got masks of frames {names}; expected whole numbers, 0 for the first.")


def _lacking(numbers: Iterable[int]) -> InputError:
    return InputError(f"got masks of frames {sorted(numbers)}, which the video lacks: count from 0")


def _from_behind(
    model: VOSNetwork,
    frames: Iterable[np.ndarray],
    masks: dict[int, np.ndarray],
    settings: dict[str, Any],
) -> dict[int, tuple[bytes, dict[int, float]]]:
    """Labels, packed, and confidence of the frames before the newest object's first mask."""
    if isinstance(frames, Iterator):
        kind = type(frames).__name__
        raise InputError(
            f"got frames as {kind}, which can be gone through only once; "
            "expected a list, an array, or open_frames(path), to go backward"
        )
    known: set[int] = set()
    newest = 0
    for t in sorted(masks):
        labels = check_mask(masks[t], np.shape(masks[t]))
        ids = set(labels[is_object(labels)].tolist())
        newest = t if ids - known else newest
        known |= ids
    tracker, packed = Tracker(model, **settings), {}
    for t, frame in _reversed(frames, newest):
        if tracker.time == 0 and t != newest:
            raise _lacking([newest])
        labels = tracker.step(frame, masks.get(t))
        packed[t] = zlib.compress(labels.tobytes(), 1), tracker.confidence
    return packed


def _reversed(frames: Iterable[np.ndarray], newest: int) -> Iterator[tuple[int, np.ndarray]]:
    """The frames from that number down to 0, as many at a time as may be held."""
    first = next(iter(frames), None)
    if first is None:
        return
    stretch = max(1, HELD_BYTES // first.nbytes)
    for stop in range(newest + 1, 0, -stretch):
        start = max(0, stop - stretch)
        held = list(islice(frames, start, stop))
        yield from zip(range(start + len(held) - 1, start - 1, -1), reversed(held), strict=True)


def _add(
    known: list[int],
    labels: np.ndarray,
    confidence: dict[int, float],
    packed: bytes,
    confidence_behind: dict[int, float],
) -> tuple[np.ndarray, dict[int, float]]:
    """Labels and confidence with the objects from behind that are not known yet."""
    behind = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(labels.shape)
    new = is_object(behind) & ~np.isin(behind, known) & (labels == 0)
    added = {i: value for i, value in confidence_behind.items() if i not in known}
    return np.where(new, behind, labels), confidence | added
