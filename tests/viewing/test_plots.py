"""Figures say what their arrays say: pictures, titles and colours are read back and compared."""

import inspect
import io
from dataclasses import replace
from typing import get_type_hints

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from minivos.errors import InputError
from minivos.nn.attention import window_index
from minivos.nn.recording import AttentionMap
from minivos.video.masks import OKABE_ITO, overlay
from minivos.viewing import identities, plots
from minivos.viewing.picture import Picture, load_ipython_extension, png_bytes, stored_sizes, unload_ipython_extension
from tiny import tiny_aot

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
    query, *memory, _ = plots.attention(look, (2, 4), frames).axes
    weights = look.look_from(2, 4).mean(0).numpy()
    assert np.array_equal(picture(query), frames[4])
    for axes, frame, share in zip(memory, (0, 3), weights, strict=True):
        assert np.allclose(picture(axes), frames[frame].mean(-1))
        assert np.allclose(picture(axes, 1), share)
        assert axes.images[1].get_interpolation() == "nearest"
        assert axes.images[0].get_extent() == axes.images[1].get_extent()
        assert axes.images[1].norm.vmax == weights.max() and axes.images[1].norm.vmin == 0
        by_weight = axes.images[1].get_alpha().flatten()[share.flatten().argsort()]
        assert (np.diff(by_weight) > 0).all() and by_weight[0] >= 0.3 and by_weight[-1] <= 1


def test_attention_titles_give_frames_and_shares(frames, look):
    figure = plots.attention(look, (0, 0), frames)
    shares = look.look_from(0, 0).mean(0).sum(dim=(1, 2))
    query, first, second, bar = figure.axes
    assert query.get_title() == "frame 4 asks"
    assert first.get_title() == f"frame 0: {shares[0]:.0%} of the weight"
    assert second.get_title() == f"frame 3: {shares[1]:.0%} of the weight"
    assert figure.get_suptitle() == "block2/long_term, mean of 2 heads"
    largest = look.look_from(0, 0).mean(0).max()
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", f"{largest:.2g}"]


def test_cross_lies_amid_the_query_cell(frames, look):
    query = plots.attention(look, (2, 4), frames).axes[0]
    (x,), (y,) = query.lines[0].get_data()
    assert (y, x) == (2 * 4 + 1.5, 4 * 4 + 1.5)  # cells of 4x4 pixels, whose middle lies between pixels 1 and 2


def test_mask_is_drawn_on_the_query_frame(frames, labels, look):
    query = plots.attention(look, (2, 4), frames, mask=labels[4]).axes[0]
    assert np.array_equal(picture(query), overlay(frames[4], labels[4]))


def test_attention_at_what_is_not_there_is_refused(frames, look):
    with pytest.raises(InputError, match="outside the query grid"):
        plots.attention(look, (4, 0), frames)
    with pytest.raises(InputError, match="outside the query grid"):
        plots.attention(look, (0, -1), frames)
    with pytest.raises(InputError, match="got 4 frames for a map about frame 4"):
        plots.attention(look, (0, 0), frames[:4])


def test_attention_draws_a_line_around_the_window(frames):
    weights = torch.ones(1, 1, 24, 9) / 9
    look = AttentionMap("short_term", weights, GRID, (1, *GRID), (3,), query_frame=4, index=window_index(GRID, 3))
    (line,) = plots.attention(look, (0, 2), frames).axes[1].collections
    corners = np.concatenate(line.get_segments())
    side = WIDTH / GRID[1]  # of a cell in pixels
    assert np.allclose(corners.min(0), [1 * side - 0.5, -0.5]) and np.allclose(corners.max(0), [4 * side - 0.5, 7.5])
    assert len(line.get_segments()) == 2 * (3 + 2)  # a row of the window is outside the frame


def test_attention_draws_no_line_where_all_is_seen(frames, look):
    assert not any(axes.collections for axes in plots.attention(look, (0, 2), frames).axes[:3])


def test_attention_without_frames_is_drawn_on_grey(frames, look):
    query, *memory, _ = plots.attention(look, (2, 4)).axes
    assert (picture(query) == 150).all()
    (x,), (y,) = query.lines[0].get_data()
    assert (y, x) == (2, 4)  # a pixel is a cell
    with_frames = plots.attention(look, (2, 4), frames).axes[1:-1]
    for plain, drawn in zip(memory, with_frames, strict=True):
        assert np.array_equal(picture(plain, 1), picture(drawn, 1))


def test_grid_that_shares_corner_centres_is_drawn_half_a_cell_beyond_the_frame(frames, look):
    query, memory, *_ = plots.attention(look, (3, 5), frames, align_corners=True).axes
    (x,), (y,) = query.lines[0].get_data()
    assert (y, x) == pytest.approx((HEIGHT - 1, WIDTH - 1))
    assert memory.images[1].get_extent() == pytest.approx([-2.3, WIDTH + 1.3, HEIGHT + 1.5, -2.5])
    assert memory.get_xlim() == (-0.5, WIDTH - 0.5) and memory.get_ylim() == (HEIGHT - 0.5, -0.5)


