"""The notebooks as pages: formulas and pictures are there without the internet."""

import re
import runpy
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
sys.path.append(str(ROOT / "docs"))  # the scripts there import each other
RENDER = runpy.run_path(str(ROOT / "docs/render.py"))


def test_formulas_become_mathml_and_code_stays():
    page = RENDER["with_mathml"]("of $x^2$, $8 \\times\n8$ and `$HOME`\n\n$$a +\nb$$\n\n```text\n$5 or $6\n```")
    assert page.count("<math") == 3 and "<msup>" in page and 'display="block"' in page
    assert "`$HOME`" in page and "$5 or $6" in page and "\n<m" not in page.replace("\n\n", "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_holds_every_formula_and_picture_and_asks_nobody(path):
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    formulas = sum(not part["code"] for part in RENDER["FORMULA"].finditer(prose))
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures, explorers = (sum(kind in data for data in shown) for kind in ("image/png", "text/html"))
    page = RENDER["page"](notebook, path.stem)
    assert page.count("<math") == formulas and "$$" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.S)
    assert page.count('src="data:image/png;base64') == pictures + explorers  # each has a poster
    drawings = len(re.findall(r"!\[[^\]]+\]\(\.\./docs/diagrams/", prose))
    drawn = re.findall(r'<img [^>]*src="data:image/svg\+xml;base64,[^>]+>', page)
    assert len(drawn) == drawings and all(re.search(r'alt="[^"]+"', picture) for picture in drawn)
    assert "docs/diagrams" not in page
    assert len(re.findall(r"<iframe [^>]*srcdoc=", page)) == explorers
    assert not re.search(r"""src=["']http|<link[^>]+href=["']http|url\(["']?http|<script|@import""", page)


def test_the_command_writes_a_page_for_each_notebook_and_each_paper(tmp_path, monkeypatch):
    some = tmp_path / "notebooks"
    some.mkdir()
    (some / NOTEBOOKS[0].name).write_bytes(NOTEBOOKS[0].read_bytes())
    monkeypatch.setitem(RENDER["main"].__globals__, "NOTEBOOKS", some)
    RENDER["main"](tmp_path / "new")
    papers = [f"{name}_side_by_side.html" for name in ("aot", "hst", "sitvos", "sst")]
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [f"{NOTEBOOKS[0].stem}.html", *papers]
