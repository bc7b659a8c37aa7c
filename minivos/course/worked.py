"""Worked solutions and stubs, both from the file of the solution.

In the files of `solutions/`, the docstring gives the reasons, and what stands between the two
marks is what a student has to write; nbgrader uses the same marks.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from minivos.errors import InputError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
YOUR_TURN = "raise NotImplementedError  # your turn"
FOLDER = Path(__file__).parent / "solutions"
BETWEEN = re.compile(rf"^([ \t]*){BEGIN}\n(.*?)^[ \t]*{END}\n", re.MULTILINE | re.DOTALL)


def solution_file(name: str) -> Path:
    """The file of a solution; InputError if there is none of that name."""
    path = FOLDER / f"{name}.py"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))
        raise InputError(f"got {name!r}; expected one of {', '.join(known)}")
    return path


def reasons(name: str) -> str:
    """Why the solution is as it is: the docstring of its file."""
    return ast.get_docstring(ast.parse(solution_file(name).read_text("utf8"))) or ""


def with_marks(name: str) -> str:
    """The code of a solution, marks included, without its reasons; as nbgrader wants it."""
    source = solution_file(name).read_text("utf8")
    docstring = ast.parse(source).body[0]
    return "\n".join(source.splitlines()[docstring.end_lineno or 0 :]).strip() + "\n"


def solution(name: str) -> str:
    """The code of a solution, as it stands in the solution notebook."""
    return BETWEEN.sub(lambda found: found[2], with_marks(name))


def stub(name: str) -> str:
    """What the student gets: imports, signatures, docstrings and YOUR_TURN."""
    return BETWEEN.sub(lambda found: f"{found[1]}{YOUR_TURN}\n", with_marks(name))


def to_write(name: str) -> set[str]:
    """The names of the functions and methods that the student has to write."""
    functions = [
        node for node in ast.walk(ast.parse(stub(name))) if isinstance(node, ast.FunctionDef)
    ]
    return {node.name for node in functions if isinstance(node.body[-1], ast.Raise)}


def show_solution(name: str) -> str:
    """Reasons and code of a solution, to print."""
    return f"{reasons(name)}\n\n{solution(name)}"
