"""The page of the attention explorer in a real browser, from disk, with no network.

Most tests use a clip made by hand: frames of 8 x 12 pixels, grids of 2 x 3 cells, weights that are exact after coding.
"""

import base64
import io
import json
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chromium import needs_chromium, quiet_page
from minivos import Tracker, record_attention
from minivos.synthetic.clips import render
from tiny import tiny_aot

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


def example(labels=None, **more) -> dict:
    """Four frames, two objects, two networks; `more` replaces what is given to the page."""
    rng, pack = np.random.default_rng(0), Pack()
    if labels is None:
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
    tell = "Object.assign(globalThis, { Cells, Look, Exploration, Scene, inflate, carried, likeness, entropy, spread, "
    tell += "frameShares, topMatches, nearPoint, cosines, percent, STOPS, HEAT, openExplorer })"
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

    def in_sight(self, selector: str) -> bool:
        """Whether all of it is in the window, below what sticks to its upper edge."""
        inside = """element => {
            const { top, bottom } = element.getBoundingClientRect()
            return top >= element.closest(".explorer").querySelector(".tour").offsetHeight && bottom <= innerHeight
        }"""
        return self.canvas(selector).evaluate(inside)

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


@pytest.fixture(scope="module")
def tab(browser) -> Iterator:
    """A tab that stays open, and what it asked for and complained of."""
    page = browser.new_page(**OFFLINE)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page, asked, errors
    page.close()


