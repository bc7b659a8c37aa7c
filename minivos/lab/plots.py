"""The figures that notebooks, report and README share.

Each function returns a figure that belongs to nobody else: it is not known to pyplot and needs no closing. Save it with
`savefig`, or leave it as the last value of a notebook cell; `plt.show()` does not show it.
"""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from minivos.errors import InputError
from minivos.nn.attention import AttentionMap
from minivos.video.masks import OKABE_ITO, overlay
from minivos.video.metrics import boundary_map, contour_accuracy, region_similarity

PANEL = 2.2  # inches, width of one picture
GREY, BAND = (150, 150, 150), (225, 225, 225)
BLACK, BLUE, RED = (tuple(int(value) for value in OKABE_ITO[row]) for row in (0, 5, 6))  # RED is vermilion
HEAT = "inferno"  # perceptually uniform


class Picture(Figure):
    """A white figure that a notebook shows when it is the last value of a cell."""

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, facecolor="white", layout="constrained", **settings)

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def png_bytes(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as the content of a PNG file that says nothing about the program that made it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def show_masks(
    frames: np.ndarray, labels: np.ndarray, *, titles: Sequence[str] | None = None, columns: int = 6
) -> Figure:
    """Film strip of labels uint8 (T,H,W) drawn on frames uint8 (T,H,W,3), one colour per object id.

    Titles are frame numbers if not given. Raises InputError when the numbers of frames, labels and titles differ.
    """
    titles = [f"frame {t}" for t in range(len(frames))] if titles is None else titles
    if not len(frames) == len(labels) == len(titles) > 0 or columns < 1:
        raise InputError(
            f"{len(frames)} frames, {len(labels)} label maps and {len(titles)} titles came for {columns} columns; "
            "expected as many of each, and at least one column: cut them to the same length"
        )
    figure, panels = _panels(len(frames), columns, frames[0].shape)
    for axes, frame, mask, title in zip(panels, frames, labels, titles, strict=True):
        axes.imshow(overlay(frame, mask))
        axes.set_title(title, fontsize="small")
    return figure


def attention_figure(
    frames: np.ndarray, maps_entry: AttentionMap, cell: tuple[int, int], *, mask: np.ndarray | None = None
) -> Figure:
    """Where query cell (y, x) looks: its own frame with a cross, then each memory frame under its weights (head mean).

    `frames` uint8 (T,H,W,3) are those of the whole clip, `mask` uint8 (H,W) is drawn on the query frame. A title gives
    the share of the weight that falls on that memory frame. Raises InputError for a cell or frame that is not there.
    """
    now, past, grid = maps_entry.query_frame, maps_entry.key_frames, maps_entry.query_grid
    if missing := [t for t in (now, *past) if not 0 <= t < len(frames)]:
        raise InputError(f"{len(frames)} frames came, the map is about frame {missing[0]}; give all frames of the clip")
    if not all(0 <= at < cells for at, cells in zip(cell, grid, strict=True)):
        raise InputError(f"cell {cell} is outside the query grid {grid}; count from 0, y before x")
    weights = maps_entry.look_from(*cell).mean(0).numpy()  # (heads,T,H,W) -> (T,H,W)
    height, width = frames.shape[1:3]
    figure, (query, *memory) = _panels(1 + len(past), 4, frames[0].shape, width=1.3 * PANEL)

    query.imshow(frames[now] if mask is None else overlay(frames[now], mask))
    query.set_title(f"frame {now} asks", fontsize="small")
    y, x = ((at + 0.5) * size / cells - 0.5 for at, size, cells in zip(cell, (height, width), grid, strict=True))
    halo = withStroke(linewidth=4, foreground="black")
    query.plot(x, y, "+", color="white", markersize=12, markeredgewidth=2, path_effects=[halo])

    scale = Normalize(0, weights.max())
    for axes, frame, looks in zip(memory, past, weights, strict=True):
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)  # as imshow places a whole frame
        axes.imshow(frames[frame].mean(-1), cmap="gray", vmin=0, vmax=255, extent=extent)
        axes.imshow(looks, HEAT, norm=scale, alpha=0.6, interpolation="nearest", extent=extent)
        axes.set_title(f"frame {frame}: {looks.sum():.0%} of the weight", fontsize="small")
    bar = figure.colorbar(ScalarMappable(scale, HEAT), ax=memory, shrink=0.9, ticks=[0, scale.vmax])
    bar.ax.set_yticklabels(["0", f"{scale.vmax:.2g}"])
    bar.set_label("weight of a cell", fontsize="small", labelpad=-8)
    figure.suptitle(f"{maps_entry.name}, mean of {maps_entry.weights.shape[1]} heads", fontsize="medium")
    return figure


