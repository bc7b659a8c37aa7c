"""Clips: the frames of a video with the masks that are known of it, and the door to reading and
writing both.
"""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from PIL import Image

from minivos.errors import InputError
from minivos.video.files import natural_key, pictures_in, prepare_output
from minivos.video.frames import FOLDER_FPS, frames_folder, open_frames
from minivos.video.mask_files import (
    check_size,
    read_masks,
    write_mask,
)


@dataclass(eq=False)
class Clip:
    """Frames and the masks known of them; InputError when they do not fit together."""

    frames: np.ndarray  # uint8 (T,H,W,3), RGB
    masks: dict[int, np.ndarray] = field(
        default_factory=dict
    )  # frame number -> labels uint8 (H,W), 255 is void
    name: str = "clip"
    fps: float = FOLDER_FPS
    frame_names: Sequence[str] = ()  # stems of the frame files; 00000, 00001, ... by default

    def __post_init__(self) -> None:
        if not isinstance(self.masks, dict):
            raise InputError(
                f"masks came as {type(self.masks).__name__}; give {{frame number: mask}}"
            )
        if others := [
            a for a in (self.frames, *self.masks.values()) if not isinstance(a, np.ndarray)
        ]:
            raise InputError(
                f"frames or masks came as {type(others[0]).__name__}; give NumPy arrays of uint8"
            )
        if not isinstance(self.fps, Real) or not 0 < self.fps < math.inf:
            raise InputError(f"fps={self.fps!r} came; give frames per second, above 0")
        shape, kind = self.frames.shape, self.frames.dtype
        if self.frames.ndim != 4 or shape[-1] != 3 or kind != np.uint8 or 0 in shape:
            raise InputError(
                f"frames are {kind} of shape {shape}; expected uint8 of shape (T,H,W,3) with T > 0"
            )
        for t, labels in self.masks.items():
            if (
                not isinstance(t, Integral)
                or not 0 <= t < len(self.frames)
                or labels.dtype != np.uint8
            ):
                last = len(self.frames) - 1
                raise InputError(
                    f"mask {t!r} is {labels.dtype}; expected uint8 at the number of a frame, 0..{last}"
                )
            check_size(labels, shape[1:3], f"mask {t}")
        self.masks = dict(sorted(self.masks.items()))
        self.frame_names = list(self.frame_names) or [f"{t:05d}" for t in range(len(self.frames))]
        if strange := [name for name in self.frame_names if not isinstance(name, str)]:
            raise InputError(
                f"{strange[0]!r} came as frame name; give the stems of frame files, such as '00000'"
            )
        in_order = sorted(set(self.frame_names), key=natural_key)
        if self.frame_names != in_order or len(in_order) != len(self.frames):
            raise InputError(
                f"{len(self.frame_names)} frame names from {self.frame_names[0]!r} on came for {len(self.frames)} "
                "frames; expected one for each, all different and in natural order"
            )

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def load(cls, path: str | Path, *, max_side: int | None = None, stride: int = 1) -> "Clip":
        """Load a video file, a folder of pictures, a DAVIS or YouTube-VOS sequence, or a folder
        that `save` wrote.

        Keeps every `stride`-th frame, and the masks of those; `max_side` limits the longer side in
        pixels. Raises InputError for what cannot be read, and for masks that fit no frame.
        """
        source = open_frames(path, max_side=max_side, stride=stride)
        frames = np.stack(list(source))  # (T,H,W,3)
        names = list(islice(source.names, len(frames)))
        files = find_masks(path)
        paths = {t: files[name] for t, name in enumerate(names) if name in files}
        masks = dict(zip(paths, read_masks(list(paths.values())), strict=True))
        for t, labels in masks.items():
            check_size(labels, source.full_size, paths[t])
            masks[t] = shrink_labels(labels, source.size)
        return cls(frames, masks, source.name, source.fps, names)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write `frames/` (PNG, lossless), `masks/` (palette PNG) and `clip.json` (frames per
        second) into a folder.

        Raises InputError when the folder holds anything already, unless `overwrite`, or cannot be
        written to.
        """
        folder = prepare_output(path, overwrite)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
            new = Path(temporary)
            (new / "frames").mkdir()
            (new / "masks").mkdir()
            for name, frame in zip(self.frame_names, self.frames, strict=True):
                Image.fromarray(frame).save(new / "frames" / f"{name}.png")
            for t, labels in self.masks.items():
                write_mask(new / "masks" / f"{self.frame_names[t]}.png", labels)
            (new / "clip.json").write_text(json.dumps({"fps": self.fps}))
            for part in ("frames", "masks"):
                shutil.rmtree(folder / part, ignore_errors=True)
            for part in ("frames", "masks", "clip.json"):
                os.replace(new / part, folder / part)


def find_masks(path: str | Path) -> dict[str, Path]:
    """Mask files that belong to the frames of a clip, by frame name: in `masks/`, or in DAVIS's
    `Annotations/`.

    Raises InputError when a mask has the name of no frame.
    """
    path = Path(path).resolve()
    folder = path / "masks"
    if not folder.is_dir() and "JPEGImages" in path.parts:
        place = len(path.parts) - 1 - path.parts[::-1].index("JPEGImages")
        folder = Path(*path.parts[:place], "Annotations", *path.parts[place + 1 :])
    if not folder.is_dir() or not any(folder.iterdir()):
        return {}
    masks = {mask.stem: mask for mask in pictures_in(folder)}
    frames = {frame.stem for frame in pictures_in(frames_folder(path))}
    for name, mask in masks.items():
        if name not in frames:
            raise InputError(
                f"{mask} belongs to no frame; expected a frame's name, such as {min(frames)}: rename it"
            )
    return masks


def shrink_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H,W) at the pixel centres of a coarser grid `size`, which is where shrunken frames
    have them.
    """
    height, width = size
    return np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
