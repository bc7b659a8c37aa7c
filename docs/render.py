"""Write the notebooks as pages that need neither Jupyter nor the internet: `python docs/render.py` fills out/course/.

Beside them comes a page for each paper that puts its equations beside the lines that compute them (docs/sides.py).
Formulas become MathML, which browsers draw by themselves; pictures are inside the pages; scripts are left out.
"""

import argparse
import re
from base64 import b64encode
from html import escape
from pathlib import Path

import nbformat
import sides
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from minivos.video.files import whole_file

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CODE = r"```.*?```|`[^`\n]*`"
FORMULA = re.compile(rf"(?P<code>{CODE})|\$\$(?P<block>.+?)\$\$|\$(?P<inline>(?:[^$\n]|\n(?!\n))+?)\$", re.DOTALL)
DRAWING = re.compile(r"!\[(?P<says>[^\]]*)\]\(\.\./(?P<file>docs/diagrams/\w+\.svg)\)")
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)


def with_mathml(markdown: str) -> str:
    """Markdown whose formulas, $...$ and $$...$$ outside code, are MathML on one line each."""

    def replace(part: re.Match) -> str:
        if part["code"]:
            return part["code"]
        latex, display = (part["block"], "block") if part["block"] else (part["inline"], "inline")
        return convert(latex.strip(), display=display).replace("\n", " ")

    return FORMULA.sub(replace, markdown)


def with_drawings(markdown: str) -> str:
    """Markdown whose drawings are inside it."""

    def replace(part: re.Match) -> str:
        drawn = b64encode((NOTEBOOKS.parent / part["file"]).read_bytes()).decode()
        return f'<img src="data:image/svg+xml;base64,{drawn}" alt="{escape(part["says"])}">'

    return DRAWING.sub(replace, markdown)


def page(notebook: NotebookNode, title: str) -> str:
    """A notebook as one HTML page."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_drawings(with_mathml(cell.source))
    html, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": title}})
    return SCRIPT.sub("", html).replace(".ipynb)", ".html)").replace('.ipynb"', '.html"')


def main(folder: Path) -> None:
    """Write a page for each notebook and each paper."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with whole_file(folder / f"{path.stem}.html") as part:
            part.write_text(page(nbformat.read(path, as_version=4), path.stem), encoding="utf8")
        print(folder / f"{path.stem}.html")
    for paper, name in sides.PAPERS.items():
        with whole_file(folder / f"{name}_side_by_side.html") as part:
            part.write_text(sides.page(paper), encoding="utf8")
        print(folder / f"{name}_side_by_side.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/course"), help="out/course if not given")
    main(parser.parse_args().folder)
