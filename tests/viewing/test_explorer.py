"""The page says what the attention maps say: its data, decoded, held against maps that are recorded beside it."""

import json
import logging
import re
from dataclasses import dataclass
from html import unescape

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from chromium import needs_chromium, quiet_page
from minivos import Clip, Tracker, create_model, explore, propagate, record_attention
from minivos.errors import InputError
from minivos.nn.attention import attend, window_index
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.nn.recording import at_frame, record
from minivos.synthetic.clips import render
from minivos.video.masks import VOID, screen_colours
from minivos.viewing import explorer, explorer_film
from minivos.viewing.cells import Cells, middle_of_largest_object
from minivos.viewing.explorer import with_words
from minivos.viewing.explorer_film import HIDDEN, choose_frames
from minivos.viewing.explorer_maps import LEVELS, decode, pool, unpack, with_mean
from minivos.viewing.page import beside, inside_html
from tiny import EveryFrameCounts, squares, tiny_aot

PATCH = 8


@dataclass(frozen=True)
class LookerSeen(Seen):
    cells: Tensor  # (B, N, C)


@dataclass
class LookerEntry(Entry):
    cells: Tensor  # (B, N, C)
    masks: Tensor  # (B, N, 1+K)


class Looker(VOSNetwork[LookerSeen, LookerEntry]):
    """A network that nobody knows: it reads all it keeps by two heads, and a window of the last for each object."""

    sizing, schedule = Sizing(PATCH), Schedule(every=2, previous=1)

    def __init__(self, max_objects: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 16, PATCH, stride=PATCH)
        self.max_objects = max_objects

    def encode(self, frame: Tensor) -> LookerSeen:
        return LookerSeen(size_of(frame), 9 * self.embed(self.normalise(frame)).flatten(2).mT)

    def read(self, seen: LookerSeen, memory: Memory[LookerEntry]) -> tuple[Tensor, LookerSeen]:
        past = memory.entries()
        most = max(entry.masks.shape[2] for entry in past)
        q = seen.cells.unflatten(2, (2, 8)).transpose(1, 2)
        k = torch.cat([entry.cells for entry in past], dim=1).unflatten(2, (2, 8)).transpose(1, 2)
        v = torch.cat([pad(entry.masks, (0, most - entry.masks.shape[2])) for entry in past], dim=1)
        grid, frames = (seen.size[1] // PATCH, seen.size[2] // PATCH), tuple(entry.frame for entry in past)
        masks = attend(q, k, v[:, None].expand(-1, 2, -1, -1), "read", (len(past), *grid), frames).mean(1)
        near, last = window_index(grid, 3), k[:, :1, -q.shape[2] :]
        scores = (q[:, :1, :, None] * last[:, :, near.clamp(min=0)]).sum(-1).masked_fill(near < 0, -torch.inf)
        for number in range(1, most):
            weights = (number * scores).softmax(-1)
            record(lambda rows, w=weights: (w[:, :, rows], near[rows]), "near1", (1, *grid), frames[-1:], object=number)
        with at_frame(past[0].frame):
            attend(k[:, :, : q.shape[2]], q, q, "back", (1, *grid), (memory.now,))
        return masks.mT.unflatten(2, grid).clamp(min=1e-4).log(), seen

    def memorize(self, seen: LookerSeen, masks: Tensor) -> LookerEntry:
        share = adaptive_avg_pool2d(masks, (seen.size[1] // PATCH, seen.size[2] // PATCH))
        return LookerEntry(seen.size, seen.cells, share.flatten(2).mT)


def clip_of(frames: int = 6, ids=(1, 2), size=(40, 56), first: int = 0, name: str = "squares") -> Clip:
    pictures, labels = squares(3, frames, size, ids)
    return Clip(pictures, {t: labels[t] for t in range(first, frames)}, name)


@pytest.fixture(scope="module")
def page() -> explorer.Explorer:
    return explore({"looker": Looker()}, clip_of(), frames=4, grid=(3, 4), heads="all")


def array(given: dict, place: list[int] | None, kind: type, shape: tuple[int, ...]) -> np.ndarray:
    return unpack(given["pack"], place, kind).reshape(shape)


def weights_of(given: dict, network: dict, each: dict) -> np.ndarray:
    """The weights of a map on all cells of its key frames, (heads, Nq, Nk), decoded as a page decodes them."""
    heads, queries, keys = each["heads"], int(np.prod(each["grid"])), int(np.prod(each["keyGrid"]))
    levels = array(given, each["weights"], np.uint8, (heads, queries, -1))
    weights = decode(levels, array(given, each["rowmax"], np.float32, (heads, queries))).numpy()
    index = index_of(given, network, each)
    if index is None:
        return weights
    dense = np.zeros((heads, queries, keys))
    for row, near in enumerate(index):
        dense[:, row, near[near >= 0]] = weights[:, row, near >= 0]
    return dense


def index_of(given: dict, network: dict, each: dict) -> np.ndarray | None:
    told = each if each["same"] is None else network["maps"][each["same"]]
    if told["index"] is None:
        return None
    return array(given, told["index"], np.int32, (int(np.prod(each["grid"])), -1)).cumsum(axis=0)


def recorded(model: VOSNetwork, clip: Clip, now: int) -> list:
    """The maps of one step, on their own grids."""
    tracker, start = Tracker(model), min(clip.masks)
    for t in range(start, now):
        tracker.step(clip.frames[t], clip.masks[t] if t == start else None)
    with record_attention() as maps:
        tracker.step(clip.frames[now])
    return list(maps)


def in_page(page: explorer.Explorer, step: int) -> list[dict]:
    return [each for each in page.given["networks"][0]["maps"] if each["step"] == step]


# The numbers


def test_weights_of_the_page_are_those_of_the_pooled_maps(page):
    network = page.given["networks"][0]
    for step in (2, 3, 5):
        told, maps = in_page(page, step), recorded(Looker(), clip_of(), step)
        assert [each["name"] for each in told] == [look.name for look in maps]
        for each, look in zip(told, maps, strict=True):
            assert each["pooled"] == (2, 2) and (each["fullGrid"], each["fullKeyGrid"]) == ((5, 7), (5, 7))
            small = with_mean(pool(look, 2, 2))
            exact, found = small.dense()[0].numpy(), weights_of(page.given, network, each)
            largest = exact.max(-1, keepdims=True)
            assert np.abs(np.sqrt(exact / largest) - np.sqrt(found / largest)).max() <= 1 / (2 * LEVELS) + 1e-5
            assert (tuple(each["keyFrames"]), each["frame"]) == (look.key_frames, look.query_frame)
            assert (each["grid"], each["keyGrid"]) == (small.query_grid, small.key_grid)


def test_each_map_says_its_heads_its_kind_and_its_object(page):
    told = {(each["name"], each["object"]): each for each in in_page(page, 5)}
    assert set(told) == {("read", None), ("near1", 1), ("near1", 2), ("back", None)}
    assert told["read", None]["headNames"] == ["mean", "head 1", "head 2"]
    assert told["near1", 1]["headNames"] == ["mean"] and told["near1", 1]["kind"] == "near"
    assert (told["back", None]["frame"], told["back", None]["keyFrames"]) == (0, (5,))


def test_an_index_that_comes_again_is_stored_once(page):
    network = page.given["networks"][0]
    near = [i for i, each in enumerate(network["maps"]) if each["name"] == "near1"]
    stored = [i for i in near if network["maps"][i]["index"] is not None]
    assert stored == near[:1]
    assert {network["maps"][i]["same"] for i in near[1:]} == {near[0]}
    assert all(each["index"] is None and each["same"] is None for each in network["maps"] if each["name"] != "near1")


def test_labels_truth_and_pictures_are_those_of_the_frames(page):
    given, clip = page.given, clip_of()
    assert [(frame["number"], frame["shown"]) for frame in given["frames"]] == [
        (0, True), (1, False), (2, True), (3, True), (4, False), (5, True)
    ]  # fmt: skip
    shape = (6, *given["size"])
    found = array(given, given["networks"][0]["labels"], np.uint8, shape)
    tracker = Tracker(Looker())
    for t, labels in enumerate(found):
        np.testing.assert_array_equal(labels, tracker.step(clip.frames[t], clip.masks[0] if t == 0 else None))
    np.testing.assert_array_equal(array(given, given["truth"], np.uint8, shape), np.stack(list(clip.masks.values())))
    assert all(frame["picture"].startswith("data:image/webp;base64,") for frame in given["frames"])
    assert (given["objects"], given["colours"]) == ([1, 2], screen_colours()[:3].tolist())


def test_truth_that_is_not_known_is_void_or_not_there():
    pictures, labels = squares(3, 3)
    partly = explore(Looker(), Clip(pictures, {0: labels[0], 2: labels[2]}), frames=3).given
    truth = array(partly, partly["truth"], np.uint8, (3, *partly["size"]))
    assert (truth[1] == VOID).all() and (truth[2] == labels[2]).all()
    assert explore(Looker(), Clip(pictures, {0: labels[0]}), frames=3).given["truth"] is None


def test_a_clip_whose_first_mask_comes_late_begins_there():
    clip = clip_of(first=2)
    given = explore(Looker(), clip, frames=3, heads="mean", grid=(5, 7)).given
    assert [frame["number"] for frame in given["frames"] if frame["shown"]] == [2, 4, 5]
    told = [each for each in given["networks"][0]["maps"] if each["step"] == 4]
    for each, look in zip(told, recorded(Looker(), clip, 4), strict=True):
        assert each["frame"] == look.query_frame + 2 and each["keyFrames"] == tuple(t + 2 for t in look.key_frames)


def test_objects_have_the_labels_of_the_mask_even_in_groups():
    clip = clip_of(frames=3, ids=(3, 7, 9))
    given = explore(Looker(max_objects=2), clip, frames=[2], heads="mean").given
    told = [(each["name"], each["object"]) for each in given["networks"][0]["maps"]]
    assert told == [("read", None), ("near1", 3), ("near1", 7), ("back", None)] + [
        ("read (2)", None), ("near1", 9), ("back (2)", None)
    ]  # fmt: skip
    assert given["objects"] == [3, 7, 9]


def test_only_some_maps_are_kept_and_the_others_named():
    page = explore(Looker(), clip_of(), frames=3, only="b*")
    (network,) = page.given["networks"]
    assert {each["name"] for each in network["maps"]} == {"back"}
    assert "Maps that are not called b* are left out: near1, read." in network["note"]
    assert "back" in page.poster.alt


# Points and identities


def test_points_are_those_of_the_clip_at_the_middle_of_each_cell(monkeypatch):
    clip = render(5, frames=4, size=(64, 96), scenario="plain")
    network, size = tiny_aot(align_corners=True), (64, 96)
    for shown_size, scale in ((size, 1), ((32, 48), 0.5)):
        monkeypatch.setattr(explorer_film, "SHORT_SIDE", min(shown_size))
        given = explore({"aot": network}, clip, frames=[3], side=33).given
        assert given["size"] == shown_size and given["points"]
        for each in given["points"]:
            cells = Cells(each["fullGrid"], size, True, each["pooled"])
            y, x = np.rint(cells.centres()).astype(int).reshape(-1, 2).T
            exact = clip.correspondence(each["frame"], each["memory"])[y, x]
            told = array(given, each["points"], np.int16, (len(y), 2))
            shows = np.isfinite(exact).all(-1)
            assert (told[~shows] == HIDDEN).all() and shows.any()
            off = told[shows] / 8 - ((exact[shows] + 0.5) * scale - 0.5).clip(min=0)
            assert np.abs(off).max() <= 1 / 16 + 1e-5
            np.testing.assert_array_equal(cells.at(cells.centres()), np.moveaxis(np.indices(each["grid"]), 0, -1))
    assert {(each["frame"], each["memory"]) for each in given["points"]} == {(3, 0), (3, 2)}


@needs_chromium
def test_a_browser_finds_the_same_weights(page, browser):
    maps = recorded(Looker(), clip_of(), 5)
    code = (
        explorer.script()
        + """
    const root = document.querySelector("main")
    await openExplorer(root, GIVEN, { hash: false, chosen: state => { window.state = state } })
    """.replace("GIVEN", inside_html(with_words(page.given)))
    )
    with quiet_page(browser, viewport={"width": 1000, "height": 900}) as tab:
        body = f"<main class='explorer'>{beside('explorer.html')}</main>"
        tab.set_content(f"<style>{beside('explorer.css')}</style>{body}<script type='module'>{code}</script>")
        tab.wait_for_function("window.state")
        tab.locator(".slider").press("End")  # the page begins in the middle
        tab.wait_for_function("state.frame === 5")
        for name, head in (("read", "mean"), ("read", "head 2"), ("near1", "mean")):
            tab.select_option("[data-choice=map]", name)
            if name == "read":
                tab.select_option("[data-choice=head]", str(["mean", "head 1", "head 2"].index(head)))
            box = tab.locator("canvas.asking").bounding_box()
            tab.locator("canvas.asking").click(position={"x": 0.5 * box["width"], "y": 0.7 * box["height"]})
            tab.wait_for_function("([map, head]) => state.map === map && state.head === head", arg=[name, head])
            state = tab.evaluate("window.state")
            look = next(m for m in maps if m.name == name and m.object == state["object"])
            small = with_mean(pool(look, 2, 2))
            row = state["cell"][0] * small.query_grid[1] + state["cell"][1]
            exact = small.dense()[0, ["mean", "head 1", "head 2"].index(head), row].numpy()
            off = np.sqrt(exact / exact.max()) - np.sqrt(np.array(state["weights"]) / exact.max())
            assert np.abs(off).max() <= 1 / (2 * LEVELS) + 1e-4
            assert (state["frame"], tuple(state["keyGrid"])) == (5, small.key_grid)


def test_a_clip_that_was_not_rendered_has_no_points(page):
    assert page.given["points"] is None


class WithIdentities(Looker):
    """Three identities beside that of the background."""

    vectors = torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 3, 3, 0], [0, 0, 0, 1]])

    def identity_vectors(self) -> dict[str, Tensor]:
        return {"bank": self.vectors, "r*": 2 * self.vectors}


