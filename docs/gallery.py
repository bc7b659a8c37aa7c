"""Make the gallery of the attention explorer: `python docs/gallery.py` writes out/gallery/.

Four papers, four questions each: a picture, and a link that opens the explorer in that state. Pictures are taken of the
explorer itself, where Playwright finds a Chromium; without one the page has the links alone.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
from browser import find_chromium
from PIL import Image, ImageOps

from minivos import Clip, explore
from minivos.video.datasets import samples_root
from minivos.video.files import prepare_output
from minivos.video.masks import is_object
from minivos.viewing.cells import Cells, middle_of_largest_object
from minivos.viewing.explorer_maps import unpack
from minivos.viewing.page import ALONE, data_url, write_page

FRAMES = 8  # of each clip
WINDOW, SHAPE, WIDTH = (1280, 900), 0.62, 800  # of the browser; height by width, and width, of a picture
MARGIN = 12  # pixels around what a picture is taken of
TITLE = "minivos gallery"
INTRODUCTION = """
<p>Sixteen looks into trained networks. Each picture is a link: it opens the attention explorer where the picture was
taken. There you can click another cell, another frame, another layer.</p>
"""
STYLE = """
body { max-width: 76rem }
body > p, section > p { max-width: 46rem }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1.2rem }
.cards a { display: block; overflow: hidden; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--page); color: inherit; text-decoration: none }
.cards a:hover h3, .cards a:focus h3 { text-decoration: underline }
.cards a:focus-visible { outline: 3px solid #4c8dff; outline-offset: 2px }
.cards img { aspect-ratio: 100 / 62; object-fit: cover; object-position: top; border-radius: 0 }
.cards h3 { margin: .8rem 1rem .2rem; line-height: 1.25 }
.cards p { margin: 0 1rem 1rem; color: var(--quiet) }
"""
# On the page of an explorer
QUESTION_STYLE = """
body { background: light-dark(#fff, #17181c) }
.question { max-width: 92rem; margin: 0 auto; padding: 1rem clamp(.75rem, 2.5vw, 2rem) 0; box-sizing: border-box;
  font: 15px/1.5 system-ui, sans-serif }
.question p { margin: .5rem 0 0; max-width: 48rem }
"""
SHOW = (
    "<script>document.querySelectorAll('.question p')[location.search.slice(1) - 1]?.removeAttribute('hidden')</script>"
)


@dataclass(frozen=True)
class Question:
    """What to look at, and the state of the explorer that shows it."""

    title: str
    text: str
    map: str
    when: float = 1.0  # share of the steps shown: 0 the first, 1 the last
    on: str = "middle"  # "middle" or "edge" of the largest object, or "background"
    view: str = "geometry"  # panels, with commas
    beside: str = ""  # a second map to compare with
    turned: bool = False  # who looks at the cell's best match?


@dataclass(frozen=True)
class Paper:
    """A network, a clip that shows what it was made for, and questions to it."""

    title: str
    about: str
    network: str
    clip: str
    questions: Sequence[Question]

    @property
    def file(self) -> str:
        """The name of its explorer's page."""
        return f"{self.network}.html"


PAPERS = (
    Paper(
        "AOT: all objects at once",
        "Three look-alikes cross. Each object has an identity, and attention carries it from frame to frame.",
        "aot_mini",
        "crossing_lookalikes",
        (
            Question(
                "Does it look at its own object?",
                "The white square is a cell on an object; the memory glows where long-term attention looks from there. "
                "How much of the weight is on the same object, how much on the ones that look alike?",
                "block2/long_term",
                0.6,
            ),
            Question(
                "What is outside of the window?",
                "Short-term attention sees a window of the frame before, and nothing else. "
                "Hatched cells are outside: is the object still within?",
                "block2/short_term",
                0.6,
            ),
            Question(
                "Where do masks flow?",
                "Each cell has the colours of the objects that its weight lands on, as in Figure 6 of the paper. "
                "Where two colours mix, the network does not know which look-alike it sees.",
                "block2/long_term",
                0.6,
                view="flow",
            ),
            Question(
                "When does an identity arrive?",
                "The bars say which identities reach a cell in each block, the lines how that changes over time. "
                "Look for the frame in which the objects cross.",
                "block2/long_term",
                0.5,
                view="identities",
            ),
        ),
    ),
    Paper(
        "SST: sparse attention in space and time",
        "Objects move fast. Each cell sees a cross of cells only: can that reach far enough?",
        "sst_mini",
        "fast_motion",
        (
            Question(
                "What can a cell see?",
                "A dashed line surrounds the cells that one cell can see, in each frame; all others are hatched. "
                "Move the cell with the arrow keys, and the pattern moves along.",
                "layer2",
            ),
            Question(
                "Is a second layer worth it?",
                "The same cell in both layers, side by side. "
                "What the first layer cannot reach, the second can: the cells that it sees have looked before.",
                "layer2",
                beside="layer1",
            ),
            Question(
                "Who uses this place of the memory?",
                "A cell of the memory is chosen: which cells of the current frame look at it? "
                "Hatched ones cannot see it at all.",
                "layer2",
                turned=True,
            ),
            Question(
                "What do the links carry?",
                "Each cell in the colours of the objects that its weight lands on. "
                "Where an object was too fast for the pattern, its colour is missing.",
                "layer2",
                0.5,
                "edge",
                "flow",
            ),
        ),
    ),
    Paper(
        "SITVOS: query and memory ask each other",
        "An object goes behind another, and comes back. The memory has seen it before.",
        "sitvos_mini",
        "occlusion_reentry",
        (
            Question(
                "Which frame is read most?",
                "The last read of the current frame: the first frame, some between, and the frame before. "
                "Read the share of the weight under each.",
                "last_read",
            ),
            Question(
                "Where does the object enter?",
                "The query asks the memory, whose values are marked with the object, and then reads it. "
                "Compare where the two look.",
                "query_asks_memory",
                beside="last_read",
            ),
            Question(
                "And what does a memory frame ask?",
                "The interaction goes both ways: here a frame of the memory asks, and the current frame answers. "
                "Does it find its object there?",
                "memory_asks_query",
            ),
            Question(
                "What does the memory make of itself?",
                "All frames of the memory look at each other before they are read. "
                "This part grows with the square of the memory: do the looks tell why it might be worth it?",
                "memory_self",
            ),
        ),
    ),
    Paper(
        "HST: from coarse to fine",
        "Many objects. A coarse read chooses where the finer ones look.",
        "hst_mini",
        "many_objects",
        (
            Question(
                "Where does the coarse read look?",
                "At stage 4 cells are large, and each looks at all of the memory. "
                "From these scores the best cells are chosen.",
                "stage4",
            ),
            Question(
                "Is the object among the chosen?",
                "Stage 3 looks only under the coarse cells that scored best, which a dashed line surrounds. "
                "If the object is not among them, nothing can find it.",
                "stage3",
            ),
            Question(
                "How do coarse and fine differ?",
                "Stage 2 beside stage 4, from the same place. "
                "The finer one tells more exactly where, but only where the coarse one pointed.",
                "stage2",
                beside="stage4",
            ),
            Question(
                "What flows at the edge?",
                "Each cell in the colours of the objects that its weight lands on. "
                "Small objects, for which no cell was chosen, lose their colour first.",
                "stage2",
                1.0,
                "edge",
                "flow",
            ),
        ),
    ),
)


# States -----------------------------------------------------------------------------------------------------------


def address(given: Mapping[str, Any], question: Question) -> str:
    """The part of a link behind # that opens a page, which was `given` so much, in the state of a question."""
    (network,) = given["networks"]
    looks = [look for look in network["maps"] if look["name"] == question.map]
    steps = sorted({look["step"] for look in looks})
    step = steps[round(question.when * (len(steps) - 1))]
    here = [look for look in looks if look["step"] == step]
    (first, *_) = here
    cells = Cells(first["fullGrid"], tuple(given["size"]), network["alignCorners"], first["pooled"][0])
    label, cell = place(labels_of(given, first["frame"]), cells, question.on)
    look = next((each for each in here if each["object"] == label), first)
    net, about = network["name"], "" if look["object"] is None else str(look["object"])
    words = {"net": net, "map": look["name"], "frame": step, "view": question.view, "head": "mean"}
    words |= {"cell": "{},{}".format(*cell)}
    if about:
        words["obj"] = about
    if look["frame"] != step:
        words["asks"] = look["frame"]
    if question.turned:
        frame, y, x = best_match(given, look, cell)
        words["memory"] = f"{frame}:{y},{x}"
    if question.beside:
        words["with"] = f"{net}:{question.beside}:0:{about}:"
    return "&".join(f"{name}={quote(str(value), safe='/,:')}" for name, value in words.items())


def labels_of(given: Mapping[str, Any], number: int) -> np.ndarray:
    """The labels (H,W) of a frame, as the page's network found them."""
    at = [frame["number"] for frame in given["frames"]].index(number)
    return unpack(given["pack"], given["networks"][0]["labels"], np.uint8).reshape(-1, *given["size"])[at]


def place(labels: np.ndarray, cells: Cells, on: str) -> tuple[int, tuple[int, int]]:
    """The largest object, 0 for the background, and a cell (y, x) that lies on it."""
    if on == "background" or not is_object(labels).any():
        free = np.argwhere(cells.mean(~is_object(labels)) == 1)
        return 0, tuple(free[len(free) // 2].tolist())
    label, middle = middle_of_largest_object(labels)
    shares = cells.mean(labels == label)
    own = np.argwhere(shares >= min(0.6, shares.max()))
    away = ((own - cells.at(np.array(middle))) ** 2).sum(axis=1)
    return label, tuple(own[away.argmax() if on == "edge" else away.argmin()].tolist())


def best_match(given: Mapping[str, Any], look: Mapping[str, Any], cell: tuple[int, int]) -> tuple[int, int, int]:
    """The frame and the cell (y, x) that a cell looks at most."""
    height, width = look["grid"]
    query = cell[0] * width + cell[1]
    levels = unpack(given["pack"], look["weights"], np.uint8).reshape(look["heads"], height * width, -1)
    key = int(levels[0, query].argmax())
    same = look if look["same"] is None else given["networks"][0]["maps"][look["same"]]
    if same["index"] is not None:
        steps = unpack(given["pack"], same["index"], np.int32).reshape(height * width, -1)
        key = int(steps.cumsum(axis=0)[query, key])
    time, y, x = np.unravel_index(key, look["keyGrid"])
    return look["keyFrames"][int(time)], int(y), int(x)


# Pictures ---------------------------------------------------------------------------------------------------------

Camera = Callable[[str, str], bytes]  # a link, what it shows -> a WebP


@contextmanager
def camera() -> Iterator[Camera | None]:
    """Takes pictures of pages; None where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sync_playwright = None
    browser = find_chromium()
    if sync_playwright is None or browser is None:
        yield None
        return
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        window = chromium.new_page(viewport=dict(zip(("width", "height"), WINDOW, strict=True)), color_scheme="light")

        def take(link: str, view: str) -> bytes:
            window.goto("about:blank")  # a page that is open already would not read the link from its beginning
            window.goto(link)
            window.wait_for_selector(".summary:not(:empty)", state="attached")
            shown = {"flow": ".card.flow", "identities": ".card.identities"}.get(view, ".scene")
            window.locator(shown).scroll_into_view_if_needed()
            box = window.locator(shown).evaluate(
                "e => { const b = e.getBoundingClientRect(); return [b.left + scrollX, b.top + scrollY, b.width] }"
            )
            left, top, width = box[0] - MARGIN, box[1] - MARGIN, box[2] + 2 * MARGIN
            clip = {"x": left, "y": top, "width": width, "height": SHAPE * width}
            picture = Image.open(io.BytesIO(window.screenshot(clip=clip, full_page=True)))
            file = io.BytesIO()
            size = WIDTH, round(SHAPE * WIDTH)  # at the end of a page there is less to take
            whole = ImageOps.pad(picture.convert("RGB"), size, Image.Resampling.LANCZOS, "white", centering=(0, 0))
            whole.save(file, "WEBP", quality=80)
            return file.getvalue()

        yield take
        chromium.close()


# The page ---------------------------------------------------------------------------------------------------------


def seen(question: Question, link: str) -> str:
    """The picture behind a link, in words."""
    state = {name: value for name, (value,) in parse_qs(urlsplit(link).fragment).items()}
    frame, cell = (state[name] for name in ("frame", "cell"))
    one = f"cell {cell} of frame {state.get('asks', frame)}"
    if question.view == "flow":
        return f"Frame {frame}, each cell in the colours of the objects that {question.map} looks at"
    if question.view == "identities":
        return f"Bars of the identities that reach {one} in each block, and lines of the objects over time"
    if question.turned:
        memory, place = state["memory"].split(":")
        return f"Frame {frame}; its cells glow that look at cell {place} of frame {memory} by {question.map}"
    maps = " and ".join(filter(None, (question.map, question.beside)))
    return f"A square on {one}, and frames that glow where it looks by {maps}"


def card(question: Question, link: str, picture: bytes | None) -> str:
    """A question, its picture, and the link to both."""
    alt = escape(f"{question.title} {seen(question, link)}.")
    image = "" if picture is None else f'<img src="{data_url("webp", picture)}" alt="{alt}">'
    words = f"<h3>{escape(question.title)}</h3><p>{escape(question.text)}</p>"
    return f'<a href="{escape(link)}">{image}{words}</a>'


def add_questions(page: Path, questions: Sequence[Question]) -> None:
    """Put the way back to the gallery on an explorer's page, and the question whose number is its link's query."""
    asked = "".join(f"<p hidden><b>{escape(each.title)}</b> {escape(each.text)}</p>" for each in questions)
    header = f'<header class="question"><a href="index.html">Back to the gallery</a>{asked}</header>\n{SHOW}'
    text = page.read_text(encoding="utf8")
    text = text.replace("</style>", f"{QUESTION_STYLE}</style>", 1).replace("<body>\n", f"<body>\n{header}", 1)
    page.write_text(text, encoding="utf8")


def main(out: Path, papers: Sequence[Paper] = PAPERS, **settings: object) -> None:
    """Write the gallery to a folder; `settings` go to `explore`."""
    prepare_output(out, overwrite=True, kind="gallery")
    sections = []
    with camera() as take:
        for paper in papers:
            clip = Clip.load(samples_root() / "JPEGImages/480p" / paper.clip)
            explorer = explore(paper.network, clip, out / paper.file, **{"frames": FRAMES, **settings})
            add_questions(out / paper.file, paper.questions)
            cards = []
            for number, question in enumerate(paper.questions, start=1):
                link = f"{paper.file}?{number}#{address(explorer.given, question)}"
                picture = take and take(f"{out.resolve().as_uri()}/{link}", question.view)
                cards.append(card(question, link, picture))
            words = f"<h2>{escape(paper.title)}</h2><p>{escape(paper.about)}</p>"
            sections.append(f'<section>{words}<div class="cards">{"".join(cards)}</div></section>')
    heading = "Where do they look?"
    write_page(out / "index.html", TITLE, heading, INTRODUCTION + "".join(sections), ALONE, STYLE)
    print(f"Open this page in a browser: {(out / 'index.html').resolve()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/gallery"), help="out/gallery if not given")
    main(parser.parse_args().folder)
