"""Where a kernel runs, what is clicked on the page is a value in Python."""

import json
import sys

import pytest

from chromium import needs_chromium, quiet_page
from minivos import Clip, explore
from minivos.errors import InputError
from minivos.viewing.explorer import Explorer
from tiny import squares, tiny_aot

pytest.importorskip("anywidget", reason="anywidget is not installed")

FAKE = """
const values = GIVEN
window.told = []
const model = { get: name => values[name], set: (name, value) => window.told.push([name, value]), save_changes() {} }
await render({ model, el: document.querySelector("main") })
"""


@pytest.fixture(scope="module")
def page() -> Explorer:
    pictures, labels = squares(3, 4)
    return explore({"tiny": tiny_aot()}, Clip(pictures, {0: labels[0]}, "squares"), frames=3, heads="mean")


def test_it_has_the_page_and_no_choice_yet(page):
    live = page.live()
    assert (live.cell, live.frame, live.map, live.network) == (None, None, "", "")
    assert json.loads(live._given)["key"] == page.given["key"]
    live.cell, live.frame = (2, 3), 1
    assert (live.cell, live.frame) == ((2, 3), 1)


def test_without_the_optional_package_it_says_what_to_install(page, monkeypatch):
    monkeypatch.delitem(sys.modules, "minivos.viewing.explorer_widget", raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(InputError, match="pip install anywidget"):
        page.live()


@needs_chromium
def test_a_click_becomes_a_value(page, browser):
    live = page.live()
    given = json.dumps({"_given": live._given, "_skeleton": live._skeleton}).replace("<", "\\u003c")
    code = live._esm.replace("export default { render }", "") + FAKE.replace("GIVEN", given)
    with quiet_page(browser, viewport={"width": 1000, "height": 800}) as tab:
        tab.set_content(f"<style>{live._css}</style><main></main><script type='module'>{code}</script>")
        tab.wait_for_selector(".strip canvas")
        box = tab.locator("canvas.asking").bounding_box()
        tab.locator("canvas.asking").click(position={"x": 0.9 * box["width"], "y": 0.1 * box["height"]})
        tab.wait_for_function("window.told.some(([name, value]) => name === 'cell' && value[1] > value[0] + 2)")
        told = dict(tab.evaluate("window.told"))
    assert told["network"] == "tiny" and told["frame"] == 3 and told["map"].startswith("block")
    live.set_trait("cell", tuple(told["cell"]))
    assert live.cell[0] == 0
