"""For each paper a page that puts its equations, a notebook's lines and the package's lines beside one another.

The equations are the rows of docs/equations.md; lines are found by their markers, such as `# AOT Eq. 3`. A formula is
the one that the notebook gives that number. `python docs/render.py` writes the pages.
"""

import ast
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[1]
PAPERS = {"AOT": "aot", "SST": "sst", "SITVOS": "sitvos", "HST": "hst"}
MARKER = re.compile(r"\b(AOT|SST|SITVOS|HST) Eq\. (\d+(?:, \d+)*)")
AROUND = 7  # lines shown on either side of a marked one, where its function is longer
STYLE = """
:root{color-scheme:light dark;--line:#d0d7de;--shade:#f6f8fa;--mark:#fff3c4}
@media (prefers-color-scheme:dark){:root{--line:#3d444d;--shade:#161b22;--mark:#4a3d0c}}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:1400px}
section{border-top:1px solid var(--line);padding:.5rem 0 1rem}
.sides{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:1rem}
pre{background:var(--shade);padding:.6rem;overflow-x:auto;font-size:13px;line-height:1.45;margin:.2rem 0 1rem}
mark{background:var(--mark);color:inherit;display:inline-block;min-width:100%}
h3{font-size:1rem;overflow-wrap:anywhere;margin:.5rem 0 0} .formula{overflow-x:auto;}
@media (max-width:800px){.sides{grid-template-columns:minmax(0,1fr)}}
""".strip()


@dataclass(frozen=True)
class Row:
    """A row of docs/equations.md."""

    paper: str
    numbers: tuple[int, ...]
    says: str
    notebook: Path

    @property
    def title(self) -> str:
        return f"{self.paper} Eq. {', '.join(map(str, self.numbers))}"


def equations() -> list[Row]:
    """The rows of docs/equations.md."""
    rows = []
    for line in (ROOT / "docs/equations.md").read_text(encoding="utf8").splitlines():
        if match := re.match(rf"\| {MARKER.pattern} \| (.*?) \|.*\]\(\.\./(notebooks/.+?)\)", line):
            paper, numbers, says, notebook = match.groups()
            rows.append(Row(paper, tuple(map(int, numbers.split(", "))), says, ROOT / notebook))
    return rows


def marks(line: str, row: Row) -> bool:
    """Whether a line marks one of the equations of a row."""
    found = [(paper, set(map(int, numbers.split(", ")))) for paper, numbers in MARKER.findall(line)]
    return any(paper == row.paper and numbers & set(row.numbers) for paper, numbers in found)


def passages(source: str, row: Row) -> list[str]:
    """The functions, or the lines around, of the lines that mark an equation: HTML, those lines marked."""
    lines = source.splitlines()
    hits = [i for i, line in enumerate(lines) if marks(line, row)]
    functions = [
        (node.lineno - 1, node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse("\n".join("" if line.startswith("%") else line for line in lines)))
        if isinstance(node, ast.FunctionDef)
    ]
    blocks: list[list[int]] = []
    for hit in hits:
        first, last = max((span for span in functions if span[0] <= hit < span[1]), default=(0, len(lines)))
        first, last = max(first, hit - AROUND), min(last, hit + AROUND + 1)
        if blocks and first <= blocks[-1][1]:
            blocks[-1][1] = max(last, blocks[-1][1])
        else:
            blocks.append([first, last])
    return ["\n".join(highlighted(line, row) for line in lines[first:last]) for first, last in blocks]


def highlighted(line: str, row: Row) -> str:
    return f"<mark>{escape(line)}</mark>" if marks(line, row) else escape(line)


def toy(notebook: nbformat.NotebookNode, row: Row) -> list[str]:
    """What the lesson of a notebook computes by an equation; its exercises are left out."""
    lesson = [cell for cell in notebook.cells if not any("exercise" in tag for tag in cell.metadata.get("tags", []))]
    return [part for cell in lesson if cell.cell_type == "code" for part in passages(cell.source, row)]


def package(row: Row) -> list[tuple[str, str]]:
    """The files and lines of the package that compute an equation; solutions of exercises are left out."""
    files = sorted({*(ROOT / "minivos").rglob("*.py")} - {*(ROOT / "minivos/course").rglob("*.py")})
    sources = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf8")) for path in files]
    marked = [(name, source) for name, source in sources if any(marks(line, row) for line in source.splitlines())]
    return [(name, part) for name, source in marked for part in passages(source, row)]


def formulas(notebook: nbformat.NotebookNode, row: Row) -> list[str]:
    """The displayed formulas that bear the number of an equation, as MathML."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    displayed = re.findall(r"\$\$(.+?)\$\$", prose, re.DOTALL)
    number = re.compile(rf"\(Eq\. (?:{'|'.join(map(str, row.numbers))})\)")
    return [convert(formula.strip(), display="block") for formula in displayed if number.search(formula)]


def section(row: Row, notebook: nbformat.NotebookNode) -> str:
    """An equation, with the notebook's lines on the left and the package's on the right."""
    lessons = "".join(f"<pre>{part}</pre>" for part in toy(notebook, row))
    code = "".join(f"<h3>{name}</h3><pre>{part}</pre>" for name, part in package(row))
    formula = "".join(f'<div class="formula">{part}</div>' for part in formulas(notebook, row))
    heading = f"<h2>{row.title}</h2><p>{escape(row.says[0].upper() + row.says[1:])}.</p>{formula}"
    left = f'<div><h3><a href="{row.notebook.stem}.html">notebook {row.notebook.stem[:2]}</a></h3>{lessons}</div>'
    return f'<section>{heading}<div class="sides">{left}<div>{code}</div></div></section>'


def page(paper: str) -> str:
    """All equations of a paper."""
    rows = [row for row in equations() if row.paper == paper]
    notebooks = {row.notebook: nbformat.read(row.notebook, as_version=4) for row in rows}
    sections = "\n".join(section(row, notebooks[row.notebook]) for row in rows)
    title = f"{paper}: equation, notebook and package side by side"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>\n{sections}</body></html>\n"
    )
