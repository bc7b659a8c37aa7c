"""Every module keeps the rules of the house, and every rule catches a module that breaks it."""

import ast
import re
import sys
import textwrap
from dataclasses import make_dataclass
from pathlib import Path

import numpy as np
import pytest

from house_rules import (
    MAX_COLUMNS,
    MAX_LINES,
    MAX_LINES_TO_READ,
    MAX_PLUMBING,
    PACKAGE,
    PAPERS,
    code_lines,
    compound_statements,
    count_lines,
    dotted_name,
    files_to_read,
    forbidden_imports,
    misplaced_initialisation,
    paper_files,
    plumbing_lines,
    plumbing_share,
    unannotated,
    undocumented,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
PAPER_FILES = paper_files(ROOT)
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
each_paper = pytest.mark.parametrize("path", PAPER_FILES, ids=lambda path: path.stem)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf8"))


@each_module
def test_module_imports_only_from_lower_floors(path: Path) -> None:
    module = dotted_name(path, ROOT)
    if module != PACKAGE:
        assert not list(forbidden_imports(tree(path), module, is_folder=path.name == "__init__.py"))


@pytest.mark.parametrize("path", sorted(set(MODULES) - set(PAPER_FILES)), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_short(path: Path) -> None:
    assert count_lines([path]) < MAX_LINES


def test_the_networks_are_read_in_an_evening() -> None:
    lines = count_lines(files_to_read(ROOT))
    assert lines <= MAX_LINES_TO_READ, f"{lines} lines: shorten (a new paper raises the limit by its own length)"


@each_paper
def test_a_paper_file_is_about_its_paper(path: Path) -> None:
    source = path.read_text(encoding="utf8")
    assert plumbing_share(source) <= MAX_PLUMBING, f"plumbing: lines {sorted(plumbing_lines(source))}"


@each_paper
def test_our_own_initialisation_stands_at_the_end_of_a_paper_file(path: Path) -> None:
    assert not list(misplaced_initialisation(path.read_text(encoding="utf8")))


def test_ruff_holds_the_package_to_its_columns() -> None:
    package = tomllib.loads((ROOT / PACKAGE / "ruff.toml").read_text(encoding="utf8"))
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["tool"]["ruff"]["lint"]
    assert (package["extend"], package["line-length"]) == ("../pyproject.toml", MAX_COLUMNS)
    assert "E" in rules["select"] and "E501" not in rules.get("ignore", [])
    assert all("E501" not in ignored for ignored in rules.get("per-file-ignores", {}).values())


@each_module
def test_public_names_are_documented_and_typed(path: Path) -> None:
    assert not [*undocumented(tree(path)), *unannotated(tree(path))]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("minivos.aot", "import torch, minivos.nn.attention"),
        ("minivos.aot", "from minivos.nn.objects import soft_aggregate"),
        ("minivos.nn.network", "from minivos.nn import attention"),
        ("minivos.nn.network", "from . import attention"),
        ("minivos.nn.network", "from ..errors import InputError"),
        ("minivos.training.loop", "from minivos import errors, tracker"),
        ("minivos.cli", "def f():\n    from minivos.viewing import plots"),
        ("minivos.sst", "from minivos_extra.nn import anything"),
    ],
)
def test_imports_that_are_allowed(module: str, line: str) -> None:
    assert not list(forbidden_imports(ast.parse(line), module))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("minivos.aot", "from minivos.sst import grid_attention"),
        ("minivos.aot", "import numpy, minivos.models"),
        ("minivos.aot", "from . import sst"),
        ("minivos.nn.network", "from minivos.video.mask_tensors import one_hot"),
        ("minivos.nn.network", "from ..video import masks"),
        ("minivos.video.clip", "def f():\n    from minivos.tracker import Tracker"),
        ("minivos.video.clip", "from minivos.synthetic.clips import render"),
        ("minivos.aot", "from minivos.video.mask_tensors import one_hot"),
        ("minivos.training.loop", "from minivos.evaluation.evaluate import score_samples"),
        ("minivos.models", "from minivos import tracker"),
        ("minivos.errors", "import minivos.nn"),
        ("minivos.training.loop", "from minivos.cli import app"),
        ("minivos.cli", "from minivos import Clip"),
        ("minivos.cli", "import minivos"),
        ("minivos.attic", "import torch"),
    ],
)
def test_imports_that_are_forbidden(module: str, line: str) -> None:
    assert list(forbidden_imports(ast.parse(line), module))


def test_a_folder_resolves_its_own_relative_imports() -> None:
    inside, below = ast.parse("from .masks import one_hot"), ast.parse("from ..nn import attention")
    above = ast.parse("from ..synthetic import scenes")
    assert not list(forbidden_imports(inside, "minivos.video", is_folder=True))
    assert not list(forbidden_imports(below, "minivos.video", is_folder=True))
    assert list(forbidden_imports(above, "minivos.video", is_folder=True))


@pytest.mark.parametrize(
    "source", ["def f(): ...", "class A: ...", "class A:\n    'a'\n    def f(self): ...", "async def f(): ..."]
)
def test_a_missing_docstring_is_found(source: str) -> None:
    assert list(undocumented(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "def f(x) -> int: ...",
        "def f(x: int): ...",
        "def f(*x) -> int: ...",
        "def f(**x) -> int: ...",
        "def f(*, x) -> int: ...",
        "class A:\n    def f(self): ...",
    ],
)
def test_a_missing_type_is_found(source: str) -> None:
    assert list(unannotated(ast.parse(source)))


def test_private_and_inner_functions_are_free() -> None:
    source = "def _f(x): ...\nclass _A:\n    def f(self): ...\ndef f() -> int:\n    'f'\n    def g(x): ...\n"
    assert not [*undocumented(ast.parse(source)), *unannotated(ast.parse(source))]


