"""Every numbered equation of a paper stands at the line that computes it, has its test, and is in docs/equations.md.

The page says in which file it stands and which notebook takes it apart. The paper's own test file says, in EQUATIONS,
what stands at the marked line or the one above, and which test holds it: {"AOT Eq. 3": ("self.embed", "test_...")}.
"""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# A marker is the name of a paper and its numbers: "AOT Eq. 3", "XMem Eq. 2, 4". Two capitals or more make a name, so
# that "See Eq. 3" is prose; a network whose name has fewer is marked in capitals.
PART = "[A-Za-z0-9+-]*"
NAME = rf"(?<![\w+-]){PART}[A-Z]{PART}[A-Z]{PART}"
MARKER = re.compile(rf"({NAME}) Eq\. (\d+(?:, \d+)*)")


def markers(text: str) -> list[str]:
    """The equations that a text marks, each by itself: "AOT Eq. 2, 4" gives "AOT Eq. 2" and "AOT Eq. 4"."""
    return [f"{paper} Eq. {number}" for paper, numbers in MARKER.findall(text) for number in numbers.split(", ")]


def tables(source: str) -> dict[str, tuple[str, str]]:
    """{equation: (code, test)} of EQUATIONS in the source of a test file."""
    tree = ast.parse(source)
    written = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    values = [node.value for node in written if ast.unparse(node.targets[0]) == "EQUATIONS"]
    rows = {key: row for value in values for key, row in ast.literal_eval(value).items()}
    return {equation: row for key, row in rows.items() for equation in markers(key)}


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """{equation: (file, notebook)} of a table as docs/equations.md has it, both from the root."""
    rows = {}
    for line in page.splitlines():
        if re.match(rf"\| {MARKER.pattern} \|", line):
            file, notebook = re.findall(r"\]\(\.\./(.+?)\)", line)
            rows |= dict.fromkeys(markers(line.split("|")[1]), (file, notebook))
    return rows


EQUATIONS = {e: row for path in HERE.glob("test_*.py") for e, row in tables(path.read_text()).items()}
PAGE = rows_of((ROOT / "docs" / "equations.md").read_text())


def marked(source: str, equation: str) -> list[str]:
    """The lines that carry the marker of an equation, each after the line before it."""
    lines = ["", *source.splitlines()]
    return [f"{lines[i - 1]}\n{line}" for i, line in enumerate(lines) if equation in markers(line)]


def test_code_page_and_tests_have_the_same_equations():
    in_code = {e for path in (ROOT / "minivos").rglob("*.py") for e in markers(path.read_text())}
    assert in_code == EQUATIONS.keys() == PAGE.keys()


@pytest.mark.parametrize("equation", EQUATIONS)
def test_each_equation_stands_where_page_and_table_say(equation):
    (file, _), (code, _) = PAGE[equation], EQUATIONS[equation]
    lines = marked((ROOT / file).read_text(), equation)
    assert any(code in line for line in lines), f"{file} marks {equation} at {lines or 'no line'}"


def test_each_equation_has_its_test():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    names = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {test for _, test in EQUATIONS.values()} <= names


def mentioned(text: str) -> set[int]:
    """The numbers in "Eq. 2", "Eq. 3 and 4", "Eq. 8, 9" and "Eq. 5 to 7"."""
    numbers = set()
    for first, last, others in re.findall(r"Eq\. (\d+)(?: to (\d+)|((?:(?:, | and )\d+)*))", text):
        numbers |= {*range(int(first), int(last or first) + 1), *map(int, re.findall(r"\d+", others))}
    return numbers


@pytest.mark.parametrize(("equation", "notebook"), [(e, notebook) for e, (_, notebook) in PAGE.items()])
def test_the_notebook_that_the_page_names_has_the_equation(equation, notebook):
    assert int(equation.split()[-1]) in mentioned((ROOT / notebook).read_text())


def test_a_marker_is_told_from_its_neighbours():
    source = "def attend():\n    '''mean (AOT Eq. 2)'''\nx = y  # AOT Eq. 3, 14\n"
    assert marked(source, "AOT Eq. 2") == ["def attend():\n    '''mean (AOT Eq. 2)'''"]
    assert marked(source, "AOT Eq. 14") == ["    '''mean (AOT Eq. 2)'''\nx = y  # AOT Eq. 3, 14"]
    assert not marked(source, "AOT Eq. 1") and not marked(source, "SST Eq. 2")
    assert not marked("x = y  # DeAOT Eq. 3\n", "AOT Eq. 3")


@pytest.mark.parametrize("paper", ["AOT", "SST", "SITVOS", "HST", "STCN", "XMem", "DeAOT", "RMem", "XMem++", "SAM2"])
def test_a_marker_is_found_whatever_its_capitals(paper):
    for text in (f"# {paper} Eq. 3", f"x = y  # {paper} Eq. 3", f"mean ({paper} Eq. 3)", f"{paper} Eq. 3: E = Y P D"):
        assert markers(text) == [f"{paper} Eq. 3"]
    assert markers(f"# {paper} Eq. 2, 14") == [f"{paper} Eq. 2", f"{paper} Eq. 14"]
    assert marked(f"x = y  # {paper} Eq. 3", f"{paper} Eq. 3")


@pytest.mark.parametrize(
    "prose",
    ["See Eq. 3", "text Eq. 3", "the matrix P of Eq. 3", "(Eq. 3)", "M_E Eq. 3", "Fig. 3, Eq. 3 and 4", "AOT, Eq. 3"],
)
def test_prose_is_no_marker(prose):
    assert not markers(f"# {prose}")


def test_the_page_of_equations_may_name_any_paper():
    row = "| XMem Eq. 1, 2 | says | [xmem.py](../minivos/xmem.py) | [09](../notebooks/09.ipynb) |"
    rows = rows_of(f"| equation | says | code | notebook |\n|---|---|---|---|\n{row}\n| See Eq. 3 | [a](../b) |\n")
    assert rows == dict.fromkeys(["XMem Eq. 1", "XMem Eq. 2"], ("minivos/xmem.py", "notebooks/09.ipynb"))
