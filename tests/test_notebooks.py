"""Every notebook keeps every rule, every rule catches a notebook that breaks it, and nbval catches a changed output.

README's table of the course and the glossary say of the notebooks what the notebooks say.
"""

import ast
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from minivos.viewing.explorer import Explorer
from minivos.viewing.page import ALONE, page_around
from minivos.viewing.picture import Picture
from notebook_rules import END, FRONT, RULES, prose

Change = Callable[[NotebookNode], object]
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = {"aot": ["02", "03"], "sst": ["04"], "sitvos": ["05"], "hst": ["06"]}  # the notebooks of a paper's file


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_rule(path: Path, rule: Callable) -> None:
    assert not list(rule(nbformat.read(path, as_version=4)))


def table(text: str) -> list[list[str]]:
    """The cells of all rows of the tables in a text."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def numbers(text: str) -> list[str]:
    """The numbers of notebooks in a text: 00, 01, ..."""
    return re.findall(r"\b\d\d\b", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_table_of_the_course_says_what_the_notebook_says(path: Path) -> None:
    card = dict(row for row in table(nbformat.read(path, as_version=4).cells[0].source) if len(row) == 2)
    (row,) = (row for row in table((ROOT / "README.md").read_text()) if path.name in row[0])
    _, _, needs, time = row
    assert numbers(needs) == numbers(card["**Needs**"])
    assert all(number < path.name[:2] for number in numbers(needs))
    assert time.split(",")[0] == re.search(r"to read; (.+?) to run", card["**Time**"])[1]


def text_of(number: str) -> str:
    """The code and the prose of a notebook."""
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


@pytest.mark.parametrize(("paper", "lessons"), LESSONS.items())
def test_every_class_of_a_paper_is_named_in_its_notebooks(paper: str, lessons: list[str]) -> None:
    tree = ast.parse((ROOT / f"minivos/{paper}.py").read_text(encoding="utf8"))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}
    named = set(re.findall(r"\w+", " ".join(map(text_of, lessons))))
    assert classes and not classes - named


GLOSSARY = [
    (word, number)
    for words, _, where in table((ROOT / "docs/glossary.md").read_text())
    for word in words.split(", ")
    for number in numbers(where)
]


@pytest.mark.parametrize(("word", "number"), GLOSSARY)
def test_the_notebook_that_the_glossary_names_has_the_word(word: str, number: str) -> None:
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    text = re.sub(r"[*`$\\]", "", prose(nbformat.read(path, as_version=4).cells))
    pattern = r"\s+".join(map(re.escape, word.split()))
    assert re.search(rf"\b{pattern}s?\b", text, re.IGNORECASE)


def printed(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


def shown(kind: str, content: str) -> NotebookNode:
    return new_output("display_data", data={kind: content})


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_off_the_cpu(path: Path) -> None:
    run = subprocess.run([sys.executable, "tests/run_elsewhere.py", path], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


POSTER = Mock(alt="a look", png=lambda: b"PNG")
EXPLORER = Explorer({}, page_around("minivos explore", "<p>a page</p>", ALONE, ""), POSTER)._repr_html_()
USES = """# a cell that trains and tracks
network = minivos.create_model("aot_mini").requires_grad_(False).to(DEVICE)
train(network, Recipe(), device=DEVICE)
sizes(minivos.create_model("aot_t"))  # on the CPU: only counted
"""


def good_notebook() -> NotebookNode:
    """A notebook that keeps every rule: seven code cells, of which only the fourth shows something."""
    code = [new_code_cell("x = 1", execution_count=number) for number in range(1, 8)]
    code[1].source, code[5].source = "DEVICE = pick_device()", USES
    code[3].outputs = [printed("(2, 3) 0.25 -1.50")]
    exercises = [new_markdown_cell(f"**Exercise {number}.** Try it.") for number in (1, 2, 3)]
    letters = "| letter | meaning |\n|---|---|\n| $C$ | channels |\n| $N$ | cells |"
    layout = "\n".join(
        [*FRONT, letters, "![two squares](squares.png)", "## 1 One", "## 2 Two", *(f"## {name}" for name in END)]
    )
    return new_notebook(cells=[new_markdown_cell(layout), *code, *exercises])


def code_cell(number: int, **fields: object) -> Change:
    """Overwrite fields of one code cell, counted from 1."""
    return lambda notebook: notebook.cells[number].update(fields)


def replace(old: str, new: str) -> Change:
    """Replace text of the first cell."""
    return lambda notebook: notebook.cells[0].update(source=notebook.cells[0].source.replace(old, new))


def add_prose(source: str, copies: int = 1) -> Change:
    """Put markdown cells behind the first cell."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells[1:1] = [new_markdown_cell(source) for _ in range(copies)]

    return change


