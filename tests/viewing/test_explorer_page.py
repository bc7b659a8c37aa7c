"""The page of the attention explorer in a real browser, from disk, with no network.

Most tests use a clip made by hand: frames of 8 x 12 pixels, grids of 2 x 3 cells, weights that are exact after coding.
"""

import base64
import io
import json
import re
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chromium import needs_chromium, quiet_page

pytestmark = needs_chromium
VIEWING = Path(__file__).parents[2] / "minivos/viewing"
SCRIPTS = "numbers", "drawing", "panels", "scene", "page"
WORDS = json.loads((VIEWING / "explorer_words.json").read_text(encoding="utf8"))
ALONE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
LEVELS, SIZE, GRID = 63, (8, 12), (2, 3)
OFFLINE = {"viewport": {"width": 1200, "height": 900}, "offline": True}


class Pack:
    """Arrays behind one another, as the page unpacks them."""

    def __init__(self):
        self.content = b""

    def add(self, array, kind) -> list[int]:
        array = np.ascontiguousarray(array, kind)
        place = [len(self.content), array.size]
        self.content += array.tobytes() + bytes(-array.nbytes % 4)
        return place

    def text(self) -> str:
        return base64.b64encode(zlib.compress(self.content)).decode()


def picture(colour) -> str:
    file = io.BytesIO()
    Image.new("RGB", SIZE[::-1], tuple(colour)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def coded(weights):
    """Weights (heads, Nq, Nk) -> codes and the largest of each row, by the rule of the page."""
    largest = weights.max(axis=-1)
    return np.rint(LEVELS * np.sqrt(weights / np.where(largest > 0, largest, 1)[..., None])), largest


def add_map(pack, name, weights, frame, key_frames, index=None, **more):
    """A map over grids of 2 x 3 cells; `weights` (heads, 6, Nk)."""
    codes, largest = coded(weights)
    heads = len(weights)
    rows = None if index is None else pack.add(np.diff(index, axis=0, prepend=0), "<i4")
    return {
        "name": name, "kind": name.rpartition("/")[2], "object": None, "frame": frame, "step": frame,
        "grid": GRID, "keyGrid": [len(key_frames), *GRID], "fullGrid": GRID, "fullKeyGrid": GRID,
        "keyFrames": key_frames, "heads": heads, "headNames": ["mean", *(f"head {i}" for i in range(1, heads))],
        "pooled": [1, 1], "weights": pack.add(codes, "u1"), "rowmax": pack.add(largest, "<f4"),
        "index": rows, "same": None,
    } | more  # fmt: skip


def exact(rng, shape):
    """Weights that come through the coding unchanged, up to float32; rows sum to one."""
    codes = rng.integers(0, LEVELS + 1, shape)
    codes[np.arange(shape[0])[:, None], np.arange(shape[1]), rng.integers(0, shape[2], shape[:2])] = LEVELS
    squares = codes.astype(float) ** 2
    return squares / squares.sum(axis=-1, keepdims=True)


def example(**more) -> dict:
    """Four frames, two objects, two networks; `more` replaces what is given to the page."""
    rng, pack = np.random.default_rng(0), Pack()
    labels = np.zeros((4, *SIZE), np.uint8)
    labels[:, :4, :4], labels[:, 4:, 8:] = 1, 2  # each just one cell
    maps, kept = [], {}
    for frame in (1, 2, 3):
        past = list(range(frame))
        for name in ("block1/long_term", "block2/long_term"):
            kept[name, frame] = exact(rng, (3, 6, 6 * frame))
            maps.append(add_map(pack, name, kept[name, frame], frame, past))
        window = np.array([[q - 1, q, q + 1] for q in range(6)])
        window[(window < 0) | (window > 5)] = -1
        near = np.array([20.0, LEVELS, 30.0]) ** 2 * (window >= 0)
        kept["near", frame] = (near / near.sum(axis=-1, keepdims=True))[None]
        maps.append(add_map(pack, "block2/short_term", kept["near", frame], frame, [frame - 1], window))
        kept["window"] = window
        kept["self", frame] = exact(rng, (1, 6, 6))
        maps.append(add_map(pack, "block1/self", kept["self", frame], frame, [frame]))
    other = []
    for frame in (1, 2, 3):
        for label in (1, 2):
            kept[label, frame] = exact(rng, (1, 6, 6))
            other.append(add_map(pack, "stage4", kept[label, frame], frame, [0], object=label))
        for asks in range(frame):
            whole = add_map(pack, "memory_self", exact(rng, (1, 6, 6 * frame)), frame, list(range(frame)))
            other.append(whole | {"frame": asks})
    truth = labels.copy()
    truth[3, :4, :4], truth[3, :4, 4:8] = 0, 1  # at frame 3 object 1 is in truth one cell further
    points = np.full((6, 2), -1)
    points[0] = 8 * np.array([1.5, 5.5])  # of cell 0, 0: cell 0, 1 of frame 0
    identities = {"bank": [[1, 0, 0], [0, 1, 0.5], [0, 0.5, 1]],
                  "maps": {"block2/long_term": [[4, 0, 0], [0, 1, 0], [0, 0, 1]]}}  # fmt: skip
    place = pack.add(labels, "u1")
    networks = [
        {"name": "first", "paper": "aot", "note": ["only two blocks are here."], "alignCorners": False,
         "labels": place, "maps": maps, "identities": identities},
        {"name": "second", "paper": "hst", "note": [], "alignCorners": False, "labels": place, "maps": other,
         "identities": None},
    ]  # fmt: skip
    colours = [(60, 60, 60), (60, 90, 60), (60, 60, 90), (90, 60, 60)]
    given = {
        "format": 1, "title": "by hand </script>", "key": "0" * 16, "size": SIZE, "words": WORDS,
        "frames": [{"number": t, "shown": True, "picture": picture(colours[t])} for t in range(4)],
        "colours": [[0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115]], "objects": [1, 2],
        "truth": pack.add(truth, "u1"), "networks": networks, "levels": LEVELS,
        "points": [{"frame": 3, "memory": 0, "grid": GRID, "fullGrid": GRID, "pooled": 1, "alignCorners": False,
                    "points": pack.add(points, "<i2")}],
    }  # fmt: skip
    return {"given": given | {"pack": pack.text()} | more, "kept": kept}


def page_of(*givens) -> str:
    read = {kind: (VIEWING / f"explorer.{kind}").read_text(encoding="utf8") for kind in ("html", "css")}
    scripts = "\n".join((VIEWING / f"explorer_{name}.js").read_text(encoding="utf8") for name in SCRIPTS)
    roots = "".join(
        f'<div class="explorer">{read["html"]}<script type="application/json" class="given">'
        + json.dumps(given).replace("<", "\\u003c") + "</script></div>"
        for given in givens
    )  # fmt: skip
    # So that tests can ask what else only the module knows
    tell = "Object.assign(globalThis, { Cells, Look, Exploration, Explorer, inflate, carried, likeness, entropy, spread, "
    tell += "frameShares, topMatches, nearPoint, cosines, percent, STOPS, HEAT, resolveStop, openExplorer })"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{ALONE}">'
        f"<style>:root {{ color-scheme: light dark }} body {{ margin: 0 }}\n{read['css']}</style></head>"
        f'<body>{roots}<script type="module">{scripts}\n{tell}</script></body></html>'
    )


