"""Run notebooks beside a device that stands in for a GPU; what stays on the CPU, or mixes the two, is said and fails.

    python tests/run_elsewhere.py notebooks/01*.ipynb

It asks where a notebook computes, not what: asserts are left out, a training takes one step, a tracker works on two
frames and then repeats its answer, unless somebody records. So a notebook takes minutes, not an hour.
"""

import ast
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import nbformat
import numpy as np
import torch

import other_device

DEVICE = other_device.install()
import minivos.models  # noqa: E402


def pick_other_device(name: str | torch.device = "auto") -> torch.device:
    """What `pick_device` would say beside a GPU."""
    return DEVICE if name == "auto" else torch.device(name)


minivos.models.pick_device = pick_other_device  # before other modules take it from there
from minivos.evaluation import shootout  # noqa: E402
from minivos.nn import recording  # noqa: E402
from minivos.tracker import Tracker  # noqa: E402
from minivos.training import loop  # noqa: E402
from notebook_rules import cell_code, code_cells  # noqa: E402

FRAMES = 2  # that a tracker works on
found: list[str] = []  # networks that worked on the CPU, cell by cell


def note(network: torch.nn.Module, what: str) -> None:
    """Write down a network that is still on the CPU."""
    if next(network.parameters()).device.type == "cpu":
        found.append(f"{type(network).__name__} {what} on the CPU")


def shorten_tracking() -> None:
    """Let trackers say where they are, and work on few frames."""
    begin, step = Tracker.__init__, Tracker.step

    def begin_and_note(self: Tracker, model: Any, *args: Any, **settings: Any) -> None:
        note(model, "tracks")
        begin(self, model, *args, **settings)
        self.answers = []

    def step_or_repeat(self: Tracker, frame: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        if mask is None and len(self.answers) >= FRAMES and recording._recording.get() is None:
            self.time += 1
            return self.answers[-1]
        self.answers.append(step(self, frame, mask))
        return self.answers[-1]

    Tracker.__init__, Tracker.step = begin_and_note, step_or_repeat


def shorten_training() -> None:
    """Let trainings say where they are, and take one step."""
    train = loop.train

    def one_step(network: Any, recipe: Any, *args: Any, **settings: Any) -> list[dict[str, float]]:
        log = train(network, replace(recipe, steps=1, minutes=0, batch=2, pool=min(recipe.pool, 2)), *args, **settings)
        note(network, "trains")
        return log * recipe.steps

    loop.train = one_step


class Here:
    """A pool of processes that works in this one."""

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: Any) -> None: ...
    def submit(self, function: Callable, *given: Any) -> SimpleNamespace:
        answer = function(*given)
        return SimpleNamespace(result=lambda: answer)


class WithoutAsserts(ast.NodeTransformer):
    """Leaves asserts out."""

    def visit_Assert(self, node: ast.Assert) -> ast.Pass:
        return ast.copy_location(ast.Pass(), node)


def complaints(path: Path) -> Iterator[str]:
    """What goes wrong in a notebook, cell by cell."""
    names = {"__name__": "__main__", "display": lambda *_: None}
    for number, cell in enumerate(code_cells(nbformat.read(path, as_version=4)), start=1):
        found.clear()
        began = time.perf_counter()
        try:
            exec(compile(WithoutAsserts().visit(ast.parse(cell_code(cell))), f"cell {number}", "exec"), names)
        except Exception as error:
            lines = [
                line.lineno for line in traceback.extract_tb(error.__traceback__) if line.filename.startswith("cell")
            ]
            yield f"cell {number}, line {lines[-1] if lines else '?'}: {type(error).__name__}: {error}"
        yield from (f"cell {number}: {what}" for what in dict.fromkeys(found))
        print(f"{path.stem} cell {number}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def main(paths: list[str]) -> int:
    """Run each notebook; the number of complaints."""
    matplotlib.use("Agg")
    matplotlib.rcParams["figure.max_open_warning"] = 0
    shorten_tracking()
    shorten_training()
    shootout.ProcessPoolExecutor = Here
    count = 0
    for path in paths:
        for complaint in complaints(Path(path)):
            count += 1
            print(f"{path}: {complaint}", file=sys.stderr, flush=True)
    return count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
