"""Still pictures with masks, made into clips: AOT's training before it sees any video.

Every frame of a clip (Sec. 5, released code) is the same picture, turned, shifted, scaled, sheared,
recoloured and cropped anew, and its mask goes along. Two pictures make a clip: the objects of one
are laid over the other, so that objects hide each other. `film.py` has another way to move them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from minivos.errors import InputError
from minivos.synthetic.clips import render
from minivos.synthetic.textures import load_photos
from minivos.training.film import Sheet, sheet_of
from minivos.training.footage import GREY, Rng, as_arrays, as_tensors, lay_over
from minivos.training.pool import LEAST_SHARE, Footage, keep_objects
from minivos.training.still_files import find_stills
from minivos.video.files import is_picture, open_picture

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
    stills = [still for root in roots for still in find_stills(root)]

    def draw(rng: Rng) -> Footage:
        return stills[rng.integers(len(stills))]()

    return draw


def rendered_stills(side: int, photos: Path | None = None) -> Stills:
    """Single frames of synthetic clips, side x side pixels; `photos` as in `render`."""

    def draw(rng: Rng) -> Footage:
        clip = render(int(rng.integers(2**31)), frames=1, size=(side, side), photos=photos)
        return clip.frames, clip.masks

    return draw


def sheets_of(stills: Stills, objects: int) -> Callable[[Rng], Sheet]:
    """Draws stills as `film.py` moves them, each with at most `objects` of its objects."""
    return lambda rng: sheet_of(rng, stills(rng), objects, LEAST_SHARE)


def photo_sheets(folder: Path) -> Callable[[Rng], Sheet]:
    """Draws photographs without objects; InputError for a folder without any."""
    photos = load_photos(folder)

    def draw(rng: Rng) -> Sheet:
        photo = photos[rng.integers(len(photos))]
        return sheet_of(rng, (photo[None], np.zeros((1, *photo.shape[:2]), np.uint8)), 1, 0.0)

    return draw


def cutouts_in(folders: Sequence[str | Path]) -> Callable[[Rng], Sheet]:
    """Draws pictures with alpha, each a single object; InputError for a folder without any."""
    paths = []
    for folder in folders:
        found = sorted(path for path in Path(folder).rglob("*") if is_picture(path))
        if not found:
            raise InputError(f"{folder} holds no picture; expected pictures with alpha: check it")
        paths += found

    def draw(rng: Rng) -> Sheet:
        path = paths[rng.integers(len(paths))]
        picture = open_picture(path)
        if not picture.has_transparency_data:
            raise InputError(
                f"{path} has no alpha, which says what of it is the object; "
                "expected a cut-out: remove the file, or give its folder as stills with masks"
            )
        content = torch.from_numpy(np.array(picture.convert("RGBA"), np.float32)).movedim(-1, 0)
        return Sheet(content[:3] / 255, content[3:] / 255, (1,))

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
