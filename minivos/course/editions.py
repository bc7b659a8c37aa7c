"""Three editions of the course, made of its notebooks: `python -m minivos.course.editions`.

    student     what the notebooks hold, without outputs; a first cell installs a missing package
    solution    the worked solutions in place of the stubs, each below its reasons
    graded      the source folder of an nbgrader course: solutions between nbgrader's marks, checks
                that give points, and a configuration; beside it the checks as otter-grader's tests

The tags of minivos.course.cells say which cells an edition may change; all others stay as they are.
"""

from __future__ import annotations

import argparse
import re
from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from minivos.course.cells import GRADED, STUDENT, answer_name, exercise_of
from minivos.course.exercise import Exercise
from minivos.course.exercises import all_exercises
from minivos.course.worked import YOUR_TURN, reasons, solution, with_marks
from minivos.errors import InputError

LESSON = "otter_ignore"  # tag of code that grading leaves out; this is otter-grader's name for it
INSTALL = "install"  # the cell that brings minivos where it is missing
BRING = """\
try:
    import minivos
except ModuleNotFoundError:  # in Colab: upload the wheel beside this notebook first
    %pip install --quiet minivos-*.whl"""
POINTS, CORE_POINTS = 5, 10  # of an exercise
DRAWING = re.compile(r"\]\(\.\./(docs/diagrams/(\w+\.svg))\)")
HIDDEN = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"
CONFIGURATION = f"""\
# Of each notebook the first code cell, the answers and the checks run: all else takes minutes.
c = get_config()
c.CourseDirectory.course_id = "minivos"
c.ClearSolutions.code_stub = {{"python": "{YOUR_TURN}"}}
c.Execute.skip_cells_with_tag = "{LESSON}"
c.Execute.timeout = 300
"""
OTTER_TEST = """\
from functools import cache

from otter.test_files import test_case

from minivos.course.notebook{notebook} import check_{name} as check

OK_FORMAT = False
name, points = "{name}", {points}
report = cache(check.report)


def case(number):
    def holds(env):
        found = report(env.get("{answer}"))
        assert found.held > number, found

    return holds


for number, (sentence, _) in enumerate(check.properties):
    globals()[f"case_{{number}}"] = test_case(sentence)(case(number))
"""