@pytest.fixture
def opened(tab, tmp_path):
    """Opens a page from disk, offline, and holds that it asks for nothing and complains of nothing."""
    page, asked, errors = tab
    count = iter(range(100))

    @contextmanager
    def opened(*givens, hash="#frame=3", scheme="light", size=(1200, 900)):
        path = tmp_path / f"page{next(count)}.html"
        path.write_text(page_of(*givens), encoding="utf8")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        page.goto(path.as_uri() + hash)
        yield Hands(page)
        page.goto("about:blank")
        away = [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
        assert not away and not errors
        asked.clear()

    return opened


NUMBERS = """async given => {
    const exploration = await Exploration.open(given)
    const [network] = exploration.networks
    return network.looks.map(look => {
        const cells = exploration.asking(network, look)
        const queries = Array.from({length: look.queries}, (_, query) => query)
        return {
            name: look.name, frame: look.frame,
            rows: [...Array(look.heads).keys()].map(head => queries.map(query => Array.from(look.row(query, head)))),
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
            told_best = [each["weight"] for each in best]
            np.testing.assert_allclose(told_best, np.sort(row[row > 0])[::-1][:3], atol=1e-7)


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
        row = "new Float32Array([0.4, 0.1, 0.3, 0, 0, 0.2, 9, 9, 9, 9, 9, 9])"  # frames of 2 x 3, the second unknown
        near = ask(f"nearPoint({row}, [[0, 0], null], [2, 3])")
        assert near == {"within1": pytest.approx(0.5), "within2": pytest.approx(1)}
        assert ask(f"nearPoint({row}, [null, null], [2, 3])") is None
        assert ask("[0, 0.00001, 0.005, 0.0123, 0.62].map(percent)") == [
            f"{share}\xa0%" for share in ("0", "<\xa00.01", "0.50", "1.2", "62")
        ]


def test_more_weight_is_lighter_and_no_step_is_missed(opened):
    with opened(example()["given"]) as page:
        colours = np.array(page.page.evaluate("HEAT")) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1e-3).all() and lightness[-1] - lightness[0] > 0.6


def row_of(made, name="block2/long_term", frame=3, cell=0, head=0):
    """Weights of a cell, (frames, 6)."""
    return made["kept"][name, frame][head, cell].reshape(-1, 6)


def percent(share: float) -> str:
    hundred = 100 * share
    return f"{hundred:.{0 if hundred >= 9.95 else 1 if hundred >= 0.995 else 2}f} %"


def test_what_one_sees_first_and_where_a_click_leads(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        assert page.text(".title") == "by hand </script>"
        assert page.text(".now h3") == "Frame 3 asks" and page.text(".whose") == "outlines: masks of first"
        said = page.text(".facts p")
        assert said.startswith("Cell 0, 0 of frame 3 is on object 1 (in truth: background). It looks at about")
        assert said.endswith("It can see all 18 cells.")
        row = row_of(made)
        assert page.texts(".strip strong") == [f"{percent(share)} of the weight" for share in row.sum(axis=1)]
        widths = page.root.locator(".strip .share i").evaluate_all("all => all.map(each => each.style.width)")
        np.testing.assert_allclose([float(width[:-1]) for width in widths], 100 * row.sum(axis=1), atol=1e-3)
        flat = row.ravel()
        order = np.argsort(-flat, kind="stable")[:5]
        places = [f"frame {k // 6}, cell {k % 6 // 3}, {k % 3} {percent(flat[k])}" for k in order]
        assert page.texts(".facts li") == [f"{letter} {place}" for letter, place in zip("abcde", places, strict=True)]
        lights = [[page.light(".strip canvas", (y, x), t) for y in range(2) for x in range(3)] for t in range(3)]
        assert np.argmax(np.ravel(lights)) == flat.argmax()
        entropy = -(flat[flat > 0] * np.log2(flat[flat > 0])).sum()
        assert f"(entropy {entropy:.1f} bits)" in page.text(".facts")

        page.click_cell(".asking", (1, 2))
        assert page.settled().endswith("cell=1,2")
        assert page.text(".facts p").startswith("Cell 1, 2 of frame 3 is on object 2.")
        shares = row_of(made, cell=5).sum(axis=1)
        assert page.texts(".strip strong") == [f"{percent(share)} of the weight" for share in shares]
        summary = page.text(".summary")
        assert f"Weight per frame: frame 0 {percent(shares[0])}, frame 1 {percent(shares[1])}" in summary
        on_two = row_of(made, cell=5)[:, 5].sum()
        assert f"object 2 {percent(on_two)}" in page.text(".chips") and f"{percent(on_two)} on object 2" in summary

        box = page.canvas(".asking").bounding_box()  # only by hovering: the cell that was clicked comes back
        page.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
        page.drawn()
        assert page.text(".facts p").startswith("Cell 0, 1 of frame 3 is on background (in truth: object 1)")
        page.page.mouse.move(5, 5)
        page.drawn()
        assert page.text(".facts p").startswith("Cell 1, 2")


def test_the_page_begins_in_the_middle_with_the_read_that_sees_most_or_else_the_given_frame(opened):
    made = example()["given"]
    (first, second), at_one = made["networks"], [each for each in made["networks"][0]["maps"] if each["frame"] == 1]
    with opened(made, hash="") as page:
        page.ready()
        assert page.text(".now h3") == "Frame 2 asks" and "map=block2/long_term&frame=2" in page.settled()
    elsewhere = [each | ({"keyFrames": [2]} if "short" in each["name"] else {}) for each in at_one]
    for maps in (at_one, elsewhere):  # as many frames are seen by short-term attention, which comes last
        with opened(made | {"networks": [first | {"maps": maps}, second]}, hash="") as page:
            page.ready()
            assert "map=block2/long_term&frame=1" in page.settled()
    with opened(made | {"start": 2}) as page:
        page.ready()
        assert page.texts(".strip figcaption > span") == ["Frame 0", "Frame 1", "Frame 2, the first"]


def test_the_page_and_its_tour_begin_on_the_largest_object_that_is_whole_in_view(opened):
    labels = np.zeros((4, *SIZE), np.uint8)
    labels[:, 4:, 8:], labels[:, :, :4] = 1, 2  # both end at an edge
    for object_id, cell in ((2, "0,0"), (3, "0,1")):
        labels[:, 1:4, 4:8] = object_id == 3 and 3
        made = example(labels, objects=[1, 2, 3])["given"]
        made["networks"][0]["identities"] = None
        with opened(made, hash="") as page:
            page.ready()
            assert f"is on object {object_id}" in page.text(".facts p") and f"cell={cell}" in page.settled()
            page.do("tour")
            assert f"cell={cell}&tour=1" in page.settled()


def test_a_link_that_names_a_panel_opens_with_it_in_view(opened):
    for panel in ("flow", "identities"):
        with opened(example()["given"], hash=f"#view={panel}", size=(1200, 600)) as page:
            page.ready()
            assert page.page.evaluate("scrollY") > 0 and page.in_sight(f".card.{panel} h3")


def test_lines_lead_to_the_best_matches_and_the_true_point_is_scored(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        ways = [path.get_attribute("d") for path in page.root.locator(".lines path").all()][::2]
        scene = page.root.locator(".lines").bounding_box()
        flat = row_of(made).ravel()
        ends = []
        for k in np.argsort(-flat, kind="stable")[:5]:
            box = page.canvas(".strip canvas", k // 6).bounding_box()
            x, y = box["x"] + (k % 3 + 0.5) / 3 * box["width"], box["y"] + (k % 6 // 3 + 0.5) / 2 * box["height"]
            ends.append((x - scene["x"], y - scene["y"]))
        told = [[float(number) for number in way.split()[-1].split(",")] for way in ways]
        np.testing.assert_allclose(told, ends, atol=0.5)
        hides = """(svg, [x, y]) => {
            const pen = new OffscreenCanvas(1, 1).getContext("2d")
            return svg.style.clipPath && !pen.isPointInPath(new Path2D(svg.dataset.seen), x, y, "evenodd")
        }"""
        words = page.canvas("figcaption").bounding_box()
        behind = [*ends, (words["x"] + 9 - scene["x"], words["y"] + 9 - scene["y"])]  # letters and words stay free
        between = (float(re.search("H([0-9.]+)", ways[0])[1]) + 5, float(ways[0].split(" ")[0].split(",")[1]))
        assert [page.root.locator(".lines").evaluate(hides, list(at)) for at in (*behind, between)] == [True] * 6 + [
            False
        ]
        frame = row_of(made)[0]  # the true point is known in frame 0 only: cell 0, 1; all columns are within 1 of it
        assert page.text(".near") == f"Near the true point: {percent(1)} within 1 cell, {percent(1)} within 2."
        page.press("ArrowRight")
        assert page.root.locator(".near").count() == 0 and frame.sum() > 0
        page.do("compare")
        assert page.root.locator(".lines path").count() == 0


def test_time_goes_by_slider_keys_and_play(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        slider = page.root.locator(".slider")
        assert (slider.get_attribute("max"), slider.input_value()) == ("2", "2")
        slider.fill("0")
        page.drawn()
        assert page.text(".now h3") == "Frame 1 asks" and page.texts(".strip strong") == ["100 % of the weight"]
        page.press(".")
        assert page.text(".now h3") == "Frame 2 asks" and page.text(".time output") == "frame 2"
        page.press(",", ",")
        assert page.text(".now h3") == "Frame 3 asks"  # before the first comes the last
        page.do("play")
        assert page.root.locator("[data-do=play]").get_attribute("aria-label") == "Pause"
        page.wait("document.querySelector('.now h3').innerText === 'Frame 2 asks'")
        page.do("play")
        said = page.text(".now h3")
        time.sleep(0.8)
        assert page.text(".now h3") == said
        colour = page.colour(".asking", (0, 2))  # of the picture of that frame
        assert np.allclose(colour, [60, 60, 90] if said == "Frame 2 asks" else [90, 60, 60], atol=2)


def test_what_there_is_to_choose(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        assert page.choices("net") == ["first", "second"]
        assert page.choices("map") == ["block1/long_term", "block2/long_term", "block2/short_term", "block1/self"]
        assert page.choices("head") == ["mean of all", "head 1", "head 2"]
        assert not page.root.locator("[data-choice=object]").is_visible()
        page.choose("head", "2")
        shares = row_of(made, head=2).sum(axis=1)
        assert page.texts(".strip strong") == [f"{percent(share)} of the weight" for share in shares]
        page.choose("map", "block1/self")
        assert page.texts(".strip figcaption > span") == ["Frame 3, itself"]
        assert page.text(".kind").startswith("Self-attention")
        assert not page.root.locator("[data-choice=head]").is_visible()
        page.choose("net", "second")
        assert page.choices("map") == ["stage4", "memory_self"] and page.text(".now h3") == "Frame 2, in memory, asks"
        page.choose("map", "stage4")
        assert page.choices("object") == ["object 1", "object 2"]
        weight = made["kept"][2, 3][0, 0]
        page.choose("object", "2")
        assert percent(weight.max()) in page.text(".facts ol")
        page.choose("map", "memory_self")
        assert page.choices("asks") == ["frame 0", "frame 1", "frame 2"]
        page.choose("asks", "1")
        assert page.text(".now h3") == "Frame 1, in memory, asks" and "asks=1" in page.settled()
        page.press("[")
        assert "map=stage4" in page.settled()


def test_brightness_by_this_cell_all_cells_or_logarithm(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        row, all_rows = row_of(made), made["kept"]["block2/long_term", 3][0]
        assert page.texts(".ticks span") == ["0 %", percent(row.max() / 4), f"{percent(row.max())} of the weight"]
        own = page.light(".strip canvas", (1, 1), 0)
        page.root.locator(".brightest").select_option("shared")
        page.drawn()
        assert page.texts(".ticks span")[2] == f"{percent(all_rows.max())} of the weight"
        assert page.light(".strip canvas", (1, 1), 0) <= own
        page.root.locator(".brightest").select_option("log")
        page.drawn()
        assert page.texts(".ticks span")[0] == "1/1000 of it" and "scale=log" in page.settled()


def test_the_question_turned_round(opened):
    made = example()
    column = made["kept"]["block2/long_term", 3][0][:, 6 + 4]  # of frame 1, cell 1, 1
    with opened(made["given"]) as page:
        page.ready()
        page.click_cell(".strip canvas", (1, 1), at=1)
        assert page.text(".facts p").startswith("Turned round: who looks at cell 1, 1 of frame 1?")
        best = int(column.argmax())
        assert f"cell {best // 3}, {best % 3} of frame 3, with {percent(column.max())} of its weight" in page.text(
            ".facts"
        )
        lights = [page.light(".asking", (y, x)) for y in range(2) for x in range(3)]
        assert np.argmax(lights) == best
        assert "memory=1:1,1" in page.settled()
        page.press("ArrowLeft")
        assert "memory=1:1,0" in page.settled()
        page.press("Escape")
        assert page.text(".facts p").startswith("Cell 0, 0") and "memory" not in page.settled()
        page.do("turn")
        k = int(row_of(made).argmax())
        assert page.text(".facts p").endswith(f"cell {k % 6 // 3}, {k % 3} of frame {k // 6}?")
        page.click_cell(".asking", (0, 1))
        assert page.text(".facts p").startswith("Cell 0, 1")
        page.click_cell(".strip canvas", (1, 1), at=1)
        page.press(",")
        assert "memory=1:1,1" in page.settled()  # frame 2 sees frame 1, too
        page.press(",")
        assert "memory" not in page.settled()  # but frame 1 does not
        page.choose("map", "block2/short_term")
        page.press("r", ".", "ArrowLeft")
        assert page.root.locator("[data-do=turn]").get_attribute("aria-pressed") == "false"
        assert page.text(".facts p").startswith("Cell 0, 0")


def test_what_cannot_be_seen_is_hatched(opened):
    made = example()
    count = """canvas => {
        const [wide, tall] = [canvas.width, canvas.height]
        const part = canvas.getContext("2d").getImageData(wide * 0.7, tall * 0.6, wide * 0.25, tall * 0.3).data
        const seen = new Set()
        for (let i = 0; i < part.length; i += 4) seen.add(`${part.subarray(i, i + 3)}`)
        return seen.size
    }"""
    with opened(made["given"], hash="#map=block2/short_term&cell=0,1&frame=1") as page:
        page.ready()
        assert page.texts(".strip figcaption > span") == ["Frame 0, the first"]
        hatched = page.canvas(".strip canvas").evaluate(count)  # cell 1, 2 is outside of the window of 0, 1
        page.do("geometry")
        assert page.root.locator("[data-do=geometry]").get_attribute("aria-pressed") == "false"
        assert "see" not in page.text(".facts") and "object 2" not in page.text(".chips")  # no weight lands on it
        assert hatched > page.canvas(".strip canvas").evaluate(count)
        page.press("g")
        assert page.canvas(".strip canvas").evaluate(count) == hatched
        assert page.text(".facts p").endswith("It can see 3 of 6 cells.")


def test_objects_flow_beside_prediction_and_truth(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        assert not page.root.locator(".card.flow").is_visible()
        page.press("f")
        assert page.texts(".three figcaption") == ["Objects flow", "Prediction", "Truth"]
        assert page.in_sight(".three canvas")
        shares = made["kept"]["block2/long_term", 3][0].reshape(6, 3, 6).sum(axis=1)[:, [0, 5]]  # on objects 1 and 2
        orange, blue = np.array([230, 159, 0]), np.array([86, 180, 233])
        for cell in (1, 2, 3, 4):  # on the background, where no outline is
            one, two = shares[cell]
            mixed, on = (one * orange + two * blue) / (one + two), one + two
            dark = 0.4 * np.array([90, 60, 60])
            told = page.colour(".three canvas", (cell // 3, cell % 3 + 0.3), 0)
            np.testing.assert_allclose(told, on * mixed + (1 - on) * dark, atol=6)
        assert page.root.locator(".three canvas").nth(2).get_attribute("aria-label") == "Truth of frame 3"
        page.press("f")
        assert not page.root.locator(".card.flow").is_visible()


def test_identities_in_tables_bars_and_over_time(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        page.do("identities")
        bank = [["1.00", "0.00", "0.00"], ["0.00", "1.00", "0.50"], ["0.00", "0.50", "1.00"]]
        tables = [table.split() for table in page.texts(".tables table")]
        assert tables[0] == ["Cosines", "in", "the", "bank", *"012", "0", *bank[0], "1", *bank[1], "2", *bank[2]]
        assert tables[1][:4] == ["As", "block2/long_term", "carries", "them"]
        mix = row_of(made).sum(axis=0) @ np.eye(3)[[1, 0, 0, 0, 0, 2]]
        gram = np.diag([4.0, 1, 1])
        likeness = gram @ mix / np.sqrt(mix @ gram @ mix * gram.diagonal())
        assert page.texts(".block > b") == ["block2/long_term"]  # the one map whose identities are known
        assert page.texts(".line > span:last-child") == [f"{value:.2f}" for value in likeness]
        label = page.root.locator(".chart").get_attribute("aria-label")
        assert (
            label == f"At frame 3: background {likeness[0]:.2f}, object 1 {likeness[1]:.2f}, object 2 {likeness[2]:.2f}"
        )
        page.root.locator(".follow").select_option("2")
        page.drawn()
        assert page.root.locator(".chart").get_attribute("aria-label") != label
        page.choose("map", "block1/long_term")
        assert page.text(".about").endswith(
            "No identities are known of block1/long_term: its lines are shares of the weight."
        )
        page.choose("net", "second")
        assert page.text(".about").startswith("second keeps no identity vectors")


def test_two_views_under_one_cell(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        page.do("compare")
        assert page.texts(".view h3") == ["Where the cell looks"] * 2
        heights = [page.canvas(".view h3", at).bounding_box()["y"] for at in (0, 1)]
        assert heights[0] == heights[1] and page.root.locator(".view .facts").count() == 2
        assert page.root.locator("section.view").nth(1).locator("[data-choice=net]").input_value() == "second"
        page.choose("map", "stage4", view=1)
        assert "with=second:stage4:0:1:" in page.settled()
        page.click_cell(".asking", (1, 0))
        left, right = (page.text(".facts", at) for at in (0, 1))
        assert left.startswith("Cell 1, 0 of frame 3") and right.startswith("Cell 1, 0 of frame 3")
        assert percent(row_of(made, cell=3).max()) in left and percent(made["kept"][1, 3][0, 3].max()) in right
        page.choose("net", "first", view=1)
        page.choose("map", "block1/long_term", view=1)
        page.click_cell("section.view:nth-of-type(3) .strip canvas", (0, 2), at=1)
        assert page.text(".facts", 1).startswith("Turned round: who looks at cell 0, 2 of frame 1?")
        assert page.settled().endswith("memory=1:0,2:2&with=first:block1/long_term:0:1:")
        page.press("c")
        assert page.root.locator("section.view").count() == 1 and "memory" not in page.settled()
    first, second = made["given"]["networks"]
    for networks, other in (([first], "first:block1/long_term"), ([second, first], "first:block2/long_term")):
        with opened(made["given"] | {"networks": networks}) as page:
            page.ready()
            page.press("c")
            assert f"with={other}:0:" in page.settled()


def test_a_tour_sets_the_state_and_skips_what_is_not_there(opened):
    with opened(example()["given"]) as page:
        page.ready()
        page.do("tour")
        stops = WORDS["tours"]["aot"]
        assert (
            page.text(".tour h3") == f"1 of {len(stops)}: {stops[0]['title']}"
            and page.text(".stop p") == stops[0]["text"]
        )
        assert page.settled().endswith("cell=0,0&tour=1")
        for stop in stops[1:]:
            page.root.locator(".tour [data-do=next]").click()
            assert page.text(".stop p") == re.sub(r"\s+", " ", stop["text"])
            figure = ".asking"
            for panel, inside in (("flow", ".three canvas"), ("identities", ".chart")):
                shown = stop.get("view", {}).get(panel, False)
                assert page.root.locator(f".card.{panel}").is_visible() == shown
                figure = inside if shown else figure
            assert page.in_sight(figure) and ("compare" not in stop or page.in_sight(".strip canvas"))
            assert (page.root.locator("section.view").count() == 2) == ("compare" in stop)
        assert page.root.locator(".tour [data-do=next]").is_disabled()
        assert page.text(".facts p").startswith("Turned round")
        page.root.locator("[data-stop='2']").click()
        assert "map=block2/short_term" in page.settled()
        page.press("t")
        assert not page.root.locator(".tour").is_visible()
        page.press("t")
        page.root.locator("[data-stop='7']").click()
        page.choose("net", "second")  # its tour is shorter, and of its maps this page holds stage4 alone
        assert page.text(".tour h3") == "2 of 2: Object by object" and len(page.texts(".steps button")) == 2
    made = example()["given"]
    of_memory = [each for each in made["networks"][1]["maps"] if each["name"] == "memory_self"]
    with opened(made | {"networks": [made["networks"][1] | {"maps": of_memory}]}) as page:
        page.ready()
        page.do("tour")
        assert page.text(".message") == "There is no tour for this network."
    reads = [each | {"name": "last_read"} for each in made["networks"][0]["maps"] if each["name"] == "block2/long_term"]
    for maps, stops in ((reads, 3), (reads[:1], 2)):  # no stop asks to go to another frame where there is one only
        with opened(made | {"networks": [made["networks"][0] | {"maps": maps, "paper": "sitvos"}]}, hash="") as page:
            page.ready()
            page.do("tour")
            assert len(page.texts(".steps button")) == stops
    asks = [each | {"name": "query_asks_memory"} for each in reads]
    for maps, text, views in ((asks, "alone", 1), (asks + reads, "text", 2)):
        with opened(made | {"networks": [made["networks"][0] | {"maps": maps, "paper": "sitvos"}]}, hash="") as page:
            page.ready()
            page.do("tour")
            page.root.locator("[data-stop]", has_text=str(views)).click()
            assert page.text(".stop p") == WORDS["tours"]["sitvos"][1][text]
            assert page.root.locator("section.view").count() == views


def test_every_tour_is_5_to_8_stops_and_glossary_and_page_agree():
    for paper in ("aot", "sst", "sitvos", "hst"):
        tour = WORDS["tours"][paper]
        assert 5 <= len(tour) <= 8
        assert all({"title", "text", "map", "cell"} <= set(stop) for stop in tour)
    glossary = (VIEWING.parents[1] / "docs/glossary.md").read_text(encoding="utf8")
    for word, meaning in WORDS["glossary"].items():
        assert f"| {word} | {meaning} |" in glossary


def test_the_link_brings_everything_back(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        page.choose("head", "1")
        page.press(",", "ArrowDown", "i", "g", "c")
        page.root.locator(".brightest").select_option("log")
        page.click_cell(".strip canvas", (0, 2), at=1)
        said, hash = page.text(".facts"), page.settled()
        page.do("link")
        assert page.text(".message.link").endswith(hash) and page.text(".message.link").startswith(
            ("Copied: ", "The link: ")
        )
    with opened(made["given"], hash=hash) as page:
        page.ready()
        assert page.settled() == hash and page.text(".facts") == said and page.texts(".message") == []
        assert page.root.locator(".card.identities").is_visible()
        page.page.evaluate("location.hash = '#net=second&map=stage4&obj=2&frame=2&cell=1,1'")
        page.wait("document.querySelector('.now h3').innerText === 'Frame 2 asks'")
        assert page.text(".facts p").startswith("Cell 1, 1") and page.root.locator("section.view").count() == 1


def test_the_link_keeps_networks_of_any_name(opened):
    made = example()["given"]
    names = "a:b", "50%3A / #&="
    given = made | {"networks": [each | {"name": name} for each, name in zip(made["networks"], names, strict=True)]}
    with opened(given) as page:
        page.ready()
        page.press("c")
        hash = page.settled()
    for at in (hash, hash.replace("with=", "with=a:b:")):
        with opened(given, hash=at) as page:
            page.ready()
            assert (page.settled() == hash) == (at == hash)
            assert len(page.texts(".message")) == (0 if at == hash else 1)
            assert page.root.locator("section.view").count() == (2 if at == hash else 1)


def test_a_link_to_what_is_not_there_says_so(opened):
    hash = "#net=third&map=block9/self&frame=77&cell=9,9&head=head%207&view=x-ray&with=a:b&memory=0:7,7&obj=5&asks=1"
    hash += "&scale=pink&zoom=3&tour=99"
    with opened(example()["given"], hash=hash) as page:
        page.ready()
        said = page.text(".message")
        for part in ("net=third", "map=block9/self", "frame=77", "cell=9,9", "head=head 7", "view=x-ray", "with=a:b",
                     "memory=0:7,7", "obj=5", "asks=1", "scale=pink", "zoom", "tour=99"):  # fmt: skip
            assert part in said
        assert page.text(".facts p").startswith("Cell 0, 0 of frame 2")


def test_a_picture_of_what_is_seen_is_saved(opened):
    with opened(example()["given"]) as page:
        page.ready()
        with page.page.expect_download() as download:
            page.do("png")
        assert download.value.suggested_filename == "by_hand_script_first_block2_long_term_frame_3.png"
        saved = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
        part = page.root.locator(".scene").evaluate("""scene => {
            scene.classList.add("printing")
            const [a, b] = [scene, scene.querySelector(".parts")].map(each => each.getBoundingClientRect())
            scene.classList.remove("printing")
            return [a.width, b.left - a.left, b.top - a.top, b.width, b.height]
        }""")
        width, left, top, wide, tall = (2 * round(side) for side in part)
        assert saved.shape[1] == pytest.approx(width + 80, abs=4)
        assert (saved[:80] < 128).any()  # the title
        bar = saved[88 + top : 88 + top + tall, 40 + left : 40 + left + wide]  # "its weight lands on"
        assert (np.abs(bar - (230, 159, 0)).max(axis=2) < 3).sum() > 20 * tall
        assert len({tuple(pixel) for pixel in saved[::8, ::8].reshape(-1, 3).tolist()}) > 100


def test_what_is_this(opened):
    with opened(example()["given"]) as page:
        page.ready()
        page.press("?")
        assert page.root.locator("dialog").is_visible()
        assert page.text("dialog p").startswith("This page shows where a network looks")
        words = page.text("dialog dl")
        assert "off by at most 1/126 of the root of the largest" in words
        assert "turn round" in words and WORDS["glossary"]["cell"] in words
        page.page.keyboard.press("Escape")
        assert not page.root.locator("dialog").is_visible()
        assert page.text(".notes") == "first: only two blocks are here."


def test_by_keyboard_alone(opened):
    made = example()
    with opened(made["given"]) as page:
        page.ready()
        for _ in range(40):  # Tab reaches every control that is there
            page.page.keyboard.press("Tab")
            name = page.page.evaluate("""(() => {
                const here = document.activeElement
                const ring = getComputedStyle(here).outlineStyle !== "none"
                const name = here.dataset.do ?? here.dataset.choice ?? here.className ?? here.tagName
                return here === document.body ? null : [name, ring, here.tagName]
            })()""")
            if name is None:
                break
            assert name[1], f"no focus ring on {name}"
            page.reached = [*getattr(page, "reached", []), name[0] or name[2]]
        wanted = {"words", "tour", "png", "link", "turn", "geometry", "flow", "identities", "compare", "play", "slider",
                  "brightest", "net", "map", "head", "asking", "CANVAS", "SUMMARY"}  # fmt: skip
        assert wanted <= set(page.reached), wanted - set(page.reached)
        page.canvas(".asking").focus()
        page.press("ArrowRight", "ArrowDown")
        assert page.text(".facts p").startswith("Cell 1, 1 of frame 3")
        page.press("ArrowRight", "ArrowRight", "ArrowDown")  # not beyond the frame
        assert page.text(".facts p").startswith("Cell 1, 2 of frame 3")
        page.press("]", "h")
        assert "map=block2/short_term" in page.settled()
        page.press("[", "h")
        assert "map=block2/long_term" in page.settled() and "head=head%201" in page.settled()
        typed = '{key: "]", ctrlKey: true, altKey: true, bubbles: true, modifierAltGraph: '
        for alt_graph, map in ((False, "block2/long_term"), (True, "block2/short_term")):
            page.page.evaluate(
                f"document.body.dispatchEvent(new KeyboardEvent('keydown', {typed}{str(alt_graph).lower()}}}))"
            )
            assert f"map={map}" in page.settled()
        page.press("[", "h")
        page.canvas(".strip canvas", 2).focus()
        page.press("Enter")
        column = row_of(made, cell=5, head=1)[2]
        k = int(column.argmax())
        assert page.text(".facts p").endswith(f"who looks at cell {k // 3}, {k % 3} of frame 2?")
        page.press("r", " ")
        assert page.root.locator("[data-do=play]").get_attribute("aria-label") == "Pause"
        page.press(" ")
        page.page.keyboard.press("Control+f")
        assert not page.root.locator(".card.flow").is_visible()
    with opened(made["given"], size=(400, 300)) as page:  # keys that scroll do so where the frame is out of sight
        page.ready()
        page.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.press("ArrowRight", " ")
        assert page.text(".facts p").startswith("Cell 0, 0 of frame 3") and not page.in_sight(".asking")
        assert page.root.locator("[data-do=play]").get_attribute("aria-label") == "Play"


def test_a_closed_explorer_hears_no_keys(opened):
    given = example()["given"]
    take = """async ([skeleton, given]) => {
        const root = document.createElement("div")
        Object.assign(root, { className: "explorer", innerHTML: skeleton })
        document.body.prepend(root)
        const explorer = await openExplorer(root, given, { hash: false })
        const press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }))
        press("f")
        explorer.close()
        press("i")
        root.remove()
        return [...explorer.panels]
    }"""
    with opened(given) as page:
        page.ready()
        skeleton = (VIEWING / "explorer.html").read_text(encoding="utf8")
        assert page.page.evaluate(take, [skeleton, given]) == ["geometry", "flow"]


def test_light_and_dark_wide_and_narrow(opened):
    contrast = """() => {
        const light = colour => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
            const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            return 0.2126 * r + 0.7152 * g + 0.0722 * b
        }
        const page = light(getComputedStyle(document.querySelector(".explorer")).backgroundColor)
        const texts = [".title", ".lead", ".kind", ".ticks", "select", ".facts p"]
        const all = texts.map(text => light(getComputedStyle(document.querySelector(text)).color))
        return [page, Math.min(...all.map(text => (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05)))]
    }"""
    small = """() => [...document.querySelectorAll(".explorer *")]
        .filter(each => each.checkVisibility() && parseFloat(getComputedStyle(each).fontSize) < 12)
        .map(each => each.outerHTML.slice(0, 80))"""
    for scheme, width in (("dark", 400), ("light", 400), ("dark", 1280)):
        with opened(example()["given"], scheme=scheme, size=(width, 800)) as page:
            page.ready()
            background, least = page.page.evaluate(contrast)
            assert (background < 0.05) == (scheme == "dark") and least > 4.5
            assert page.page.evaluate(small) == []
            page.press("t", "f", "i", "c")
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width
            page.press("c")
            frame = page.canvas(".asking").bounding_box()
            assert frame["width"] >= (350 if width == 400 else 384)
            memory = page.canvas(".strip canvas").bounding_box()
            beside = memory["x"] > frame["x"] + frame["width"]
            assert beside == (width == 1280) and memory["width"] >= 350


def test_identities_of_many_objects_and_tall_frames_fit_on_the_page(opened):
    made = example()["given"]
    bank = np.eye(10).tolist()
    many = made["networks"][0] | {"identities": {"bank": bank, "maps": {"block2/long_term": bank}}}
    with opened(made | {"networks": [many], "objects": list(range(1, 10))}) as page:
        page.ready()
        page.press("i")
        for width in (1200, 400):
            page.page.set_viewport_size({"width": width, "height": 900})
            page.drawn()
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    pack = Pack()
    place = pack.add(np.ones((4, 24, 4)), "u1")
    weights = exact(np.random.default_rng(0), (1, 6, 6))
    network = made["networks"][0] | {"labels": place, "maps": [add_map(pack, "block2/long_term", weights, 1, [0])]}
    tall = {"size": [24, 4], "networks": [network], "pack": pack.text(), "truth": None, "points": None}
    with opened(made | tall, hash="") as page:
        page.ready()
        assert page.canvas(".asking").bounding_box()["height"] == pytest.approx(0.45 * 900, abs=1)
        assert page.canvas(".strip canvas").bounding_box()["height"] == pytest.approx(0.6 * 900, abs=1)


def test_two_explorers_in_one_document(opened):
    made, other = example(), example(title="another")
    with opened(made["given"], other["given"], hash="#cell=1,1&2.cell=0,2&2.map=block1/self") as page:
        page.wait("document.querySelectorAll('.facts:has(p)').length === 2")
        second = Hands(page.page, 1)
        assert page.text(".facts p").startswith("Cell 1, 1") and second.text(".facts p").startswith("Cell 0, 2")
        second.click_cell(".asking", (1, 0))
        page.canvas(".asking").focus()
        page.press("ArrowUp")
        assert page.text(".facts p").startswith("Cell 0, 1") and second.text(".facts p").startswith("Cell 1, 0")
        hash = page.settled()
        assert "&cell=0,1" in hash and "2.cell=1,0" in hash and "2.map=block1/self" in hash
        assert second.text(".title") == "another" and page.texts(".message") == []


def test_clips_and_networks_of_which_there_is_little_to_show(opened):
    made = example()["given"]
    silent = made["networks"][0] | {"maps": []}
    with opened(made | {"networks": [silent], "frames": made["frames"][:1]}) as page:
        page.wait("document.querySelectorAll('.message').length === 2")
        assert page.texts(".message") == [
            "The clip has one frame: there is no memory that a later frame could look at.",
            "No attention was recorded of first: nothing can be shown of it.",
        ]
        page.press("r", "f", "t", "ArrowUp", ".")
        page.root.locator("[data-do=compare]").click()
        page.drawn()
        assert page.colour(".asking", (0, 0)) == [60, 60, 60]
    with opened(made | {"colours": made["colours"][:2]}) as page:
        page.ready()
        assert page.text(".message").startswith(
            "There are more objects than colours: from object 2 on colours come again"
        )
        page.press("f")
        assert page.texts(".facts .chip b") and page.texts(".facts .chip b")[0] in "012"


def test_data_of_another_format_is_refused_in_words(browser, tmp_path):
    (tmp_path / "page.html").write_text(page_of(example(format=2)["given"]), encoding="utf8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    said = page.locator(".message").inner_text()
    page.close()
    assert said == "The page cannot show its data: the data has format 2; this page reads format 1"


def test_a_page_made_by_python_shows_the_numbers_of_its_maps(tab, tmp_path):
    """Up to the coding: the root of a weight is off by at most half a level of that of its row's largest."""
    explorer = pytest.importorskip("minivos.viewing.explorer")
    clip, model = render(3, frames=5, size=(64, 96), objects=2), tiny_aot()
    made = explorer.explore({"tiny": model}, clip, frames=[0, 2, 4])
    made.save(tmp_path / "real.html")
    tracker = Tracker(model)
    for t in range(5):
        with record_attention() as maps:
            tracker.step(clip.frames[t], clip.masks[0] if t == 0 else None)
    look = maps.find("block2/long_term")
    page, _, errors = tab
    for cell in ((1, 2), (3, 0)):
        page.goto("about:blank")
        page.goto(f"{(tmp_path / 'real.html').as_uri()}#map=block2/long_term&frame=4&cell={cell[0]},{cell[1]}")
        hands = Hands(page).ready()
        assert hands.texts(".message") == [] and not errors
        weights = look.look_from(*cell).mean(0)  # (T, H, W)
        largest = weights.max().item()
        for line in hands.root.locator(".facts li").all_inner_texts():
            frame, y, x, share = map(float, re.search(r"frame (\d+), cell (\d+), (\d+)\s*([\d.]+)\s%", line).groups())
            weight = weights[look.key_frames.index(int(frame)), int(y), int(x)].item()
            off = abs((share / 100 / largest) ** 0.5 - (weight / largest) ** 0.5)
            assert off <= 1 / (2 * made.given["levels"]) + 0.005  # shares have two digits
        told = [float(text.split()[0]) / 100 for text in hands.texts(".strip strong")]
        np.testing.assert_allclose(told, weights.sum(dim=(1, 2)), atol=0.03)


