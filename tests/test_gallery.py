"""The gallery: each of its links opens the explorer in the state that its question is about."""

import re
import runpy
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image

from chromium import CHROMIUM, launched, needs_chromium, quiet_page
from data_trees import write_mask
from minivos import Clip, explore
from minivos.viewing.cells import Cells
from tiny import seeded, squares

GALLERY = runpy.run_path(str(Path(__file__).parents[1] / "docs/gallery.py"))
PAPERS = GALLERY["PAPERS"]
NAMES = [paper.network for paper in PAPERS]
SMALL = {"frames": 4, "heads": "mean", "grid": (4, 6), "side": 64}


def small_clip() -> Clip:
    frames, labels = squares(frames=5, size=(64, 96))
    return Clip(frames, dict(enumerate(labels)), name="squares")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict:
    """The explorer of each paper, from a network that has learned nothing, and its file."""
    folder, made = tmp_path_factory.mktemp("gallery"), {}
    for paper in PAPERS:
        file, network = folder / paper.file, {paper.network: seeded(paper.network)}
        made[paper.network] = explore(network, small_clip(), file, **SMALL), file
        GALLERY["add_questions"](file, paper.questions)
    return made


def test_there_are_four_papers_with_four_questions_each():
    assert [len(paper.questions) for paper in PAPERS] == [4] * 4
    for question in (question for paper in PAPERS for question in paper.questions):
        assert len(re.findall(r"[.?](?: |$)", question.text)) == 2, question.text


@pytest.mark.parametrize("paper", PAPERS, ids=NAMES)
def test_every_state_exists(pages, paper):
    given = pages[paper.network][0].given
    (network,) = given["networks"]
    for question in paper.questions:
        words = {name: value for name, (value,) in parse_qs(GALLERY["address"](given, question)).items()}
        asks = int(words.get("asks", words["frame"]))
        (look,) = [
            look
            for look in network["maps"]
            if (look["name"], look["step"], look["frame"]) == (words["map"], int(words["frame"]), asks)
            and str(look["object"]) == words.get("obj", "None")
        ]
        cell = tuple(map(int, words["cell"].split(",")))
        assert words["net"] == paper.network and all(np.less(cell, look["grid"]))
        assert ("with" in words, "memory" in words) == (bool(question.beside), question.turned)
        if question.beside:
            assert question.beside in {other["name"] for other in network["maps"]}
        if question.turned:
            frame, memory = words["memory"].split(":")
            assert int(frame) in look["keyFrames"]
            assert all(np.less(tuple(map(int, memory.split(","))), look["keyGrid"][1:]))


def test_each_picture_is_told_in_words_of_its_own(pages):
    told = [
        re.search('alt="([^"]+)"', GALLERY["card"](question, f"#{GALLERY['address'](given, question)}", b""))[1]
        for paper, given in ((paper, pages[paper.network][0].given) for paper in PAPERS)
        for question in paper.questions
    ]
    titles = [question.title for paper in PAPERS for question in paper.questions]
    assert all(unescape(words).startswith(f"{title} ") for words, title in zip(told, titles, strict=True))
    assert len({words.partition("? ")[2] for words in told}) == len(told)


def test_a_question_begins_on_what_it_is_about():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:17, 3:20] = 2
    cells = Cells((5, 6), (20, 30))  # of 4 x 5 pixels
    assert GALLERY["place"](labels, cells, "middle") == (2, (2, 2))
    label, (y, x) = GALLERY["place"](labels, cells, "edge")
    assert label == 2 and y in (1, 3) and x in (1, 3)  # of what is further out, half or less is its own
    for empty, on in ((labels, "background"), (0 * labels, "middle")):
        label, (y, x) = GALLERY["place"](empty, cells, on)
        assert label == 0 and not empty[4 * y : 4 * y + 4, 5 * x : 5 * x + 5].any()


@needs_chromium
def test_every_link_opens_its_state(pages):
    with launched() as browser, quiet_page(browser, offline=True) as page:
        for paper in PAPERS:
            explorer, file = pages[paper.network]
            for number, question in enumerate(paper.questions, start=1):
                asked = GALLERY["address"](explorer.given, question)
                page.goto("about:blank")
                page.goto(f"{file.as_uri()}?{number}#{asked}")
                page.wait_for_selector(".summary:not(:empty)", state="attached")
                assert page.locator(".message").all_inner_texts() == [], asked
                there, wanted = parse_qs(page.evaluate("location.hash.slice(1)")), parse_qs(asked)
                others = there.pop("with", [""])[0], wanted.pop("with", [""])[0]
                assert {name: there.get(name) for name in wanted} == wanted
                assert page.locator(".question p:visible").all_inner_texts() == [f"{question.title} {question.text}"]
                for panel in {"flow", "identities"} & {question.view}:
                    top = page.locator(f".card.{panel} h3").evaluate("title => title.getBoundingClientRect().top")
                    assert 0 <= top < page.viewport_size["height"], asked
                assert others[0].split(":")[:2] == others[1].split(":")[:2]


def test_the_command_writes_cards_with_links(tmp_path, monkeypatch, capsys):
    clip = small_clip()
    for kind, pictures in (("JPEGImages", clip.frames), ("Annotations", clip.masks)):
        folder = tmp_path / "samples" / kind / "480p" / PAPERS[0].clip
        folder.mkdir(parents=True)
        for t in range(len(clip.frames)):
            if kind == "JPEGImages":
                Image.fromarray(pictures[t]).save(folder / f"{t:05}.jpg")
            else:
                write_mask(folder / f"{t:05}.png", pictures[t])
    main = GALLERY["main"]
    monkeypatch.setitem(main.__globals__, "samples_root", lambda: tmp_path / "samples")
    main(tmp_path / "out", PAPERS[:1], **SMALL)
    page = (tmp_path / "out/index.html").read_text(encoding="utf8")
    links = [unescape(link) for link in re.findall(r'<a href="([^"]+)"', page)]
    assert [link.partition("#")[0] for link in links] == [f"{PAPERS[0].file}?{number}" for number in (1, 2, 3, 4)]
    assert '<a href="index.html">' in (tmp_path / "out" / PAPERS[0].file).read_text(encoding="utf8")
    assert "index.html" in capsys.readouterr().out
    assert page.count('src="data:image/webp') == (4 if CHROMIUM else 0)
    assert not re.search(r"https?:", re.sub(r"base64,[^\"]+", "", page))
