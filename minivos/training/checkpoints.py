"""A training on disk: checkpoints that are whole or not there, and stops that lose no step."""

from __future__ import annotations

import csv
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.training.recipe import Recipe
from minivos.video.files import whole_file

log = logging.getLogger(__name__)
History = list[dict[str, float]]  # a row per step
COLUMNS = ("step", "loss", "J", "learning_rate", "seconds", "data_seconds")
MAY_GROW = ("steps", "minutes")  # fields of a recipe, when a training goes on


class Checkpoints:
    """`checkpoint.pt` and `log.csv` in the folder `out`, each written whole or not at all.

    Without a folder nothing is read or written.

    Args:
        out: the folder, made if missing.
        recipe: of the training; one that goes on has the same, with as many minutes and steps or
            more.
        state: what has a state dict, by its name in the checkpoint.
        seconds: from one checkpoint to the next.
        export: is called with the averaged network and the log after each.
    """

    def __init__(
        self,
        out: Path | None,
        recipe: Recipe,
        state: dict[str, Any],
        seconds: float,
        export: Callable[[VOSNetwork, History], None] | None = None,
    ) -> None:
        self.out, self.recipe, self.state = out, recipe, state
        self.seconds, self.export = seconds, export
        self.saved_at = time.monotonic()

    def load(self) -> History:
        """Put the saved state back and return the log; an empty log where nothing was saved.

        Raises InputError for a checkpoint that is damaged, or of another recipe or network.
        """
        if not self.out or not (path := self.out / "checkpoint.pt").exists():
            return []
        saved = read_checkpoint(path, [*self.state, "recipe", "history"])
        check_recipe(path, saved["recipe"], self.recipe)
        try:
            for name, thing in self.state.items():
                thing.load_state_dict(saved[name])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path} is of another network ({error}): use another output folder."
            ) from error
        log.info("going on from step %d of %s", len(saved["history"]), path)
        return saved["history"]

    def save_in_time(self, history: History) -> None:
        """Save, if enough seconds have passed."""
        if time.monotonic() - self.saved_at >= self.seconds:
            self.save(history)

    def save(self, history: History) -> None:
        """Write the state and its log, of one step or more; InputError where that cannot be."""
        if not self.out or not history:
            return
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {self.out} ({error}): choose another") from error
        saved = {name: thing.state_dict() for name, thing in self.state.items()}
        saved |= {"recipe": asdict(self.recipe), "history": history}
        with whole_file(self.out / "checkpoint.pt") as part, part.open("wb") as content:
            torch.save(saved, content)
        with whole_file(self.out / "log.csv") as part, part.open("w", newline="") as table:
            writer = csv.DictWriter(table, fieldnames=COLUMNS)
            writer.writeheader()
            writer.writerows(history)
        if self.export:
            self.export(self.state["averaged"].module, history)
        self.saved_at = time.monotonic()


def read_checkpoint(path: Path, parts: list[str]) -> dict[str, Any]:
    """What a checkpoint holds; InputError unless it has these parts and a log."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails in many ways
        raise InputError(f"{path} is damaged ({error}): remove it to start anew.") from error
    lacking = (
        parts if not isinstance(saved, dict) else [part for part in parts if part not in saved]
    )
    if lacking:
        raise InputError(
            f"{path} holds a {type(saved).__name__} without {', '.join(lacking)}; "
            "expected the checkpoint of a training: remove it to start anew."
        )
    if not isinstance(saved["recipe"], dict) or not is_log(saved["history"]):
        raise InputError(
            f"{path} has a damaged recipe or log; expected those of a training: "
            "remove it to start anew."
        )
    return saved


def is_log(history: Any) -> bool:
    """Whether it is a row of numbers per step, with all the columns."""
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        return False
    kinds = (int, float)
    return all(isinstance(row.get(name), kinds) for row in history for name in COLUMNS)


def check_recipe(path: Path, saved: dict[str, Any], recipe: Recipe) -> None:
    """InputError unless the checkpoint was made with this recipe; it may have grown longer."""
    younger = {"motion": "paper" if saved.get("footage") == "stills" else recipe.motion}
    old, new = asdict(Recipe()) | younger | saved, asdict(recipe)  # other fields had the default
    if isinstance(old["footage"], str):  # it used to be the name of one kind
        old["footage"] = {old["footage"]: 1.0}
    differs = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    grown = [name for name in differs if name in MAY_GROW and 0 < old[name] < new[name]]
    changes = {name: f"{name}={old.get(name)} (now {new.get(name)})" for name in differs}
    if refused := [changes[name] for name in differs if name not in grown]:
        raise InputError(
            f"{path} was made with other settings of its recipe: {', '.join(refused)}. "
            "Repeat them, or start a new run from its weights in another output folder."
        )
    if grown:
        said = ", ".join(changes[name] for name in grown)
        log.warning("the training grows, and its schedules stretch: %s", said)


class StopAfterStep:
    """While it is entered, Ctrl-C and SIGTERM let the step end first; a second one ends at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, device: torch.device) -> None:
        self.device, self.number, self.process = device, 0, os.getpid()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopAfterStep:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self.before = {number: signal.signal(number, self.note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self.process:  # one that prepares clips: it ends with the training
            return
        if self.number:
            self.number = number
            self.obey()
        self.number = number
        log.warning("stopping after this step; once more to stop at once")

    def asked(self) -> bool:
        """Whether this process, or one that trains with it, shall stop."""
        if dist.is_initialized():
            number = torch.tensor(self.number, device=self.device)
            dist.all_reduce(number, dist.ReduceOp.MAX)
            self.number = int(number)
        return self.number > 0

    def obey(self) -> None:
        """End as the signal would have, if there was one."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number:
            raise SystemExit(128 + self.number)
