"""Make the picture of README: `python docs/picture.py` writes docs/segmented.png."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from minivos import Clip, Tracker, create_model, record_attention
from minivos.video.datasets import samples_root
from minivos.viewing.cells import Cells, middle_of_largest_object
from minivos.viewing.picture import png_bytes
from minivos.viewing.plots import attention, show_masks

SHOWN = (0, 3, 9, 19)  # frames of the film strip
LOOKING = 9  # the frame whose attention is shown


def pictures(clip: Clip) -> list[bytes]:
    """A film strip of the segmented clip, and where the network looks from the largest object, as PNGs."""
    tracker = Tracker(create_model("aot_mini", weights="shipped"))
    labels = [tracker.step(clip.frames[t], clip.masks[0] if t == 0 else None) for t in range(LOOKING)]
    with record_attention("block2/long_term") as maps:
        labels.append(tracker.step(clip.frames[LOOKING]))
    labels += [tracker.step(frame) for frame in clip.frames[LOOKING + 1 :]]
    _, pixel = middle_of_largest_object(labels[LOOKING])
    y, x = Cells(maps[0].query_grid, labels[0].shape).at(np.array(pixel)).tolist()
    titles = ["frame 0: masks given", *(f"frame {t}: found" for t in SHOWN[1:])]
    strip = show_masks(clip.frames[list(SHOWN)], np.stack([labels[t] for t in SHOWN]), titles=titles)
    return [png_bytes(strip), png_bytes(attention(maps[0], (y, x), clip.frames, mask=labels[LOOKING]))]


def stacked(parts: list[bytes]) -> Image.Image:
    """PNGs one below the other on white."""
    images = [Image.open(BytesIO(part)).convert("RGB") for part in parts]
    page = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    for i, image in enumerate(images):
        page.paste(image, ((page.width - image.width) // 2, sum(above.height for above in images[:i])))
    return page


if __name__ == "__main__":
    clip = Clip.load(samples_root() / "JPEGImages" / "480p" / "many_objects")
    stacked(pictures(clip)).save(Path(__file__).parent / "segmented.png", optimize=True)
