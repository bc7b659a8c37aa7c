"""The report: cards hold what was measured, and the page is one valid file that holds the cards."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from chromium import needs_chromium, quiet_page
from minivos.errors import InputError
from minivos.evaluation import report
from minivos.evaluation.evaluate import Evaluation
from minivos.evaluation.report import Card, build_cards, film, write_report
from minivos.models import create_model
from minivos.propagation import propagate
from minivos.video.baselines import block_matching, repeat_first_mask
from minivos.video.clip import Clip
from minivos.video.masks import overlay

HEIGHT, WIDTH, FRAMES = 32, 48, 6
VOID_ELEMENTS = {"meta", "img"}
EXPLORER = "explore-two_boxes_noise.html"


def moving_boxes() -> np.ndarray:
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for t in range(FRAMES):
        labels[t, 4:14, 4 + 2 * t : 14 + 2 * t] = 1
        labels[t, 16:30, 30 - 2 * t : 44 - 2 * t] = 2
    return labels


@pytest.fixture(scope="module")
def clip():
    noise = np.random.default_rng(0).integers(0, 100, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames = noise + 60 * moving_boxes()[..., None]
    return Clip(frames, dict(enumerate(moving_boxes())), name="two <boxes> & noise")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("aot_mini")


@pytest.fixture(scope="module")
def card(clip, model):
    (card,) = build_cards({"aot": model}, [clip], ["aot"], side=HEIGHT)
    return card


@pytest.fixture(scope="module")
def sparse():
    torch.manual_seed(0)
    return create_model("sst_mini")


def plain_card(
    clip: Clip, name: str, scores: dict[str, float], fps: float, frames: int = FRAMES, network: str = "network"
) -> Card:
    labels = moving_boxes()[:frames]
    return Card(name, clip.frames[:frames], labels, {network: labels}, scores, {network: fps})


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where an element is closed that was not the last one opened."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open, self.images, self.frames, self.text = [], [], [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "iframe":
            self.frames.append(dict(attrs))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def picture_in(image: dict[str, str]) -> Image.Image:
    kind, content = re.fullmatch(r"data:image/(\w+);base64,(.+)", image["src"]).groups()
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert picture.format.lower() == kind
    return picture


# Cards


def test_card_holds_what_was_measured(card, clip, model):
    truth = moving_boxes()
    prediction = propagate(model, clip, side=HEIGHT)
    assert np.array_equal(card.predictions["aot"], prediction)
    answers = {
        "aot": prediction,
        "first mask repeated": repeat_first_mask(clip),
        "block matching": block_matching(clip),
    }
    assert card.scores == {name: Evaluation.of({"": (truth, labels)}).mean for name, labels in answers.items()}
    assert card.fps["aot"] > 0


def test_card_shows_several_networks_side_by_side(clip, model, sparse):
    (card,) = build_cards({"aot": model, "sst": sparse}, [clip], side=HEIGHT)
    assert list(card.predictions) == list(card.fps) == ["aot", "sst"] == list(card.scores)[:2]
    assert np.array_equal(card.predictions["sst"], propagate(sparse, clip, side=HEIGHT))
    assert card.explorer is None


def test_a_card_explores_the_networks_that_were_named(card, clip, model, sparse):
    assert [network["name"] for network in card.explorer.given["networks"]] == ["aot"]
    assert card.explorer.given["title"] == clip.name
    shown = [frame["number"] for frame in card.explorer.given["frames"] if frame["shown"]]
    assert len(shown) == report.SHOWN and {0, FRAMES - 1} <= set(shown)
    (both,) = build_cards({"aot": model, "sst": sparse}, [clip], ["sst"], side=HEIGHT)
    assert [network["name"] for network in both.explorer.given["networks"]] == ["sst"]


def test_what_a_small_explorer_leaves_out_is_told_on_it(clip):
    (card,) = build_cards({"sitvos": create_model("sitvos_mini")}, [clip], ["sitvos"], side=2 * HEIGHT)
    (network,) = card.explorer.given["networks"]
    assert {look["name"] for look in network["maps"]} == {"query_self", "query_asks_memory", "last_read"}
    assert "left out: memory_asks_query, memory_self." in " ".join(network["note"])
    assert f"Of the {FRAMES} frames that were followed {report.SHOWN} are shown." in network["note"]


def test_clip_without_all_masks_is_refused(model, clip):
    with pytest.raises(InputError, match="no mask for frame 1 .5 of 6"):
        build_cards({"aot": model}, [Clip(clip.frames, {0: clip.masks[0]})])


def test_card_of_unequal_shapes_is_refused(clip):
    with pytest.raises(InputError, match="half has frames, truth"):
        Card("half", clip.frames, moving_boxes(), {"x": moving_boxes()[:, ::2]}, {}, {})


# Animation


def test_film_shows_truth_networks_and_mistakes(clip, monkeypatch):
    monkeypatch.setattr(report, "QUALITY", 90)  # noise is nothing that WebP is made for
    truth = moving_boxes()
    one = np.where(truth == 1, truth, 0)  # object 2 is missed
    card = Card("", clip.frames, truth, {"one": one, "other": truth}, {}, {})
    animation = Image.open(io.BytesIO(film(card)))
    gap = report.GAP
    assert (animation.n_frames, animation.size) == (FRAMES, (3 * WIDTH + 2 * gap, 2 * HEIGHT + gap))
    animation.seek(3)
    shown = np.asarray(animation.convert("RGB")).astype(int)
    rows, columns = (range(0, size, cell + gap) for size, cell in zip(shown.shape, (HEIGHT, WIDTH), strict=False))
    above, below = ([shown[y : y + HEIGHT, x : x + WIDTH] for x in columns] for y in rows)
    missed = truth[3] == 2
    drawn, bare = (overlay(clip.frames[3], labels[3])[missed] for labels in (truth, one))

    def is_drawn(panel: np.ndarray) -> bool:
        return abs(panel[missed] - drawn).mean() < abs(panel[missed] - bare).mean()

    assert [is_drawn(panel) for panel in above] == [True, False, True]
    assert not is_drawn(below[0]) and abs(below[0] - clip.frames[3]).mean() < 20
    assert below[1][missed].mean() > 230 and below[1][~missed].mean() < 130
    assert below[2].mean() < 130


def test_film_of_a_long_clip_leaves_frames_out_and_lasts_as_long(clip, monkeypatch):
    def durations(frames: int) -> list[int]:
        card = plain_card(clip, "", {}, 1, frames=frames)
        animation = Image.open(io.BytesIO(film(card)))
        times = []
        for t in range(animation.n_frames):
            animation.seek(t)
            animation.load()
            times.append(animation.info["duration"])
        return times

    assert durations(6) == [125] * 5 + [750]
    monkeypatch.setattr(report, "MOVING", 3)
    assert durations(6) == [250, 250, 875] == durations(5)


# Page


@pytest.fixture(scope="module")
def source(card, clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    second = plain_card(clip, "second", dict.fromkeys(card.scores, 0.1234), 12.5, network="aot")
    write_report(path, [card, second], {"model": "<aot>"})
    assert sorted(file.name for file in path.parent.iterdir()) == [EXPLORER, "report.html"]
    return path.read_text(encoding="utf-8")


def test_page_is_one_file_that_asks_for_nothing(source):
    assert source.startswith("<!doctype html>")
    assert not re.search(r"https?:|//\w+\.|<script src|<link|@import|url\(", re.sub(r"base64,[^\"]+", "", source))
    for theme in ("prefers-color-scheme: dark", "width=device-width", 'lang="en"'):
        assert theme in source


def test_page_holds_every_clip_number_and_fact(source, card):
    text = " ".join("".join(Page(source).text).split())
    for expected in (card.name, "second", "model", "<aot>", "0.12", "12.5"):
        assert expected in text
    for method, score in card.scores.items():
        assert f"{method} {score:.2f}" in text


def test_pictures_decode_and_have_a_text(source):
    images = Page(source).images
    assert [picture_in(image).format for image in images] == ["WEBP", "WEBP"]
    assert picture_in(images[0]).n_frames == FRAMES
    assert all(len(image["alt"]) > 40 for image in images)


def test_an_explorer_lies_beside_the_page_and_is_read_when_seen(source):
    (frame,) = Page(source).frames
    assert frame["data-src"] == EXPLORER and "src" not in frame and len(frame["title"]) > 20
    assert f'<a href="{EXPLORER}"' in source


def test_explorers_of_clips_with_like_names_have_files_of_their_own(tmp_path):
    names = ["a b", "a/b", "a_b", "c"]
    files = report.check_pages(tmp_path / "report.html", names)
    assert [file.name for file in files] == [f"explore-{name}.html" for name in ("a_b", "a_b-2", "a_b-3", "c")]
    assert {file.parent for file in files} == {tmp_path}


def test_no_page_of_others_is_replaced(card, tmp_path):
    (tmp_path / EXPLORER).write_text("<title>my year</title>")
    with pytest.raises(InputError, match=f"{EXPLORER} is no page of ours"):
        write_report(tmp_path / "report.html", [card], {})
    assert [file.name for file in tmp_path.iterdir()] == [EXPLORER]
    assert "my year" in (tmp_path / EXPLORER).read_text()


@needs_chromium
def test_from_disk_an_explorer_opens_when_it_comes_into_view(card, tmp_path, browser):
    write_report(tmp_path / "report.html", [card], {str(i): "line" for i in range(200)})
    with quiet_page(browser, viewport={"width": 900, "height": 500}, offline=True) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        page.wait_for_timeout(300)
        assert [url for url in asked if EXPLORER in url] == []
        assert page.frame_locator("iframe").locator("canvas").count() == 0
        page.locator("iframe").scroll_into_view_if_needed()
        explorer = page.frame_locator("iframe")
        explorer.locator(".facts p").first.wait_for()
        assert explorer.locator("[data-choice=net]").input_value() == "aot"
        explorer.locator("canvas.asking").press("f")
        explorer.locator(".card.flow").wait_for()


def test_summary_ends_with_means_and_marks_the_best(clip, tmp_path):
    cards = [
        plain_card(clip, "a", {"network": 0.8, "other": 0.5}, fps=2, frames=6),  # 3 seconds
        plain_card(clip, "b", {"network": 0.4, "other": 0.5}, fps=4, frames=4),  # 1 second
    ]
    write_report(tmp_path / "page.html", cards, {})
    source = (tmp_path / "page.html").read_text()
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', source)
    assert [(clip, *cells.split("</td><td>")) for clip, cells in rows] == [
        ("a", "<b>0.80</b>", "0.50"),
        ("b", "0.40", "<b>0.50</b>"),
        ("mean of the clips", "<b>0.60</b>", "0.50"),
        ("a", "2.0"),
        ("b", "4.0"),
        ("mean of the clips", "2.5"),
    ]


def test_a_report_that_cannot_be_is_not_begun(clip, tmp_path):
    one, other = (plain_card(clip, name, {name: 0.5}, 1) for name in ("x", "y"))
    with pytest.raises(InputError, match="got 0 cards"):
        write_report(tmp_path / "page.html", [], {})
    with pytest.raises(InputError, match=r"\['x', 'y'\]"):
        write_report(tmp_path / "page.html", [one, other], {})
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path / "missing" / "page.html", [one], {})
    assert not list(tmp_path.iterdir())
