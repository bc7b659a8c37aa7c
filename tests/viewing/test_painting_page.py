"""The page that `minivos paint` writes, in a real browser: what hands do on it, and the PNG that comes out.

What the same hands do in Python, with `MaskPainting` and `View`, must fill the same pixels.
"""

import io
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chromium import needs_chromium, playwright, quiet_page
from minivos.video.frames import open_frames
from minivos.video.given_masks import read_given_masks
from minivos.video.mask_files import describe_mask, read_mask
from minivos.video.masks import davis_palette, object_colour
from minivos.viewing.painting import MaskPainting, View
from minivos.viewing.painting_page import FrameToPaint, write_painting_page

pytestmark = needs_chromium
SIZE = (50, 70)
PICTURE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
DOWNLOADS = "window.showSaveFilePicker = undefined"  # as in Firefox and Safari
PICKER = """
window.written = []
window.showSaveFilePicker = async ({suggestedName}) => {
    window.asked = (window.asked ?? 0) + 1
    if (window.refuse) throw new DOMException("", "AbortError")
    const write = async file => window.written.push(Array.from(new Uint8Array(await file.arrayBuffer())))
    return {name: `my ${suggestedName}`, createWritable: async () => ({write, close: async () => {}})}
}"""

Place = tuple[int, int]  # (x, y) in pixels of the screen, on the canvas


def wait_for(page, condition: str) -> None:
    """Ask again and again; the page itself may not, as it allows no code but its own."""
    for _ in range(300):
        if page.evaluate(condition):
            return
        time.sleep(0.05)
    raise AssertionError(f"never came true: {condition}")


class Desk:
    """A page, and beside it a painting and a view in Python to which the same is done."""

    def __init__(self, page, labels: np.ndarray | None) -> None:
        self.page = page
        self.painting = MaskPainting(PICTURE)
        if labels is not None:
            self.painting.labels = labels.copy()
        self.view = View(SIZE)
        self.view.fit = page.evaluate("view.fit")
        box = page.locator("canvas").bounding_box()
        self.corner = int(box["x"]) + 1, int(box["y"]) + 1  # whole pixels of the page, as mice have them
        self.away = self.corner[0] - box["x"], self.corner[1] - box["y"]
        self.radius = page.evaluate("radius()")

    def at(self, place: Place) -> tuple[int, int]:
        """Where on the page a place of the canvas is."""
        return self.corner[0] + place[0], self.corner[1] + place[1]

    def point(self, place: Place) -> tuple[float, float]:
        return self.view.point(place[0] + self.away[0], place[1] + self.away[1])

    def stroke(self, *places: Place, label: int = 1) -> None:
        self.page.mouse.move(*self.at(places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(place))
        self.page.mouse.up()
        self.stroke_in_python(*places, label=label)

    def stroke_in_python(self, *places: Place, label: int = 1) -> None:
        self.painting.begin()
        points = [self.point(place) for place in places]
        for start, end in zip(points[:1] + points, points, strict=False):
            self.painting.stroke(start, end, self.radius, label)

    def click(self, *places: Place) -> None:
        for place in places:
            self.page.mouse.click(*self.at(place))

    def polygon(self, *places: Place, label: int) -> None:
        self.click(*places, places[0])
        self.painting.begin()
        self.painting.polygon([self.point(place) for place in places], label)

    def save(self) -> bytes:
        with self.page.expect_download() as download:
            self.page.locator("#save").click()
        return Path(download.value.path()).read_bytes()

    def labels(self) -> np.ndarray:
        return np.array(self.page.evaluate("Array.from(frame.painting.labels)"), np.uint8).reshape(SIZE)

    def same(self) -> bool:
        return np.array_equal(self.labels(), self.painting.labels)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, id: str) -> str:
        return self.page.locator(f"#{id}").inner_text()


@pytest.fixture
def desk(browser, tmp_path: Path) -> Callable:
    """Opens a page to paint on, of some frames, whose first has the labels."""

    @contextmanager
    def opened(labels: np.ndarray | None = None, frames: tuple = (), script: str = DOWNLOADS, **more) -> Iterator[Desk]:
        each = frames or (FrameToPaint(0, "00000", PICTURE, labels),)
        write_painting_page(path := tmp_path / "mask.html", "holiday.mp4", each)
        with quiet_page(browser, **{"viewport": {"width": 1000, "height": 900}} | more) as page:
            page.add_init_script(script)
            page.goto(path.as_uri())
            wait_for(page, "frame.picture.complete && canvas.width > 300")
            yield Desk(page, labels)

    return opened


