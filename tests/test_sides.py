"""The pages that put equations, a notebook's lines and the package's lines side by side."""

import re
import runpy
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SIDES = runpy.run_path(str(ROOT / "docs/sides.py"))
PAPERS = SIDES["PAPERS"]


@cache
def notebook_of(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def marked_equations(text: str) -> set[tuple[str, int]]:
    marked = re.findall(r"\b(AOT|SST|SITVOS|HST) Eq\. (\d+(?:, \d+)*)", text)
    return {(paper, int(number)) for paper, numbers in marked for number in numbers.split(", ")}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_marked_equation_is_on_the_page_of_its_paper(paper):
    code = "\n".join(path.read_text() for path in (ROOT / "minivos").rglob("*.py"))
    wanted = {equation for equation in marked_equations(code) if equation[0] == paper}
    page = SIDES["page"](paper)
    assert wanted and marked_equations("\n".join(re.findall(r"^## .*", page, re.M))) == wanted
    for part in page.split("\n## ")[1:]:
        notebook, package = part.split("```````{container}\n")[1:]
        wanted = marked_equations(f"{paper} Eq. " + re.findall(r"Eq\. (.+)", part)[0])
        assert marked_equations(emphasized(notebook)) & wanted and marked_equations(emphasized(package)) >= wanted
        assert "[notebook 0" in notebook and "[minivos/" in package
        assert all(block.count('"""') % 2 == 0 for block in part.split("{code-block}"))


def emphasized(blocks: str) -> str:
    """The lines of code blocks that are emphasized."""
    found = re.findall(r":emphasize-lines: (.+)\n\n([\s\S]+?)\n``````\n", blocks)
    return "\n".join(code.splitlines()[int(number) - 1] for numbers, code in found for number in numbers.split(","))


@pytest.mark.parametrize("row", SIDES["equations"](), ids=lambda row: row.title)
def test_every_equation_has_its_formula_and_has_it_once(row):
    notebook = notebook_of(row.notebook)
    formulas = SIDES["formulas"](notebook, row)
    formulas += re.findall(r"\$\$[^$]+\$\$", "".join(SIDES["written"](row)))
    assert formulas and len({re.sub(r"\\q?quad|\s", "", formula) for formula in formulas}) == len(formulas)
    assert all(formula in SIDES["section"](row, notebook) for formula in formulas)


def test_only_equations_of_the_table_have_formulas_of_their_own():
    headings = re.findall(r"^### (.+)", (ROOT / "docs/equations.md").read_text(), re.MULTILINE)
    assert headings and {*headings} <= {row.title for row in SIDES["equations"]()}


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("$$a = b \\quad \\text{(Eq. 3)}$$", ["$$a = b \\quad \\text{(Eq. 3)}$$"]),
        ("$$a \\text{(Eq. 2, 3)}$$", ["$$a \\text{(Eq. 2, 3)}$$"]),
        ("* Eq. 3, $a = b$: says", ["$$a = b$$"]),
        ("## 2 Title (Eq. 3)\n\nLet $c$ be.\n\n$$a = c$$\n\n$$d$$", ["$$a = c$$"]),
        ("## 2 Title (Eq. 3)\n\nWords.\n\n## 3 Other\n\n$$a = c$$", []),
        ("$$a \\text{(Eq. 33)}$$ and Eq. 3 with $x$, $$b$$", []),
    ],
)
def test_a_formula_is_found_by_its_number(prose, found):
    row = next(row for row in SIDES["equations"]() if row.title == "AOT Eq. 3")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(prose)])
    assert SIDES["formulas"](notebook, row) == found


def test_every_equation_has_a_line_of_its_own_in_the_notebook():
    rows = SIDES["equations"]()
    assert rows and not [row.title for row in rows if not SIDES["toy"](notebook_of(row.notebook), row)]


def test_a_passage_ends_with_its_function_and_marks_its_line():
    row = next(row for row in SIDES["equations"]() if row.title == "AOT Eq. 3")
    source = "x = 1\n\n\ndef embed(a):\n    return a < 2  # AOT Eq. 3\n\n\ny = 2\n"
    (passage,) = SIDES["passages"](source, row)
    assert (passage.code, passage.marked) == ("def embed(a):\n    return a < 2  # AOT Eq. 3", (2,))
    assert SIDES["passages"](source.replace("Eq. 3", "Eq. 4"), row) == []


def test_a_passage_begins_with_no_rest_of_a_function_or_docstring():
    row = next(row for row in SIDES["equations"]() if row.title == "AOT Eq. 3")
    above = "def above(a):\n    b = a\n    return b\n\n\n"
    long = '    """Says.\n\n    More.\n    """\n' + "    a += 1\n" * 6
    for source in (f"{above}x = 1\ny = 2\nz = 3\nE = 4  # AOT Eq. 3\n", f"def f(a):\n{long}    a += 2  # AOT Eq. 3\n"):
        (passage,) = SIDES["passages"](source, row)
        assert passage.code.splitlines()[0].strip() in ("x = 1", "a += 1")


@pytest.mark.parametrize("paper", PAPERS)
def test_the_reading_guide_links_its_paper(paper):
    papers = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    guide = (ROOT / f"teaching/guides/{PAPERS[paper]}.md").read_text()
    title = re.search(r"\*([^*]+)\*", guide)[1].replace("\n", " ")
    address = next(reference["url"] for reference in papers if reference["title"] == title)
    assert f"]({address})" in guide.split("\n\n")[1]
