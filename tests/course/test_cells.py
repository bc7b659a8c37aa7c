"""The cells of exercises run as they stand, say that it is the student's turn, and are told from changed ones."""

import contextlib
import io
import re
from pathlib import Path

import nbformat
import pytest

from minivos.course.cells import answer_name, exercise_cells, stale_cells
from minivos.course.exercises import all_exercises
from minivos.course.worked import solution
from minivos.synthetic.clips import render
from mistakes import MISTAKES, answer_in, with_mistake
from notebook_rules import MAX_LINES_PER_CELL, UNREPEATABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "exercises.md").read_text("utf8")
EXERCISES = {exercise.name: exercise for exercise in all_exercises()}
each_exercise = pytest.mark.parametrize("name", EXERCISES)


def run(sources: list[str], names: dict) -> list[str]:
    """What each source prints, run in the same names."""
    printed = []
    for source in sources:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(source, "cell", "exec"), names)
        printed.append(out.getvalue())
    return printed


def names_of_a_notebook() -> dict:
    clip = render(307, frames=5, size=(64, 96), scenario="plain", objects=2)
    return {
        "DEVICE": "cpu",
        "clip": clip,
        "display": lambda picture: print(type(picture).__name__),
    }


@each_exercise
def test_unanswered_cells_run_and_say_so(name: str) -> None:
    _, stub, *checks = exercise_cells(EXERCISES[name], 1)
    printed = run([stub.source, *(cell.source for cell in checks)], names_of_a_notebook())
    assert printed[0] == "" and all(text.endswith("your turn\n") for text in printed[1:])
    assert len(checks) == 1 + EXERCISES[name].core


def test_answered_cells_show_masks() -> None:
    _, _, check, inside = exercise_cells(EXERCISES["identity_bank"], 1)
    printed = run([solution("identity_bank"), check.source, inside.source], names_of_a_notebook())
    assert f"all {len(EXERCISES['identity_bank'].properties)} properties hold" in printed[1]
    assert "the same masks" in printed[2] and printed[2].endswith("Picture\n")
    assert not [pattern for pattern in UNREPEATABLE.values() if pattern.search("".join(printed))]


@each_exercise
def test_cells_fit_a_notebook(name: str) -> None:
    task, stub, *checks = exercise_cells(EXERCISES[name], 3)
    notebook = nbformat.v4.new_notebook(cells=[task, stub, *checks])
    nbformat.validate(notebook)
    assert re.match(r"\*\*Exercise 3( \(core\))?\. .+\.\*\* .+[.?]\)?$", task.source)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert max(len(cell.source.splitlines()) for cell in checks) <= MAX_LINES_PER_CELL
    assert "raise NotImplementedError" in stub.source and answer_name(name) in checks[0].source
    assert stub.metadata.tags == [f"exercise:{name}", "student"] and "graded" in checks[0].metadata.tags


def test_a_changed_stub_is_found() -> None:
    cells = exercise_cells(EXERCISES["decay"], 1)
    assert not stale_cells(cells)
    cells[1].source += "\n\n# quickly"
    assert not stale_cells(cells)
    cells[1].source = cells[1].source.replace("first quarter", "first third")
    assert stale_cells(cells) == ["decay"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_stubs_in_the_notebooks_are_those_of_the_package(path: Path) -> None:
    assert not stale_cells(nbformat.read(path, as_version=4).cells)


@each_exercise
def test_the_page_lists_every_exercise(name: str) -> None:
    exercise = EXERCISES[name]
    inside = f"`{exercise.network}`" if exercise.core else ""
    counts = f"{len(exercise.properties)} | {len(MISTAKES[name])}"
    row = f"| {exercise.notebook} | {exercise.title} | `{answer_name(name)}` | {inside} | {counts} |"
    assert PAGE.splitlines().count(row) == 1


def test_the_page_shows_what_a_check_prints() -> None:
    (mistake,) = [m for m in MISTAKES["decay"] if m.name == "two frames only"]
    report = EXERCISES["decay"].report(answer_in(with_mistake("decay", mistake)))
    assert f"```text\n{report}\n```" in PAGE
