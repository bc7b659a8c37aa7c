"""Whole videos through a Tracker: every frame of an iterable, or of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

import numpy as np

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.tracker import Tracker
from minivos.video.clip import Clip


def track(
    model: VOSNetwork, frames: Iterable[np.ndarray], masks: dict[int, np.ndarray], **settings: Any
) -> Iterator[np.ndarray]:
    """Labels, uint8 (H, W), of each frame in turn; `masks` {frame number: labels} are given.

    `settings` go to `Tracker`. Frames before the first mask are all background. Raises InputError
    without masks and, at the end, for masks of frames that the video lacks.
    """
    if not isinstance(masks, dict):
        raise InputError(f"got masks as {type(masks).__name__}; expected {{frame number: mask}}.")
    if not masks:
        raise InputError("No mask was given: nothing says which objects to follow.")
    if names := [t for t in masks if not isinstance(t, Integral) or t < 0]:
        raise InputError(f"got masks of frames {names}; expected whole numbers, 0 for the first.")
    tracker, missed = Tracker(model, **settings), set(masks)
    for t, frame in enumerate(frames):
        missed.discard(t)
        if t < min(masks):
            yield np.zeros(frame.shape[:2], np.uint8)
        else:
            yield tracker.step(frame, masks.get(t))
    if missed:
        raise InputError(
            f"got masks of frames {sorted(missed)}, which the video lacks: count from 0."
        )


def propagate(model: VOSNetwork, clip: Clip, **settings: Any) -> np.ndarray:
    """Follow the objects of a clip's first mask through the clip: uint8 (T, H, W).

    Later masks of the clip are not looked at; `track` takes them. `settings` go to `Tracker`.
    """
    if not isinstance(clip, Clip):
        raise InputError(f"got a {type(clip).__name__}; expected Clip(video.frames, {{0: mask}}).")
    if not clip.masks:
        raise InputError(f"The clip {clip.name} has no mask that says which objects to follow.")
    first = min(clip.masks)
    return np.stack(list(track(model, clip.frames, {first: clip.masks[first]}, **settings)))
