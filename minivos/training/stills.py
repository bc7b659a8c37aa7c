"""Still pictures with masks, made into clips: AOT's training before it sees any video.

Every frame of a clip (Sec. 5, released code) is the same picture, turned, shifted, scaled, sheared,
recoloured and cropped anew, and its mask goes along. Two pictures make a clip: the objects of one
are laid over the other, so that objects hide each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from minivos.synthetic.clips import render
from minivos.training.footage import (
    GREY,
    Rng,
    as_arrays,
    as_tensors,
    keep_objects,
    lay_over,
)
from minivos.training.pool import Footage
from minivos.training.still_files import find_stills

Stills = Callable[[Rng], Footage]  # draws a picture (1,H,W,3) and its labels (1,H,W)


def still_clips(
    stills: Stills, frames: int, side: int, objects: int, seed: int
) -> Callable[[int], Footage]:
    """`make_clip` for `train`: samples of two moving stills.

    A sample has `frames` frames of side x side pixels with at most `objects` objects. The same
    (seed, number) gives the same sample.
    """

    def make_clip(number: int) -> Footage:
        rng = np.random.default_rng([seed, number])
        below, above = (
            keep_objects(rng, move(rng, stills(rng), frames, side), objects) for _ in range(2)
        )
        return keep_objects(rng, lay_over(below, above), objects)

    return make_clip


def stills_in(roots: Sequence[str | Path]) -> Stills:
    """Stills of data sets in their own layouts, see `still_files`; InputError for another."""
    stills = [still for root in roots for still in find_stills(Path(root))]

    def draw(rng: Rng) -> Footage:
        return stills[rng.integers(len(stills))]()

    return draw


def rendered_stills(side: int, photos: Path | None = None) -> Stills:
    """Single frames of synthetic clips, side x side pixels; `photos` as in `render`."""

    def draw(rng: Rng) -> Footage:
        clip = render(int(rng.integers(2**31)), frames=1, size=(side, side), photos=photos)
        return clip.frames, clip.masks

    return draw


def move(rng: Rng, still: Footage, frames: int, side: int) -> Footage:
    """A clip of a still (1,H,W,3), (1,H,W): cropped, recoloured; moved after the first frame."""
    fill = {tv_tensors.Video: GREY, tv_tensors.Mask: 0}
    mirror, mirror_again = v2.RandomHorizontalFlip(0.5), v2.RandomHorizontalFlip(0.3)
    turn = v2.RandomAffine(20, (0.1, 0.1), (0.9, 1.1), 10, InterpolationMode.BILINEAR, fill)
    wander = v2.Compose([mirror_again, turn])  # masks take the nearest pixel
    recolour = v2.ColorJitter(0.1, 0.1, 0.1, 0.03)
    crop = v2.RandomResizedCrop(side, scale=(0.8, 1), ratio=(3 / 4, 4 / 3))
    film = v2.Compose([recolour, crop])
    with torch.random.fork_rng(devices=[]):  # chance comes from rng alone and touches nobody else's
        torch.manual_seed(int(rng.integers(2**63)))
        start = mirror(*as_tensors(*still))
        shots = [film(*start), *(film(*wander(*start)) for _ in range(frames - 1))]
    pictures, labels = (torch.cat(parts) for parts in zip(*shots, strict=True))
    return as_arrays(pictures, labels)