PLUMBING = """\
import torch

__all__ = ["Network"]


class Config:
    layers: int = 2

    def __post_init__(self):
        check_settings(self, layers=1)

    @classmethod
    def mini(cls):
        if cls is None:
            raise ValueError
        return cls(layers=1)


def attend(q, k):
    if q is None:
        raise ValueError(
            "none"
        )
    entries = self.check_memory(q)
    record(
        q,
        k,
    )
    weights = q @ k
    if q > k:
        weights = 0
        raise ValueError
    return weights  # a recorder would not do


def _check_all(q):
    return q


def unchecked(q):
    return q


if __name__ == "__main__":
    print("hello")
"""


def test_plumbing_is_told_from_the_paper() -> None:
    lines = {number: PLUMBING.splitlines()[number - 1].strip() for number in sorted(plumbing_lines(PLUMBING))}
    assert list(lines.values()) == [
        "import torch",
        '__all__ = ["Network"]',
        "def __post_init__(self):",
        "check_settings(self, layers=1)",
        "if q is None:",
        "raise ValueError(",
        '"none"',
        ")",
        "entries = self.check_memory(q)",
        "record(",
        "q,",
        "k,",
        ")",
        "raise ValueError",
        "def _check_all(q):",
        "return q",
        'if __name__ == "__main__":',
        'print("hello")',
    ]
    assert plumbing_share(PLUMBING) == 18 / 32 > MAX_PLUMBING


def test_an_if_with_an_else_is_plumbing_only_where_it_raises() -> None:
    assert plumbing_lines("if a:\n    raise b\nelse:\n    c = 1\n") == {1, 2}


def test_code_lines_are_those_that_compute() -> None:
    source = '''"""One
    two."""

# comment
x = """a

b"""  # the blank line is in the text
class A:
    "docstring"
    y = (
        1,  # one
        # nothing
    )
'''
    assert code_lines(source) == {5, 6, 7, 8, 10, 11, 13}


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def start_by_copying(self): ...\n# Our own initialisation\ndef f(): ...\n",
        "class A:\n    def start_by_copying_swin(self): ...\n",
        "def start_by_copying(network): ...\n",
        "# Our own initialisation\ndef f(): ...\nclass A: ...\n",
        "# ---- Our own initialisation ----\nfrom torch import nn\n",
        "# Our own initialisation\nNETWORK = make()\n",
    ],
)
def test_misplaced_initialisation_is_found(source: str) -> None:
    assert list(misplaced_initialisation(source))


@pytest.mark.parametrize(
    "source",
    [
        "class A: ...\n",
        "class A: ...\n# Our own initialisation\ndef start_by_copying(a): ...\nif __name__ == '__main__':\n    A()\n",
        "class A:\n    def __init__(self):\n        start_by_copying(self)\n# Our own initialisation\n"
        "def start_by_copying(a):\n    class B: ...\n",
    ],
)
def test_initialisation_at_the_end_is_in_its_place(source: str) -> None:
    assert not list(misplaced_initialisation(source))


@pytest.mark.parametrize(
    "statement",
    [
        "x = [a for a in [b for b in c]]",
        "x = [a if a else 1 for a in b]",
        "x = sorted(a, key=lambda b: b if b else 1)",
        "x = f(g(h(i(j if k else l))))",
        "x = [a for a in b if a and b or c]",
        "for a in [b if b else 1 for b in c]: ...",
        "with f(a for a in b), g(a for a in b): ...",
    ],
)
def test_a_statement_of_two_thoughts_is_found(statement: str) -> None:
    assert compound_statements(statement) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "x = [a for a in b for b in c]",
        "x = f(g(h(i(j))))",
        "x = a.f().g().h().i() if a else b",
        "x = a and b or c",
        "x = [a for a in b if a and b and c]",
        "for a in (b for b in c):\n    d = 1 if a else 2",
        "def f():\n    return [a for a in b]\n",
    ],
)
def test_a_statement_of_one_thought_is_free(statement: str) -> None:
    assert not compound_statements(statement)


def test_the_lines_to_read_are_papers_nn_and_tracker(tmp_path: Path) -> None:
    for name in ("aot", "sst", "sitvos", "hst", "tracker", "models", "nn/attention", "nn/sparse", "video/clip"):
        path = tmp_path / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a = 1\n\nclass A(VOSNetwork): ...\n" if name in PAPERS else "a = 1\n\nb = 2\n")
    assert count_lines(files_to_read(tmp_path)) == 3 * 7


IMPORTS = """
from __future__ import annotations
from dataclasses import dataclass
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from minivos.nn.attention import attend
from minivos.nn.checks import check_frame, check_masks, check_memory
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork
from minivos.nn.recording import at_frame
"""


def test_the_network_that_contributing_shows_runs() -> None:
    from minivos import record_attention, track

    (example,) = re.findall(r"^   ```python\n(.*?)^   ```", (ROOT / "CONTRIBUTING.md").read_text("utf8"), re.S | re.M)
    names: dict = {}
    exec(IMPORTS + textwrap.dedent(example), names)
    config = make_dataclass("XYZConfig", [("width", int, 32), ("short_side", int, 64)])()
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 80, 3), dtype=np.uint8)
    mask = np.repeat(np.arange(80, dtype=np.uint8)[None] // 32, 64, axis=0)  # objects 1 and 2 beside background
    with record_attention() as maps:
        given = {0: mask * (mask == 1), 1: mask}  # object 2 comes later
        labels = np.stack(list(track(names["XYZ"](config), frames, given)))
    assert labels.shape == (3, 64, 80) and set(np.unique(labels)) <= {0, 1, 2}
    assert [(m.query_frame, m.key_frames) for m in maps] == [(1, (0,)), (2, (0, 1))]