def last(source: str) -> Change:
    """Overwrite the last exercise."""
    return lambda notebook: notebook.cells[-1].update(source=source)


def ignored(output: NotebookNode) -> Change:
    """Let the fifth code cell show something that nbval does not compare."""
    return code_cell(5, source="# NBVAL_IGNORE_OUTPUT\nx = 1", outputs=[output])


def stored_picture(*titles: str, fontsize: int = 10) -> str:
    """A picture as a notebook stores it, all of its titles at one place."""
    figure = Picture(figsize=(2, 1))
    for title in titles or ["a title"]:
        figure.text(0.2, 0.5, title, fontsize=fontsize)
    return b64encode(figure._repr_png_()).decode()


NOT_EXPLORERS = [
    ('alt="a look"', 'alt=""'),
    ("data:image/png", "https://example.org/a.png"),
    ("default-src", "img-src"),  # the page may load what it likes
    ("<iframe", "<script></script><iframe"),
    ("</iframe>", "</iframe><b>bold</b>"),
    ("srcdoc=", "src="),
]
WAYS_TO_BREAK: dict[str, list[Change]] = {
    "is_short": [
        code_cell(5, source="x = 1\n" * 26),
        code_cell(5, outputs=[shown("image/png", "A" * 4_000_000)]),
    ],
    "is_laid_out_like_the_others": [
        replace("| **Needs** |", ""),
        replace("## 1 One\n", ""),
        replace("## 2 Two", "## 3 Two"),
        replace("## Limits\n", ""),
        replace("## Where to go on", "## Where to go on\n## 3 Three"),
    ],
    "describes_its_pictures": [
        add_prose("![](a.png)"),
        add_prose("![ ](a.png)"),
        add_prose("<img src='a.png'>"),
        add_prose('<img src="a.png" alt="">'),
    ],
    "ran_from_top_to_bottom": [code_cell(5, execution_count=None), code_cell(5, execution_count=9)],
    "ran_without_error": [
        code_cell(5, outputs=[new_output("error", ename="ValueError", evalue="", traceback=[])]),
    ],
    "stores_only_text_png_and_explorers": [
        code_cell(5, outputs=[shown("text/html", "<b>bold</b>")]),
        *(ignored(shown("text/html", EXPLORER.replace(*change))) for change in NOT_EXPLORERS),
        code_cell(5, outputs=[shown("image/svg+xml", "<svg/>")]),
        code_cell(5, outputs=[shown("application/vnd.jupyter.widget-view+json", "{}")]),
        code_cell(5, outputs=[new_output("stream", name="stderr", text="UserWarning: old")]),
        code_cell(5, outputs=[new_output("stream", name="stderr", text="Object 2 is not seen after frame 9\nold")]),
        lambda notebook: notebook.metadata.update(widgets={}),
    ],
    "shows_something_often": [code_cell(4, outputs=[]), code_cell(4, outputs=[printed("3 objects")])],
    "ends_with_exercises": [
        lambda notebook: notebook.cells.pop(),
        lambda notebook: notebook.cells.insert(1, notebook.cells.pop()),
        last("**Exercise 7.** Try it."),
        last("Exercise 3, Exercise 4, Exercise 5, Exercise 6"),
    ],
    "is_compared_by_nbval": [
        code_cell(5, source="# NBVAL_SKIP\nx = 1"),
        code_cell(5, metadata={"tags": ["nbval-skip"]}),
    ],
    "repeats_exactly": [
        code_cell(5, outputs=[shown("text/plain", "<Net at 0x7f12ab34>")]),
        code_cell(5, outputs=[printed("saved /" + "data/clips/a.png")]),
        code_cell(5, outputs=[printed("C:\\clips\\a.png")]),
        code_cell(5, outputs=[printed("it is 12:30")]),
        code_cell(5, outputs=[printed("2026-01-31")]),
        code_cell(5, outputs=[printed("after 3.5 s")]),
        code_cell(5, outputs=[printed("12 minutes")]),
        code_cell(5, outputs=[printed("30 it/s")]),
        code_cell(5, outputs=[printed("torch 2.6.0")]),
        code_cell(5, outputs=[printed("tensor(1.0000)")]),
        code_cell(5, outputs=[printed("3e-5")]),
        code_cell(5, outputs=[shown("text/html", EXPLORER)]),
    ],
    "computes_on_the_device": [
        code_cell(6, source=USES.replace(".to(DEVICE)", "")),
        code_cell(6, source=USES.replace(".to(DEVICE)", ".to('cuda')")),
        code_cell(6, source=USES.replace(", device=DEVICE", "")),
        code_cell(6, source=USES.replace("device=DEVICE", "device='cpu'")),
        code_cell(6, source=USES + "minivos.propagate(minivos.create_model('sst_mini'), clip)"),
        code_cell(6, source=USES + "class Own(VOSNetwork): ...\nclass Mine(Own): ...\nminivos.propagate(Mine(), clip)"),
        code_cell(2, source="x = 1"),
        code_cell(2, source="DEVICE = torch.device('cpu')"),
    ],
    "symbols_are_told_once": [replace("| letter |", "| word |"), replace("| $N$ |", "| $C$ |")],
    "cells_run_again": [
        code_cell(3, source="y = x"),
        code_cell(3, source="def own():\n    return x"),
        code_cell(3, source="y = [x + i for i in range(3)]"),
        code_cell(3, source="for y in range(3):\n    print(x)"),
        code_cell(3, source="for x in range(x):\n    pass"),
        code_cell(3, source="with open(x) as x:\n    pass"),
    ],
    "has_pictures_one_can_see": [
        code_cell(5, outputs=[shown("image/png", stored_picture(fontsize=5))]),
        code_cell(5, outputs=[shown("image/png", stored_picture("one", "on another"))]),
    ],
}
ONE_BY_ONE = [
    pytest.param(rule, change, id=f"{rule}-{number}")
    for rule, changes in WAYS_TO_BREAK.items()
    for number, change in enumerate(changes, start=1)
]


