"""Training samples: augmented pieces of the clips in a rolling pool, or whole clips, used once.

Rendering a clip costs more than cutting a sample out of it, so a pool of clips is kept and each
training step replaces one. Which clip and which piece is a function of (seed, step, row) alone, so
a run that stops and resumes sees what an uninterrupted run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from minivos.errors import InputError
from minivos.video.masks import VOID, is_object

LEAST_SHARE = 100 / 465**2  # of the pixels, that an object covers in the first frame (AOT's code)
LANES = 8
Footage = tuple[np.ndarray, np.ndarray]  # frames uint8 (T, H, W, 3) and labels uint8 (T, H, W)


@dataclass(frozen=True)
class Batch:
    """Training samples of equal length."""

    frames: Tensor  # (B, T, 3, H, W) in [0, 1]
    labels: Tensor  # (B, T, H, W): ids 1..K and void

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(self.frames.to(device), self.labels.to(device))

    def split(self, parts: int) -> list[Batch]:
        """The batch in equal parts."""
        pairs = zip(self.frames.chunk(parts), self.labels.chunk(parts), strict=True)
        return [Batch(*pair) for pair in pairs]


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
        """The samples of these rows of the step's batch.

        Each has `frames` frames of side x side pixels and at most `objects` ids. Raises InputError
        for a clip that is shorter or smaller than a sample.
        """
        self.move_to(step)
        samples = []
        for row in rows:
            rng = np.random.default_rng([self.seed, step, row])
            pictures, labels = self.clips[step + int(rng.integers(self.keep))]
            samples.append(_sample(rng, pictures, labels, frames, side, objects))
        return _batch(*(torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True)))


class ClipLanes:
    """Clips for the samples of one kind in a mix, each made where it is needed and used some times.

    Steps take turns at `LANES` lanes, and a lane has clips of its own. Processes that prepare every
    2nd, 4th or 8th step so make no clip twice. The clips of a lane move on such that each serves
    about as many samples as a batch has.

    Args:
        make_clip: number of a clip -> its frames and labels; the same number gives the same clip.
        keep: how many clips to hold, over all lanes; 0: a clip of its own for each sample.
        seed: of the random choices.
        batch: samples per step.
        share: of the samples that are cut out of these clips.
    """

    def __init__(
        self,
        make_clip: Callable[[int], Footage],
        keep: int,
        seed: int,
        batch: int,
        share: float,
    ) -> None:
        self.make_clip, self.keep, self.seed = make_clip, keep, seed
        self.batch, self.share = batch, share
        self.clips: dict[int, Footage] = {}

    def sample(self, number: int, frames: int, side: int, objects: int) -> Footage:
        """Sample `number` of the training, counted over all its kinds; see `ClipPool.batch`."""
        rng = np.random.default_rng([self.seed, number])
        if not self.keep:
            return _sample(rng, *self.make_clip(int(self.share * number)), frames, side, objects)
        turn, lane = divmod(number // self.batch, LANES)
        oldest = int(self.share * turn)
        place = oldest + int(rng.integers(-(-self.keep // LANES)))
        chosen = place * LANES + lane
        self.clips = {
            i: clip for i, clip in self.clips.items() if i % LANES != lane or i // LANES >= oldest
        }
        if chosen not in self.clips:
            self.clips[chosen] = self.make_clip(chosen)
        return _sample(rng, *self.clips[chosen], frames, side, objects)


class WholeClips(Dataset):
    """Clips by number, as they are, where `make_clip` draws and augments samples itself.

    InputError for a clip of another length or size than asked for, or with more objects.
    """

    def __init__(
        self, make_clip: Callable[[int], Footage], frames: int, side: int, objects: int
    ) -> None:
        self.make_clip, self.shape, self.objects = make_clip, (frames, side, side), objects

    def __getitem__(self, number: int) -> Footage:
        pictures, labels = self.make_clip(number)
        ids = np.unique(labels[is_object(labels)])
        if pictures.shape[:3] != self.shape or ids.max(initial=0) > self.objects:
            raise InputError(
                f"got a clip of shape {pictures.shape[:3]} with the objects {ids.tolist()}; "
                f"expected a finished sample of shape {self.shape} with ids up to {self.objects}: "
                "let a pool cut samples out of such clips (`pool` of the recipe above 0)"
            )
        return pictures, labels

    def batches(self, numbers: Iterable[list[int]], workers: int = 0) -> Iterator[Batch]:
        """One batch for each list of numbers.

        `workers` processes make them ahead of time (0: none; not on Windows).
        """
        fork = "fork" if workers else None
        loader = DataLoader(
            self, batch_sampler=numbers, num_workers=workers, multiprocessing_context=fork
        )
        for pictures, labels in loader:
            yield _batch(pictures, labels)


def shown_objects(labels: np.ndarray, least: float) -> np.ndarray:
    """The ids that cover more than `least` pixels of labels (H,W), in ascending order."""
    sizes = pixels_of(labels)
    return np.flatnonzero(is_object(np.arange(len(sizes))) & (sizes > least))


def pixels_of(labels: np.ndarray) -> np.ndarray:
    """How many pixels of labels uint8 each of the 256 ids has."""
    return np.bincount(labels.ravel(), minlength=256)


def renumber(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Labels where the given ids are 1, 2, ... and all others background; void stays."""
    new_id = np.zeros(256, np.uint8)
    new_id[VOID] = VOID
    new_id[ids] = np.arange(1, 1 + len(ids))
    return new_id[labels]


def keep_objects(rng: np.random.Generator, clip: Footage, objects: int) -> Footage:
    """Number at most `objects` of the objects in the first frame, in random order.

    The others vanish into the background.
    """
    pictures, labels = clip
    ids = shown_objects(labels[0], least=LEAST_SHARE * labels[0].size)
    return np.ascontiguousarray(pictures), renumber(labels, rng.permutation(ids)[:objects])


def _batch(pictures: Tensor, labels: Tensor) -> Batch:
    return Batch(pictures.movedim(-1, 2).float() / 255, labels.long())


def _sample(
    rng: np.random.Generator,
    pictures: np.ndarray,
    labels: np.ndarray,
    frames: int,
    side: int,
    objects: int,
) -> Footage:
    """Frames 1 to 3 apart, forwards or backwards, cropped, mirrored, transposed, recoloured.

    The ids are numbered anew, in random order. InputError for a clip that is shorter or smaller.
    """
    if len(pictures) < frames or min(pictures.shape[1:3]) < side:
        size = f"{pictures.shape[2]}x{pictures.shape[1]}"
        raise InputError(
            f"got a clip of {len(pictures)} frames of {size} pixels; expected at least "
            f"{frames} of {side}x{side}: train on smaller samples or give larger clips"
        )
    for _ in range(5):  # look for a piece whose first frame shows an object
        times = _times(rng, len(pictures), frames)
        top, left = (int(rng.integers(0, full - side + 1)) for full in pictures.shape[1:3])
        crop = np.s_[:, top : top + side, left : left + side]
        piece = labels[times][crop]
        ids = shown_objects(piece[0], least=side * side // 400)
        if len(ids):
            break
    pictures, piece = pictures[times][crop], renumber(piece, rng.permutation(ids)[:objects])
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
