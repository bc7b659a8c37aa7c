"""A page to paint masks on in any browser: one file that needs no network, no server, no notebook.

Its brush and its polygon, in painting.js, fill the same pixels as those of painting.py.
"""

import io
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from minivos.errors import InputError
from minivos.video.masks import check_picture, davis_palette, screen_colours
from minivos.viewing.page import write_page

PAGE_TITLE = "minivos paint"
MOST_SIDE = 16_384  # pixels that browsers can draw
SCRIPTS = "painting.js", "painting_page.js", "painting_hands.js", "painting_files.js"
QUALITY = 92  # of JPEG, in 0..100; what is painted is exact all the same

# The browser itself then refuses to load anything, or to send anything away
ALONE = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)


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
        "screen": _base64(screen_colours().tobytes()),
        "palette": _base64(davis_palette().tobytes()),
        "frames": [_described(frame) for frame in frames],
    }
    script = "\n".join(map(_beside, SCRIPTS))
    body = _beside("painting_page.html") + (
        f'<script type="application/json" id="given">{_inside_html(given)}</script>\n'
        f"<script>\n{script}</script>"
    )
    title = f"{PAGE_TITLE}: {video}"
    write_page(path, title, "Paint what to follow", body, ALONE, _beside("painting_page.css"))


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
        "picture": f"data:image/jpeg;base64,{_base64(file.getvalue())}",
        "runs": _runs(labels),
        "key": f"minivos-{key[:32]}",
    }


def _runs(labels: np.ndarray) -> list[int]:
    """Labels as [label, how many, label, how many, ...], row by row."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] ^ 1))
    lengths = np.diff(starts, append=flat.size)
    return np.stack([flat[starts].astype(int), lengths], axis=1).ravel().tolist()


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")


def _inside_html(value: object) -> str:
    """JSON that ends no element, whatever names it holds."""
    return json.dumps(value).replace("<", "\\u003c")


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf8")
