"""For each paper a page that puts its equations, a notebook's lines and the package's lines beside one another.

The equations are the rows of docs/equations.md; lines are found by their markers, such as `# AOT Eq. 3`. A formula is
the notebook's, where it has one; docs/equations.md has the others. docs/site/build.py makes pages of them.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

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


@dataclass(frozen=True)
class Passage:
    """Some lines of code, and the numbers of those that mark an equation, from 1."""

    code: str
    marked: tuple[int, ...]


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


def passages(source: str, row: Row) -> list[Passage]:
    """The functions, or the lines around, of the lines that mark an equation."""
    lines = source.splitlines()
    hits = [i for i, line in enumerate(lines) if marks(line, row)]
    tree = ast.parse("\n".join("" if line.startswith("%") else line for line in lines))
    defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    functions = [(node.lineno - 1, node.end_lineno or node.lineno) for node in defined]
    docstrings = [(node.lineno, node.body[0].end_lineno or 0) for node in defined if ast.get_docstring(node)]
    blocks: list[list[int]] = []
    for hit in hits:
        first, last = max((span for span in functions if span[0] <= hit < span[1]), default=(0, len(lines)))
        first, last = max(first, hit - AROUND), min(last, hit + AROUND + 1)
        first = max([first, *(end for start, end in functions + docstrings if start < first < end <= hit)])  # no rest
        while not lines[first].strip():
            first += 1
        if blocks and first <= blocks[-1][1]:
            blocks[-1][1] = max(last, blocks[-1][1])
        else:
            blocks.append([first, last])
    return [
        Passage("\n".join(lines[first:last]), tuple(hit - first + 1 for hit in hits if first <= hit < last))
        for first, last in blocks
    ]


def toy(notebook: nbformat.NotebookNode, row: Row) -> list[Passage]:
    """What the lesson of a notebook computes by an equation; its exercises are left out."""
    lesson = [cell for cell in notebook.cells if not any("exercise" in tag for tag in cell.metadata.get("tags", []))]
    return [part for cell in lesson if cell.cell_type == "code" for part in passages(cell.source, row)]


def package(row: Row) -> list[tuple[str, Passage]]:
    """The files and lines of the package that compute an equation; solutions of exercises are left out."""
    files = sorted({*(ROOT / "minivos").rglob("*.py")} - {*(ROOT / "minivos/course").rglob("*.py")})
    sources = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf8")) for path in files]
    marked = [(name, source) for name, source in sources if any(marks(line, row) for line in source.splitlines())]
    return [(name, part) for name, source in marked for part in passages(source, row)]


def formulas(notebook: nbformat.NotebookNode, row: Row) -> list[str]:
    """The formulas that a notebook gives an equation: with its number, in a list after it, or under its heading."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    number = rf"Eq\. (?:\d+, )*(?:{'|'.join(map(str, row.numbers))})"
    numbered = rf"\$\$([^$]*\({number}[,)][^$]*)\$\$"
    listed = rf"^\* {number}, \$([^$]+)\$"
    headed = rf"^#+ .*\({number}\)$(?:(?!^#|\$\$)[\s\S])*\$\$([^$]+)\$\$"
    found = re.findall(f"{numbered}|{listed}|{headed}", prose, re.MULTILINE)
    return list(dict.fromkeys(f"$${''.join(groups).strip()}$$" for groups in found))


def written(row: Row) -> list[str]:
    """What docs/equations.md has under the heading of an equation, formulas and words."""
    page = (ROOT / "docs/equations.md").read_text(encoding="utf8")
    found = re.search(rf"^### {re.escape(row.title)}\n(.+?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return [found[1].strip()] if found else []


def block(passage: Passage, title: str, page: str) -> str:
    """Code under a link to the page of all of it."""
    marked = ",".join(map(str, passage.marked))
    return (
        f'``````{{code-block}} python\n:caption: "[{title}]({page})"\n:emphasize-lines: {marked}\n\n'
        f"{dedent(passage.code)}\n``````\n"
    )


def section(row: Row, notebook: nbformat.NotebookNode) -> str:
    """An equation, with the notebook's lines on the left and the package's on the right."""
    name = row.notebook.name
    left = [block(part, f"notebook {name[:2]}", f"../notebooks/{name}") for part in toy(notebook, row)]
    right = [block(part, file, f"../code/{file[:-3].replace('/', '_')}.md") for file, part in package(row)]
    columns = "".join(f"```````{{container}}\n{''.join(blocks)}```````\n" for blocks in (left, right))
    words = [f"## {row.title}", f"{row.says[0].upper()}{row.says[1:]}.", *formulas(notebook, row), *written(row)]
    return "\n\n".join([*words, f"````````{{container}} sides\n{columns}````````"])


def page(paper: str) -> str:
    """All equations of a paper, as Markdown."""
    rows = [row for row in equations() if row.paper == paper]
    notebooks = {row.notebook: nbformat.read(row.notebook, as_version=4) for row in rows}
    sections = [section(row, notebooks[row.notebook]) for row in rows]
    title = f"# {paper}: equations beside the lines"
    says = "Each equation in its notebook's letters, the notebook's lines that compute it, and those of the package."
    return "\n\n".join([title, says, *sections]) + "\n"
