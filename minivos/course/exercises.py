"""All exercises of the course, in the order of the notebooks."""

from importlib import import_module
from pathlib import Path

from minivos.course.exercise import Exercise


def all_exercises() -> list[Exercise]:
    """Every `check_...` of the modules notebook00.py to notebook08.py."""
    files = sorted(Path(__file__).parent.glob("notebook*.py"))
    modules = [import_module(f"minivos.course.{file.stem}") for file in files]
    named = [pair for module in modules for pair in vars(module).items()]
    checks = [value for name, value in named if name.startswith("check_")]
    return [check for check in checks if isinstance(check, Exercise)]