# Object flow


@pytest.fixture
def maps(look):
    """The long-term map, and a short-term map of frame 4 that looks at the cell itself in frame 3."""
    return [look, AttentionMap("block2/short_term", torch.eye(24)[None, None], GRID, (1, *GRID), (3,), query_frame=4)]


def test_object_flow_carries_the_masks_of_the_memory(frames, labels, maps):
    figure = plots.object_flow(maps, frames, labels)
    rows = [axes for axes in figure.axes if axes.images and axes.images[0].get_cmap().name == plots.HEAT]
    assert [axes.get_title() for axes in rows] == ["object 1", "object 2"] * 2
    for number, axes in enumerate(rows):
        seen, k = maps[number // 2], 1 + number % 2
        covered = (labels[list(seen.key_frames)] == k).reshape(-1, 4, 4, 6, 4).mean((2, 4))  # cells of 4 x 4 pixels
        for y in range(4):
            for x in range(6):
                carried = (seen.look_from(y, x).mean(0).numpy() * covered).sum()
                assert picture(axes)[y, x] == pytest.approx(carried, abs=1e-6)
        assert (axes.images[0].norm.vmin, axes.images[0].norm.vmax) == (0, 1)


def test_object_flow_shows_the_answer_and_the_frame_that_gives_most(frames, labels, maps):
    labels[0] = 0  # nothing comes from frame 0
    truth = np.roll(labels, 1, axis=1)
    titled = {axes.get_title(): axes for axes in plots.object_flow(maps, frames, labels, truth=truth).axes}
    assert np.array_equal(picture(titled["frame 4: found"]), overlay(frames[4], labels[4]))
    assert np.array_equal(picture(titled["frame 4: truth"]), overlay(frames[4], truth[4]))
    for title in ("block2/long_term\nmost from frame 3", "block2/short_term\nfrom frame 3"):
        assert np.array_equal(picture(titled[title]), overlay(frames[3], labels[3]))


def test_object_flow_outlines_the_objects_asked_for(frames, labels, maps):
    titled = {a.get_title(): a for a in plots.object_flow(maps[1:], frames, labels, objects=[2]).axes if a.get_title()}
    assert list(titled) == ["frame 4: found", "block2/short_term\nfrom frame 3", "object 2"]
    (outline,) = titled["object 2"].collections
    corners = np.concatenate([path.vertices for path in outline.get_paths()])
    assert np.array_equal([corners.min(0), corners.max(0)], [(9.5, 7.5), (15.5, 13.5)])  # columns 10..15, rows 8..13
    assert np.allclose(outline.get_edgecolor()[0, :3], OKABE_ITO[2] / 255)


def test_object_flow_of_what_is_not_there_is_refused(frames, labels, maps, look):
    with pytest.raises(InputError, match="maps of one frame"):
        plots.object_flow([], frames, labels)
    with pytest.raises(InputError, match="got maps of frames .3, 4.;"):
        plots.object_flow([look, replace(look, query_frame=3)], frames, labels)
    with pytest.raises(InputError, match="got frames and labels of 4 frames for maps about frame 4"):
        plots.object_flow(maps, frames, labels[:4])
    with pytest.raises(InputError, match="no object to follow"):
        plots.object_flow(maps, frames, np.zeros_like(labels))


# Identities


def test_identities_are_compared_by_cosine():
    vectors = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 3, 3]])
    half = 2**-0.5
    expected = [[1, 0, 0], [0, 1, half], [0, half, 1]]
    assert np.allclose(identities.identity_similarities(vectors), expected)
    axes = identities.identity_similarity(vectors).axes[0]
    assert np.allclose(picture(axes), expected)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["bg", "1", "2"]
    assert axes.texts[5].get_text() == "0.71" and len(axes.texts) == 9
    assert axes.get_title() == "two objects: 0.71 on average, 0.71 to 0.71"


def test_identities_of_a_network_are_those_of_its_bank():
    network = tiny_aot()
    vectors = network.identity_bank.embed.weight.sum((2, 3)).T.detach()  # a patch covered by one identity, no bias
    similarities = identities.identity_similarities(network)
    assert similarities.shape == (6, 6)
    assert np.allclose(similarities, torch.cosine_similarity(vectors[:, None], vectors[None], dim=-1), atol=1e-6)


def test_many_identities_are_not_written_out():
    axes = identities.identity_similarity(torch.randn(31, 64, generator=torch.Generator().manual_seed(0))).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["bg", "5", "10", "15", "20", "25", "30"]
    assert not axes.texts