def student(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it is, with nothing run yet, below a cell for where minivos is missing."""
    notebook = with_lesson_tags(notebook)
    bring = new_code_cell(BRING, id=INSTALL, metadata={"tags": [INSTALL]})
    notebook.cells.insert(1, bring)  # the first cell is the card
    return notebook


def with_lesson_tags(notebook: NotebookNode) -> NotebookNode:
    """The notebook without outputs; all code but its first cell, stubs and checks is LESSON."""
    notebook = without_outputs(notebook)
    for cell in [cell for cell in notebook.cells if cell.cell_type == "code"][1:]:
        if not {STUDENT, GRADED} & set(tags(cell)):
            cell["metadata"]["tags"] = [*tags(cell), LESSON]
    return notebook


def solved(notebook: NotebookNode) -> NotebookNode:
    """The notebook with a worked solution in place of each stub, and its reasons above."""
    notebook, cells = deepcopy(notebook), []
    for cell in notebook.cells:
        if STUDENT in tags(cell):
            name = exercise_of(cell)
            why = new_markdown_cell(f"*Why so:* {reasons(name)}", id=f"{cell['id']}-why")
            why["metadata"]["tags"] = [f"exercise:{name}"]
            cell["source"] = solution(name).strip()
            cells.append(why)
        cells.append(cell)
    notebook.cells = cells
    return without_outputs(notebook, only=GRADED)


def graded(notebook: NotebookNode) -> NotebookNode:
    """The notebook as nbgrader's source: what is answered, what gives points, what is left out."""
    notebook = with_lesson_tags(notebook)
    by_name = {exercise.name: exercise for exercise in all_exercises()}
    for cell in notebook.cells:
        if STUDENT in tags(cell):
            cell["source"] = with_marks(exercise_of(cell)).strip()
            cell["metadata"]["nbgrader"] = role(cell, solution=True)
        elif GRADED in tags(cell):
            exercise = by_name[exercise_of(cell)]
            cell["source"] += "\n" + HIDDEN.format(points_of(exercise))
            cell["metadata"]["nbgrader"] = role(cell, grade=True, locked=True) | {
                "points": most_points(exercise)
            }
    return notebook


EDITIONS: dict[str, Callable[[NotebookNode], NotebookNode]] = {
    "student": student,
    "solution": solved,
    "graded": graded,
}


def role(
    cell: NotebookNode, grade: bool = False, solution: bool = False, locked: bool = False
) -> dict:
    """What nbgrader wants to know of a cell."""
    known = {
        "schema_version": 3,
        "grade_id": cell["id"],
        "cell_type": cell["cell_type"],
        "task": False,
    }
    return known | {"grade": grade, "solution": solution, "locked": locked}


def most_points(exercise: Exercise) -> int:
    """What a right answer is worth."""
    return CORE_POINTS if exercise.core else POINTS


def points_of(exercise: Exercise) -> str:
    """The line that gives an answer its points: the share of the properties that hold."""
    share = f"check_{exercise.name}.report({answer_name(exercise.name)}).share"
    return f"round({most_points(exercise)} * {share}, 1)"


def otter_test(exercise: Exercise) -> str:
    """The test file of otter-grader for an exercise; every property is worth the same."""
    return OTTER_TEST.format(
        notebook=exercise.notebook,
        name=exercise.name,
        points=most_points(exercise),
        answer=answer_name(exercise.name),
    )


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell["metadata"].get("tags", [])


def without_outputs(notebook: NotebookNode, only: str | None = None) -> NotebookNode:
    """The notebook as if its code, or that of the cells with a tag, had not run."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code" and (only is None or only in tags(cell)):
            cell.update(outputs=[], execution_count=None)
    return notebook


def with_drawings(notebook: NotebookNode, root: Path) -> NotebookNode:
    """The notebook with its drawings inside, so that its file may lie anywhere."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        for path, name in DRAWING.findall(cell["source"]):
            drawn = b64encode((root / path).read_bytes()).decode()
            cell.setdefault("attachments", {})[name] = {"image/svg+xml": drawn}
        cell["source"] = DRAWING.sub(r"](attachment:\2)", cell["source"])
    return notebook


def write(notebooks: list[Path], folder: Path) -> None:
    """Write the editions into `folder`/student, solution and graded.

    Whatever else lies there stays: submissions and grades. InputError where a notebook is missing.
    """
    for path in notebooks:
        if not path.is_file():
            raise InputError(
                f"there is no notebook {path}; expected those of the course in {path.parent}"
            )
    for name, make in EDITIONS.items():
        edition = folder / name
        for path in notebooks:
            notebook = make(with_drawings(nbformat.read(path, as_version=4), path.parents[1]))
            place = edition / "source" / path.stem if name == "graded" else edition
            place.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, place / path.name)
    (folder / "graded" / "nbgrader_config.py").write_text(CONFIGURATION, "utf8")
    for path in notebooks:
        place = folder / "graded" / "otter_tests" / path.stem
        place.mkdir(parents=True, exist_ok=True)
        for exercise in all_exercises():
            if path.stem.startswith(exercise.notebook):
                (place / f"{exercise.name}.py").write_text(otter_test(exercise), "utf8")


def main() -> None:
    """Write the three editions of the notebooks of this clone."""
    parser = argparse.ArgumentParser(
        description="write the student, solution and graded edition of the course"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/course"), help="out/course if not given"
    )
    parser.add_argument(
        "--notebooks",
        type=Path,
        default=Path("notebooks"),
        help="their folder, notebooks if not given",
    )
    settings = parser.parse_args()
    paths = sorted(settings.notebooks.glob("[0-9]*.ipynb"))
    if not paths:
        parser.error(f"no notebook in {settings.notebooks}; expected the folder: --notebooks")
    write(paths, settings.out)
    print(
        f"{len(paths)} notebooks each in "
        + ", ".join(str(settings.out / name) for name in EDITIONS)
    )


if __name__ == "__main__":
    main()