def test_identities_are_told_as_cosines_and_as_products_of_what_maps_carry(page):
    (network,) = explore(WithIdentities(), clip_of(ids=(4, 9)), frames=2).given["networks"]
    used = WithIdentities.vectors[:3]
    bank = network["identities"]["bank"]
    torch.testing.assert_close(torch.tensor(bank), torch.tensor([[1, 0, 0], [0, 1, 0.5**0.5], [0, 0.5**0.5, 1]]))
    torch.testing.assert_close(torch.tensor(network["identities"]["maps"]["read"]), 4 * used @ used.T)
    assert page.given["networks"][0]["identities"] is None


def test_objects_of_a_second_group_have_the_identities_of_the_first():
    page = explore(WithIdentities(max_objects=2), clip_of(ids=(3, 7, 9)), frames=2)
    (network,) = page.given["networks"]
    bank, maps = network["identities"]["bank"], network["identities"]["maps"]
    assert bank[1] == bank[3] and bank[1] != bank[2]
    first, second = maps["read"], maps["read (2)"]  # what is of the other memory is background to a map
    assert first[3] == first[0] != first[1] and second[1] == second[2] == second[0] != second[3]
    assert "Objects in another memory, whose maps are marked (2): 9." in network["note"]


def test_fewer_identity_vectors_than_objects_are_refused(monkeypatch):
    monkeypatch.setattr(WithIdentities, "vectors", WithIdentities.vectors[:2])
    with pytest.raises(InputError, match="M of 2 or more"):
        explore(WithIdentities(), clip_of(), frames=2)