def test_a_network_without_identities_is_refused():
    with pytest.raises(InputError, match="Linear has no identity bank"):
        identities.identity_similarity(torch.nn.Linear(2, 2))


# One frame, and failures


def test_overlay_names_the_objects(frames, labels):
    figure = plots.show_mask(frames[0], labels[0])
    assert np.array_equal(picture(figure.axes[0]), overlay(frames[0], labels[0]))
    assert [text.get_text() for text in figure.legends[0].texts] == ["object 1", "object 2"]
    assert not plots.show_mask(frames[0], np.zeros_like(labels[0])).legends


def test_failures_come_worst_first(frames, labels):
    pred = labels.copy()
    pred[2][labels[2] == 2] = 0  # J = 0
    pred[3, :6][labels[3, :6] == 1] = 0  # object 1 loses 3 of its 6 rows
    left, right, *rest = (axes for axes in plots.failures(frames, labels, pred, n=2).axes if axes.images)
    assert left.get_title() == "frame 2, object 2: truth" and right.get_title() == "frame 2, object 2: found, J = 0.00"
    assert np.array_equal(picture(left), overlay(frames[2], np.where(labels[2] == 2, 2, 0)))
    assert np.array_equal(picture(right), frames[2])
    j = ((pred[3] == 1) & (labels[3] == 1)).sum() / (labels[3] == 1).sum()
    assert [axes.get_title() for axes in rest] == ["frame 3, object 1: truth", f"frame 3, object 1: found, J = {j:.2f}"]


def test_void_and_absent_objects_are_no_failures(frames):
    gt, pred = np.zeros((2, *frames.shape[:3]), np.uint8)
    gt[0, :4, :4], gt[0, 4:8, :4], pred[0, :8, :4] = 1, 255, 1  # right, and something under void
    pred[1, 0, 0] = 3  # found where nothing is
    figure = plots.failures(frames, gt, pred, n=9)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert [title for title in titles if "J =" in title] == [
        "frame 1, object 3: found, J = 0.00", "frame 0, object 1: found, J = 1.00",
    ]  # fmt: skip


def test_failures_that_cannot_be_shown_are_refused(frames, labels):
    with pytest.raises(InputError, match="of the same sizes"):
        plots.failures(frames, labels, labels[:3])
    with pytest.raises(InputError, match="n from 1 up"):
        plots.failures(frames, labels, labels, n=0)
    with pytest.raises(InputError, match="neither gt nor pred"):
        plots.failures(frames, np.zeros_like(labels), np.zeros_like(labels))


# Sparse attention


def drawn_cells(axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """The corners (n,4,2) and colours (n,4) of the cells that stand out in each frame."""
    return [
        (np.array([path.vertices[:4] for path in found.get_paths()]), found.get_facecolors())
        for found in axes.collections[1::2]
    ]


def test_reach_colours_each_cell_by_its_step():
    steps = np.full((2, 3, 4), -1)
    steps[0, 1, 2], steps[0, 1, 3], steps[1, 0, 0], steps[1, 2, 1] = 0, 1, 2, 2
    figure = plots.reach({"first": steps, "second": steps})
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("first", "second")
    (corners, colours), (_, later) = drawn_cells(first)
    assert np.allclose(colours[0, :3], 0) and len(later) == 2 and np.allclose(later[0], later[1])
    assert np.allclose(corners[1] - corners[0], corners[0, 1] - corners[0, 0])  # the next cell in x
    assert [text.get_text() for text in figure.legends[0].texts] == ["the cell", "layer 1", "layer 2"]
    assert [text.get_text() for text in first.texts] == ["t = 0", "t = 1"]


def test_reach_of_one_step_says_looks_at():
    steps = np.array([[[0, 1], [-1, -1]]])
    assert [text.get_text() for text in plots.reach({"": steps}).legends[0].texts] == ["the cell", "looks at"]


def test_reach_takes_names_of_layers():
    steps = np.array([[[0, 1], [2, -1]]])
    figure = plots.reach({"": steps}, names=["rows", "columns"])
    assert [text.get_text() for text in figure.legends[0].texts] == ["the cell", "rows", "columns"]


@pytest.mark.parametrize("steps", [{}, {"flat": np.zeros((3, 4), int)}, {"empty": np.zeros((0, 3, 4), int)}])
def test_reach_of_what_is_no_video_is_refused(steps):
    with pytest.raises(InputError, match="expected at least one array"):
        plots.reach(steps)


def test_affinity_shows_a_row_for_each_object(frames, labels):
    told = {name: np.random.default_rng(seed).random((3, *GRID)) for seed, name in enumerate(("own", "others"))}
    figure = plots.affinity(told, frames[1], labels[1])
    for k, name in enumerate(("background", "object 1", "object 2")):
        shown, *heats = figure.axes[3 * k : 3 * k + 3]
        only = np.where(labels[1] == k, k, 0) if k else labels[1]
        assert np.array_equal(picture(shown), overlay(frames[1], only))
        assert [axes.get_title() for axes in heats] == [f"own: {name}", f"others: {name}"]
        assert all(np.array_equal(picture(axes), told[kind][k]) for axes, kind in zip(heats, told, strict=True))


@pytest.mark.parametrize("shapes", [[], [(3, 4, 6), (2, 4, 6)], [(4, 6)]])
def test_affinities_of_different_shapes_are_refused(frames, labels, shapes):
    with pytest.raises(InputError, match="all of one"):
        plots.affinity({str(n): np.zeros(shape) for n, shape in enumerate(shapes)}, frames[0], labels[0])


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
        plots.attention(look, (2, 4), frames),
        plots.object_flow([look], frames, labels),
        identities.identity_similarity(torch.eye(4)),
        plots.show_mask(frames[0], labels[0]),
        plots.failures(frames, labels, np.roll(labels, 1, axis=0)),
        plots.reach({"all": np.zeros((2, 3, 4), int)}),
        plots.affinity({"own": np.zeros((3, *GRID))}, frames[0], labels[0]),
        plots.curve_figure([{"step": 0, "loss": 1.0, "J": 0.5}]),
    ]


