"""The drawn networks: files are what the script writes, texts keep to their boxes, arrows keep off texts."""

import json
import re
import runpy
from itertools import combinations, pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DRAWING = runpy.run_path(str(ROOT / "docs/diagrams.py"))
DIAGRAMS = DRAWING["DIAGRAMS"]
SHOWN_IN = {"verbs": "01", "aot": "02", "lstt": "03", "sst": "04", "sitvos": "05", "hst": "06"}
PACKAGE = "\n".join(path.read_text() for path in sorted((ROOT / "minivos").rglob("*.py")))
each_diagram = pytest.mark.parametrize("name", DIAGRAMS)


def apart(one: tuple, other: tuple, margin: float = 0) -> bool:
    """Whether two extents (left, top, right, bottom) do not overlap."""
    left, top, right, bottom = (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )
    return right - left <= -margin or bottom - top <= -margin


def flaws(diagram) -> list[str]:
    """What is wrong with the layout of a diagram."""
    found = []
    texts = [(text.text, text.extent(), box) for text, box in diagram.texts() if text.text]
    for text, (left, top, right, bottom), box in texts:
        x, y, w, h = (box.x, box.y, box.w, box.h) if box else (0, 0, DRAWING["WIDTH"], diagram.height)
        if left < x + 2 or right > x + w - 2 or top < y or bottom > y + h:
            found.append(f"{text!r} leaves its box")
    for (text, extent, _), (other, beside, _) in combinations(texts, 2):
        if not apart(extent, beside):
            found.append(f"{text!r} lies on {other!r}")
    for arrow in diagram.arrows():
        for (x0, y0), (x1, y1) in pairwise(arrow.points):
            if x0 != x1 and y0 != y1:
                found.append(f"the arrow {arrow.points} is askew")
            line = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
            found += [f"an arrow crosses {text!r}" for text, extent, _ in texts if not apart(line, extent, 1)]
    found += [f"{text.text!r} is small" for text, _ in diagram.texts() if text.size < 12]
    return found


@each_diagram
def test_the_file_is_what_the_script_writes(name):
    assert (ROOT / f"docs/diagrams/{name}.svg").read_text(encoding="utf8") == DRAWING["svg"](DIAGRAMS[name])


@each_diagram
def test_texts_keep_to_their_boxes_and_arrows_off_texts(name):
    assert flaws(DIAGRAMS[name]) == []


BOX, TEXT, ARROW, DIAGRAM = (DRAWING[kind] for kind in ("Box", "Text", "Arrow", "Diagram"))
WORDS = BOX(100, 100, 80, 40, "layers", ("words",))
FLAWED = {
    "leaves its box": [BOX(100, 100, 80, 40, "layers", ("words that are too long",))],
    "lies on": [WORDS, TEXT(140, 124, "more")],
    "crosses": [WORDS, ARROW(((90, 120), (200, 120)))],
    "askew": [ARROW(((0, 0), (5, 5)))],
    "is small": [TEXT(140, 124, "more", 11)],
}


@pytest.mark.parametrize("flaw", FLAWED)
def test_a_flaw_of_the_layout_is_found(flaw):
    assert flaws(DIAGRAM("a flaw", 300, (WORDS,))) == []
    (found,) = flaws(DIAGRAM("a flaw", 300, tuple(FLAWED[flaw])))
    assert flaw in found


@each_diagram
def test_names_are_those_of_the_package(name):
    names = [word for box in DIAGRAMS[name].boxes() for word in box.names]
    assert names and not [word for word in names if not re.search(rf"\b{word}\b", PACKAGE)]


@each_diagram
def test_an_svg_knows_dark_pages_and_asks_nobody(name):
    text = DRAWING["svg"](DIAGRAMS[name])
    assert "prefers-color-scheme:dark" in text and not re.search(r"href|@import|<script|url\((?!#)", text)


@each_diagram
def test_the_notebook_shows_it_with_its_words(name):
    (path,) = (ROOT / "notebooks").glob(f"{SHOWN_IN[name]}_*.ipynb")
    prose = [
        "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"
    ]
    assert sum(f"![{DIAGRAMS[name].says}](../docs/diagrams/{name}.svg)" in text for text in prose) == 1
