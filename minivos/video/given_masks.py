"""Which mask belongs to which frame: FILE, FRAME=FILE and folders, as people give them."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from minivos.errors import InputError
from minivos.video.files import exists, pictures_in
from minivos.video.frames import FrameSource
from minivos.video.mask_files import (
    Report,
    check_mask,
    check_size,
    log,
    read_binary_masks,
    read_masks,
)
from minivos.video.masks import VOID, is_object

MOST_FRAMES = 1_000_000  # names that are looked at where a video does not say how many it has
BY_NAME = "frames"  # as FRAME: a folder with the masks of several frames


def read_given_masks(
    asked: Sequence[str],
    source: FrameSource,
    report: Report = log.info,
    may_be_empty: bool = False,
) -> dict[int, np.ndarray]:
    """Masks uint8 (H,W), of the full size of the source, by the numbers of its frames.

    Each text is FILE (of the first frame), FRAME=FILE, or a folder: of one picture per object (of
    the first frame, or FRAME=FOLDER), or of one per frame, named like the frames
    (frames=FOLDER). A colour means the same object in all files. Raises InputError for what
    fits no frame, for two masks of one frame, and for what may be meant in two ways; and for masks
    without an object, unless they may be empty.
    """
    names = frame_names(source)
    paths: dict[int, Path] = {}
    for text in asked:
        for t, path in _places(text, names).items():
            if t in paths:
                raise InputError(
                    f"got two masks of frame {names[t]}, {paths[t]} and {path}; expected one: "
                    "give that of another frame as --mask FRAME=FILE"
                )
            paths[t] = path
    files = {t: path for t, path in sorted(paths.items()) if not path.is_dir()}
    masks = dict(zip(files, read_masks(list(files.values()), report=report), strict=True))
    for t, path in paths.items():
        labels = masks[t] if t in masks else read_binary_masks(path, report=report)
        masks[t] = labels
        if may_be_empty:
            check_size(labels, source.full_size, path)
        else:
            masks[t] = check_mask(labels, source.full_size, str(path))
    return dict(sorted(masks.items()))


def frame_names(source: FrameSource) -> list[str]:
    """The names of all frames, of a video that does not say how many it has a million."""
    return list(islice(source.names, source.count or MOST_FRAMES))


def find_frame(name: str, names: Sequence[str]) -> int:
    """The number of the frame that is called so, or that has this number; InputError for none."""
    if name in names:
        return names.index(name)
    left_out = ""
    if name.isdecimal():
        numbers = [int(other) if other.isdecimal() else t for t, other in enumerate(names)]
        if int(name) in numbers:
            return numbers.index(int(name))
        if int(name) < numbers[-1]:
            left_out = ", without those that --stride leaves out"
    raise InputError(
        f"the video has no frame {name!r}; expected one of {names[0]} to {names[-1]}{left_out}"
    )


def _places(text: str, names: Sequence[str]) -> dict[int, Path]:
    """The mask files that a text gives, by the numbers of their frames."""
    frame, equals, rest = text.partition("=")
    if not equals or exists(text):
        path = Path(text)
        return _in_folder(path, names) if path.is_dir() else {0: _of_first(path, names)}
    path = Path(rest)
    if frame == BY_NAME:
        return {find_frame(picture.stem, names): picture for picture in pictures_in(path)}
    return {find_frame(frame, names): path}


def _of_first(path: Path, names: Sequence[str]) -> Path:
    """The path, unless its name is that of a later frame, or ends in its digits."""
    digits = r"\d{3,}$"
    tail = re.search(digits, path.stem)
    for t, name in enumerate(names):
        same_number = path.stem.isdecimal() and name.isdecimal() and int(path.stem) == int(name)
        same_tail = tail and (other := re.search(digits, name)) and other[0] == tail[0]
        if path.stem == name or same_number or same_tail:
            if t == 0:
                break
            raise InputError(
                f"{path} is called like frame {name}, and a mask without a frame is that of the "
                f"first: give --mask {name}={path}, or --mask {names[0]}={path} for the first"
            )
    return path


def _in_folder(folder: Path, names: Sequence[str]) -> dict[int, Path]:
    """The masks of a folder: of the frames that they are called like, or all of the first frame."""
    pictures = pictures_in(folder)
    of_frames = all(picture.stem in names for picture in pictures)
    if not of_frames:
        return {0: folder}
    if _may_be_objects(pictures):
        raise InputError(
            f"{folder} may hold one picture per object or one per frame; "
            f"give --mask {names[0]}={folder} if its pictures are the objects of one frame, "
            f"--mask {BY_NAME}={folder} if they are the masks of the frames {pictures[0].stem} "
            f"to {pictures[-1].stem}"
        )
    return {names.index(picture.stem): picture for picture in pictures}


def _may_be_objects(pictures: Sequence[Path]) -> bool:
    """Whether the names are ids of objects and each picture shows one object."""
    if not all(path.stem.isdecimal() and 0 < int(path.stem) < VOID for path in pictures):
        return False
    for path in pictures:
        labels = read_masks([path])[0]
        if len(np.unique(labels[is_object(labels) | (labels == VOID)])) != 1:
            return False
    return True
