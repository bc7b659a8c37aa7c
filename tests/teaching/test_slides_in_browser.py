"""The decks in a real browser: nothing is fetched, keys move, notes show, nothing is cut. Skipped without Chromium."""

import runpy
from pathlib import Path

import pytest

from chromium import needs_chromium, quiet_page

ROOT = Path(__file__).parents[2]
NUMBERS = sorted(int(path.stem) for path in (ROOT / "teaching/slides").glob("*.md"))
SMALLEST_TYPE = 14  # pixels of 1280 x 720
CUT = """() => slides.flatMap((slide, n) => {
    show(n)
    const boxes = [slide.querySelector(".box"), ...slide.querySelectorAll(".columns, .column, pre, table, .formula")]
    return boxes.filter(e => e.scrollHeight > e.clientHeight + 8 || e.scrollWidth > e.clientWidth + 1)
        .map(e => `slide ${n + 1}: ${e.className || e.tagName} ${e.scrollWidth}x${e.scrollHeight}`)
})"""  # a formula's radicals reach a few pixels out of their line
SMALL = """least => slides.flatMap((slide, n) => {
    show(n)
    const parts = [...slide.querySelectorAll("p, li, pre, td")], size = e => parseFloat(getComputedStyle(e).fontSize)
    const low = [...slide.querySelectorAll("figure")].filter(e => e.clientHeight < 220)
    return [...parts.filter(e => size(e) < least), ...low].map(e => `slide ${n + 1}: ${e.outerHTML.slice(0, 60)}`)
})"""
ON_A_TELEPHONE = """() => slides.flatMap((slide, n) => {
    const place = e => e.getBoundingClientRect(), name = e => `${e.tagName} ${(e.alt ?? e.innerText).slice(0, 30)}`
    const parts = [...slide.querySelectorAll("h1, h2, p, li, pre, figure, table, .formula, blockquote, footer, img")]
    const within = (a, b) => a.bottom <= b.bottom + 1 && a.right <= b.right + 1
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
    const out = parts.filter(e => e.matches("figure *") && !within(place(e), place(e.closest("figure"))))
    const over = parts.filter((a, i) => parts.slice(i + 1).some(b => !a.contains(b) && meet(place(a), place(b))))
    return [...out, ...over].map(e => `slide ${n + 1}: ${name(e)}`)
})"""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    runpy.run_path(str(ROOT / "teaching/slides.py"))["main"](folder, [], pdf=False)
    return folder


@pytest.fixture
def page(browser):
    with quiet_page(browser, viewport={"width": 1280, "height": 720}) as page:
        yield page


def now(page) -> list[str]:
    return page.evaluate("slides.filter(slide => slide.offsetParent || slide.getClientRects().length).map(s => s.id)")


def drawn(page) -> None:
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_deck_fetches_nothing_and_nothing_is_cut_or_tiny(page, folder, number):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("http*://**", lambda route: route.abort())
    page.goto((folder / f"{number}.html").as_uri())
    drawn(page)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(SMALL, SMALLEST_TYPE) == []


def test_keys_move_notes_show_and_the_look_changes(page, folder):
    page.goto((folder / "2.html").as_uri())
    last = page.evaluate("slides.length")
    for key, where in {"ArrowRight": 2, "PageDown": 3, "ArrowLeft": 2, "PageUp": 1, "End": last, "Home": 1}.items():
        page.keyboard.press(key)
        assert now(page) == [str(where)] and page.url.endswith(f"#{where}")
    page.keyboard.press("ArrowLeft")
    assert now(page) == ["1"]
    page.get_by_label("next slide").click()
    assert now(page) == ["2"]
    notes = page.locator(".now .notes")
    assert not notes.is_visible()
    page.keyboard.press("s")
    assert notes.is_visible() and "minutes" in notes.inner_text()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("d")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.keyboard.press("p")
    assert len(now(page)) == last


def test_a_slide_is_found_by_its_hash_and_a_swipe_moves(page, folder):
    page.goto((folder / "2.html").as_uri() + "#4")
    assert now(page) == ["4"]
    for name, x in ("touchstart", 300), ("touchend", 100):
        page.evaluate(
            "([name, x]) => dispatchEvent(Object.assign(new Event(name), {changedTouches: [{clientX: x}]}))", [name, x]
        )
    assert now(page) == ["5"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_telephone_scrolls_through_all_slides_and_nothing_lies_over_another(browser, folder, number):
    with quiet_page(browser, viewport={"width": 400, "height": 800}) as page:
        page.goto((folder / f"{number}.html").as_uri())
        drawn(page)
        assert len(now(page)) == page.evaluate("slides.length")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        parts = "[...document.querySelectorAll('p, li, figure')]"
        assert page.evaluate(f"Math.max(...{parts}.map(part => part.getBoundingClientRect().right))") <= 400
        assert page.evaluate(ON_A_TELEPHONE) == []


def test_a_list_of_all_keys_opens_and_closes(page, folder):
    page.goto((folder / "2.html").as_uri())
    keys, button = page.locator("#help"), page.get_by_role("button", name="keys")
    signs = {"→": "ArrowRight", "←": "ArrowLeft", "↓": "ArrowDown", "↑": "ArrowUp", "Space": " "}
    named = {signs.get(key, key).lower() for key in keys.locator("kbd").all_text_contents()}
    assert named == {key.lower() for key in page.evaluate("Object.keys({...moves, ...commands})")}
    for opens in button.click, lambda: button.press(" "), lambda: page.keyboard.press("?"):
        assert not keys.is_visible()
        opens()
        assert keys.is_visible() and now(page) == ["1"]
        page.keyboard.press("Escape")
    assert not keys.is_visible()


def test_a_deck_opens_as_dark_as_the_site_was_left(page, folder):
    page.goto((folder / "2.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for theme in "auto", "light", "dark":
        page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
        page.reload()
        seen[theme] = page.evaluate(colour)
    assert seen["auto"] == seen["light"] != seen["dark"]


@pytest.mark.slow
def test_a_pdf_has_a_page_for_each_slide(browser, folder, page):
    slides = runpy.run_path(str(ROOT / "teaching/slides.py"))
    pdf = slides["write_pdf"](folder / "2.html")
    page.goto((folder / "2.html").as_uri())
    assert pdf.read_bytes().count(b"/Type /Page\n") == page.evaluate("slides.length")
