"""The pages that put equations, a notebook's lines and the package's lines side by side."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SIDES = runpy.run_path(str(ROOT / "docs/sides.py"))
PAPERS = SIDES["PAPERS"]


def marked_equations(text: str) -> set[tuple[str, int]]:
    marked = re.findall(r"\b(AOT|SST|SITVOS|HST) Eq\. (\d+(?:, \d+)*)", text)
    return {(paper, int(number)) for paper, numbers in marked for number in numbers.split(", ")}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_marked_equation_is_on_the_page_of_its_paper(paper):
    code = "\n".join(path.read_text() for path in (ROOT / "minivos").rglob("*.py"))
    wanted = {equation for equation in marked_equations(code) if equation[0] == paper}
    page = SIDES["page"](paper)
    assert wanted and marked_equations("\n".join(re.findall(r"^## .*", page, re.M))) == wanted
    assert marked_equations("\n".join(re.findall(r"<mark>.*?</mark>", page))) >= wanted
    for part in page.split("\n## ")[1:]:
        assert "minivos/" in part and "<mark>" in part.split("<div><h3>")[-1]


def test_every_equation_has_a_line_of_its_own_in_the_notebook():
    rows = SIDES["equations"]()
    notebooks = {row.notebook: nbformat.read(row.notebook, as_version=4) for row in rows}
    assert rows and not [row.title for row in rows if not SIDES["toy"](notebooks[row.notebook], row)]


def test_a_passage_ends_with_its_function_and_marks_its_line():
    row = next(row for row in SIDES["equations"]() if row.title == "AOT Eq. 3")
    source = "x = 1\n\n\ndef embed(a):\n    return a < 2  # AOT Eq. 3\n\n\ny = 2\n"
    expected = "def embed(a):\n<mark>    return a &lt; 2  # AOT Eq. 3</mark>"
    assert SIDES["passages"](source, row) == [expected]
    assert SIDES["passages"](source.replace("Eq. 3", "Eq. 4"), row) == []
