"""The figures that notebooks, report and README share; those of identities are in identities.py.

Each function returns a figure that belongs to nobody else: it is not known to pyplot and needs no
closing. Save it with `savefig`, or leave it as the last value of a notebook cell; `plt.show()` does
not show it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from minivos.errors import InputError
from minivos.nn.recording import AttentionMap
from minivos.video import masks
from minivos.video.metrics import region_similarity
from minivos.viewing.cells import Cells, carried_masks, equal_weights, head_mean
from minivos.viewing.picture import Picture

PANEL = 3.0  # inches, width of one picture: at 100 dpi, 1.5 times a frame of 192 pixels
HEAT = "inferno"  # perceptually uniform
LINES = [tuple(rgb) for rgb in masks.OKABE_ITO[[5, 6, 0, 7]] / 255]  # curves; objects have 1 to 3
STEPS = colormaps["viridis"]  # the same, for a few steps
HALO = withStroke(linewidth=4, foreground="black")  # around what has to be seen on bright cells


def show_masks(
    frames: np.ndarray, labels: np.ndarray, *, titles: Sequence[str] | None = None, columns: int = 4
) -> Figure:
    """Film strip of labels uint8 (T,H,W) drawn on frames uint8 (T,H,W,3), one colour per object id.

    Titles are frame numbers if not given. Raises InputError when the numbers of frames, labels and
    titles differ.
    """
    titles = [f"frame {t}" for t in range(len(frames))] if titles is None else titles
    if not len(frames) == len(labels) == len(titles) > 0 or columns < 1:
        raise InputError(
            f"got {len(frames)} frames, {len(labels)} label maps and {len(titles)} titles for "
            f"{columns} columns; expected as many of each, and at least one column: "
            "cut them to the same length"
        )
    figure, panels = _panels(len(frames), columns, frames[0].shape)
    for axes, frame, mask, title in zip(panels, frames, labels, titles, strict=True):
        axes.imshow(masks.overlay(frame, mask))
        axes.set_title(title, fontsize="small")
    return figure


def show_mask(frame: np.ndarray, labels: np.ndarray) -> Figure:
    """One frame uint8 (H,W,3) under its labels uint8 (H,W), and which colour is which object."""
    figure, (axes,) = _panels(1, 1, frame.shape, width=1.4 * PANEL)
    axes.imshow(masks.overlay(frame, labels))
    if ids := _object_ids(labels):
        _legend(figure, {f"object {k}": masks.object_colour(k) for k in ids})
    return figure


def failures(frames: np.ndarray, gt: np.ndarray, pred: np.ndarray, n: int = 4) -> Figure:
    """The n masks of an object in a frame with the lowest J, worst first, each beside the true one.

    `frames` uint8 (T,H,W,3), `gt` and `pred` labels (T,H,W); pixels that are void in `gt` do not
    count, and an object that a frame neither shows nor is said to show is left out. Raises
    InputError when the shapes differ, for n below 1 and when there is no object.
    """
    if not frames.shape[:3] == gt.shape == pred.shape or n < 1:
        raise InputError(
            f"got frames {frames.shape}, gt {gt.shape}, pred {pred.shape} and n = {n}; expected "
            "(T,H,W,3) and twice (T,H,W) of the same sizes, and n from 1 up"
        )
    scores = []
    for k in _object_ids(gt, pred):
        true, said = gt == k, (pred == k) & (gt != masks.VOID)
        present = (true | said).any(axis=(1, 2))
        by_frame = enumerate(region_similarity(true, said).tolist())
        scores += [(j, t, k) for t, j in by_frame if present[t]]
    if not scores:
        raise InputError(
            "neither gt nor pred has an object; expected labels from 1 up in at least one frame"
        )
    worst = sorted(scores)[:n]
    figure, panels = _panels(2 * len(worst), 2, frames[0].shape)
    for (j, t, k), left, right in zip(worst, panels[::2], panels[1::2], strict=True):
        for axes, labels, title in ((left, gt, "truth"), (right, pred, f"found, J = {j:.2f}")):
            axes.imshow(masks.overlay(frames[t], np.where(labels[t] == k, k, 0)))
            axes.set_title(f"frame {t}, object {k}: {title}", fontsize="small")
    return figure


# Attention ----------------------------------------------------------------------------------------


def attention(
    look: AttentionMap,
    query: tuple[int, int],
    frames: np.ndarray | None = None,
    *,
    mask: np.ndarray | None = None,
    align_corners: bool = False,
) -> Figure:
    """Where query cell (y, x) looks: its own frame with a cross, then the memory under the weights.

    Weights are the mean of the heads. A white line runs round the cells that the query cell sees,
    where that is not all of them. `frames` uint8 (T,H,W,3) are those of the whole clip (plain
    grey if not given), `mask` uint8 (H,W) is drawn on the query frame; `align_corners` as in the
    `sizing` of the network. A title gives the share of the weight that falls on that memory frame.
    Raises InputError for a cell or frame that is not there.
    """
    now, past, grid = look.query_frame, look.key_frames, look.query_grid
    pictures = _pictures(look, frames)
    if not all(0 <= at < cells for at, cells in zip(query, grid, strict=True)):
        raise InputError(f"cell {query} is outside the query grid {grid}; count from 0, y before x")
    weights = look.look_from(*query).mean(0).numpy()  # (heads,T,H,W) -> (T,H,W)
    size = pictures[now].shape[:2]
    figure, (asking, *memory) = _panels(1 + len(past), 3, size, width=1.15 * PANEL)

    asking.imshow(pictures[now] if mask is None else masks.overlay(pictures[now], mask))
    asking.set_title(f"frame {now} asks", fontsize="small")
    y, x = Cells(grid, size, align_corners).centres()[query]
    asking.plot(x, y, "+", color="white", markersize=12, markeredgewidth=2, path_effects=[HALO])

    scale = Normalize(0, weights.max())
    cells = Cells(look.key_grid[1:], size, align_corners)
    opaque = 0.3 + 0.7 * (weights / (weights.max() or 1)) ** 0.5  # little weight: the frame shows
    seen = equal_weights(look).look_from(*query)[0].numpy() > 0  # (T,H,W)
    for axes, frame, looks, alpha, sees in zip(memory, past, weights, opaque, seen, strict=True):
        axes.imshow(pictures[frame].mean(-1), cmap="gray", vmin=0, vmax=255)
        _heat(axes, looks, cells, scale, alpha)
        if not sees.all():
            lines = LineCollection(list(cells.border(sees)), colors="white", linewidths=1.2)
            axes.add_collection(lines)
        axes.set_title(f"frame {frame}: {looks.sum():.0%} of the weight", fontsize="small")
    bar = figure.colorbar(ScalarMappable(scale, HEAT), ax=memory, shrink=0.9, ticks=[0, scale.vmax])
    bar.ax.set_yticklabels(["0", f"{scale.vmax:.2g}"])
    bar.set_label("weight of a cell", fontsize="small", labelpad=-8)
    heads, about = look.weights.shape[1], f", object {look.object}" if look.object else ""
    mean = f", mean of {heads} heads" if heads > 1 else ""
    figure.suptitle(f"{look.name}{about}{mean}", fontsize="medium")
    return figure


def _pictures(look: AttentionMap, frames: np.ndarray | None) -> dict[int, np.ndarray]:
    """The frames that a map is about, by number; plain grey if there are none."""
    times = look.query_frame, *look.key_frames
    if frames is None:
        height, width = np.maximum(look.query_grid, look.key_grid[1:])
        return dict.fromkeys(times, np.full((height, width, 3), 150, np.uint8))
    if missing := [t for t in times if not 0 <= t < len(frames)]:
        raise InputError(
            f"got {len(frames)} frames for a map about frame {missing[0]}; expected all frames of "
            "the clip"
        )
    return {t: frames[t] for t in times}


def object_flow(
    maps: Sequence[AttentionMap],
    frames: np.ndarray,
    labels: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    objects: Sequence[int] | None = None,
    align_corners: bool = False,
) -> Figure:
    """Masks of the memory frames, carried to the current one by attention: a row for each map.

    As AOT Fig. 6 and 7. A row begins with the memory frame from which most of the masks comes. Then
    it shows, for each of `objects` (all if not given), how much of its mask reaches each cell, in
    [0,1], under the outline of its mask in this frame. `maps` look from one frame; `frames` uint8
    (T,H,W,3) are those of the clip, `labels` uint8 (T,H,W) what was found or given up to this
    frame, `truth` uint8 (T,H,W) what is right; `align_corners` as in the `sizing` of the network.
    Raises InputError for maps of several frames or none, missing frames, and no object.
    """
    now, objects = _one_query_frame(maps), _object_ids(labels) if objects is None else list(objects)
    answers = {"found": labels} if truth is None else {"found": labels, "truth": truth}
    length = min(map(len, (frames, *answers.values())))
    if missing := [t for look in maps for t in (now, *look.key_frames) if not 0 <= t < length]:
        raise InputError(
            f"got frames and labels of {length} frames for maps about frame {missing[0]}; expected "
            "all frames of the clip, and labels up to the current one"
        )
    if not objects:
        raise InputError("no object to follow: the labels hold none and `objects` names none")
    size, columns = frames.shape[1:3], 1 + max(len(objects), len(answers) - 1)
    figure, panels = _panels((1 + len(maps)) * columns, columns, size)
    top, *rows = (panels[i : i + columns] for i in range(0, len(panels), columns))
    for axes, (name, answer) in zip(top, answers.items(), strict=False):
        axes.imshow(masks.overlay(frames[now], answer[now]))
        axes.set_title(f"frame {now}: {name}", fontsize="small")

    outlines = list(answers.values())[-1][now]
    for look, (memory, *heats) in zip(maps, rows, strict=True):
        query = Cells(look.query_grid, size, align_corners)
        keys = Cells(look.key_grid[1:], size, align_corners)
        past = labels[list(look.key_frames)]
        covered = keys.mean(np.stack([past == k for k in objects], axis=1))  # (T,K,h,w)
        _show_source(memory, look, covered, frames, labels)
        carried = carried_masks(look, covered).numpy()
        for axes, k, shares in zip(heats, objects, carried, strict=False):
            _heat(axes, shares, query, Normalize(0, 1))
            _outline(axes, outlines == k, masks.object_colour(k))
            axes.set_title(f"object {k}", fontsize="small")
    shared = ScalarMappable(Normalize(0, 1), HEAT)
    bar = figure.colorbar(shared, ax=panels, shrink=0.5, ticks=[0, 0.5, 1])
    bar.set_label("share of the weight that lies on the object", fontsize="small")
    return figure


def _one_query_frame(maps: Sequence[AttentionMap]) -> int:
    if len(moments := sorted({look.query_frame for look in maps})) != 1:
        raise InputError(
            f"got maps of frames {moments}; expected maps of one frame: record one step of the "
            "tracker"
        )
    return moments[0]


def _show_source(
    axes: Axes, look: AttentionMap, covered: np.ndarray, frames: np.ndarray, labels: np.ndarray
) -> None:
    """The key frame from which most of the masks (T,K,h,w) comes, and what memory holds of it."""
    received = head_mean(look).sum(0).numpy().reshape(look.key_grid)  # by each key cell
    frame = look.key_frames[int((received * covered.sum(1)).sum((1, 2)).argmax())]
    axes.imshow(masks.overlay(frames[frame], labels[frame]))
    source = f"most from frame {frame}" if len(look.key_frames) > 1 else f"from frame {frame}"
    axes.set_title(f"{look.name}\n{source}", fontsize="small")


def _heat(
    axes: Axes, values: np.ndarray, cells: Cells, scale: Normalize, alpha: float | np.ndarray = 1.0
) -> None:
    """Values (h,w) of the cells of a frame, at their place on it."""
    axes.imshow(
        values, HEAT, norm=scale, alpha=alpha, interpolation="nearest", extent=cells.extent()
    )
    axes.set(xlim=(-0.5, cells.frame[1] - 0.5), ylim=(cells.frame[0] - 0.5, -0.5))


def _outline(axes: Axes, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    if mask.any() and not mask.all():
        style: dict[str, Any] = {"colors": [np.divide(colour, 255)], "linewidths": 1.8}
        axes.contour(mask, levels=[0.5], **style).set(path_effects=[HALO])


# Sparse attention ---------------------------------------------------------------------------------


def reach(steps: Mapping[str, np.ndarray], columns: int = 3, names: Sequence[str] = ()) -> Figure:
    """The cells of a video, frame behind frame, and which of them one cell reaches (SST Fig. 1).

    `steps` holds under each title an int array (T,H,W): 0 for the cell itself, n for what it
    reaches in n layers, and negative numbers for what it does not; `names` are those of the layers
    in the legend. Raises InputError for arrays of other dimensions, and when there is none.
    """
    if not steps or any(array.ndim != 3 or not array.size for array in steps.values()):
        shapes = {title: array.shape for title, array in steps.items()}
        raise InputError(f"got steps of shapes {shapes}; expected at least one array, each (T,H,W)")
    most = max(1, *(int(array.max()) for array in steps.values()))
    colours = np.vstack([[0, 0, 0], STEPS(np.linspace(0.25, 0.9, most))[:, :3]])
    figure, panels = _panels(len(steps), columns, (4, 10), width=1.4 * PANEL)
    for axes, (title, array) in zip(panels, steps.items(), strict=True):
        for t, sheet in enumerate(array):
            (height, width), (y, x) = sheet.shape, np.nonzero(sheet >= 0)
            outline, cells = _in_space(t, 0, 0, width, (height, width)), _in_space(t, y, x, width)
            plain: dict[str, Any] = {"facecolors": "0.94", "edgecolors": "0.5", "linewidths": 0.7}
            axes.add_collection(PolyCollection(outline, **plain))
            found = PolyCollection(cells, edgecolors="w", linewidths=0.4)
            found.set_facecolor(colours[sheet[y, x]])
            axes.add_collection(found)
            below: dict[str, Any] = {"textcoords": "offset points", "ha": "center"}
            axes.annotate(f"t = {t}", outline[0][2:].mean(0), (0, -9), fontsize="x-small", **below)
        axes.set_title(title, fontsize="small")
        axes.set_aspect("equal")
        axes.autoscale_view()
        axes.invert_yaxis()
    layers = [f"layer {n}" for n in range(1, most + 1)] if most > 1 else ["looks at"]
    _legend(figure, dict(zip(["the cell", *(names or layers)], 255 * colours, strict=True)))
    return figure


def _in_space(
    t: int, y: np.ndarray | int, x: np.ndarray | int, width: int, size: tuple[int, int] = (1, 1)
) -> list[np.ndarray]:
    """Where the corners of rectangles of cells at (t, y, x) are drawn, askew: N of (4,2)."""
    y = np.reshape(y, (-1, 1)) + size[0] * np.array([0, 0, 1, 1])
    x = np.reshape(x, (-1, 1)) + size[1] * np.array([0, 1, 1, 0])
    return list(np.stack([0.75 * x + 0.8 * width * t, y - 0.25 * x + 0.1 * width * t], axis=-1))


def affinity(
    told: Mapping[str, np.ndarray],
    frame: np.ndarray,
    labels: np.ndarray,
    *,
    align_corners: bool = False,
) -> Figure:
    """What SST's decoder is told: a row for each object, background first, a column for each name.

    `told` holds under each name values (O,h,w) in [0,1] of the cells of `frame` uint8 (H,W,3). A
    row begins with the object in `labels` uint8 (H,W), whose outline is drawn on its maps; on those
    of the background stand all outlines. `align_corners` as in the `sizing` of the network. Raises
    InputError unless all values are of one shape.
    """
    shapes = {values.shape for values in told.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        expected = "at least one array, all of one (O,h,w)"
        raise InputError(f"got values of shapes {sorted(shapes)}; expected {expected}")
    objects, height, width = shapes.pop()
    columns = 1 + len(told)
    figure, panels = _panels(objects * columns, columns, frame.shape, width=1.15 * PANEL)
    cells, scale = Cells((height, width), frame.shape[:2], align_corners), Normalize(0, 1)
    for k in range(objects):
        shown, *heats = panels[k * columns :][:columns]
        name, outlined = (f"object {k}", [k]) if k else ("background", _object_ids(labels))
        shown.imshow(masks.overlay(frame, np.where(np.isin(labels, outlined), labels, 0)))
        shown.set_title(name if k else f"{name}, and the objects", fontsize="small")
        for axes, (kind, values) in zip(heats, told.items(), strict=True):
            _heat(axes, values[k], cells, scale)
            for number in outlined:
                _outline(axes, labels == number, masks.object_colour(number))
            axes.set_title(f"{kind}: {name}", fontsize="small")
    style: dict[str, Any] = {"shrink": 0.6, "ticks": [0, 0.5, 1], "label": "affinity"}
    figure.colorbar(ScalarMappable(scale, HEAT), ax=panels, **style)
    return figure


# Training -----------------------------------------------------------------------------------------


def curve_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and J of a training log (rows with step, loss, J), each value and a moving mean."""
    if not history:
        raise InputError("the training log is empty; train for at least one step")
    figure = Picture(figsize=(8, 2.8))
    steps = [float(row["step"]) for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "J"), strict=True):
        values = np.array([float(row[name]) for row in history])
        axes.plot(steps, values, color="0.8", linewidth=0.8, label="one step")
        smooth = _moving_mean(values, max(1, len(values) // 25))
        axes.plot(steps, smooth, color="black", label="moving mean")
        axes.set(title=name, xlabel="step", ylim=(0, 1) if name == "J" else (0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _object_ids(*labels: np.ndarray) -> list[int]:
    """Ids of all objects in label maps, in order."""
    return sorted({int(k) for part in labels for k in np.unique(part[masks.is_object(part)])})


def _panels(
    count: int, columns: int, shape: tuple[int, ...], width: float = PANEL
) -> tuple[Figure, list[Axes]]:
    """A figure with axes without ticks for pictures of shape (H,W,...), `width` inches each."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Picture(figsize=(columns * width, rows * (width * shape[0] / shape[1] + 0.25) + 0.3))
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in places:
        axes.axis("off")
    return figure, places[:count]


def _legend(figure: Figure, colours: Mapping[str, tuple[int, int, int]]) -> None:
    patches = [
        Patch(facecolor=tuple(np.divide(rgb, 255)), edgecolor="0.5", label=name)
        for name, rgb in colours.items()
    ]
    style: dict[str, Any] = {"fontsize": "small", "frameon": False}
    figure.legend(handles=patches, loc="outside lower center", ncols=3, **style)


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the values (N,) around each, of fewer at the ends."""
    box = np.ones(window)
    return np.convolve(values, box, "same") / np.convolve(np.ones_like(values), box, "same")