class Hands:
    """A page of explorers, what can be done on it, and what it says."""

    def __init__(self, page, root: int = 0):
        self.page, self.root = page, page.locator(".explorer").nth(root)

    def wait(self, condition: str) -> None:
        for _ in range(200):
            if self.page.evaluate(condition):
                return
            time.sleep(0.02)
        raise AssertionError(f"never came true: {condition}")

    def ready(self) -> "Hands":
        self.wait("document.querySelectorAll('.facts p').length > 0")
        self.drawn()
        return self

    def drawn(self) -> None:
        """Wait for the next picture, and the one after."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def settled(self) -> str:
        """The hash, once it was written."""
        self.drawn()
        time.sleep(0.2)
        return self.page.evaluate("location.hash")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.drawn()

    def do(self, name: str) -> None:
        self.root.locator(f"[data-do={name}]:visible").first.click()
        self.drawn()

    def choose(self, name: str, value: str, view: int = 0) -> None:
        self.root.locator(f"[data-choice={name}]").nth(view).select_option(value)
        self.drawn()

    def choices(self, name: str, view: int = 0) -> list[str]:
        return self.root.locator(f"[data-choice={name}]").nth(view).locator("option").all_inner_texts()

    def text(self, selector: str, at: int = 0) -> str:
        return re.sub(r"\s+", " ", self.root.locator(selector).nth(at).inner_text()).strip()

    def texts(self, selector: str) -> list[str]:
        return [re.sub(r"\s+", " ", text).strip() for text in self.root.locator(selector).all_inner_texts()]

    def canvas(self, selector: str, at: int = 0):
        return self.root.locator(selector).nth(at)

    def click_cell(self, selector: str, cell, at: int = 0, grid=GRID) -> None:
        canvas = self.canvas(selector, at)
        box = canvas.bounding_box()
        y, x = ((place + 0.3) / cells for place, cells in zip(cell, grid, strict=True))
        canvas.click(position={"x": x * box["width"], "y": y * box["height"]})
        self.drawn()

    def light(self, selector: str, cell, at: int = 0, grid=GRID) -> float:
        """Mean brightness near the upper left of a cell, where no sign is drawn."""
        return float(np.mean(self.colour(selector, cell, at, grid)))

    def colour(self, selector: str, cell, at: int = 0, grid=GRID) -> list[int]:
        take = """(canvas, [y, x]) => Array.from(canvas.getContext("2d").getImageData(
            Math.round(x * canvas.width), Math.round(y * canvas.height), 1, 1).data.slice(0, 3))"""
        y, x = ((place + 0.2) / cells for place, cells in zip(cell, grid, strict=True))
        return self.canvas(selector, at).evaluate(take, [y, x])


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page from disk, offline, and holds that it asks for nothing and complains of nothing."""
    from contextlib import contextmanager

    @contextmanager
    def opened(*givens, hash="", **settings):
        path = tmp_path / "page.html"
        path.write_text(page_of(*givens), encoding="utf8")
        asked = []
        with quiet_page(browser, **OFFLINE | settings) as page:
            page.on("request", lambda request: asked.append(request.url))
            page.goto(path.as_uri() + hash)
            yield Hands(page)
            away = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
        assert not away

    return opened


