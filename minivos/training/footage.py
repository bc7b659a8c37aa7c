"""Training samples from annotated videos on disk, as AOT's main training draws them.

A sample (Sec. A.1.2, released code) is a random frame and others before or after it, scaled,
cropped where the first of them shows an object, and now and then with the objects of a second
sample laid over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torchvision import tv_tensors

from minivos.errors import InputError
from minivos.training.film import Light, Sheet, as_colours, as_film, lay_on
from minivos.training.pool import LEAST_SHARE, Footage, keep_objects, pixels_of, shown_objects
from minivos.video.clip import find_masks
from minivos.video.datasets import DavisDataset, YouTubeVOS, read_names
from minivos.video.files import open_picture, pictures_in, to_rgb
from minivos.video.mask_files import check_size, read_masks
from minivos.video.masks import is_object

Rng = np.random.Generator
GREY = (124, 116, 104)  # mean colour of ImageNet, where there is no picture
SHORT_SIDE = 480 / 465  # of a video, over the side of a sample
MERGED = 0.3  # share of the samples that get the objects of a second one
TRIES = 5  # for a draw that shows what it should


def video_clips(
    roots: Sequence[str | Path],
    frames: int,
    side: int,
    objects: int,
    seed: int,
    longest_gap: Callable[[int], int] = lambda number: 12,
    fronts: Sequence[Callable[[Rng], Sheet]] | None = None,
) -> Callable[[int], Footage]:
    """`make_clip` for `train`: samples of videos.

    A sample has `frames` frames of side x side pixels with at most `objects` objects. `roots` are
    those of DAVIS and YouTube-VOS, see `training_videos`. Sample `number` is drawn with gaps of 1
    to `longest_gap(number)` frames. `fronts` draw stills and cut-outs, whose objects may lie in
    front, and the light changes then; None: as in the paper. The same (seed, number) gives the same
    sample. Raises InputError when a root is not laid out as these are.
    """
    videos = [video for root in roots for video in training_videos(root)]

    def draw(rng: Rng, gap: int) -> Footage:
        folder, every = videos[rng.integers(len(videos))]
        pictures, labels = read_some(rng, folder, frames, math.ceil(gap / every))
        return keep_objects(rng, cut(rng, pictures, labels, side), objects)

    def make_clip(number: int) -> Footage:
        rng, gap = np.random.default_rng([seed, number]), longest_gap(number)
        clip = draw(rng, gap)
        if rng.random() < MERGED or not clip[1][0].any():
            front = rng.integers(1 + len(fronts or ()))
            if fronts and front:
                clip = as_film(*lay_on(rng, *as_colours(clip), fronts[front - 1](rng)))
            else:
                clip = lay_over(clip, draw(rng, gap))
            clip = keep_objects(rng, clip, objects)
        if fronts is not None:
            colours, labels = as_colours(clip)
            clip = as_film(Light.draw(rng).on(colours), labels)
        return clip

    return make_clip


def training_videos(root: str | Path) -> list[tuple[Path, int]]:
    """Folders of the training clips of DAVIS or YouTube-VOS, each with the gap between its masks.

    `root` may end in the name of a list of DAVIS, "DAVIS:LIST"; "train" is taken without one. A
    clip of DAVIS, which has few, counts five times. Raises InputError for folders laid out
    otherwise, and for a list with clips that are kept for validation or test.
    """
    folder, split = name_split(root)
    if (folder / "train").is_dir():
        if split:
            raise InputError(
                f"got {root}; expected YouTube-VOS without the name of a list: leave :{split} out"
            )
        videos = YouTubeVOS(folder, "train")
        return [(videos.folder / name, 5) for name in videos.names]
    split = split or "train"
    sets = folder / "ImageSets"
    older = any((sets / name).is_dir() for name in ("2016", "480p"))
    newer = (sets / "2017" / f"{split}.txt").is_file()
    clips = DavisDataset(folder, split, 2016 if older and not newer else 2017)
    for listing in sorted(sets.glob("*/*.txt")):
        kept = listing.stem.startswith(("val", "test")) and {*read_names(listing)} & {*clips.names}
        if kept:
            raise InputError(
                f"got {root}, whose clip {min(kept)} is kept for {listing.stem} in {listing}; "
                "expected clips for training alone: name another list, or none for train"
            )
    return 5 * [(clips.folder / name, 1) for name in clips.names]


def name_split(root: str | Path) -> tuple[Path, str]:
    """A folder and the list that is named behind it, "FOLDER:LIST"; none: ""."""
    folder, colon, split = str(root).rpartition(":")
    if not colon or Path(root).exists() or set(split) & set("/\\"):
        return Path(root), ""
    return Path(folder), split


def annotated_frames(folder: Path) -> list[tuple[Path, Path]]:
    """Picture and mask files of the frames with a mask, in time order; InputError without any."""
    masks = find_masks(folder)
    frames = [
        (picture, masks[picture.stem]) for picture in pictures_in(folder) if picture.stem in masks
    ]
    if not frames:
        raise InputError(
            f"no picture in {folder} has a mask; expected one of its name under Annotations: "
            "unpack them"
        )
    return frames


known_frames = lru_cache(maxsize=256)(annotated_frames)  # a data set does not change in a training


def read_some(rng: Rng, folder: Path, frames: int, longest_gap: int) -> Footage:
    """Random frames of a clip, whose objects all show in the first if a few tries find such."""
    paths = known_frames(folder)
    for _ in range(TRIES):
        times = draw_times(rng, len(paths), frames, longest_gap)
        pictures, masks = zip(*(paths[t] for t in times), strict=True)
        labels = read_masks(masks)
        shown = shown_objects(labels[0], least=LEAST_SHARE * labels[0].size)
        ids = np.flatnonzero(sum(pixels_of(mask) for mask in labels))
        if len(shown) and np.isin(ids[is_object(ids)], labels[0]).all():
            break
    return read_pictures(pictures, labels, masks), np.stack(labels)


def draw_times(rng: Rng, length: int, frames: int, longest_gap: int) -> np.ndarray:
    """`frames` indices in 0..length-1 with gaps of 1 to `longest_gap`.

    Backwards half of the time; they turn at the ends. The first of them is drawn evenly.
    """
    gaps = rng.integers(1, longest_gap + 1, frames - 1)
    direction = rng.choice([-1, 1])
    times = rng.integers(length) + direction * np.concatenate([[0], gaps.cumsum()])
    last = length - 1
    return last - np.abs(last - times % max(1, 2 * last))


def read_pictures(
    paths: Sequence[Path], labels: Sequence[np.ndarray], masks: Sequence[Path]
) -> np.ndarray:
    """The pictures, uint8 (T,H,W,3); InputError when they or their labels differ in size."""
    pictures = [np.asarray(to_rgb(ImageOps.exif_transpose(open_picture(path)))) for path in paths]
    for picture, path, mask_labels, mask in zip(pictures, paths, labels, masks, strict=True):
        check_size(mask_labels, picture.shape[:2], mask)
        if picture.shape != pictures[0].shape:
            raise InputError(
                f"{path} and {paths[0].name} differ in size; expected frames of one size: "
                "remove the clip"
            )
    return np.stack(pictures)


def cut(rng: Rng, pictures: np.ndarray, labels: np.ndarray, side: int) -> Footage:
    """A square of a video (T,H,W,3) with labels (T,H,W), scaled by 0.7 to 1.3, mirrored at random.

    Padded where it is smaller than the square; shows an object in its first frame, if a few tries
    find such a square. Labels are those of the nearest pixel.
    """
    size = np.array(labels.shape[1:])
    scale = rng.uniform(0.7, 1.3) * SHORT_SIDE * side / size.min()
    scaled = np.rint(scale * size).astype(int)
    for _ in range(TRIES):
        corner = rng.integers(np.maximum(0, scaled - side) + 1)
        end = np.minimum(corner + side, scaled)
        rows, columns = (
            ((np.arange(*part) + 0.5) * ratio).astype(int)
            for *part, ratio in zip(corner, end, size / scaled, strict=True)
        )
        piece = labels[:, rows[:, None], columns]
        if len(shown_objects(piece[0], least=LEAST_SHARE * side**2)):
            break
    (top, left), (bottom, right) = corner * size / scaled, end * size / scaled
    film = np.full((len(labels), side, side, 3), GREY, np.uint8)
    masks = np.zeros((len(labels), side, side), np.uint8)
    masks[:, : len(rows), : len(columns)] = piece
    for frame, picture in zip(film, pictures, strict=True):
        shown = Image.fromarray(picture).resize(
            (len(columns), len(rows)), Image.Resampling.BICUBIC, (left, top, right, bottom)
        )
        frame[: len(rows), : len(columns)] = np.asarray(shown)
    mirror = np.s_[:, :, :: rng.choice([-1, 1])]
    return film[mirror], masks[mirror]


def as_tensors(
    pictures: np.ndarray, labels: np.ndarray
) -> tuple[tv_tensors.Video, tv_tensors.Mask]:
    """What torchvision's transforms change together: pictures (T,3,H,W) and labels (T,H,W)."""
    video = rearrange(torch.from_numpy(pictures), "t h w c -> t c h w")
    return tv_tensors.Video(video), tv_tensors.Mask(torch.from_numpy(labels))


def as_arrays(video: torch.Tensor, masks: torch.Tensor) -> Footage:
    """The way back: pictures (T,3,H,W) -> (T,H,W,3), labels (T,H,W)."""
    return rearrange(video, "t c h w -> t h w c").numpy(), masks.numpy()


def lay_over(below: Footage, above: Footage) -> Footage:
    """The objects of one clip in front of another; their ids, 1..K, follow those of the other."""
    (pictures, labels), (front, front_labels) = below, above
    shows = is_object(front_labels)
    most = labels[is_object(labels)].max(initial=0)
    pictures = np.where(shows[..., None], front, pictures)
    return pictures, np.where(shows, front_labels + most, labels)
