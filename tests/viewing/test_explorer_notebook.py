"""An explorer in a notebook: stored, exported to one HTML file, in a copy that is not trusted, and as a widget."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from chromium import needs_chromium, playwright, quiet_page
from minivos import Clip, explore
from notebook_rules import stores_only_text_png_and_explorers
from test_browser import MINUTES, ask, run_all, wait_for_change
from tiny import squares, tiny_aot

OFFLINE = {"viewport": {"width": 1200, "height": 900}, "offline": True}
NAMES = "first", "second"
LIVE = """
import numpy as np

import minivos

frames, mask = np.full((3, 64, 96, 3), 90, np.uint8), np.zeros((64, 96), np.uint8)
frames[:, 16:40, 24:56], mask[16:40, 24:56] = (220, 120, 40), 5
live = minivos.explore("aot_mini", minivos.Clip(frames, {0: mask}), frames=3, heads="mean", side=64).live()
live
"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture(scope="module")
def stored() -> nbformat.NotebookNode:
    """Two cells that have run, each with an explorer of its own, as a notebook stores them."""
    pictures, labels = squares(3, 4)
    cells = []
    for name in NAMES:
        page = explore({name: tiny_aot()}, Clip(pictures, {0: labels[0]}, name), frames=3, heads="mean", tours=False)
        data = {"text/plain": repr(page), "text/html": page._repr_html_()}
        cells.append(new_code_cell("explore(...)", outputs=[new_output("execute_result", data=data)]))
    return nbformat.reads(nbformat.writes(new_notebook(cells=cells)), as_version=4)


@pytest.fixture(scope="module")
def lab_folder(stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    nbformat.write(stored, folder / "stored.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell(LIVE)], metadata=KERNEL), folder / "live.ipynb")
    return folder


@pytest.fixture(scope="module")
def exported(stored) -> str:
    """Lab's look, whose scripts for formulas come from elsewhere, left out."""
    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="")
    text, _ = exporter.from_notebook_node(stored)
    return text


@pytest.fixture
def page(browser, exported, tmp_path) -> Iterator:
    path = tmp_path / "exported.html"
    path.write_text(exported, encoding="utf-8")
    with quiet_page(browser, **OFFLINE) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        yield page
        assert [url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))] == []


def assert_posters(page) -> None:
    """Holds that the posters can be seen, and are there in words."""
    images = page.locator("img[alt^='Where']")
    assert images.count() == len(NAMES)
    for name, image in zip(NAMES, images.all(), strict=True):
        alt = image.get_attribute("alt")
        assert f"Where {name} looks from cell" in alt and re.search(r"\d+% at frame \d", alt)
        assert image.evaluate("image => image.naturalWidth") > 200 and image.is_visible()


def test_the_notebook_keeps_the_rule_for_what_is_stored(stored):
    assert list(stores_only_text_png_and_explorers(stored)) == []


@needs_chromium
def test_two_explorers_in_an_exported_notebook_answer_offline_and_apart(page):
    assert page.locator("iframe").count() == 2
    frames = [page.frame_locator("iframe >> nth=0"), page.frame_locator("iframe >> nth=1")]
    said = []
    for name, frame in zip(NAMES, frames, strict=True):
        page.locator(f"iframe >> nth={NAMES.index(name)}").scroll_into_view_if_needed()  # pages load when they are seen
        frame.locator(".strip canvas").first.wait_for()
        assert name in frame.locator(".title").inner_text()
        said.append(frame.locator(".summary").inner_text())
    canvas = frames[0].locator("canvas.asking")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.9 * box["width"], "y": 0.1 * box["height"]})
    playwright.expect(frames[0].locator(".summary")).to_contain_text("Cell 0, ")
    assert "Cell 0, " not in said[0] and frames[1].locator(".summary").inner_text() == said[1]


@needs_chromium
def test_an_exported_notebook_shows_posters_in_words(page):
    assert_posters(page)


@needs_chromium
@pytest.mark.slow
def test_jupyterlab_shows_the_posters_of_a_copy_that_is_not_trusted(lab, browser):
    with quiet_page(browser, viewport=OFFLINE["viewport"]) as page:
        page.goto(f"{lab}/lab/tree/stored.ipynb")
        page.locator("img[alt^='Where']").nth(1).wait_for()
        assert page.locator(".jp-OutputArea iframe, .jp-OutputArea script").count() == 0
        assert_posters(page)


@needs_chromium
@pytest.mark.slow
def test_a_click_in_jupyterlab_is_a_value_in_its_kernel(lab, browser):
    pytest.importorskip("anywidget")
    with quiet_page(browser, viewport=OFFLINE["viewport"]) as page:
        run_all(page, lab, "live")
        canvas = page.locator(".explorer .asking")
        canvas.wait_for(timeout=2 * MINUTES)
        first = wait_for_change(lambda: ask(page, "live.cell"), None)
        box = canvas.bounding_box()
        canvas.click(position={"x": 0.9 * box["width"], "y": 0.9 * box["height"]})
        assert first != (7, 10) == wait_for_change(lambda: ask(page, "live.cell"), first)  # of 8 x 12 cells
        assert ask(page, "(live.frame, live.network)") == (2, "aot_mini")