NUMBERS = """async given => {
    const exploration = await Exploration.open(given)
    const [network] = exploration.networks
    return network.looks.map(look => {
        const cells = exploration.asking(network, look)
        const queries = Array.from({length: look.queries}, (_, query) => query)
        return {
            name: look.name, frame: look.frame,
            rows: Array.from({length: look.heads}, (_, head) => queries.map(query => Array.from(look.row(query, head)))),
            columns: Array.from({length: look.keys}, (_, key) => Array.from(look.column(key, 0))),
            sees: queries.map(query => look.visible(query) && Array.from(look.visible(query))),
            seenBy: Array.from({length: look.keys}, (_, key) => look.seenBy(key) && Array.from(look.seenBy(key))),
            flow: exploration.flow(network, look, 0),
            bits: queries.map(query => entropy(look.row(query, 0))),
            perFrame: queries.map(query => frameShares(look.row(query, 0), look.times)),
            best: queries.map(query => topMatches(look.row(query, 0), look.times, 3)),
        }
    })
}"""


def test_numbers_are_those_of_the_maps(opened):
    made = example()
    with opened(made["given"]) as page:
        told = page.page.evaluate(NUMBERS, made["given"])
    assert len(told) == 12
    labels = np.zeros((6, 3))
    labels[:, 0], labels[0], labels[5] = 1, (0, 1, 0), (0, 0, 1)
    for look in told:
        short = {"block2/short_term": "near", "block1/self": "self"}.get(look["name"], look["name"])
        weights = made["kept"][short, look["frame"]]
        if short == "near":
            index = made["kept"]["window"]
            dense = np.zeros((1, 6, 6))
            for q, k in zip(*np.nonzero(index >= 0), strict=True):
                dense[0, q, index[q, k]] = weights[0, q, k]
            weights = dense
            assert look["sees"] == (dense[0] > 0).astype(int).tolist()
            assert look["seenBy"] == (dense[0].T > 0).astype(int).tolist()
        else:
            assert look["sees"] == [None] * 6
        np.testing.assert_allclose(look["rows"], weights, atol=1e-7)
        np.testing.assert_allclose(look["columns"], weights[0].T, atol=1e-7)
        frames = weights[0].reshape(6, -1, 6)
        np.testing.assert_allclose(look["perFrame"], frames.sum(axis=2), atol=1e-6)
        np.testing.assert_allclose(look["flow"], frames.sum(axis=1) @ labels, atol=1e-6)
        logs = np.log2(np.where(weights[0] > 0, weights[0], 1))
        np.testing.assert_allclose(look["bits"], -(weights[0] * logs).sum(axis=1), atol=1e-5)
        for row, best in zip(weights[0], look["best"], strict=True):
            assert best[0]["time"] * 6 + best[0]["number"] == row.argmax()
            np.testing.assert_allclose([each["weight"] for each in best], np.sort(row)[::-1][:3], atol=1e-7)