def test_figures_are_white_pngs_that_pyplot_does_not_know(frames, labels, look):
    for figure in all_figures(frames, labels, look):
        with Image.open(io.BytesIO(figure._repr_png_())) as drawn:
            assert drawn.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
            assert "Software" not in drawn.info
    assert not plt.get_fignums()


def test_all_figures_are_all_that_the_module_offers(frames, labels, look):
    offered = {**vars(plots), **vars(identities)}.items()
    hints = {name: get_type_hints(made) for name, made in offered if inspect.isfunction(made)}
    makers = [name for name, of in hints.items() if of.get("return") is Figure and not name.startswith("_")]
    assert len(all_figures(frames, labels, look)) == len(makers)


def test_text_can_be_read_and_titles_lie_apart(frames, labels, look):
    for figure in all_figures(frames, labels, look):
        sizes = stored_sizes(figure._repr_png_())
        assert float(sizes["smallest text"]) >= 9 and sizes["titles that collide"] == ""


def test_frames_and_cells_are_enlarged(frames, labels, look):
    for figure in all_figures(frames, labels, look):
        sizes = stored_sizes(figure._repr_png_())
        assert float(sizes.get("pixel of a frame", 2)) >= 1.5 and float(sizes.get("cell", 6)) >= 6


# Their sizes


@pytest.fixture
def measured():
    figure = Picture(figsize=(4, 2))
    frame, cells = figure.subplots(1, 2)
    frame.imshow(np.zeros((10, 20, 3)))
    frame.axis("off")
    frame.set_title("a title as long as this one is")
    cells.imshow(np.zeros((5, 10)))
    cells.set_xlabel("small", fontsize=6)
    return figure


def test_sizes_are_those_of_what_is_drawn(measured):
    sizes = stored_sizes(png_bytes(measured, dpi=144))
    frame, cells = (axes.images[0].get_window_extent() for axes in measured.axes)  # at 100 dpi, the figure's own
    assert sizes["smallest text"] == "12.0"
    assert float(sizes["pixel of a frame"]) == pytest.approx(1.44 * frame.width / 20, rel=0.1)
    assert float(sizes["cell"]) == pytest.approx(1.44 * cells.width / 10, rel=0.1)
    width, height = map(int, sizes["smallest tile"].split(" x "))
    assert width == pytest.approx(2 * height, abs=2)


def test_labels_of_axes_that_are_off_do_not_count(measured):
    measured.axes[0].set_xlabel("never seen", fontsize=2)
    measured.axes[1].text(0, 0, "hidden", fontsize=2, visible=False)
    assert stored_sizes(png_bytes(measured, dpi=72))["smallest text"] == "6.0"


def test_titles_that_lie_on_one_another_are_named(measured):
    assert stored_sizes(png_bytes(measured))["titles that collide"] == ""
    measured.axes[1].set_title("another one as long as that")
    assert "another one" in stored_sizes(png_bytes(measured))["titles that collide"]


def test_the_extension_measures_every_figure():
    file = io.BytesIO()
    figure = Figure(figsize=(3, 2))
    figure.text(0.5, 0.5, "a word", fontsize=5)
    load_ipython_extension(None)
    try:
        figure.savefig(file, dpi=144, bbox_inches="tight")
    finally:
        unload_ipython_extension(None)
    assert stored_sizes(file.getvalue()) == {"smallest text": "10.0", "titles that collide": ""}
    figure.savefig(plain := io.BytesIO())
    assert stored_sizes(plain.getvalue()) == {}
