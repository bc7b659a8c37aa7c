"""A figure that a notebook shows, and how large its parts are: text, frames, cells of attention.

A `Picture` writes these sizes into its PNG file. As an IPython extension, which `make notebooks`
loads, the module lets every figure of a notebook do so; tests of the notebooks read them.
"""

import functools
import io
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

NAMES = "smallest text", "smallest tile", "pixel of a frame", "cell", "titles that collide"
TOUCHING = 1  # pixels by which two titles may overlap and still be apart
print_png = FigureCanvasAgg.print_png


@functools.wraps(print_png)
def _print_measured(
    canvas: FigureCanvasAgg, file: Any, *, metadata: dict | None = None, pil_kwargs: Any = None
) -> None:
    canvas.draw()
    sizes = picture_sizes(canvas.figure)
    print_png(canvas, file, metadata={**(metadata or {}), **sizes}, pil_kwargs=pil_kwargs)


class MeasuredCanvas(FigureCanvasAgg):
    """A canvas whose PNG files say how large their parts are."""

    print_png = _print_measured  # type: ignore[assignment]


class Picture(Figure):
    """A white figure that a notebook shows when it is the last value of a cell."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(facecolor="white", layout="constrained", **settings)
        MeasuredCanvas(self)

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def png_bytes(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as the content of a PNG file that says nothing about the program that made it.

    It says how large its parts are, as `picture_sizes` does.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def picture_sizes(figure: Figure) -> dict[str, str]:
    """What is measured of a drawn figure, in pixels; a part that it lacks is left out.

    `smallest text` is the size of the font, `smallest tile` (width x height) the smallest image,
    `pixel of a frame` how far a frame is enlarged, `cell` the side of the smallest cell of all
    other images, `titles that collide` the pairs of titles of which one lies on the other.
    """
    sizes = {}
    if written := _seen(figure):
        points = min(float(part.get_fontsize()) for part in written)
        sizes["smallest text"] = f"{points * figure.dpi / 72:.1f}"
    tiles = [(image, image.get_window_extent()) for axes in figure.axes for image in axes.images]
    if tiles:
        _, least = min(tiles, key=lambda tile: tile[1].width * tile[1].height)
        sizes["smallest tile"] = f"{least.width:.0f} x {least.height:.0f}"
    for name, is_frame in (("pixel of a frame", True), ("cell", False)):
        if scales := [_scale(*tile) for tile in tiles if _shows_frame(tile[0]) == is_frame]:
            sizes[name] = f"{min(scales):.1f}"
    return {**sizes, "titles that collide": "; ".join(colliding_titles(figure))}


def stored_sizes(png: bytes) -> dict[str, str]:
    """What a PNG file says of the sizes of its parts; nothing if it was not measured."""
    with Image.open(io.BytesIO(png)) as image:
        return {name: str(image.info[name]) for name in NAMES if name in image.info}


def colliding_titles(figure: Figure) -> list[str]:
    """Pairs of titles, of panels and of the whole, that lie on one another in a drawn figure."""
    titles = [part for axes in figure.axes for part in _titles(axes)] + list(figure.texts)
    seen = {id(part) for part in _seen(figure)}
    boxes = [(part, part.get_window_extent()) for part in titles if id(part) in seen]
    return [
        f"{part.get_text()} | {other.get_text()}"
        for i, (part, box) in enumerate(boxes)
        for other, beside in boxes[:i]
        if _overlap(box, beside) > TOUCHING
    ]


def _titles(axes: Any) -> list[Text]:
    return [axes.title, axes._left_title, axes._right_title]


def _overlap(one: Bbox, other: Bbox) -> float:
    """The lesser side of what two boxes share, in pixels; at most 0 if they share nothing."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return min(width, height)


def _seen(figure: Figure) -> list[Text]:
    """All texts that are drawn: axes that are off have labels, too, which nobody sees."""
    off: list[Artist] = [axes for axes in figure.axes if not axes.get_visible()]
    off += [axis for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis)]
    unseen = {id(label) for part in off for label in part.findobj(Text)}
    return [
        part
        for part in figure.findobj(Text)
        if part.get_visible() and part.get_text().strip() and id(part) not in unseen
    ]


def _shows_frame(image: AxesImage) -> bool:
    """Whether an image is a frame, in colours or in grey, and not the cells of a map."""
    array = image.get_array()
    return array is not None and (array.ndim == 3 or image.get_cmap().name == "gray")


def _scale(image: AxesImage, box: Bbox) -> float:
    """Pixels of the picture for a pixel, or a cell, of the image."""
    height, width = image.get_size()
    return min(box.width / width, box.height / height)


def load_ipython_extension(shell: Any) -> None:
    """Measure every figure that is stored from now on."""
    FigureCanvasAgg.print_png = _print_measured  # type: ignore[method-assign]


def unload_ipython_extension(shell: Any) -> None:
    """Store figures as matplotlib does."""
    FigureCanvasAgg.print_png = print_png  # type: ignore[method-assign]