def broken_rules(notebook: NotebookNode) -> list[str]:
    return [rule.__name__ for rule in RULES if list(rule(notebook))]


def test_a_good_notebook_keeps_every_rule() -> None:
    assert broken_rules(good_notebook()) == []


@pytest.mark.parametrize(("rule", "change"), ONE_BY_ONE)
def test_a_bad_notebook_breaks_its_rule_and_no_other(rule: str, change: Change) -> None:
    notebook = good_notebook()
    change(notebook)
    assert broken_rules(notebook) == [rule]


def test_every_rule_can_be_broken() -> None:
    assert {rule.__name__ for rule in RULES} == WAYS_TO_BREAK.keys()


def test_a_picture_with_large_text_and_titles_apart_can_be_seen() -> None:
    notebook = good_notebook()
    code_cell(4, outputs=[shown("image/png", stored_picture())])(notebook)
    assert broken_rules(notebook) == []


def test_an_import_over_many_lines_does_not_make_a_cell_long() -> None:
    notebook = good_notebook()
    code_cell(5, source="from os import (\n" + "    path,\n" * 30 + ")\nx = 1")(notebook)
    assert broken_rules(notebook) == []


def test_a_picture_counts_as_something_shown() -> None:
    notebook = good_notebook()
    code_cell(4, outputs=[shown("image/png", "")])(notebook)
    assert broken_rules(notebook) == []


