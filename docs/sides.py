"""For each paper a page that puts its equations, a notebook's lines and the package's lines beside one another.

The equations are the rows of docs/equations.md; lines are found by their markers, such as `# AOT Eq. 3`. A formula is
the one that the notebook gives that number. docs/site/build.py makes pages of them.
"""

import ast
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PAPERS = {"AOT": "aot", "SST": "sst", "SITVOS": "sitvos", "HST": "hst"}
MARKER = re.compile(r"\b(AOT|SST|SITVOS|HST) Eq\. (\d+(?:, \d+)*)")
AROUND = 7  # lines shown on either side of a marked one, where its function is longer


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
    """The displayed formulas that bear the number of an equation."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    displayed = re.findall(r"\$\$.+?\$\$", prose, re.DOTALL)
    number = re.compile(rf"\(Eq\. (?:{'|'.join(map(str, row.numbers))})\)")
    return [formula for formula in displayed if number.search(formula)]


def section(row: Row, notebook: nbformat.NotebookNode) -> str:
    """An equation, with the notebook's lines on the left and the package's on the right."""
    lessons = "".join(f"<pre>{part}</pre>" for part in toy(notebook, row))
    code = "".join(f"<h3>{name}</h3><pre>{part}</pre>" for name, part in package(row))
    left = f'<h3><a href="../notebooks/{row.notebook.stem}.html">notebook {row.notebook.stem[:2]}</a></h3>{lessons}'
    both = f'<div class="sides"><div>{left}</div><div>{code}</div></div>'
    words = [f"## {row.title}", f"{row.says[0].upper()}{row.says[1:]}.", *formulas(notebook, row)]
    return "\n\n".join([*words, f"``````{{raw}} html\n{both}\n``````"])


def page(paper: str) -> str:
    """All equations of a paper, as Markdown."""
    rows = [row for row in equations() if row.paper == paper]
    notebooks = {row.notebook: nbformat.read(row.notebook, as_version=4) for row in rows}
    sections = [section(row, notebooks[row.notebook]) for row in rows]
    title = f"# {paper}: equations beside the lines"
    says = "Each equation, the lines of the notebook that compute it, and those of the package."
    return "\n\n".join(["---\nhide-toc: true\n---", title, says, *sections]) + "\n"
