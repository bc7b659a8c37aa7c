"""A film in a notebook: frames, and what was found in them, to step through and to play."""

from __future__ import annotations

import io

import ipywidgets as widgets
import numpy as np
from ipywidgets import HBox, VBox, jslink
from PIL import Image

from minivos.errors import InputError
from minivos.video.masks import check_picture, overlay
from minivos.viewing.painting import View


class Player(VBox):
    """A picture as large as the painter's, with a slider and a button to play.

    Args:
        frames: uint8 (T, H, W, 3).
        labels: uint8 (T, H, W) to draw on them; only the frames if not given.
        fps: frames per second, as fast as the computer draws them.
        at: the frame to begin with.

    Raises InputError for frames of another kind, and where frames and labels differ in size.
    """

    def __init__(
        self,
        frames: np.ndarray,
        labels: np.ndarray | None = None,
        fps: float = 24,
        at: int = 0,
    ) -> None:
        if labels is not None and labels.shape != frames.shape[:3]:
            raise InputError(
                f"got labels of shape {labels.shape} for frames of shape {frames.shape}; "
                "expected (T,H,W) and (T,H,W,3) of the same sizes"
            )
        if not 0 <= at < len(frames) or not fps > 0:
            raise InputError(
                f"got frame {at} of {len(frames)} and {fps} per second; "
                "expected one that is there, counted from 0, and more than 0 per second"
            )
        self.frames, self.labels = frames, labels
        self.view = View(check_picture(frames[at]).shape[:2])
        _, width = self.view.canvas.tolist()
        self.picture = widgets.Image(format="jpeg")
        self.picture.layout.width, self.picture.layout.max_width = f"{width}px", "100%"
        last = len(frames) - 1
        self.play = widgets.Play(at, 0, last, interval=max(20, round(1000 / fps)))
        self.slider = widgets.IntSlider(at, 0, last, description="frame")
        self.slider.layout.width = "30em"
        jslink((self.play, "value"), (self.slider, "value"))
        self.slider.observe(lambda change: self.show(change.new), "value")
        super().__init__([HBox([self.play, self.slider]), self.picture])
        self.show(at)

    def show(self, t: int) -> None:
        """Show frame t."""
        drawn = self._seen(self.frames[t])
        if self.labels is not None:
            drawn = overlay(drawn, self._seen(self.labels[t]))
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, "JPEG", quality=90)
        self.picture.value = file.getvalue()

    def _seen(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W, ...) as they are, or as many as the screen can show."""
        return pixels if self.view.fit >= 1 else self.view.crop(pixels)
