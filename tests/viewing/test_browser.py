"""The widgets of notebook 08 in a real browser: JupyterLab runs all its cells, Chromium moves the widgets.

Skipped without Chromium. Takes minutes.
"""

import ast
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from chromium import needs_chromium, playwright, quiet_page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MINUTES = 60_000  # milliseconds

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(NOTEBOOKS, folder)
    return folder


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
