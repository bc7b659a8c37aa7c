"""The explorer where a kernel runs: what is chosen on its page is a value in Python.

Needs the package anywidget, which is optional; `Explorer.live` says so where it is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from minivos.viewing.explorer import script, with_words
from minivos.viewing.page import beside

RENDER = """
async function render({ model, el }) {
  el.classList.add("explorer")
  el.innerHTML = model.get("_skeleton")
  const chosen = state => {
    if (!state) return
    model.set("cell", state.cell)
    model.set("frame", state.frame)
    model.set("map", state.map)
    model.set("network", state.net)
    model.save_changes()
  }
  const page = await openExplorer(el, JSON.parse(model.get("_given")), { hash: false, chosen })
  return () => page?.close()
}

export default { render }
"""


class LiveExplorer(anywidget.AnyWidget):
    """The page of an Explorer as a widget.

    `cell` (y, x) is the chosen cell of `frame`, on the grid of the page, and `map` of `network`
    tells where it looks; all are empty until the page is shown. Observe them as those of other
    widgets.
    """

    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True)
    cell.tag(sync=True)
    frame = traitlets.Int(default_value=None, allow_none=True).tag(sync=True)
    map = traitlets.Unicode("").tag(sync=True)
    network = traitlets.Unicode("").tag(sync=True)
    _given = traitlets.Unicode("").tag(sync=True)
    _skeleton = traitlets.Unicode("").tag(sync=True)

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._esm = script() + RENDER
        self._css = beside("explorer.css")
        super().__init__(_given=json.dumps(with_words(given)), _skeleton=beside("explorer.html"))
