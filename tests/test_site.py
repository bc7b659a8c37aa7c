"""The site, as a reader has it: opened from its folder, without a network."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from chromium import needs_chromium, playwright

pytest.importorskip("furo", reason="the site is built by Python 3.11 or later")
ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs/site"))  # the scripts there import each other

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from build import ASKS, EXAM, PAPERS, Gathering, build, in_line, predictions  # noqa: E402
from links import broken_links, outside, read  # noqa: E402

import minivos  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
FORMULA = re.compile(r"\$\$.+?\$\$|\$(?:[^$\n]|\n(?!\n))+?\$", re.DOTALL)
LOOKED_AT = ["index", "notebooks/03_aot_lstt", "papers/aot", "papers/aot_side_by_side", "api", "docs/glossary"]
LOOKED_AT += ["search", "teaching/README", "teaching/quiz", "slides/2"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site without its gallery."""
    folder = tmp_path_factory.mktemp("built") / "site"
    build(folder)
    return folder


@pytest.fixture(scope="module")
def files(site) -> dict:
    return read(site)


@pytest.fixture(scope="module")
def pages(site, files) -> dict:
    return {path.relative_to(site).with_suffix("").as_posix(): page for path, page in files.items()}


@contextmanager
def alone(browser, width: int = 1280, **settings: object) -> Iterator:
    """A page whose console stays silent and that asks no other machine for anything."""
    page, said, asked = browser.new_page(viewport={"width": width, "height": 900}, **settings), [], []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    page.route(re.compile("^(https?|wss?):"), lambda route: (asked.append(route.request.url), route.abort()))
    yield page
    page.close()
    assert (said, asked) == ([], [])


