"""The interactive parts of the course in a real browser: JupyterLab runs a notebook, Chromium moves its widgets.

Skipped without Chromium. The notebooks are run from the first to the last cell, which takes minutes.
"""

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from chromium import needs_chromium, playwright, quiet_page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MINUTES = 60_000  # milliseconds

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab on copies of the notebooks, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    settings = folder / "config/lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')  # all cells are on the page, seen or not
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={folder / 'notebooks'}", "--IdentityProvider.token=", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    places = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api").read()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"JupyterLab did not start: {(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def page(browser) -> Iterator:
    with quiet_page(browser, viewport={"width": 1400, "height": 1000}) as page:
        yield page


def run_all(page, lab: str, name: str) -> None:
    """Open a notebook without its stored outputs and run all cells."""
    page.goto(f"{lab}/lab/tree/{name}.ipynb?reset")
    kernel = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
    page.wait_for_function(f"{kernel}?.status === 'idle'", timeout=2 * MINUTES)
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    assert page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')"), "a cell raised an error"


def wait_for_change(read, before: str) -> str:
    """What `read` gives once it is no longer `before`."""
    for _ in range(120):
        if (now := read()) != before:
            return now
        time.sleep(0.25)
    raise AssertionError("nothing changed")


def click_cell(panel, picture, cell: tuple[int, int], grid: tuple[int, int]) -> None:
    """Click on the middle of cell (y, x) of the canvas of a panel; wait for the picture, and see the sliders follow."""
    canvas = panel.locator("canvas")

    def drawn() -> str:
        return canvas.evaluate("canvas => canvas.toDataURL()")

    canvas.scroll_into_view_if_needed()  # the canvas takes the focus, and the page would move under the mouse
    before, ring_before, box = picture.get_attribute("src"), drawn(), canvas.bounding_box()
    y, x = (
        (at + 0.5) / cells * side for at, cells, side in zip(cell, grid, (box["height"], box["width"]), strict=True)
    )
    canvas.click(position={"x": x, "y": y})
    wait_for_change(lambda: picture.get_attribute("src"), before)
    playwright.expect(panel.locator(".widget-readout")).to_have_text(list(map(str, cell)))
    wait_for_change(drawn, ring_before)


def test_sliders_and_clicks_redraw_the_picture_of_notebook_02(page, lab, capsys):
    run_all(page, lab, "02_aot_identity_bank")
    panel = page.locator(".widget-vbox", has=page.locator(".widget-image")).last
    picture, sliders = panel.locator("img.widget-image"), panel.locator(".widget-hslider .noUi-handle")
    before = picture.get_attribute("src")
    sliders.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    after = wait_for_change(lambda: picture.get_attribute("src"), before)
    with capsys.disabled():
        print(f" notebook 02: slider x moved, the picture changed from {before[-40:]} to {after[-40:]}")
    click_cell(panel, picture, cell=(6, 7), grid=(16, 24))
    with capsys.disabled():
        print(" notebook 02: a click on cell (6, 7) set both sliders and changed the picture")


def test_clicks_and_sliders_show_another_pixel_s_attention_in_notebook_03(page, lab, capsys):
    run_all(page, lab, "03_aot_lstt")
    panel = page.locator(".widget-interact").last
    images = panel.locator(".jp-OutputArea img")
    click_cell(panel, images.first, cell=(53, 58), grid=(128, 192))
    with capsys.disabled():
        print(f" notebook 03: a click on pixel (53, 58) set both sliders, {images.count()} pictures drawn anew")
    before = images.first.get_attribute("src")
    panel.locator(".widget-hslider .noUi-handle").first.focus()
    for _ in range(8):  # a cell is several pixels high
        page.keyboard.press("ArrowUp")
    wait_for_change(lambda: images.first.get_attribute("src"), before)
    with capsys.disabled():
        print(f" notebook 03: slider y moved by 8 pixels, {images.count()} pictures drawn anew")


def ask(page, expression: str) -> object:
    """What an expression of Python's own types is in the kernel of the notebook."""
    said = page.evaluate(
        """async expression => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
            const request = {code: "", user_expressions: {asked: expression}, store_history: false}
            return (await kernel.requestExecute(request).done).content.user_expressions.asked.data["text/plain"]
        }""",
        expression,
    )
    return ast.literal_eval(said)


