"""The cells that an exercise has in its notebook, with the tags by which editions are made of it.

exercise:NAME   all cells of an exercise
student         the stub; the solution takes its place in the solution edition
graded          the check; an `assert` takes its place in the graded edition
"""

from __future__ import annotations

import ast
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from minivos.course.exercise import Exercise
from minivos.course.transplant import CoreExercise
from minivos.course.worked import stub

STUDENT, GRADED = "student", "graded"
INSIDE = """\
import minivos
from minivos.viewing.plots import show_masks

inside = minivos.create_model("{network}", weights="shipped").to(DEVICE)
beginning = minivos.Clip(clip.frames[:5], {{0: clip.masks[0]}})
mine = {check}.segment(inside, {answer}, beginning)
if mine is not None:
    display(show_masks(clip.frames[[0, 4]], mine[[0, 4]], titles=["given", "your code"]))"""


def exercise_cells(exercise: Exercise, number: int) -> list[NotebookNode]:
    """Task, stub, check, and for a core exercise its run inside the network; "Exercise `number`".

    The last one takes DEVICE and clip from its notebook.
    """
    check, answer = f"check_{exercise.name}", answer_name(exercise.name)
    mark = " (core)" if exercise.core else ""
    task = f"**Exercise {number}{mark}. {exercise.title}.** {exercise.task}"
    asks = f"from minivos.course.notebook{exercise.notebook} import {check}\n\n{check}({answer})"
    cells = [
        tagged(new_markdown_cell(task), exercise, "task"),
        tagged(new_code_cell(stub(exercise.name).strip()), exercise, "stub", STUDENT),
        tagged(new_code_cell(f"{asks}  # then: {check}.hint()"), exercise, "check", GRADED),
    ]
    if isinstance(exercise, CoreExercise):
        inside = INSIDE.format(network=exercise.network, check=check, answer=answer)
        cells.append(tagged(new_code_cell(inside), exercise, "inside"))
    return cells


def answer_name(name: str) -> str:
    """The name of the function or class that a student writes."""
    last: Any = ast.parse(stub(name)).body[-1]
    return last.name


def tagged(cell: NotebookNode, exercise: Exercise, part: str, *tags: str) -> NotebookNode:
    """The cell with an id that stays, and with its tags."""
    cell["id"] = f"{exercise.name.replace('_', '-')}-{part}"
    cell["metadata"]["tags"] = [f"exercise:{exercise.name}", *tags]
    return cell


def stale_cells(cells: list[NotebookNode]) -> list[str]:
    """Names of the exercises whose stub in a notebook says something else than the package's."""
    stubs = [cell for cell in cells if STUDENT in cell["metadata"].get("tags", [])]
    by_name = {exercise_of(cell): cell["source"] for cell in stubs}
    return [name for name, source in by_name.items() if parsed(source) != parsed(stub(name))]


def parsed(source: str) -> str:
    """What code says, however its lines are broken."""
    return ast.dump(ast.parse(source))


def exercise_of(cell: NotebookNode) -> str:
    """The name of the exercise that a cell belongs to."""
    (name,) = [tag for tag in cell["metadata"]["tags"] if tag.startswith("exercise:")]
    return name.removeprefix("exercise:")
