"""Figures say what their arrays say: pictures, titles and colours are read back and compared."""

import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from minivos.errors import InputError
from minivos.lab import plots
from minivos.nn.attention import AttentionMap
from minivos.video.masks import overlay
from minivos.video.metrics import boundary_map, contour_accuracy

HEIGHT, WIDTH = 16, 24
GRID = (4, 6)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def labels():
    labels = np.zeros((5, HEIGHT, WIDTH), np.uint8)
    for t in range(5):
        labels[t, 3:9, 2 + t : 9 + t] = 1
        labels[t, 8:14, 14 - t : 20 - t] = 2
    return labels


@pytest.fixture
def look():
    """Frame 4 looks at frames 0 and 3; two heads of random weights."""
    weights = torch.rand(1, 2, 24, 48, generator=torch.Generator().manual_seed(0)).softmax(-1)
    return AttentionMap("block2/long_term", weights, GRID, (2, *GRID), (0, 3), query_frame=4)


def square(size: int, left: int = 5) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4 : 4 + size, left : left + size] = True
    return mask


def picture(axes, number: int = 0) -> np.ndarray:
    return np.asarray(axes.images[number].get_array())


def count(drawn: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((drawn == colour).all(-1).sum())


# Film strip


def test_film_strip_shows_the_overlay_of_every_frame(frames, labels):
    figure = plots.show_masks(frames, labels, columns=3)
    strip = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in strip] == [f"frame {t}" for t in range(5)]
    for axes, frame, mask in zip(strip, frames, labels, strict=True):
        assert np.array_equal(picture(axes), overlay(frame, mask))
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 3)


def test_film_strip_takes_titles(frames, labels):
    figure = plots.show_masks(frames[:2], labels[:2], titles=["before", "after"])
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]


@pytest.mark.parametrize("cut", [{"titles": ["one"]}, {"labels": 3}, {"frames": 0, "labels": 0}, {"columns": 0}])
def test_film_strip_of_unequal_lengths_is_refused(frames, labels, cut):
    settings = {name: cut[name] for name in ("titles", "columns") if name in cut}
    with pytest.raises(InputError, match="expected as many of each"):
        plots.show_masks(frames[: cut.get("frames", 5)], labels[: cut.get("labels", 5)], **settings)


# Attention


def test_attention_shows_the_head_mean_over_each_memory_frame(frames, look):
    query, *memory, _ = plots.attention_figure(frames, look, (2, 4)).axes
    weights = look.look_from(2, 4).mean(0).numpy()
    assert np.array_equal(picture(query), frames[4])
    for axes, frame, share in zip(memory, (0, 3), weights, strict=True):
        assert np.allclose(picture(axes), frames[frame].mean(-1))
        assert np.allclose(picture(axes, 1), share)
        assert axes.images[1].get_interpolation() == "nearest"
        assert axes.images[0].get_extent() == axes.images[1].get_extent()
        assert axes.images[1].norm.vmax == weights.max() and axes.images[1].norm.vmin == 0


def test_attention_titles_give_frames_and_shares(frames, look):
    figure = plots.attention_figure(frames, look, (0, 0))
    shares = look.look_from(0, 0).mean(0).sum(dim=(1, 2))
    query, first, second, bar = figure.axes
    assert query.get_title() == "frame 4 asks"
    assert first.get_title() == f"frame 0: {shares[0]:.0%} of the weight"
    assert second.get_title() == f"frame 3: {shares[1]:.0%} of the weight"
    assert figure.get_suptitle() == "block2/long_term, mean of 2 heads"
    largest = look.look_from(0, 0).mean(0).max()
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", f"{largest:.2g}"]


def test_cross_lies_amid_the_query_cell(frames, look):
    query = plots.attention_figure(frames, look, (2, 4)).axes[0]
    (x,), (y,) = query.lines[0].get_data()
    assert (y, x) == (2 * 4 + 1.5, 4 * 4 + 1.5)  # cells of 4x4 pixels, whose middle lies between pixels 1 and 2


def test_mask_is_drawn_on_the_query_frame(frames, labels, look):
    query = plots.attention_figure(frames, look, (2, 4), mask=labels[4]).axes[0]
    assert np.array_equal(picture(query), overlay(frames[4], labels[4]))