def large() -> dict:
    """Twelve frames of 128 x 192, two maps of 12 x 20 cells each: a page of 3 MB."""
    rng, pack = np.random.default_rng(1), Pack()
    labels = np.zeros((12, 128, 192), np.uint8)
    for t in range(12):
        labels[t, 30:70, 20 + 8 * t : 60 + 8 * t] = 1
    maps = []
    for frame in range(1, 12):
        past = list(range(max(0, frame - 4), frame))
        for name in ("a/long_term", "b/long_term"):
            codes = rng.integers(0, 8, (1, 240, 240 * len(past)))
            maps.append(
                add_map(pack, name, (codes / LEVELS) ** 2.0, frame, past)
                | {"grid": [12, 20], "fullGrid": [12, 20], "fullKeyGrid": [12, 20], "keyGrid": [len(past), 12, 20]}
            )
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8)).resize((192, 128)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    network = {"name": "net", "paper": "aot", "note": [], "alignCorners": False, "labels": pack.add(labels, "u1"),
               "maps": maps, "identities": None}  # fmt: skip
    return example()["given"] | {
        "size": [128, 192], "frames": [{"number": t, "shown": True, "picture": url} for t in range(12)], "objects": [1],
        "truth": None, "points": None, "networks": [network], "pack": pack.text(),
    }  # fmt: skip


TIMED = """async () => {
    const canvas = document.querySelector(".asking")
    const box = canvas.getBoundingClientRect()
    const times = []
    for (let i = 1; i < 20; i++) {
        const at = { clientX: box.left + (i / 20) * box.width, clientY: box.top + 0.4 * box.height, bubbles: true }
        const before = performance.now()
        canvas.dispatchEvent(new MouseEvent("click", at))
        await new Promise(done => requestAnimationFrame(() => setTimeout(done)))
        times.push(performance.now() - before)
    }
    return times.sort((a, b) => a - b)
}"""


def processor_seconds(page) -> float:
    """What the process of the page has used so far."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return next(metric["value"] for metric in metrics if metric["name"] == "ProcessTime")


def test_a_page_of_3_mb_opens_within_a_second_and_a_click_answers_within_50_ms(browser, tmp_path):
    """A busy machine is slower for other reasons: there the processor time of the page counts."""
    html = page_of(large())
    assert 2.8e6 < len(html) < 3.7e6
    (tmp_path / "page.html").write_text(html, encoding="utf8")
    with quiet_page(browser, **OFFLINE) as page:
        page.goto((tmp_path / "page.html").as_uri())
        Hands(page).ready()
        opening, used = page.evaluate("performance.now()") / 1000, processor_seconds(page)
        times = page.evaluate(TIMED)
        click = (processor_seconds(page) - used) / len(times) * 1000
    middle = times[len(times) // 2]
    print(f"\n{len(html) / 1e6:.1f} MB: first picture after {opening:.2f} s ({used:.2f} s of the processor)")
    print(f"a click: {middle:.0f} ms ({click:.0f} ms of the processor)")
    assert min(opening, used) < 1 and min(middle, click) < 50