def test_what_is_painted_comes_out_as_a_mask_that_segment_takes(desk, tmp_path, monkeypatch):
    with desk() as d:
        d.page.locator("#radius").fill("4")
        d.radius = 4
        d.stroke((200, 100), (300, 140), (310, 300), label=1)
        d.page.locator("#add").click()
        d.page.locator("#tools").get_by_text("Polygon").click()
        d.polygon((400, 50), (600, 90), (450, 333), (520, 30), label=2)  # its sides cross
        d.press("+")
        d.polygon((10, 300), (200, 210), (99, 401), label=3)
        d.press("b", "7")
        d.stroke((500, 333), (610, 350), label=7)
        d.press("e")
        d.stroke((290, 130), (350, 140), label=0)
        content = d.save()
        assert set(np.unique(d.painting.labels)) == {0, 1, 2, 3, 7} and d.same()
        assert d.text("said") == describe_mask(d.painting.labels)
        words = shlex.split(d.text("command"))
    assert words == ["minivos", "segment", "holiday.mp4", "--mask", "00000.png"]

    with Image.open(io.BytesIO(content)) as picture:
        assert picture.mode == "P" and picture.size == SIZE[::-1]
        assert picture.getpalette() == davis_palette().ravel().tolist()
        assert np.array_equal(np.asarray(picture), d.painting.labels)
    monkeypatch.chdir(tmp_path)
    Path("00000.png").write_bytes(content)
    assert np.array_equal(read_mask("00000.png"), d.painting.labels)
    Path("frames").mkdir()
    for t in range(2):
        Image.fromarray(PICTURE).save(f"frames/{t:05}.png")
    (mask,) = read_given_masks(words[words.index("--mask") + 1 :], open_frames("frames")).values()
    assert np.array_equal(mask, d.painting.labels)


def test_zoomed_and_moved_the_page_paints_what_is_seen_there(desk):
    with desk() as d:
        d.page.mouse.move(*d.at((500, 200)))
        d.page.mouse.wheel(0, -400)
        wait_for(d.page, "view.zoom === 4")
        d.view.zoom_to(4, 500 + d.away[0], 200 + d.away[1])
        d.stroke((100, 100), (420, 180), label=1)
        d.press("m")
        d.page.mouse.down()
        d.page.mouse.move(*d.at((300, 120)))
        d.page.mouse.up()
        d.view.move(d.point((420, 180)), d.point((300, 120)))
        d.press("p")
        d.polygon((100, 100), (420, 180), (303, 350), label=1)
        assert d.same() and d.labels().any()
        d.press("0")
        assert d.page.evaluate("[view.zoom, view.corner]") == [1, [0, 0]]


def test_undo_redo_clear_and_an_open_polygon(desk):
    with desk() as d:
        d.stroke((100, 100), (300, 100), label=1)
        first = d.painting.labels.copy()
        d.press("2")
        d.stroke((100, 300), (300, 300), label=2)
        both = d.painting.labels.copy()
        d.press("Control+z")
        assert np.array_equal(d.labels(), first)
        d.page.locator("#redo").click()
        assert np.array_equal(d.labels(), both)
        d.page.get_by_role("button", name="Clear object 2").click()
        assert np.array_equal(d.labels(), first) and d.page.locator("#redo").is_disabled()
        d.page.locator("#undo").click()
        assert np.array_equal(d.labels(), both)
        d.press("p", "3")
        d.click((400, 100), (500, 100), (500, 200), (450, 250))
        d.press("Backspace", "Enter")  # without its last corner
        triangle = [d.point(place) for place in ((400, 100), (500, 100), (500, 200))]
        d.painting.polygon(triangle, 3)
        assert d.same()
        d.click((400, 300), (500, 300), (500, 400))
        d.press("Escape", "Control+z")
        assert np.array_equal(d.labels(), both)


def test_a_mask_to_begin_with_is_kept_to_the_pixel(desk):
    labels = np.zeros(SIZE, np.uint8)
    labels[5:20, 5:20], labels[5:9, 30:60], labels[30:, 60:], labels[40] = 1, 200, 254, 255
    with desk(labels) as d:
        assert np.array_equal(d.labels(), labels) and "200 (120 px)" in d.text("said")
        assert d.page.locator("#objects input").evaluate_all("all => all.map(each => each.value)") == [
            "1",
            "200",
            "254",
        ]
        assert d.page.locator("[aria-current]").inner_text() == "Paint" and np.array_equal(_read(d.save()), labels)
        d.press("3")
        d.stroke((300, 250), (320, 260), label=3)
        assert np.array_equal(_read(d.save()), d.painting.labels)