def test_attention_at_what_is_not_there_is_refused(frames, look):
    with pytest.raises(InputError, match="outside the query grid"):
        plots.attention_figure(frames, look, (4, 0))
    with pytest.raises(InputError, match="outside the query grid"):
        plots.attention_figure(frames, look, (0, -1))
    with pytest.raises(InputError, match="4 frames came, the map is about frame 4"):
        plots.attention_figure(frames[:4], look, (0, 0))


# J and F


def test_regions_are_painted_and_counted():
    figure = plots.regions_figure(square(6), square(6, left=7))  # 4 of 6 columns overlap
    drawn = picture(figure.axes[0])
    assert [count(drawn, colour) for colour in (plots.GREY, plots.BLUE, plots.RED)] == [24, 12, 12]
    assert figure.axes[0].get_title() == "J = both / any = 24 / 48 = 0.50"
    assert [text.get_text() for text in figure.legends[0].texts] == ["both 24", "only truth 12", "only prediction 12"]


def test_regions_of_two_empty_masks_agree():
    assert plots.regions_figure(square(0), square(0)).axes[0].get_title().endswith("1.00")


@pytest.mark.parametrize("bound_th", [0, 0.008, 0.05, 2])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_boundary_shares_give_f(shift, bound_th):
    gt, pred = square(8), square(7, left=5 + shift)
    figure = plots.boundary_figure(gt, pred, bound_th)
    f = float(contour_accuracy(gt, pred, bound_th))
    assert figure.get_suptitle() == f"F = 2PR / (P + R) = {f:.2f}"
    drawn = [picture(axes) for axes in figure.axes]
    for picture_, axes, mask in zip(drawn, figure.axes, (pred, gt), strict=True):
        right, wrong = count(picture_, plots.BLACK), count(picture_, plots.RED)
        assert right + wrong == boundary_map(mask).sum()
        assert re.search(r" (\S+):", axes.get_title())[1] == f"{right / (right + wrong):.2f}"
    precision, recall = (count(p, plots.BLACK) / (count(p, plots.BLACK) + count(p, plots.RED)) for p in drawn)
    assert f == pytest.approx(2 * precision * recall / (precision + recall) if precision + recall else 0)


def test_missing_prediction_has_full_precision_and_no_recall():
    figure = plots.boundary_figure(square(8), square(0))
    assert [axes.get_title()[:14] for axes in figure.axes] == ["precision 1.00", "recall 0.00: t"]
    assert figure.get_suptitle().endswith("0.00")


def test_unusable_tolerance_is_refused():
    with pytest.raises(InputError, match="bound_th"):
        plots.boundary_figure(square(8), square(8), bound_th=-1)


# Training curve


def test_curve_shows_every_step_and_its_mean():
    history = [{"step": step, "loss": 2.0, "J": step / 100} for step in range(100)]
    loss, j = plots.curve_figure(history).axes
    assert loss.get_title() == "loss" and j.get_title() == "J"
    assert np.allclose(loss.lines[1].get_ydata(), 2)  # a constant stays constant up to its ends
    assert np.array_equal(j.lines[0].get_ydata(), [row["J"] for row in history])
    assert j.lines[1].get_ydata()[50] == pytest.approx(0.5, abs=0.01)


def test_curve_of_nothing_is_refused():
    with pytest.raises(InputError, match="empty"):
        plots.curve_figure([])


# All of them


def all_figures(frames: np.ndarray, labels: np.ndarray, look: AttentionMap) -> list[Figure]:
    return [
        plots.show_masks(frames, labels),
        plots.attention_figure(frames, look, (2, 4)),
        plots.regions_figure(square(6), square(5)),
        plots.boundary_figure(square(6), square(5)),
        plots.curve_figure([{"step": 0, "loss": 1.0, "J": 0.5}]),
    ]


def test_figures_are_white_pngs_that_pyplot_does_not_know(frames, labels, look):
    for figure in all_figures(frames, labels, look):
        with Image.open(io.BytesIO(figure._repr_png_())) as drawn:
            assert drawn.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
            assert "Software" not in drawn.info
    assert not plt.get_fignums()