def regions_figure(gt: np.ndarray, pred: np.ndarray) -> Figure:
    """Region similarity J of two masks bool (H,W), drawn: what both cover, and what only one of them covers."""
    j = float(region_similarity(gt, pred))
    gt, pred = np.asarray(gt, bool), np.asarray(pred, bool)
    parts = {"both": (gt & pred, GREY), "only truth": (gt & ~pred, BLUE), "only prediction": (pred & ~gt, RED)}
    figure, (axes,) = _panels(1, 1, gt.shape, width=2.2 * PANEL)
    axes.imshow(_paint(gt.shape, list(parts.values())))
    _zoom(axes, gt | pred)
    axes.set_title(f"J = both / any = {(gt & pred).sum()} / {(gt | pred).sum()} = {j:.2f}")
    _legend(figure, {f"{name} {part.sum()}": colour for name, (part, colour) in parts.items()})
    return figure


def boundary_figure(gt: np.ndarray, pred: np.ndarray, bound_th: float = 0.008) -> Figure:
    """Contour accuracy F of two masks bool (H,W), drawn: each boundary on the band of tolerance around the other.

    `bound_th` as in `metrics.contour_accuracy`. A mask without a boundary has nothing wrong: its share is 1.
    """
    f = float(contour_accuracy(gt, pred, bound_th))
    radius = int(bound_th) if bound_th >= 1 else math.ceil(bound_th * math.hypot(*gt.shape))
    true, found = boundary_map(np.asarray(gt, bool)), boundary_map(np.asarray(pred, bool))
    figure, panels = _panels(2, 2, gt.shape, width=1.7 * PANEL)
    drawings = [("precision", "prediction", found, true), ("recall", "truth", true, found)]
    for axes, (name, whose, boundary, other) in zip(panels, drawings, strict=True):
        band = _surroundings(other, radius)
        share = (boundary & band).sum() / boundary.sum() if boundary.any() else 1.0
        axes.imshow(_paint(gt.shape, [(band, BAND), (boundary & band, BLACK), (boundary & ~band, RED)]))
        _zoom(axes, band | boundary)
        axes.set_title(f"{name} {share:.2f}: the boundary of the {whose}", fontsize="small")
    figure.suptitle(f"F = 2PR / (P + R) = {f:.2f}", fontsize="medium")
    _legend(figure, {f"within {radius} px of the other boundary": BAND, "right": BLACK, "wrong": RED})
    return figure


def curve_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and J of a training log (rows with step, loss, J) against the step: each value, and a moving mean."""
    if not history:
        raise InputError("the training log is empty; train for at least one step")
    figure = Picture(figsize=(8, 2.8))
    steps = [float(row["step"]) for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "J"), strict=True):
        values = np.array([float(row[name]) for row in history])
        axes.plot(steps, values, color="0.8", linewidth=0.8, label="one step")
        axes.plot(steps, _moving_mean(values, max(1, len(values) // 25)), color="black", label="moving mean")
        axes.set(title=name, xlabel="step", ylim=(0, 1) if name == "J" else (0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _panels(count: int, columns: int, shape: tuple[int, ...], width: float = PANEL) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes without ticks for pictures of shape (H,W,...), `width` inches wide each."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Picture(figsize=(columns * width, rows * (width * shape[0] / shape[1] + 0.25) + 0.3))
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in places:
        axes.axis("off")
    return figure, places[:count]


def _zoom(axes: Axes, mask: np.ndarray) -> None:
    """Show the bounding box of a mask bool (H,W) and a little more; the whole frame if the mask is empty."""
    if mask.any():
        (top, bottom), (left, right) = ((at.min(), at.max()) for at in np.nonzero(mask))
        margin = 3 + 0.1 * max(bottom - top, right - left)
        axes.set(xlim=(left - margin, right + margin), ylim=(bottom + margin, top - margin))


def _paint(shape: tuple[int, int], parts: list[tuple[np.ndarray, tuple[int, int, int]]]) -> np.ndarray:
    """Masks bool (H,W) in their colours on white, later ones on top: uint8 (H,W,3)."""
    picture = np.full((*shape, 3), 255, np.uint8)
    for part, colour in parts:
        picture[part] = colour
    return picture


def _legend(figure: Figure, colours: Mapping[str, tuple[int, int, int]]) -> None:
    patches = [Patch(facecolor=np.divide(rgb, 255), edgecolor="0.5", label=name) for name, rgb in colours.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize="small", frameon=False)


def _surroundings(boundary: np.ndarray, radius: int) -> np.ndarray:
    """Pixels at most `radius` from a boundary pixel, bool (H,W)."""
    height, width = boundary.shape
    near, padded = np.zeros_like(boundary), np.pad(boundary, radius)
    for y, x in product(range(2 * radius + 1), repeat=2):
        if math.hypot(y - radius, x - radius) <= radius:
            near |= padded[y : y + height, x : x + width]
    return near


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the values (N,) around each, of fewer at the ends."""
    box = np.ones(window)
    return np.convolve(values, box, "same") / np.convolve(np.ones_like(values), box, "same")
