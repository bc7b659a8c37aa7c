"""Films to look at: overlays as H.264 .mp4, whole or not at all."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from minivos.errors import InputError
from minivos.video.files import whole_file
from minivos.video.masks import overlay


class OverlayWriter:
    """Context manager that writes frames of size (H,W) with their labels drawn on them to an .mp4 file.

    The file appears when the block ends well; on an error nothing is left behind. Odd sizes grow by one repeated line.
    Raises InputError for a frame of another size, and when no frame was written.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float) -> None:
        if fps <= 0 or min(size) < 1:
            raise InputError(f"{path} cannot have size {size} and {fps} frames per second; expected positive numbers")
        self.path, self.size, self.fps = Path(path), tuple(size), fps

    def __enter__(self) -> "OverlayWriter":
        with ExitStack() as opened:
            part = opened.enter_context(whole_file(self.path))
            options = {"movflags": "faststart"}
            self._container = opened.enter_context(av.open(str(part), "w", format="mp4", options=options))
            rate = Fraction(self.fps).limit_denominator(1001)
            self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
            self._stream.pix_fmt = "yuv420p"
            self._stream.height, self._stream.width = (side + side % 2 for side in self.size)
            self._empty = True
            opened.push(self._flush)
            self._opened = opened.pop_all()
        return self

    def write(self, frame: np.ndarray, labels: np.ndarray) -> None:
        """Draw labels (H,W) on a frame uint8 (H,W,3) and append it."""
        if frame.shape != (*self.size, 3):
            raise InputError(f"{self.path} takes frames of shape {(*self.size, 3)}, not {frame.shape}: resize them")
        picture = np.pad(overlay(frame, labels), [(0, side % 2) for side in self.size] + [(0, 0)], mode="edge")
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        self._empty = False

    def _flush(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None and self._empty:
            raise InputError(f"{self.path} got no frame; expected at least one")
        if error is None:
            self._container.mux(self._stream.encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._opened.__exit__(kind, error, trace)