def test_cells_lie_where_python_has_them(opened):
    from minivos.viewing.cells import Cells

    cases = [((2, 3), (8, 12), False), ((3, 4), (33, 49), True), ((5, 7), (31, 43), False), ((1, 1), (8, 8), True)]
    ask = """cases => cases.map(([grid, frame, corners]) => {
        const cells = new Cells(grid, frame, corners)
        const at = []
        for (let y = 0; y < frame[0]; y++) for (let x = 0; x < frame[1]; x++) at.push(cells.at([y, x]))
        const labels = Uint8Array.from({length: frame[0] * frame[1]}, (_, i) => i % 3)
        const centres = Array.from({length: cells.count}, (_, i) => cells.centre(cells.cell(i)))
        return [at, centres, Array.from(cells.shares(labels, [0, 1, 2]))]
    })"""
    with opened(example()["given"]) as page:
        told = page.page.evaluate(ask, cases)
    for (grid, frame, corners), (at, centres, shares) in zip(cases, told, strict=True):
        cells = Cells(grid, frame, corners)
        pixels = np.moveaxis(np.indices(frame), 0, -1).reshape(-1, 2)
        np.testing.assert_array_equal(at, cells.at(pixels))
        np.testing.assert_allclose(centres, cells.centres().reshape(-1, 2), atol=1e-9)
        labels = (np.arange(frame[0] * frame[1]) % 3).reshape(frame)
        mean = cells.mean((labels == np.arange(3)[:, None, None]).astype(float))
        np.testing.assert_allclose(np.reshape(shares, (-1, 3)), mean.reshape(3, -1).T, atol=1e-6)


def test_pure_numbers(opened):
    with opened(example()["given"]) as page:
        ask = page.page.evaluate
        assert ask("spread(new Float32Array([0.25, 0.25, 0, 0.25, 0.25]))") == pytest.approx(4)
        assert ask("entropy(new Float32Array([1, 0, 0]))") == 0
        gram = [[1, 0, 0], [0, 4, 0], [0, 0, 1]]
        told = ask("gram => likeness([0.5, 0.5, 0], gram)", gram)  # of 0.5 a + 0.5 b, with |a| = 1, |b| = 2
        np.testing.assert_allclose(told, [1 / 5**0.5, 2 / 5**0.5, 0], atol=1e-9)
        assert ask("gram => cosines(gram)", [[4, 3], [3, 9]]) == [[1, 0.5], [0.5, 1]]
        row = "new Float32Array([0.5, 0, 0.3, 0, 0, 0.2, 9, 9, 9, 9, 9, 9])"  # frames of 2 x 3, the second unknown
        near = ask(f"nearPoint({row}, [[0, 0], null], [2, 3])")
        assert near == {"within1": pytest.approx(0.5), "within2": pytest.approx(1)}
        assert ask(f"nearPoint({row}, [null, null], [2, 3])") is None
        assert ask("[0, 0.00001, 0.005, 0.0123, 0.62].map(percent)") == ["0 %", "< 0.01 %", "0.50 %", "1.2 %", "62 %"]


def test_more_weight_is_lighter_and_no_step_is_missed(opened):
    with opened(example()["given"]) as page:
        colours = np.array(page.page.evaluate("HEAT")) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1e-3).all() and lightness[-1] - lightness[0] > 0.6