def _read(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.array(picture)


def test_objects_have_their_colours_on_the_screen(desk):
    grey, labels = np.full((*SIZE, 3), 100, np.uint8), np.zeros(SIZE, np.uint8)
    labels[10:30, 10:30], labels[10:30, 40:60] = 2, 9
    labels[40:] = 255
    with desk(frames=(FrameToPaint(0, "00000", grey, labels),)) as d:
        read = "([y, x]) => Array.from(layer.getImageData(...view.place([y, x]).map(Math.floor), 1, 1).data)"
        for y, x, expected in (
            (20, 20, (100 + np.array(object_colour(2))) / 2),
            (20, 50, (100 + np.array(object_colour(9))) / 2),
            (10, 20, object_colour(2)),  # outlined,
            (9, 20, (255, 255, 255)),  # and white around it
            (5, 5, (100, 100, 100)),
            (45, 30, (100, 100, 100)),  # void
        ):
            assert d.page.evaluate(read, [y, x])[:3] == pytest.approx(expected, abs=3), (y, x)


def test_several_frames_have_a_mask_and_a_word_in_the_command_each(desk):
    odd = FrameToPaint(40, "a=b 'c'", PICTURE)
    with desk(frames=(FrameToPaint(0, "00000", PICTURE), FrameToPaint(31, "00031", 255 - PICTURE), odd)) as d:
        d.page.locator("#frame").select_option(label="00031")
        assert d.text("command") == "minivos segment holiday.mp4 --mask 00031=00031.png" and "00031" in d.text("facts")
        d.press("2")
        d.stroke((300, 200), label=2)
        assert d.page.locator("[aria-current]").inner_text() == "Save" and _read(d.save()).max() == 2
        playwright.expect(d.page.locator("#next")).to_contain_text("masks of earlier frames")
        d.page.locator("#frame").select_option(label="00000")
        assert not d.labels().any() and d.page.locator("#objects input").count() == 2  # the objects are those of all
        d.stroke((300, 200), label=2)
        assert d.text("command") == "minivos segment holiday.mp4 --mask 00000.png --mask 00031=00031.png"
        d.page.locator("#frame").select_option(label=odd.name)
        assert d.text("next") == "Not saved yet: frame 00000."
        d.stroke((300, 200), label=2)
        assert shlex.split(d.text("command"))[-2:] == ["--mask", "40=a=b 'c'.png"]


def test_the_file_that_people_choose_is_the_one_in_the_command(desk):
    with desk(script=PICKER) as d:
        d.stroke((300, 200), (400, 200), label=1)
        d.page.evaluate("window.refuse = true")
        d.press("Control+s")
        wait_for(d.page, "window.asked === 1 && !frame.saving")
        assert d.page.locator("[aria-current]").inner_text() == "Save" and not d.page.evaluate("window.written.length")
        d.page.evaluate("window.refuse = false")
        d.page.evaluate("[save(), save()].length")  # the second while the first is at it
        wait_for(d.page, "window.written.length && !frame.saving")
        assert d.page.evaluate("[window.asked, window.written.length]") == [2, 1]
        playwright.expect(d.page.locator("[aria-current]")).to_have_text("Follow")
        assert np.array_equal(_read(bytes(d.page.evaluate("window.written[0]"))), d.painting.labels)
        assert d.text("command") == 'minivos segment holiday.mp4 --mask "00000=my 00000.png"'


def test_nobody_leaves_with_a_painting_that_is_not_saved(desk):
    with desk() as d:
        asked: list[str] = []
        d.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
        d.page.reload()
        assert not asked
        d.stroke((300, 200), (400, 200), label=1)
        d.page.reload()
        assert asked == ["beforeunload"] and d.same()  # accepted, and brought back
        assert d.page.locator("[aria-current]").inner_text() == "Save"
        d.save()
        d.page.reload()
        assert len(asked) == 1 and d.same() and d.page.locator("[aria-current]").inner_text() == "Follow"
        d.press("Control+z")
        assert not d.labels().any()


def test_fingers_paint_and_two_of_them_enlarge(desk):
    with desk(has_touch=True) as d:
        hand = d.page.context.new_cdp_session(d.page)

        def touch(kind: str, *places: Place) -> None:
            points = [dict(zip("xy", d.at(place), strict=True), id=i) for i, place in enumerate(places)]
            hand.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

        touch("Start", (100, 100))
        touch("Move", (300, 140))
        touch("End")
        d.stroke_in_python((100, 100), (300, 140), label=1)
        assert d.same() and d.labels().any()
        touch("Start", (200, 200))
        touch("Start", (200, 200), (300, 200))
        touch("Move", (150, 200), (350, 200))
        touch("End", (150, 200))
        touch("Move", (250, 300))
        touch("End")
        assert d.same() and d.page.evaluate("view.zoom") == pytest.approx(2, abs=0.05)
        middle = d.page.evaluate(f"view.point([{250 + d.away[0]}, {200 + d.away[1]}])")
        assert middle == pytest.approx(d.point((250, 200)), abs=1)  # what was between the fingers is there still


def test_the_keyboard_alone_paints(desk):
    with desk() as d:
        d.page.locator("canvas").focus()
        d.press("3", *["ArrowLeft"] * 5)
        d.page.keyboard.down(" ")
        d.press(*["ArrowDown"] * 4)
        d.page.keyboard.up(" ")
        tall, wide = d.page.evaluate("view.canvas")
        d.away = 0, 0
        places = [(wide / 2 - 60, tall / 2 + 12 * step) for step in range(5)]
        d.stroke_in_python(*places, label=3)
        assert d.same() and d.labels().any()
        d.press("p")
        for way in ("ArrowUp", "ArrowRight", "ArrowDown"):
            d.press(*[way] * 9, " ")
        d.press("Enter")
        x, y = wide / 2 - 60, tall / 2 + 48 - 108
        d.painting.polygon([d.point(place) for place in ((x, y), (x + 108, y), (x + 108, y + 108))], 3)
        assert d.same()


REFUSED = """new Promise(done => {
    document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective))
    fetch("http://127.0.0.1:9/").catch(() => setTimeout(() => done("tried"), 500))
})"""


def test_the_page_is_one_file_that_asks_for_nothing(browser, tmp_path):
    write_painting_page(path := tmp_path / "mask.html", "holiday.mp4", [FrameToPaint(0, "00000", PICTURE)])
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    wait_for(page, "frame.picture.complete")
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate(REFUSED) == "connect-src"
    page.close()
    assert not re.search(r"\w+://|<\w+[^>]*\s(?:src|href)=|@import|url\(", path.read_text("utf8"))


CONTRAST = """() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(value => {
            value /= 255
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const behind = each => {
        const colour = getComputedStyle(each).backgroundColor
        return colour === "rgba(0, 0, 0, 0)" ? behind(each.parentElement) : colour
    }
    const seen = document.querySelectorAll("h1, p, li, code, legend, output, summary, button:enabled, label > span")
    return Array.from(seen).filter(each => each.textContent.trim()).map(each => {
        const [a, b] = [light(getComputedStyle(each).color), light(behind(each))].sort((one, other) => other - one)
        return [(a + 0.05) / (b + 0.05), each.textContent]
    })
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_has_a_name(desk, scheme):
    labels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 13
    with desk(labels, color_scheme=scheme) as d:
        contrasts = d.page.evaluate(CONTRAST)
        assert len(contrasts) > 25 and min(contrasts)[0] >= 4.5, min(contrasts)
        names = d.page.locator("button, input, select, canvas").evaluate_all(
            "all => all.map(each => each.ariaLabel || each.labels?.[0]?.textContent.trim() || each.textContent.trim())"
        )
        assert len(names) > 20 and all(names)


def test_a_narrow_screen_has_room_for_all(desk):
    with desk(viewport={"width": 360, "height": 640}) as d:
        top = "canvas.getBoundingClientRect().top + scrollY"
        before = d.page.evaluate(top)
        assert d.page.evaluate("document.documentElement.scrollWidth") <= 360
        d.stroke((100, 100), (200, 120), label=1)
        assert d.same() and d.labels().any()
        for _ in range(2):
            d.save()
            assert d.page.evaluate(top) == before  # the picture does not move while people paint


def test_copy_puts_the_command_on_the_clipboard(desk):
    with desk() as d:
        d.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        d.page.locator("#copy").click()
        playwright.expect(d.page.locator("#copy")).to_have_text("Copied")
        assert d.page.evaluate("navigator.clipboard.readText()") == d.text("command")