def test_no_link_leads_nowhere_and_few_lead_outside(files):
    assert broken_links(files) == [] and len(files) > 40
    assert len(outside(files)) < 10


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="x"></h1><a href="#x"></a><a href="#y"></a><img src="b.png">')
    (tmp_path / "c.html").write_text('<a href="a.html#x">1</a><a href="a.html#y">2</a><a href="d.html">3</a>')
    assert [line.split()[1] for line in broken_links(read(tmp_path))] == ["#y", "b.png", "a.html#y", "d.html"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_its_formulas_pictures_and_explorers(pages, site, path):
    notebook, page = nbformat.read(path, as_version=4), pages[f"notebooks/{path.stem}"].article
    prose = "\n".join(CODE.sub("", cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(page.find_all("math")) == len(FORMULA.findall(prose)) and "$$" not in page.text
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    explorers = [frame["src"] for frame in page.find_all("iframe")]
    assert len(explorers) == sum("text/html" in data for data in shown)
    assert "NBVAL" not in page.text
    drawn = sum("image/png" in data for data in shown) + len(re.findall(r"!\[[^\]]+\]\(", prose)) + len(explorers)
    assert len(page.find_all("img")) == drawn and all(len(image["alt"]) > 20 for image in page.find_all("img"))
    assert all("<script" in (site / "notebooks" / name).read_text(encoding="utf8") for name in explorers)


def test_every_public_name_is_on_the_api_page(pages):
    named = {tag["id"].removeprefix("minivos.") for tag in pages["api"].find_all("dt", id=True)}
    papers = {"aot.IdentityBank", "aot.LSTT", "sst.object_affinity", "sitvos.FeatureInteraction", "hst.memory_read"}
    assert named >= {*minivos.__all__, *papers, "video.metrics.region_similarity", "Tracker.step"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_can_be_downloaded_and_hides_what_a_prediction_is_about(pages, site, path):
    page = pages[f"notebooks/{path.stem}"].article
    [download] = page.find_all("a", download=True)
    got = nbformat.read(site / "notebooks" / download["href"], as_version=4)
    ids = [cell.id for cell in got.cells if cell.id != "install"]
    assert ids == [cell["id"] for cell in page.find_all("a", "cell")]
    assert not any(cell.get("outputs") for cell in got.cells) and "](../docs/diagrams" not in nbformat.writes(got)
    answers = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and ASKS.search(cell.source):
            answers.append(None)
        elif answers and answers[-1] is None and cell.get("outputs"):
            answers[-1] = any("text/html" in output.get("data", {}) for output in cell.outputs)
    assert len(page.select("details.hide")) == answers.count(False)  # explorers are in sight


def test_cells_that_a_plan_names_are_links(pages):
    links = [
        link["href"]
        for name, page in pages.items()
        if name.startswith("teaching/sessions/")
        for link in page.article.find_all("a", href=re.compile(r"notebooks/.*\.html#"))
    ]
    assert len(links) > 60  # whether each leads somewhere is tested with all links


def test_exam_and_key_are_left_out(pages):
    assert not [name for name in pages if "exam" in name] and "teaching/projects" in pages
    assert not pages["teaching/README"].find_all("a", href=re.compile("exam"))


def test_links_lead_to_the_page_that_shows_what_they_name(tmp_path):
    text = "[exam](teaching/exam.md), [a\ndeck](teaching/slides/2.md), [quiz](teaching/quiz.yaml#x), ![s](docs/a.png)"
    shown = "[exam](teaching/exam.md)", "exam"
    for left_out, exam in zip(([], EXAM), shown, strict=True):
        there = f'{exam}, <a href="slides/2.html">a deck</a>, [quiz](teaching/quiz.md#x), ![s](docs/a.png)'
        assert Gathering(tmp_path, left_out).linked(text, ROOT) == there
    it = Gathering(tmp_path, [])
    assert it.linked("[m](minivos/aot.py)", ROOT) == "[m](code/minivos_aot.md)" and it.code == {ROOT / "minivos/aot.py"}


def test_a_paper_is_linked(pages):
    cited = re.findall(r"https://arxiv.org/abs/[\d.]+", (ROOT / "CITATION.cff").read_text(encoding="utf8"))
    found = [pages[f"papers/{name}"].article.find("a", href=re.compile("arxiv"))["href"] for name in PAPERS]
    assert found == cited and len(found) == 4


def test_a_page_leads_to_those_before_and_after_it(pages):
    links = [link["href"] for link in pages["notebooks/03_aot_lstt"].select(".related-pages a")]
    assert links == ["04_sst_sparse_attention.html", "02_aot_identity_bank.html"]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_session_leads_to_its_slides_and_they_to_it(pages, site, number):
    [(name, plan)] = [item for item in pages.items() if item[0].startswith(f"teaching/sessions/{number}")]
    deck = f"slides/{number}.html"
    assert f"../../{deck}" in [link["href"] for link in plan.article.find_all("a", href=True)]
    assert f"../{deck}" in [link["href"] for link in pages["teaching/README"].article.find_all("a", href=True)]
    assert len(pages[f"slides/{number}"].find_all("section")) >= 12
    assert pages[f"slides/{number}"].find("a")["href"] == f"../{name}.html"


def test_predictions_show_an_answer_once_it_is_opened():
    asked = [{"notebook": "02", "cell": "c", "question": "How many?", "answer": "See `cell` and $M < 2$."}]
    assert '_aot_identity_bank.html#c">in the notebook' in predictions(asked)
    assert "<code>cell</code> and <math" in predictions(asked) and "a &lt; b" in in_line("a < b")


@needs_chromium
@pytest.mark.parametrize("name", LOOKED_AT)
def test_what_is_looked_at_is_accessible(site, browser, name):
    options = {"resultTypes": ["violations"], "iframes": False, "preload": False}  # it may fetch nothing
    themes = {"light": options, "dark": options | {"runOnly": ["color-contrast"]}}  # colours are all that changes
    with alone(browser) as page:
        for theme, asked in themes.items():
            page.emulate_media(color_scheme=theme)
            page.goto((site / f"{name}.html").as_uri())
            found = Axe().run(page, options=asked).response
            assert found["passes"] or found["violations"], "no rule was looked at"
            serious = [
                (rule["id"], rule["nodes"][0]["html"][:200], len(rule["nodes"]))
                for rule in found["violations"]
                if rule["impact"] in ("serious", "critical")
            ]
            assert serious == [], theme


@needs_chromium
def test_every_page_opens_alone_and_fits_a_telephone(site, browser, pages):
    with alone(browser, width=400) as page:
        for name in pages:
            page.goto((site / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, name


@needs_chromium
@pytest.mark.parametrize(
    ("words", "first"), [("identity bank", "AOT: the identity bank"), ("API", "API: "), ("install", "Install and use")]
)
def test_search_needs_no_server(site, browser, words, first):
    with alone(browser) as page:
        page.goto((site / "index.html").as_uri())
        page.locator("input[name=q]").first.fill(words)
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#search-results li a").first).to_contain_text(first)


@needs_chromium
def test_an_explorer_in_a_notebook_answers_a_click(site, browser):
    with alone(browser) as page:
        page.goto((site / "notebooks/03_aot_lstt.html").as_uri())
        page.locator("iframe.explorer").scroll_into_view_if_needed()
        inside = page.frame_locator("iframe.explorer")
        facts, frame = inside.locator(".facts"), inside.locator("canvas.asking")
        playwright.expect(facts).to_contain_text("Cell ")
        assert "Cell 0, " not in facts.inner_text()
        frame.click(position={"x": 0.9 * frame.bounding_box()["width"], "y": 4})
        playwright.expect(facts).to_contain_text("Cell 0, ")


@needs_chromium
def test_a_chosen_option_of_the_quiz_shows_its_reason(site, browser, pages):
    with alone(browser, width=400) as page:
        page.goto((site / "teaching/quiz.html").as_uri())
        assert page.locator("fieldset").count() == len(pages["teaching/quiz"].find_all(class_="right")) > 60
        for number, question in enumerate(page.locator("fieldset").all()[:3]):
            right = question.locator(".reason.right").evaluate("e => e.id.match(/[0-9]+$/)[0]")
            for option in question.locator("input").all():
                option.check()
                reason = question.locator(".reason:visible")
                assert reason.inner_text().startswith("Right." if option.input_value() == right else "Not right.")
            question.locator("input").nth(int(right)).check()
            assert page.locator("#count").inner_text() == str(number + 1)
