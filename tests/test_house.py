"""Every module keeps the rules of the house, and every rule catches a module that breaks it."""

import ast
from pathlib import Path

import pytest

from house_rules import MAX_LINES, PACKAGE, dotted_name, forbidden_imports, unannotated, undocumented

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf8"))


@each_module
def test_module_imports_only_from_lower_floors(path: Path) -> None:
    module = dotted_name(path, ROOT)
    if module != PACKAGE:
        assert not list(forbidden_imports(tree(path), module, is_folder=path.name == "__init__.py"))


@each_module
def test_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf8").splitlines()) < MAX_LINES


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
        ("minivos.nn.network", "from minivos.video.masks import one_hot"),
        ("minivos.nn.network", "from ..video import masks"),
        ("minivos.video.clip", "def f():\n    from minivos.tracker import Tracker"),
        ("minivos.video.clip", "from minivos.synthetic.clips import render"),
        ("minivos.aot", "from minivos.video.masks import one_hot"),
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