def test_an_ignored_output_may_differ_between_runs() -> None:
    notebook = good_notebook()
    code_cell(5, source="# NBVAL_IGNORE_OUTPUT\nx = 1", outputs=[printed("after 3.5 s")])(notebook)
    assert broken_rules(notebook) == []


def test_an_explorer_may_be_shown_where_nbval_does_not_compare_and_counts_as_a_picture() -> None:
    notebook = good_notebook()
    code_cell(4, source="# NBVAL_IGNORE_OUTPUT\nx = 1", outputs=[shown("text/html", EXPLORER)])(notebook)
    assert broken_rules(notebook) == []


@pytest.mark.parametrize(("stored", "exit_code"), [("4\n", 0), ("5\n", 1)], ids=["same output", "changed output"])
def test_nbval_notices_a_changed_output(tmp_path: Path, stored: str, exit_code: int) -> None:
    cell = new_code_cell("print(2 + 2)", outputs=[printed(stored)], execution_count=1)
    assert_nbval(cell, tmp_path, exit_code)


@pytest.mark.parametrize("warned", ["", "lost: 3\n"], ids=["no warning", "another warning"])
@pytest.mark.parametrize(("stored", "exit_code"), [("4\n", 0), ("5\n", 1)], ids=["same output", "changed output"])
def test_warnings_alone_never_fail_a_notebook(tmp_path: Path, warned: str, stored: str, exit_code: int) -> None:
    shutil.copy(ROOT / "notebooks/conftest.py", tmp_path)
    source = "import sys\nprint('lost: 2', file=sys.stderr)\nprint(2 + 2)"
    outputs = [new_output("stream", name="stderr", text=warned)] if warned else []
    cell = new_code_cell(source, outputs=[*outputs, printed(stored)], execution_count=1)
    assert_nbval(cell, tmp_path, exit_code)


@pytest.mark.parametrize(("deaths", "exit_code"), [(1, 0), (2, 1)], ids=["dies once", "dies twice"])
def test_a_kernel_that_dies_at_its_start_is_started_once_more(tmp_path: Path, deaths: int, exit_code: int) -> None:
    shutil.copy(ROOT / "notebooks/conftest.py", tmp_path)
    (tmp_path / "ipykernel_launcher.py").write_text(
        "import os, pathlib, tempfile\n"
        f"if len(list(pathlib.Path({str(tmp_path)!r}).glob('death*'))) < {deaths}:\n"
        f"    tempfile.mkstemp(prefix='death', dir={str(tmp_path)!r})\n"
        "    os._exit(1)\n"
        "from ipykernel.kernelapp import launch_new_instance\n"
        "launch_new_instance()\n"
    )
    cell = new_code_cell("print(2 + 2)", outputs=[printed("4\n")], execution_count=1)
    nbval_exits(cell, tmp_path, exit_code)


def nbval_exits(cell: NotebookNode, folder: Path, exit_code: int) -> str:
    """What nbval prints of a notebook of this one cell, its exit code having been held."""
    nbformat.write(new_notebook(cells=[cell]), folder / "sum.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "sum.ipynb"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == exit_code, run.stdout
    return run.stdout


def assert_nbval(cell: NotebookNode, folder: Path, exit_code: int) -> None:
    """Holds that nbval passes, or fails for the output of the cell."""
    assert ("Cell outputs differ" in nbval_exits(cell, folder, exit_code)) == (exit_code == 1)
