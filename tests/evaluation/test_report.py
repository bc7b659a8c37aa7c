"""The report: cards hold what was measured, and the page is one valid file that holds the cards."""

import base64
import io
import re
from contextlib import contextmanager
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from minivos.errors import InputError
from minivos.evaluation import report
from minivos.evaluation.evaluate import Evaluation
from minivos.evaluation.report import Card, build_cards, film, middle_of_largest_object, weight_on_object, write_report
from minivos.models import create_model
from minivos.nn.recording import AttentionMap, record_attention
from minivos.propagation import propagate
from minivos.video.baselines import block_matching, repeat_first_mask
from minivos.video.clip import Clip
from minivos.video.masks import overlay

HEIGHT, WIDTH, FRAMES = 32, 48, 6
VOID_ELEMENTS = {"meta", "img"}


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
    (card,) = build_cards({"aot": model}, [clip], side=HEIGHT)
    return card


@pytest.fixture(scope="module")
def sparse():
    torch.manual_seed(0)
    return create_model("sst_mini")


def plain_card(
    clip: Clip, name: str, scores: dict[str, float], fps: float, frames: int = FRAMES, network: str = "network"
) -> Card:
    labels = moving_boxes()[:frames]
    return Card(name, clip.frames[:frames], labels, {network: labels}, scores, {network: fps}, {})


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where an element is closed that was not the last one opened."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open, self.images, self.text = [], [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
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
    looks = [re.match(r"Where (\w+) looks, ([\w/]+):", sentence).groups() for sentence in card.looks]
    assert looks == [("aot", "block2/long_term"), ("aot", "block2/short_term"), ("sst", "layer2")]


def test_looks_are_those_of_one_pixel_of_the_largest_object(card):
    (long, long_figure), (short, short_figure) = card.looks.items()
    assert "block2/long_term" in long and "block2/short_term" in short
    assert "one pixel of object 2 in frame 4" in long
    assert long_figure.axes[0].get_title() == "frame 4 asks"
    assert long_figure.axes[1].get_title().startswith("frame 0: ")
    assert [axes.get_title() for axes in short_figure.axes[:2]] == ["frame 4 asks", "frame 3: 100% of the weight"]
    assert "block2" in long_figure.get_suptitle()


def test_an_object_that_left_is_asked_about_where_it_was_last_seen(model, clip):
    truth = moving_boxes()
    truth[3:] = 0
    looks = report.look_at_attention("aot", model, clip.frames, truth, side=32)
    assert len(looks) == 2 and all("in frame 2;" in sentence for sentence in looks)


def test_clip_without_all_masks_is_refused(model, clip):
    with pytest.raises(InputError, match="no mask for frame 1 .5 of 6"):
        build_cards({"aot": model}, [Clip(clip.frames, {0: clip.masks[0]})])


def test_card_of_unequal_shapes_is_refused(clip):
    with pytest.raises(InputError, match="half has frames, truth"):
        Card("half", clip.frames, moving_boxes(), {"x": moving_boxes()[:, ::2]}, {}, {}, {})


def test_middle_lies_on_the_largest_object():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:5, 2:5] = 1
    labels[6:19, 6:19] = 7
    labels[8:17, 8:17] = 0  # object 7 is a frame around nothing
    labels[:, 20:] = 255
    object_id, (y, x) = middle_of_largest_object(labels)
    assert object_id == 7 and labels[y, x] == 7
    labels[8:17, 8:17] = 7
    assert middle_of_largest_object(labels) == (7, (12, 12))


def test_weight_on_object_counts_cells_by_what_the_object_covers():
    weights = torch.zeros(1, 2, 6, 12)
    weights[0, 0, 1, 7] = 1  # head 0 looks at cell (0, 1) of the second key frame
    weights[0, 1, 1, 0] = 1  # head 1 at cell (0, 0) of the first
    look = AttentionMap("toy", weights, (2, 3), (2, 2, 3), key_frames=(0, 2), query_frame=3)
    mask = np.zeros((4, 8, 12), bool)
    mask[2, :4, 4:6] = True  # half of that cell of 4x4 pixels
    assert weight_on_object(look, (0, 1), mask) == pytest.approx(0.5 * 0.5)
    aligned = weight_on_object(look, (0, 1), mask, align_corners=True)  # its cell has columns 3 to 8, of which 2
    assert aligned == pytest.approx(0.5 * 2 / 6)


def test_where_each_object_has_maps_of_its_own_those_of_the_crossed_one_are_shown(clip):
    truth = np.choose(moving_boxes(), np.array([0, 7, 3], np.uint8))  # the larger box is object 3, the first of two
    (sentence,) = report.look_at_attention("hst", create_model("hst_mini"), clip.frames, truth, side=HEIGHT)
    assert "hst looks, stage1: the cross is one pixel of object 3 in" in sentence


def test_of_the_reads_of_memory_the_last_of_each_kind_is_shown():
    def look(name: str, past: int, now: int = 3, about: int | None = None) -> AttentionMap:
        return AttentionMap(name, torch.ones(1, 1, 1, 1), (1, 1), (1, 1, 1), (past,), now, object=about)

    first, last, itself = look("block1/long", 0), look("block2/long", 0), look("block2/self", 3)
    other, one, two = look("block1/long", 0, now=2), look("stage1", 2, about=1), look("stage1", 2, about=2)
    maps = [other, first, last, itself, two, one]
    assert report.last_memory_reads(maps, 3, 1) == [last, one]
    assert report.last_memory_reads(maps, 3, 2) == [last, two]
    assert report.last_memory_reads(maps, 3, 0) == [last]


def test_attention_is_recorded_in_one_step_only(clip, model, monkeypatch):
    kept = []

    @contextmanager
    def remember():
        with record_attention() as maps:
            yield maps
        kept.extend(look.query_frame for look in maps)

    monkeypatch.setattr(report, "record_attention", remember)
    report.look_at_attention("aot", model, clip.frames, moving_boxes(), side=HEIGHT)
    assert set(kept) == {4}


# Animation


def test_film_shows_truth_networks_and_mistakes(clip):
    truth = moving_boxes()
    one = np.where(truth == 1, truth, 0)  # object 2 is missed
    card = Card("", clip.frames, truth, {"one": one, "other": truth}, {}, {}, {})
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


# Page


@pytest.fixture(scope="module")
def source(card, clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    second = plain_card(clip, "second", dict.fromkeys(card.scores, 0.1234), 12.5, network="aot")
    write_report(path, [card, second], {"model": "<aot>"})
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_page_is_one_file_that_asks_for_nothing(source):
    assert source.startswith("<!doctype html>")
    assert not re.search(r"https?:|//\w+\.|<script|<link|@import|url\(", re.sub(r"base64,[^\"]+", "", source))
    for theme in ("prefers-color-scheme: dark", "width=device-width", 'lang="en"'):
        assert theme in source


def test_page_holds_every_clip_number_and_fact(source, card):
    text = " ".join("".join(Page(source).text).split())
    for expected in (card.name, "second", "model", "<aot>", "0.12", "12.5", *card.looks):
        assert expected in text
    for method, score in card.scores.items():
        assert f"{method} {score:.2f}" in text


def test_pictures_decode_and_have_a_text(source):
    images = Page(source).images
    assert [picture_in(image).format for image in images] == ["WEBP", "PNG", "PNG", "WEBP"]
    assert picture_in(images[0]).n_frames == FRAMES
    assert all(len(image["alt"]) > 40 for image in images)
    assert "frame 4 asks; frame 0: " in images[1]["alt"]


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
