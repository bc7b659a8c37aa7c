"""All exercises of the course, in the order of the notebooks."""

from importlib import import_module
from pathlib import Path

from minivos.course.exercise import Exercise


def all_exercises() -> list[Exercise]:
    """Every `check_...` of the modules notebook00.py to notebook08.py."""
    files = sorted(Path(__file__).parent.glob("notebook*.py"))
    modules = [import_module(f"minivos.course.{file.stem}") for file in files]
    values = [value for module in modules for value in vars(module).values()]
    return [value for value in values if isinstance(value, Exercise)]