# Size


def test_the_same_input_gives_the_same_bytes_and_another_another_key(page):
    again = explore({"looker": Looker()}, clip_of(), frames=4, grid=(3, 4), heads="all")
    assert again.html == page.html and re.fullmatch("[0-9a-f]{16}", page.given["key"])
    assert explore({"looker": Looker()}, clip_of(), frames=3, grid=(3, 4)).given["key"] != page.given["key"]


@pytest.mark.parametrize("small, heads", [(3e6, 3), (1000, 1)])
def test_heads_stay_as_long_as_the_page_is_small(monkeypatch, small, heads):
    monkeypatch.setattr(explorer, "SMALL", small)
    (network,) = explore(Looker(), clip_of(), frames=4).given["networks"]
    assert max(each["heads"] for each in network["maps"]) == heads
    note = "Of attention with up to 2 heads the mean is shown."
    assert (note in network["note"]) == (heads == 1)


def test_dropping_heads_midway_gives_the_page_of_their_mean(monkeypatch):
    mean = explore(Looker(), clip_of(), frames=5, heads="mean")
    monkeypatch.setattr(explorer, "SMALL", 1200)
    assert explore(Looker(), clip_of(), frames=5).html == mean.html


def test_a_page_that_is_too_large_says_what_would_help(monkeypatch, page, caplog):
    monkeypatch.setattr(explorer, "LARGE", len(page.html) - 1)
    with caplog.at_level(logging.WARNING):
        explore({"looker": Looker()}, clip_of(), frames=4, grid=(3, 4), heads="all")
    assert "may open slowly" in caplog.text and "the mean of the heads, about" in caplog.text
    monkeypatch.setattr(explorer, "TOO_LARGE", len(page.html) - 1)
    networks = {"one": Looker(), "two": Looker()}
    with pytest.raises(InputError, match=r"mean of the heads.*no (one|two), about.*3 frames instead of 4.*only='read'"):
        explore(networks, clip_of(), frames=4, grid=(3, 4), heads="all")


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(explorer_film, "SHORT_SIDE", 20)
    (network,) = explore(Looker(), clip_of(), frames=2, grid=(2, 3)).given["networks"]
    assert network["note"] == [
        "Of the 6 frames that were followed 2 are shown.",
        "Pictures have 28x20 pixels here, and 56x40 in the clip.",
        "Of a grid of 5 x 7 cells, each 3 x 3 are one here.",
    ]


