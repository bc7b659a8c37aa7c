"""Masks as arrays, without files: palettes, checks, drawing."""

from functools import cache

import numpy as np

from minivos.errors import InputError
from minivos.video.colours import further_colours

ROWS_AT_ONCE = 64  # of a picture, where floats of all of it would fill the memory
VOID = 255  # label of pixels that the annotators left undecided

# Black stands for "no object"; then seven colours that colour-blind viewers can tell apart
OKABE_ITO = np.array(
    [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115)]
    + [(240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)],
    dtype=np.uint8,
)


def davis_palette() -> np.ndarray:
    """The colours of PASCAL VOC and DAVIS, one per id, uint8 (256,3)."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):  # the bits of an id go to R, G, B in turn, from bit 7 down
        palette[:, bit % 3] |= (((ids >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette


def object_colour(object_id: int) -> tuple[int, int, int]:
    """RGB in 0..255 of one object on the screen; 0 is black."""
    red, green, blue = screen_colours()[object_id].tolist()
    return red, green, blue


@cache
def screen_colours() -> np.ndarray:
    """The colour of every label, uint8 (256,3), not to be written to.

    Background and void are black, the objects 1 to 7 have the colours of Okabe and Ito, and each
    later one is as far as can be from all before.
    """
    later = further_colours(OKABE_ITO[1:], VOID - len(OKABE_ITO))
    colours = np.concatenate([OKABE_ITO, later, OKABE_ITO[:1]])
    colours.flags.writeable = False
    return colours


def is_object(labels: np.ndarray) -> np.ndarray:
    """Bool array, true where a label is neither background (0) nor void (255)."""
    return (labels != 0) & (labels != VOID)


def redraw(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The predicted labels (H,W), with every object of the mask redrawn as given.

    What a prediction has of them elsewhere becomes background; void pixels of the mask stay as
    predicted.
    """
    given = (mask != 0) & (mask != VOID)
    redrawn = np.isin(labels, np.unique(mask[given])) & (mask != VOID)
    return np.where(given, mask, np.where(redrawn, 0, labels)).astype(np.uint8)


def check_array(value: object, name: str, kind: str, of_picture: str) -> None:
    """InputError unless the value is a NumPy array; it says how to make one, of Pillow by name."""
    if isinstance(value, np.ndarray):
        return
    remedy = f"np.array({name.split()[-1]})"
    if hasattr(value, "detach"):
        remedy = "tensor.cpu().numpy()"
    elif hasattr(value, "convert"):
        remedy = of_picture
    what = type(value).__name__
    raise InputError(f"got {what} as {name}; expected a NumPy array, {kind}: {remedy}")


def check_picture(picture: np.ndarray, name: str = "the frame") -> np.ndarray:
    """The picture, if it is an array uint8 (H,W,3) with pixels; InputError otherwise."""
    check_array(picture, name, "uint8 (H,W,3) RGB", 'np.asarray(picture.convert("RGB"))')
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
        kind = f"{picture.dtype} {picture.shape}"
        raise InputError(f"got {kind} as {name}; expected uint8 (H,W,3) RGB")
    return picture


def overlay(frame: np.ndarray, labels: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Draw labels (H,W) on a frame uint8 (H,W,3), as a new picture of that kind.

    Objects are tinted, and outlined in full colour, then white, then black. Void counts as
    background. Raises InputError when the two differ in size, or the frame is not uint8.
    """
    if frame.dtype != np.uint8 or frame.shape != (*labels.shape, 3):
        raise InputError(
            f"got labels of shape {labels.shape} and a {frame.dtype} frame of shape {frame.shape}; "
            "expected (H,W) and uint8 (H,W,3): resize one, scale the frame to 0..255"
        )
    labels = np.where(labels == VOID, 0, labels).astype(np.uint8)
    colours = screen_colours()[labels]  # (H,W,3)
    drawn = frame.copy()
    for rows in range(0, len(frame), ROWS_AT_ONCE):
        part = slice(rows, rows + ROWS_AT_ONCE)
        objects = labels[part] > 0
        tinted = (1 - alpha) * frame[part][objects] + alpha * colours[part][objects]
        drawn[part][objects] = tinted.round().astype(np.uint8)

    width = max(1, round(min(labels.shape) / 300))
    inner = (labels > 0) & (_smallest_nearby(labels, width) != labels)
    # On the background, and where an object meets one of a larger id
    white = _largest_nearby(labels, width) > labels
    black = (labels == 0) & ~white & _largest_nearby(white, width)
    drawn[inner] = colours[inner]
    drawn[white] = 255
    drawn[black] = 0
    return drawn


def _largest_nearby(values: np.ndarray, steps: int) -> np.ndarray:
    """The largest value within so many steps up, down, left or right, (H,W)."""
    for _ in range(steps):
        wide = np.pad(values, 1, mode="edge")
        upright = np.maximum(wide[:-2, 1:-1], wide[2:, 1:-1])
        sideways = np.maximum(wide[1:-1, :-2], wide[1:-1, 2:])
        values = np.maximum(values, np.maximum(upright, sideways))
    return values


def _smallest_nearby(values: np.ndarray, steps: int) -> np.ndarray:
    return VOID - _largest_nearby(VOID - values, steps)