def prompts(page) -> list[str]:
    return page.locator(".jp-InputPrompt").all_inner_texts()


def test_notebook_08_paints_follows_and_plays(page, lab, capsys):
    run_all(page, lab, "08_your_video")
    panel = page.locator(".widget-vbox", has=page.locator("canvas")).first
    canvas, said = panel.locator("canvas"), panel.locator(".widget-label", has_text="object").last
    button = partial(panel.get_by_role, "button")
    canvas.scroll_into_view_if_needed()
    box, (height, width) = canvas.bounding_box(), (128, 192)

    def at(y: float, x: float) -> tuple[float, float]:
        """Where on the page a point of the frame is, (0, 0) its upper left corner; without zoom."""
        return box["x"] + x * box["width"] / width, box["y"] + y * box["height"] / height

    # A stroke, and the keyboard is the notebook's: Shift+Enter runs this cell and selects the next, and runs that
    button(name="clear").click()
    playwright.expect(said).to_have_text("no object")
    panel.locator("input[type=number]").fill("7")
    panel.locator("input[type=number]").press("Tab")
    page.mouse.move(*at(40, 60))
    page.mouse.down()
    page.mouse.move(*at(40, 100), steps=5)
    page.mouse.up()
    painted = wait_for_change(said.inner_text, "no object")
    assert painted.startswith("1 object: 7 (") and ask(page, "painting.labels[40, 60:100].tolist()") == [7] * 40
    for _ in range(2):
        numbers = prompts(page)
        page.keyboard.press("Shift+Enter")
        wait_for_change(lambda numbers=numbers: prompts(page), numbers)
    assert "7 (" in ask(page, "describe_mask(given[START])")

    # The slider of the brush, and the cell once more
    panel.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    radius = ask(page, "panel.radius.value")
    numbers = prompts(page)
    page.keyboard.press("Shift+Enter")
    wait_for_change(lambda: prompts(page), numbers)
    assert said.inner_text() == painted and ask(page, "panel.radius.value, int(painting.labels[40, 80])") == (radius, 7)

    # A polygon while the wheel has enlarged the middle to twice its size
    button(name="clear").click()
    playwright.expect(said).to_have_text("no object")
    button(name="polygon").click()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(*at(64, 96))
    page.mouse.wheel(0, -200)
    for place in ((32, 48), (32, 96), (96, 96)):
        page.mouse.click(*at(*place))
    page.mouse.dblclick(*at(96, 48))
    wait_for_change(said.inner_text, "no object")
    rows, columns = (32 + 32 // 2, 32 + 96 // 2), (48 + 48 // 2, 48 + 96 // 2)
    filled = f"painting.labels[{rows[0]}:{rows[1]}, {columns[0]}:{columns[1]}]"
    assert ask(page, f"panel.view.zoom, int({filled}.min()), int(painting.labels.sum())") == (2, 7, 7 * 32 * 24)
    button(name="undo").click()
    wait_for_change(said.inner_text, "1 object: 7 (768 px)")
    button(name="undo").click()  # the clearing
    assert wait_for_change(said.inner_text, "no object") == painted

    # The button follows what is painted, and its film plays
    picture, frame = panel.locator("img.widget-image"), panel.locator(".widget-readout").last
    assert picture.count() == 0
    button(name="follow").click()
    first = picture.get_attribute("src", timeout=MINUTES)
    shown = "[each for each in widgets.widgets.widget._instances.values() if isinstance(each, Player)][-1]"
    follows = f"({shown}.labels == follow({{START: painting.labels}})).all()"
    assert ask(page, f"bool({follows}), int({shown}.labels[1].max())") == (True, 7)
    panel.locator(".widget-play button").first.click()
    wait_for_change(lambda: picture.get_attribute("src"), first)
    playwright.expect(frame).to_have_text("15")
    with capsys.disabled():
        print(f" notebook 08: '{painted}' outlived its cell; a polygon in double size; 16 frames followed and played")
