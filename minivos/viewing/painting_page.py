"""A page to paint masks on in any browser: one file that needs no network, no server, no notebook.

Its brush and its polygon, in painting.js, fill the same pixels as those of painting.py.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from minivos.errors import InputError
from minivos.video.masks import check_picture, davis_palette, screen_colours
from minivos.viewing.page import ALONE, base64, beside, data_url, inside_html, write_page

PAGE_TITLE = "minivos paint"
MOST_SIDE = 16_384  # pixels that browsers can draw
SCRIPTS = "painting.js", "painting_page.js", "painting_hands.js", "painting_files.js"
QUALITY = 92  # of JPEG, in 0..100; what is painted is exact all the same


@dataclass(frozen=True)
class FrameToPaint:
    """One frame of the page; its name is that of the file that is saved."""

    number: int
    name: str
    picture: np.ndarray  # uint8 (H,W,3)
    labels: np.ndarray | None = None  # uint8 (H,W) to begin with; nothing if not given


def write_painting_page(path: str | Path, video: str, frames: Sequence[FrameToPaint]) -> None:
    """Write a page on which people paint masks of some frames of a video, and save them as PNG.

    It also says the next command, `minivos segment` with the `video` as it is written here. Raises
    InputError for frames of more than 16,384 pixels, and where no file can be written.
    """
    height, width = check_picture(frames[0].picture).shape[:2]
    if max(height, width) > MOST_SIDE:
        raise InputError(
            f"the frames have {width}x{height} pixels; expected at most {MOST_SIDE:,}, which "
            "browsers can draw: shrink the video"
        )
    given = {
        "video": video,
        "size": (height, width),
        "screen": base64(screen_colours().tobytes()),
        "palette": base64(davis_palette().tobytes()),
        "frames": [_described(frame) for frame in frames],
    }
    script = "\n".join(map(beside, SCRIPTS))
    body = beside("painting_page.html") + (
        f'<script type="application/json" id="given">{inside_html(given)}</script>\n'
        f"<script>\n{script}</script>"
    )
    title = f"{PAGE_TITLE}: {video}"
    write_page(path, title, "Paint what to follow", body, ALONE, beside("painting_page.css"))


def _described(frame: FrameToPaint) -> dict[str, object]:
    file = io.BytesIO()
    Image.fromarray(frame.picture).save(file, "JPEG", quality=QUALITY, subsampling=0)
    height, width = frame.picture.shape[:2]
    labels = np.zeros((height, width), np.uint8) if frame.labels is None else frame.labels
    key = sha256(frame.picture.tobytes() + labels.tobytes()).hexdigest()
    plain = (
        "=" not in frame.name and frame.name != "frames"
    )  # else --mask takes it for something else
    return {
        "name": frame.name,
        "first": frame.number == 0,
        "reference": frame.name if plain else str(frame.number),
        "picture": data_url("jpeg", file.getvalue()),
        "runs": _runs(labels),
        "key": f"minivos-{key[:32]}",
    }


def _runs(labels: np.ndarray) -> list[int]:
    """Labels as [label, how many, label, how many, ...], row by row."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] ^ 1))
    lengths = np.diff(starts, append=flat.size)
    return np.stack([flat[starts].astype(int), lengths], axis=1).ravel().tolist()
