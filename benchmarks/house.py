"""How the package reads: its size, and of each paper file the share of plumbing and how dense its lines are.

python benchmarks/house.py           # this checkout
python benchmarks/house.py ROOT      # another one

Code lines are neither blank nor comment nor docstring. Plumbing is checks, recording, imports and printing, as
`plumbing_lines` in tests/house_rules.py defines it; the tests allow a third of the code lines.

A statement is compound when it holds two or more of: a comprehension or generator, a conditional expression, a lambda,
calls nested four deep in each other's arguments, `and` mixed with `or` (`compound_statements`); a comprehension in a
comprehension is two.
"""

import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from house_rules import (
    MAX_COLUMNS,
    PACKAGE,
    code_lines,
    compound_statements,
    count_lines,
    files_to_read,
    paper_files,
    plumbing_share,
)

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = "file", "lines", "code lines", "plumbing", "characters", "indented", "too long", "compound"


def paper_row(path: Path) -> tuple[str, ...]:
    """The measures of one file, as text, in the order of COLUMNS."""
    source = path.read_text(encoding="utf8")
    lines = source.splitlines()
    code = [lines[number - 1].rstrip() for number in sorted(code_lines(source))]
    return (
        path.name,
        str(len(lines)),
        str(len(code)),
        f"{plumbing_share(source):.0%}",
        f"{mean(len(line.lstrip()) for line in code):.1f}",
        f"{mean(map(len, code)):.1f}",
        str(sum(len(line) > MAX_COLUMNS for line in lines)),
        f"{100 * len(compound_statements(source)) / len(code):.1f}",
    )


def show(root: Path) -> None:
    """Print the table of the checkout in root."""
    modules = sorted((root / PACKAGE).rglob("*.py"))
    print(f"{len(modules)} Python files in {PACKAGE}/, {count_lines(modules)} lines")
    print(f"papers + nn + tracker: {count_lines(files_to_read(root))} lines\n")
    for row in (COLUMNS, *map(paper_row, paper_files(root))):
        print(f"{row[0]:10}" + "".join(f"{value:>12}" for value in row[1:]))
    print(
        "\ncharacters, indented: mean of a code line, without and with its indentation"
        f"\ntoo long: lines over {MAX_COLUMNS} columns; compound: compound statements per 100 code lines"
    )


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    if not (root / PACKAGE).is_dir():
        sys.exit(f"got {root}; expected a checkout: give the folder that holds {PACKAGE}/")
    show(root)
