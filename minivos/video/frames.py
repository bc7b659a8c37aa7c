"""Frames in and out, one at a time, so that a long video never has to fit into memory.

1. reading a folder or a video    open_frames gives a FrameSource
2. the two kinds of sources       _FolderFrames, _VideoFrames
3. writing a video with labels    OverlayWriter
"""

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import count
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from PIL import Image

from minivos.errors import InputError
from minivos.video.decoding import UNKNOWN_FPS, decode, film_of, open_video, pixel_aspect, timing_of
from minivos.video.files import (
    PICTURES,
    as_path,
    as_written,
    check_regular,
    exists,
    open_picture,
    pictures_in,
    read_json,
    to_rgb,
    whole_file,
)
from minivos.video.masks import overlay

log = logging.getLogger(__name__)

FOLDER_FPS = UNKNOWN_FPS  # of a folder that does not say
PLAYABLE_FPS = 0.1, 240.0  # what is written is shown no slower and no faster
MANY_PIXELS = 4096 * 2304  # of a frame, from which on few are held at once
EXIF_ORIENTATION = 0x0112
TURNABLE = {"JPEG", "MPO"}  # the formats in which cameras note how they were held
TURNS = {  # what makes a picture upright, by the note of the camera
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# 1. Reading a folder or a video -------------------------------------------------------------------


class FrameSource(ABC):
    """The frames of one clip, uint8 (H,W,3) RGB: every iteration decodes them again, one at a time.

    `name` of the clip, `size` (H,W), `full_size` (H,W) before shrinking, `fps`, `count` of frames
    as far as it is known (else None), and `names`, one per frame: zip them with the frames. Pixels
    are square, frames upright. Of frames at uneven times `fps` is the mean.
    """

    def __init__(
        self, name: str, full_size: tuple[int, int], fps: float, max_side: int | None
    ) -> None:
        self.name = name
        self.full_size = full_size
        self.size = shrunken_size(full_size, max_side)
        self.fps = fps
        self.count: int | None = None

    @property
    @abstractmethod
    def names(self) -> Iterable[str]:
        """The stem for the output file of each frame; of a video there is no end to them."""

    @abstractmethod
    def _pictures(self) -> Iterator[Image.Image]:
        """Upright RGB pictures, one after the other; of a video before its pixels are square."""

    def __iter__(self) -> Iterator[np.ndarray]:
        width_height = self.size[::-1]
        for picture in self._pictures():
            if picture.size != width_height:
                picture = picture.resize(width_height, Image.Resampling.BICUBIC)
            yield np.array(picture)


def open_frames(path: str | Path, *, max_side: int | None = None, stride: int = 1) -> FrameSource:
    """Open a folder of pictures, a folder with `frames/` in it, or a video file.

    Keeps every `stride`-th frame; `max_side` limits the longer side in pixels and never enlarges.
    Raises InputError for what cannot be read.
    """
    path = as_path(path)
    for number in (stride, 1 if max_side is None else max_side):
        if not isinstance(number, Integral) or number < 1:
            raise InputError(
                f"got stride={stride} and max_side={max_side}; expected whole numbers from 1 up"
            )
    if not exists(path):
        raise InputError(
            f"{path} does not exist; expected a video file or a folder of pictures: check the path"
        )
    if path.is_dir():
        return _FolderFrames(path, max_side, stride)
    if path.suffix.lower() in PICTURES:
        raise InputError(
            f"{path} is a single picture; expected a video file or a folder of pictures: "
            "name the folder"
        )
    return _VideoFrames(check_regular(path), max_side, stride)


def shrunken_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Size (H,W) of the same aspect, the longer side at most `max_side`; never a larger one."""
    scale = 1.0 if max_side is None else min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def frames_folder(path: Path) -> Path:
    """The folder with the pictures: `frames/` inside `path` if there is one, else `path`."""
    return path / "frames" if (path / "frames").is_dir() else path


# 2. The two kinds of sources ----------------------------------------------------------------------


class _FolderFrames(FrameSource):
    def __init__(self, folder: Path, max_side: int | None, stride: int) -> None:
        paths = pictures_in(frames_folder(folder))
        size = _picture_size(paths[0])
        for path in paths:
            if (other := _picture_size(path)) != size:
                raise InputError(
                    f"{path} is {other[1]}x{other[0]} pixels, "
                    f"but {paths[0].name} is {size[1]}x{size[0]}; "
                    "expected frames of one size: resize or remove it"
                )
        super().__init__(as_written(folder).name, size, _folder_fps(folder) / stride, max_side)
        self.paths = paths[::stride]
        self.count = len(self.paths)

    @property
    def names(self) -> list[str]:
        return [path.stem for path in self.paths]

    def _pictures(self) -> Iterator[Image.Image]:
        for path in self.paths:
            picture = open_picture(path)
            turn = TURNS.get(_orientation(picture))
            yield to_rgb(picture if turn is None else picture.transpose(turn))


class _VideoFrames(FrameSource):
    def __init__(self, path: Path, max_side: int | None, stride: int) -> None:
        self.path = path
        self.stride = stride
        with open_video(path) as container:
            stream = film_of(container)
            first = next(decode(container, path), None)
            if first is None:
                raise InputError(
                    f"{path} holds no frame that can be decoded; copy or export the video again"
                )
            said = float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)
            pixel = pixel_aspect(stream, path)
        self.coded_size = _upright(first).size[::-1]
        if _turns(first) % 2:
            pixel = 1 / pixel
        full_size = _with_square_pixels(self.coded_size, pixel)
        timing = timing_of(path, said)
        super().__init__(path.stem, full_size, timing.fps / stride, max_side)
        self.count = -(-timing.frames // stride) or None

    @property
    def names(self) -> Iterator[str]:
        return (f"{number:05d}" for number in count(0, self.stride))

    def _pictures(self) -> Iterator[Image.Image]:
        with open_video(self.path) as container:
            for number, frame in enumerate(decode(container, self.path)):
                if number % self.stride:
                    continue
                picture = _upright(frame)
                if picture.size != self.coded_size[::-1]:
                    raise InputError(
                        f"{self.path} changes its size at frame {number}; "
                        "expected one size: convert it"
                    )
                yield picture


def _with_square_pixels(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Size (H,W) at which pixels of that aspect become square; no side becomes smaller."""
    height, width = size
    return round(height * max(1.0, 1 / aspect)), round(width * max(1.0, aspect))


def _upright(frame: av.VideoFrame) -> Image.Image:
    """The frame as RGB, turned upright as the phone noted that filmed it."""
    turned = np.rot90(frame.to_ndarray(format="rgb24"), _turns(frame))
    return Image.fromarray(np.ascontiguousarray(turned))


def _turns(frame: av.VideoFrame) -> int:
    """Quarter turns against the clock that make a frame upright, as the phone noted."""
    return round(frame.rotation / 90)


def _orientation(picture: Image.Image) -> int:
    """How the camera was held, 1 to 8 in Exif; 1, upright, for notes that are none or damaged."""
    if picture.format not in TURNABLE:
        return 1
    try:
        noted = picture.getexif().get(EXIF_ORIENTATION)
    except Exception:  # the reader fails in many ways
        return 1
    return noted if isinstance(noted, int) and noted in TURNS else 1


def _picture_size(path: Path) -> tuple[int, int]:
    """Size (H,W) from the header alone, as it is after turning the picture upright."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = _orientation(picture) >= 5
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        width, height = open_picture(path).size  # says what is wrong with the file
        turned = False
    return (width, height) if turned else (height, width)


def _folder_fps(folder: Path) -> float:
    """Frames per second that a saved clip notes in clip.json."""
    note = folder / "clip.json"
    if not exists(note):
        return FOLDER_FPS
    expected = '{"fps": 24.0} or another positive number'
    fps = read_json(note, expected).get("fps")
    if not isinstance(fps, Real) or isinstance(fps, bool) or fps <= 0:
        raise InputError(f"{note} is damaged (fps is {fps!r}); expected {expected}: correct it")
    return float(fps)


# 3. Writing a video with labels -------------------------------------------------------------------


class OverlayWriter:
    """Context manager that writes frames, with their labels drawn on them, to an .mp4 file.

    All have the `size` (H,W) in pixels; odd sizes grow by one repeated line. Rates that players
    cannot show are bounded, and a warning says so. The file appears when the block ends well; on an
    error nothing is left behind. Raises InputError for a frame of another size, when no frame was
    written, and where the file cannot be written.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float) -> None:
        kinds = zip((fps, *size), (Real, Integral, Integral), strict=True)
        if not all(isinstance(number, kind) and 0 < number < math.inf for number, kind in kinds):
            raise InputError(
                f"{path} cannot have size {size} and {fps} frames per second; "
                "expected positive numbers, whole ones for the size"
            )
        self.path, self.size = Path(path), (size[0], size[1])
        slowest, fastest = PLAYABLE_FPS
        self.fps = min(max(fps, slowest), fastest)
        if self.fps != fps:
            log.warning(
                "%s shows %g frames per second, not %g: players need that", path, self.fps, fps
            )

    def __enter__(self) -> "OverlayWriter":
        with ExitStack() as opened:
            part = opened.enter_context(whole_file(self.path))
            opened.enter_context(self._clear_errors())
            options = {"movflags": "faststart"}
            self._container = opened.enter_context(
                av.open(os.path.abspath(part), "w", format="mp4", options=options)
            )
            rate = Fraction(self.fps).limit_denominator(1001)
            self._stream = self._container.add_stream(
                "libx264", rate=rate, options=_settings(self.size)
            )
            self._stream.pix_fmt = "yuv420p"
            self._stream.height, self._stream.width = (side + side % 2 for side in self.size)
            self._empty = True
            opened.push(self._flush)
            self._opened = opened.pop_all()
        return self

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """What the codec says, a full disk among it, as an InputError that names the file."""
        try:
            yield
        except av.FFmpegError as error:
            raise InputError(
                f"cannot write {self.path} ({error.strerror}); expected a folder with room in it"
            ) from error

    def write(self, frame: np.ndarray, labels: np.ndarray) -> None:
        """Draw labels (H,W) on a frame uint8 (H,W,3) and append it."""
        if frame.shape != (*self.size, 3):
            raise InputError(
                f"{self.path} takes frames of shape {(*self.size, 3)}, not {frame.shape}: "
                "resize them"
            )
        grown = [(0, side % 2) for side in self.size]
        picture = np.pad(overlay(frame, labels), [*grown, (0, 0)], mode="edge")
        with self._clear_errors():
            coded = self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            self._container.mux(coded)
        self._empty = False

    def _flush(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None and self._empty:
            raise InputError(f"{self.path} got no frame; expected at least one")
        if error is None:
            self._container.mux(self._stream.encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._opened.__exit__(kind, error, trace)


def _settings(size: tuple[int, int]) -> dict[str, str]:
    """How to code frames of a size; large ones one after the other, lest many wait in memory."""
    settings = {"crf": "18", "preset": "veryfast"}
    return settings | ({"tune": "zerolatency"} if size[0] * size[1] > MANY_PIXELS else {})
