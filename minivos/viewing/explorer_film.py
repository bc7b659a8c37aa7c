"""A clip, and which of its frames the explorer shows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from PIL import Image

from minivos.errors import InputError
from minivos.synthetic.clips import SyntheticClip
from minivos.video.clip import Clip, shrink_labels
from minivos.video.masks import VOID
from minivos.viewing.cells import Cells, Size
from minivos.viewing.page import data_url

SHORT_SIDE = 256  # pixels of the pictures, at most
QUALITY = 80  # of WebP, in 0..100
FINEST = 8  # parts of a pixel in which points are told
HIDDEN = -1  # both coordinates of a point that a frame does not show


@dataclass(frozen=True)
class Film:
    """A clip from its first mask on, and the numbers of the frames that are shown."""

    name: str
    frames: np.ndarray  # uint8 (T,H,W,3)
    masks: dict[int, np.ndarray]  # labels uint8 (H,W); the first is given, others are the truth
    shown: list[int]
    rendered: SyntheticClip | None = None  # knows where points go

    @classmethod
    def of(cls, clip: Clip | SyntheticClip, frames: int | Sequence[int]) -> Film:
        """A clip, and how many of its frames are shown, or which; InputError where none can be."""
        if isinstance(clip, SyntheticClip):
            masks, name, rendered = dict(enumerate(clip.masks)), "synthetic clip", clip
        elif isinstance(clip, Clip):
            masks, name, rendered = clip.masks, clip.name, None
        else:
            kind = type(clip).__name__
            raise InputError(f"got a {kind} as clip; expected Clip(video.frames, {{0: mask}})")
        if not masks:
            raise InputError(
                f"got the clip {name} without a mask; expected one that says which objects to "
                "follow: Clip(video.frames, {0: mask})"
            )
        start, last = min(masks), len(clip.frames) - 1
        if start == last:
            raise InputError(
                f"got the clip {name}, which ends with frame {start}, the first that has a mask; "
                "expected a frame after it, which can look at it"
            )
        return cls(name, clip.frames, masks, choose_frames(frames, start, last), rendered)

    @property
    def start(self) -> int:
        """The number of the frame whose mask is given."""
        return min(self.masks)

    @property
    def size(self) -> Size:
        """(H, W) of the pictures on the page."""
        height, width = self.frames.shape[1:3]
        scale = min(1.0, SHORT_SIDE / min(height, width))
        return round(height * scale), round(width * scale)

    def picture(self, t: int) -> str:
        """Frame t as the page shows it."""
        height, width = self.size
        picture = Image.fromarray(self.frames[t]).resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=QUALITY)
        return data_url("webp", file.getvalue())

    def truth(self, numbers: Sequence[int]) -> np.ndarray | None:
        """True labels (F,H,W) at the size of the page, VOID if not known; None: none is."""
        known = {t: shrink_labels(self.masks[t], self.size) for t in numbers if t in self.masks}
        unknown = np.full(self.size, VOID, np.uint8)
        if set(known) <= {self.start}:
            return None
        return np.stack([known.get(t, unknown) for t in numbers])

    def points(self, source: int, target: int, cells: Cells) -> np.ndarray:
        """Where the middles of the cells of frame `source` are in `target`, int16 (h*w, 2).

        In pixels (y, x) of the page, times FINEST; of a clip that was rendered.
        """
        assert self.rendered is not None
        y, x = np.rint(cells.centres()).astype(int).reshape(-1, 2).T
        places = self.rendered.correspondence(source, target)[y, x]
        scale = np.divide(self.size, self.frames.shape[1:3])
        here = np.rint(((places + 0.5) * scale - 0.5) * FINEST).clip(min=0)
        return np.where(np.isfinite(places), here, HIDDEN).astype(np.int16)


def choose_frames(frames: int | Sequence[int], start: int, last: int) -> list[int]:
    """Numbers of frames in start..last: so many, evenly spread, or those given; or InputError."""
    numbers: list[int] = []
    if isinstance(frames, int) and frames >= 2:
        spread = np.linspace(start, last, frames).round().astype(int)
        numbers = np.unique(spread).tolist()
    elif isinstance(frames, Sequence) and all(isinstance(t, Integral) for t in frames):
        numbers = sorted(int(t) for t in frames)
    known = set(numbers) <= set(range(start, last + 1))
    if not known or len(set(numbers)) < len(numbers) or not set(numbers) - {start}:
        raise InputError(
            f"got frames={frames!r}; expected how many to show, 2 or more, or their numbers, each "
            f"once, from {start}, which has the first mask, to {last}, at least one of them later"
        )
    return numbers