# Where it stands


def test_a_notebook_shows_a_picture_in_words_and_below_it_the_page(page):
    html = page._repr_html_()
    (alt,) = re.findall(r'^<img src="data:image/png;base64,[^"]+" alt="([^"]+)">\n<iframe ', html)
    assert "Where looker looks from cell" in alt and "by read: " in alt and "% at frame 0" in alt
    (inside,) = re.findall(r'<iframe srcdoc="([^"]*)"', html)
    assert unescape(inside) == page.html
    assert repr(page) == "Explorer('squares', 4 frames, maps: {'looker': 12})"


def test_the_poster_shows_the_map_that_looks_at_most_frames(page):
    look, exact = page.poster.look, recorded(Looker(), clip_of(), 5)[0]
    ((y, x),) = look.queries
    torch.testing.assert_close(look.look_from(y, x).mean(0), exact.look_from(y, x).mean(0))
    before = propagate(Looker(), clip_of())[4]
    _, pixel = middle_of_largest_object(before)
    assert (y, x) == tuple(Cells((5, 7), (40, 56)).at(np.array(pixel)))


def test_a_page_holds_its_data_and_loads_nothing(page):
    (text,) = re.findall(r'<script type="application/json" class="given">(.*?)</script>', page.html)
    inside = json.loads(text)
    words = inside.pop("words")
    assert inside == json.loads(json.dumps(page.given)) and words["tours"]
    assert "default-src 'none'" in page.html
    assert not re.search(r'(src|href)="(?!data:)', page.html)
    without = explore(Looker(), clip_of(), frames=2, tours=False).html
    assert '"tours": {}' in without


