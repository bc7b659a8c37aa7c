"""Only tagged cells differ between the editions; the real nbgrader and otter-grader give right answers their points."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from minivos.course.cells import GRADED, STUDENT, exercise_of
from minivos.course.editions import EDITIONS, INSTALL, LESSON, with_drawings, write
from minivos.course.exercises import all_exercises
from minivos.course.worked import BEGIN, YOUR_TURN, solution
from minivos.errors import InputError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
FIRST = NOTEBOOKS[0].stem
HIDDEN = BEGIN, "HIDDEN TESTS", ").share, 1)"


def tags(cell) -> set[str]:
    return set(cell["metadata"].get("tags", []))


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    write(NOTEBOOKS, folder)
    return folder


def edition(course: Path, name: str, stem: str):
    place = course / name / "source" / stem if name == "graded" else course / name
    return nbformat.read(place / f"{stem}.ipynb", as_version=4)


@pytest.mark.parametrize("name", EDITIONS)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_only_tagged_cells_differ(course, path, name):
    made = edition(course, name, path.stem)
    nbformat.validate(made)
    committed = with_drawings(nbformat.read(path, as_version=4), ROOT)
    same = {cell["id"]: cell["source"] for cell in made.cells}
    for cell in committed.cells:
        if not tags(cell) & {STUDENT, GRADED}:
            assert same[cell["id"]] == cell["source"]
    ids = {cell["id"] for cell in committed.cells}
    added = [cell for cell in made.cells if cell["id"] not in ids]
    if name == "student":
        assert [tags(cell) for cell in added] == [{INSTALL}]
    else:
        assert all(exercise_of(cell) for cell in added)
        assert bool(added) == (name == "solution" and has_exercise(committed))
    assert not any("../docs/" in cell["source"] for cell in made.cells)


def has_exercise(notebook) -> bool:
    return any(STUDENT in tags(cell) for cell in notebook.cells)


def test_each_exercise_is_open_solved_and_worth_points_once(course):
    found = {name: [] for name in EDITIONS}
    for name in EDITIONS:
        for path in NOTEBOOKS:
            found[name] += [cell for cell in edition(course, name, path.stem).cells if STUDENT in tags(cell)]
    names = [exercise.name for exercise in all_exercises()]
    for name, cells in found.items():
        assert sorted(exercise_of(cell) for cell in cells) == sorted(names), name
    assert all(YOUR_TURN in cell["source"] and BEGIN not in cell["source"] for cell in found["student"])
    assert all(cell["source"] == solution(exercise_of(cell)).strip() for cell in found["solution"])
    assert all(BEGIN in cell["source"] for cell in found["graded"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_student_and_graded_editions_hold_no_output_and_no_solution_in_sight(course, path):
    for name in ("student", "graded"):
        code = [cell for cell in edition(course, name, path.stem).cells if cell.cell_type == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
        first, *others = [cell for cell in code if INSTALL not in tags(cell)]
        assert LESSON not in tags(first)
        assert all((LESSON in tags(cell)) != bool(tags(cell) & {STUDENT, GRADED}) for cell in others)


def answer_all(notebook, student: str) -> None:
    """Put right or wrong answers, or none, into the stubs."""
    for cell in notebook.cells:
        if STUDENT in tags(cell) and student != "open":
            answer = solution(exercise_of(cell)).strip()
            cell["source"] = answer if student == "right" else answer.replace("return ", "return 0 * ", 1)


def run_nbgrader(folder: Path, *arguments: str) -> None:
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic by its name
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": beside}
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_nbgrader_gives_a_right_answer_all_points_and_a_wrong_one_its_share(tmp_path):
    from nbgrader.api import Gradebook

    write(NOTEBOOKS[:1], tmp_path)
    folder = tmp_path / "graded"
    run_nbgrader(folder, "generate_assignment", FIRST)
    for student in ("right", "wrong", "open"):
        submitted = nbformat.read(folder / "release" / FIRST / f"{FIRST}.ipynb", as_version=4)
        assert not any(word in cell["source"] for cell in submitted.cells for word in HIDDEN)
        answer_all(submitted, student)
        place = folder / "submitted" / student / FIRST
        place.mkdir(parents=True)
        nbformat.write(submitted, place / f"{FIRST}.ipynb")
    run_nbgrader(folder, "autograde", FIRST)
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        marks = {s.student.id: (s.score, s.max_score) for s in book.assignment_submissions(FIRST)}
    assert marks["right"] == (20, 20) and marks["open"] == (0, 20)
    assert 0 < marks["wrong"][0] < 5  # some properties of one exercise hold


@pytest.mark.parametrize(("student", "least", "most"), [("right", 20, 20), ("wrong", 0.5, 5), ("open", 0, 0)])
def test_otter_gives_a_right_answer_all_points_and_a_wrong_one_its_share(tmp_path, student, least, most):
    pytest.importorskip("otter", reason="otter-grader is not installed")

    write(NOTEBOOKS[:1], tmp_path)
    submitted = nbformat.read(tmp_path / "student" / f"{FIRST}.ipynb", as_version=4)
    answer_all(submitted, student)
    nbformat.write(submitted, tmp_path / f"{student}.ipynb")
    run_otter(tmp_path, "generate", "--tests-dir", f"graded/otter_tests/{FIRST}", "--output-path", "first.zip")
    run_otter(tmp_path, "run", "--autograder", "first.zip", f"{student}.ipynb")
    tests = json.loads((tmp_path / "results.json").read_text())["tests"]
    assert least <= sum(test.get("score", 0) for test in tests) <= most


def run_otter(folder: Path, *arguments: str) -> None:
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "otter", *arguments]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_submissions_and_grades_survive_when_the_course_is_made_again(tmp_path):
    write(NOTEBOOKS[:1], tmp_path)
    handed_in = tmp_path / "graded/submitted/somebody" / FIRST / f"{FIRST}.ipynb"
    handed_in.parent.mkdir(parents=True)
    for kept in (handed_in, tmp_path / "graded/gradebook.db"):
        kept.write_text("theirs")
    write(NOTEBOOKS[:1], tmp_path)
    assert handed_in.read_text() == (tmp_path / "graded/gradebook.db").read_text() == "theirs"


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no notebook .*09_none\.ipynb"):
        write([tmp_path / "09_none.ipynb"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_first_cell_installs_the_wheel_where_minivos_is_missing(course):
    cell = edition(course, "student", FIRST).cells[1]
    shell = InteractiveShell.instance()
    asked = []
    shell.run_line_magic = lambda name, line, **_: asked.append(f"{name} {line}")
    assert shell.run_cell(cell["source"]).success and not asked  # it is here
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "minivos", None)
        assert shell.run_cell(cell["source"]).success and asked == ["pip install --quiet minivos-*.whl"]
