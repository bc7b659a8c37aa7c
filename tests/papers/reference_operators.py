"""Operators to compare with, kept outside of the project, where they are at hand."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[3] / "shared/golden/reference_ops.py"
needs_reference = pytest.mark.skipif(not FILE.exists(), reason="the reference operators are not here")


@cache
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_ops", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
