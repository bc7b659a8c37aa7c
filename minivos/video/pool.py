"""Training samples: short, augmented pieces of the clips in a rolling pool.

Rendering a clip costs more than cutting a sample out of it, so a pool of clips is kept and each training step
replaces one. Which clip and which piece is a function of (seed, step, row) alone, so a run that stops and resumes
sees what an uninterrupted run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minivos.errors import InputError

Footage = tuple[np.ndarray, np.ndarray]  # frames uint8 (T, H, W, 3) and labels uint8 (T, H, W)


@dataclass(frozen=True)
class Batch:
    """Training samples of equal length: frames (B, T, 3, H, W) in [0, 1], labels (B, T, H, W), ids 1..K and void."""

    frames: Tensor
    labels: Tensor


class ClipPool:
    """A window of `keep` clips that moves on by one clip with each step.

    Args:
        make_clip: number of a clip -> its frames and labels; the same number gives the same clip.
        keep: how many clips to hold.
        seed: of the random choices.
    """

    def __init__(self, make_clip: Callable[[int], Footage], keep: int, seed: int) -> None:
        self.make_clip, self.keep, self.seed = make_clip, keep, seed
        self.clips: dict[int, Footage] = {}

    def move_to(self, step: int) -> None:
        """Hold the clips step .. step + keep - 1."""
        wanted = range(step, step + self.keep)
        self.clips = {i: self.clips[i] if i in self.clips else self.make_clip(i) for i in wanted}

    def batch(self, step: int, rows: range, frames: int, side: int, objects: int) -> Batch:
        """The samples of these rows of the step's batch: `frames` frames, side x side pixels, at most `objects` ids.

        Raises InputError for a clip that is shorter or smaller than a sample.
        """
        self.move_to(step)
        samples = []
        for row in rows:
            rng = np.random.default_rng([self.seed, step, row])
            pictures, labels = self.clips[step + int(rng.integers(self.keep))]
            if len(pictures) < frames or min(pictures.shape[1:3]) < side:
                raise InputError(
                    f"a clip of {len(pictures)} frames of {pictures.shape[2]}x{pictures.shape[1]} pixels came; "
                    f"expected at least {frames} of {side}x{side}: train on smaller samples or give larger clips"
                )
            samples.append(_sample(rng, pictures, labels, frames, side, objects))
        pictures, labels = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
        return Batch(pictures.movedim(-1, 2).float() / 255, labels.long())


def _sample(
    rng: np.random.Generator, pictures: np.ndarray, labels: np.ndarray, frames: int, side: int, objects: int
) -> Footage:
    """Frames at random gaps of 1 to 3, forwards or backwards, cropped where the clip is larger, mirrored,
    transposed, recoloured, ids renumbered."""
    for _ in range(5):  # look for a piece whose first frame shows an object
        times = _times(rng, len(pictures), frames)
        top, left = (int(rng.integers(0, full - side + 1)) for full in pictures.shape[1:3])
        crop = np.s_[:, top : top + side, left : left + side]
        piece = labels[times][crop]
        ids, sizes = np.unique(piece[0], return_counts=True)
        ids = ids[(ids > 0) & (ids < 255) & (sizes > side * side // 400)]
        if len(ids):
            break
    new_id = np.zeros(256, np.uint8)
    new_id[255] = 255
    new_id[rng.permutation(ids)[:objects]] = np.arange(1, 1 + min(objects, len(ids)))
    pictures, piece = pictures[times][crop], new_id[piece]
    if rng.random() < 0.5:
        pictures, piece = pictures[:, :, ::-1], piece[:, :, ::-1]
    if rng.random() < 0.5:
        pictures, piece = pictures.swapaxes(1, 2), piece.swapaxes(1, 2)
    if rng.random() < 0.5:
        pictures = pictures[..., rng.permutation(3)]
    return np.ascontiguousarray(pictures), np.ascontiguousarray(piece)


def _times(rng: np.random.Generator, length: int, frames: int) -> np.ndarray:
    """`frames` time indices with gaps of 1 to 3, shortened to fit, reversed half of the time."""
    gaps = rng.integers(1, 4, frames - 1)
    while gaps.sum() >= length:
        gaps[gaps.argmax()] -= 1
    times = rng.integers(0, length - gaps.sum()) + np.concatenate([[0], gaps.cumsum()])
    return times[::-1] if rng.random() < 0.5 else times
