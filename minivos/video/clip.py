"""Clips: the frames of a video and the masks known of it, read and written together."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from minivos.errors import InputError
from minivos.video.files import (
    as_written,
    natural_key,
    pictures_in,
    prepare_output,
    whole_file,
    whole_folder,
)
from minivos.video.frames import FOLDER_FPS, FrameSource, frames_folder, open_frames
from minivos.video.mask_files import check_size, read_masks, write_mask


@dataclass(eq=False)
class Clip:
    """Frames and the masks known of them; InputError when they do not fit together."""

    frames: np.ndarray  # uint8 (T,H,W,3), RGB
    # frame number -> labels uint8 (H,W), 255 is void
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    name: str = "clip"
    fps: float = FOLDER_FPS
    frame_names: Sequence[str] = ()  # stems of the frame files; 00000, 00001, ... by default

    def __post_init__(self) -> None:
        if not isinstance(self.masks, dict):
            kind = type(self.masks).__name__
            raise InputError(f"got {kind} as masks; expected {{frame number: mask}}")
        for array in (self.frames, *self.masks.values()):
            if not isinstance(array, np.ndarray):
                kind = type(array).__name__
                raise InputError(f"got {kind} as frames or mask; expected NumPy arrays of uint8")
        if not isinstance(self.fps, Real) or not 0 < self.fps < math.inf:
            raise InputError(f"got fps={self.fps!r}; expected frames per second, above 0")
        shape, dtype = self.frames.shape, self.frames.dtype
        if self.frames.ndim != 4 or shape[-1] != 3 or dtype != np.uint8 or 0 in shape:
            raise InputError(
                f"got frames of {dtype} and shape {shape}; "
                "expected uint8 of shape (T,H,W,3) with T > 0"
            )
        self._check_masks()
        self.masks = dict(sorted(self.masks.items()))
        self.frame_names = list(self.frame_names) or [f"{t:05d}" for t in range(len(self))]
        self._check_frame_names()

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def load(cls, path: str | Path, *, max_side: int | None = None, stride: int = 1) -> "Clip":
        """Load a video file, a folder of pictures, or a folder that `save` wrote.

        A sequence of DAVIS or YouTube-VOS is such a folder; its masks come with it. Keeps every
        `stride`-th frame, and the masks of those; `max_side` limits the longer side in pixels.
        Raises InputError for what cannot be read, for masks that fit no frame, and for more frames
        than the memory holds.
        """
        source = open_frames(path, max_side=max_side, stride=stride)
        frames = _all_frames(source, path)
        names = list(islice(source.names, len(frames)))
        files = find_masks(path)
        paths = {t: files[name] for t, name in enumerate(names) if name in files}
        masks = dict(zip(paths, read_masks(list(paths.values())), strict=True))
        for t, labels in masks.items():
            check_size(labels, source.full_size, paths[t])
            masks[t] = shrink_labels(labels, source.size)
        return cls(frames, masks, source.name, source.fps, names)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write `frames/` (lossless PNG), `masks/` (palette PNG) and `clip.json` into a folder.

        The last holds the frames per second. Raises InputError when the folder cannot be written
        to, and when it holds anything already, unless `save` wrote it and `overwrite` is true.
        """
        folder = prepare_output(path, overwrite, "clip")
        with (
            whole_folder(folder / "frames") as frames,
            whole_folder(folder / "masks") as masks,
            whole_file(folder / "clip.json") as note,
        ):
            for name, frame in zip(self.frame_names, self.frames, strict=True):
                Image.fromarray(frame).save(frames / f"{name}.png")
            for t, labels in self.masks.items():
                write_mask(masks / f"{self.frame_names[t]}.png", labels)
            note.write_text(json.dumps({"fps": self.fps}))

    def _check_masks(self) -> None:
        for t, labels in self.masks.items():
            known = isinstance(t, Integral) and 0 <= t < len(self)
            if not known or labels.dtype != np.uint8:
                raise InputError(
                    f"got mask {t!r} of {labels.dtype}; "
                    f"expected uint8 at the number of a frame, 0..{len(self) - 1}: "
                    "{int(t): mask.astype(np.uint8)}"
                )
            check_size(labels, self.frames.shape[1:3], f"mask {t}")

    def _check_frame_names(self) -> None:
        for name in self.frame_names:
            if not isinstance(name, str) or not re.fullmatch(r"[^./\\\0][^/\\\0]*", name):
                raise InputError(
                    f"got {name!r} as frame name; "
                    "expected the stems of frame files, such as '00000'"
                )
        in_order = sorted(set(self.frame_names), key=natural_key)
        if self.frame_names != in_order or len(in_order) != len(self):
            raise InputError(
                f"got {len(self.frame_names)} frame names from {self.frame_names[0]!r} on "
                f"for {len(self)} frames; "
                "expected one for each, all different and in natural order"
            )


def _all_frames(source: FrameSource, path: str | Path) -> np.ndarray:
    """All frames of a source, uint8 (T,H,W,3), each held once."""
    frames = np.empty((_room_for(source.count or 1, source.size, path), *source.size, 3), np.uint8)
    number = 0
    for frame in source:
        if number == len(frames):
            more = _room_for(2 * number, source.size, path) - number
            frames = np.concatenate([frames, np.empty((more, *source.size, 3), np.uint8)])
        frames[number] = frame
        number += 1
    return frames[:number]


def _room_for(frames: int, size: tuple[int, int], path: str | Path) -> int:
    """The number of frames, if the memory holds them; InputError otherwise."""
    wanted, free = 3 * frames * size[0] * size[1], psutil.virtual_memory().available
    if wanted > free:
        raise InputError(
            f"{path} takes {wanted / 2**30:,.1f} GiB as a clip ({frames:,} frames of "
            f"{size[1]}x{size[0]}), and {free / 2**30:,.1f} are free; expected less: give max_side "
            "or stride, or read it frame by frame with open_frames"
        )
    return frames


def find_masks(path: str | Path) -> dict[str, Path]:
    """The mask files of a clip by the names of their frames.

    They lie in `masks/`, or in the `Annotations/` that DAVIS has beside `JPEGImages/`. Raises
    InputError when a mask has the name of no frame.
    """
    folder = _mask_folder(Path(path))
    if not folder.is_dir() or not any(folder.iterdir()):
        return {}
    masks = {mask.stem: mask for mask in pictures_in(folder)}
    frames = {frame.stem for frame in pictures_in(frames_folder(Path(path)))}
    for name, mask in masks.items():
        if name not in frames:
            raise InputError(
                f"{mask} belongs to no frame; "
                f"expected a frame's name, such as {min(frames)}: rename it"
            )
    return masks


def _mask_folder(path: Path) -> Path:
    """Where the masks would be: a link counts by its own name, else by where it leads."""
    own = path / "masks"
    if own.is_dir():
        return own
    for parts in (as_written(path).parts, path.resolve().parts):
        if "JPEGImages" in parts:
            place = len(parts) - 1 - parts[::-1].index("JPEGImages")
            return Path(*parts[:place], "Annotations", *parts[place + 1 :])
    return own


def shrink_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H,W) at the pixel centres of a coarser grid `size`, as shrunken frames have them."""
    height, width = size
    return np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