def test_no_name_ends_an_element():
    clip = clip_of(name="</script><b>bold & 'old'")
    html = explore({"</script>": Looker()}, clip, frames=2).html
    assert html.count("</script>") == 2 and "<b>bold" not in html


def test_it_is_saved_whole_and_replaces_pages_of_its_kind_only(page, tmp_path):
    path = tmp_path / "new" / "page.html"
    page.save(path)
    assert path.read_text("utf8") == page.html
    page.save(path)
    path.write_text("<title>mine</title>")
    for call in (lambda: page.save(path), lambda: explore(Looker(), clip_of(), path)):
        with pytest.raises(InputError, match="no page of ours"):
            call()
    assert path.read_text() == "<title>mine</title>"
    assert explore(Looker(), clip_of(), tmp_path / "other.html", frames=2).html == (tmp_path / "other.html").read_text()


# What cannot be


@pytest.mark.parametrize(
    "change, words",
    [
        ({"models": EveryFrameCounts(3, Schedule())}, "records no attention"),
        ({"models": "aot_huge"}, "no model 'aot_huge'"),
        ({"models": "aot_t"}, "No trained weights come with aot_t"),
        ({"models": []}, "one or more"),
        ({"models": 7}, "got a int as network"),
        ({"models": {"conv": nn.Conv2d(3, 3, 1)}}, "got a Conv2d as network"),
        ({"models": [Looker(), Looker()]}, r"give \{name: network\}"),
        ({"clip": np.zeros((2, 40, 56, 3), np.uint8)}, "got a ndarray as clip"),
        ({"clip": Clip(clip_of().frames)}, "without a mask"),
        ({"clip": clip_of(frames=1)}, "a frame after it"),
        ({"clip": clip_of(first=5)}, "ends with frame 5"),
        ({"clip": Clip(clip_of().frames, {0: np.zeros((40, 56), np.uint8)})}, "holds no object"),
        ({"only": "block*"}, "got only='block.'.*back, near1, read"),
        ({"only": 3}, "name of maps"),
        ({"heads": "some"}, "auto, all, mean"),
        ({"grid": 12}, r"\(H, W\) in cells"),
        ({"grid": (0, 4)}, r"\(H, W\) in cells"),
        ({"side": "small"}, "got side='small'"),
        ({"out": "page.png"}, "name of an .html file"),
        *(({"frames": frames}, "got frames=") for frames in (1, True, 2.5, "12", [], [0], [0, 6], [2, 2], [-1, 2])),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_is_expected(change, words):
    arguments = {"models": Looker(), "clip": clip_of(), "frames": 2} | change
    with pytest.raises(InputError, match=words):
        explore(**arguments)


class Placeless(Looker):
    """It does not say of which frame its map is."""

    def read(self, seen: LookerSeen, memory: Memory[LookerEntry]) -> tuple[Tensor, LookerSeen]:
        k = memory.entries()[0].cells[:, None]
        attend(seen.cells[:, None], k, k, "read", (1, 5, 7), (-1,))
        return super().read(seen, memory)


class Flat(Looker):
    """It does not say on which grid its cells stand."""

    def read(self, seen: LookerSeen, memory: Memory[LookerEntry]) -> tuple[Tensor, LookerSeen]:
        k = memory.entries()[0].cells[:, None].repeat(1, 1, 2, 1)
        attend(seen.cells[:, None], k, k, "read")
        return super().read(seen, memory)


@pytest.mark.parametrize("network", [Placeless, Flat])
def test_a_map_without_geometry_is_refused(network):
    with pytest.raises(InputError, match="give `attend` its key_grid and frames"):
        explore(network(), clip_of(), frames=2)


def test_an_error_of_the_network_is_not_taken_for_missing_maps():
    class Broken(Looker):
        def memorize(self, seen, masks):
            if hasattr(self, "before"):
                raise RuntimeError("out of memory")
            self.before = True
            return super().memorize(seen, masks)

    with pytest.raises(RuntimeError, match="out of memory"):
        explore(Broken(), clip_of(frames=2), frames=2)


@pytest.mark.parametrize(
    "frames, numbers",
    [(2, [2, 9]), (3, [2, 6, 9]), (99, list(range(2, 10))), ([9, 4], [4, 9]), (range(2, 5), [2, 3, 4]), ((3,), [3])],
)
def test_frames_are_chosen_by_their_number_or_how_many(frames, numbers):
    assert choose_frames(frames, 2, 9) == numbers


def test_networks_with_weights_go_by_their_names():
    clip = clip_of(frames=2)
    page = explore(["aot_mini", "sst_mini"], clip, frames=2, side=32, heads="mean", tours=False)
    assert [(each["name"], each["paper"]) for each in page.given["networks"]] == [
        ("aot_mini", "aot"),
        ("sst_mini", "sst"),
    ]
    (network,) = explore(create_model("sst_mini"), clip, frames=2, side=32).given["networks"]
    assert network["name"] == "SST"
    (lite,) = explore("aot_lite", clip, frames=2, side=32, heads="mean").given["networks"]
    assert "The weights of aot_lite are for non-commercial use only." in lite["note"]
