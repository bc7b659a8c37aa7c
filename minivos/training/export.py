"""Trained weights as people take them: a safetensors file, and a JSON that says what it is."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from minivos.models import SHIPPED, facts_of, save_weights
from minivos.nn.network import VOSNetwork
from minivos.training.checkpoints import History
from minivos.training.recipe import Recipe
from minivos.training.terms import IMAGENET, last_name
from minivos.video.files import read_json, whole_file

Facts = dict[str, Any]


def export_run(
    path: Path, network: VOSNetwork, facts: Facts, history: History, half: bool = False
) -> None:
    """Write weights as `path`.safetensors, and `facts` and the log as `path`.json.

    `half`: as in `save_weights`. Each is written whole or not at all; InputError where that cannot
    be.
    """
    seconds, data = (sum(row[name] for row in history) for name in ("seconds", "data_seconds"))
    facts = facts | {
        "steps": len(history),
        "minutes": round(seconds / 60, 1),
        "share of time spent on data": round(data / seconds, 3),
        "log": every_so_often(history),
    }
    save_weights(network, f"{path}.safetensors", half)
    write_facts(path, facts)


def write_facts(path: Path, facts: Facts) -> None:
    """Write `path`.json, whole or not at all."""
    with whole_file(f"{path}.json") as part:
        part.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")


def add_scores(path: Path, scores: Facts) -> None:
    """Add scores to the `path`.json that `export_run` wrote."""
    facts = read_json(f"{path}.json", "what `minivos train` wrote")
    log = facts.pop("log")
    write_facts(path, facts | {"scores": scores, "log": log})


def settings_of(recipe: Recipe) -> Facts:
    """The fields of a recipe as JSON has them: it knows no infinity."""
    fields = asdict(recipe).items()
    return {name: "inf" if value == math.inf else value for name, value in fields}


def origin(model: str, start: str) -> Facts:
    """The weights that a training began with, and what a JSON beside them says of theirs.

    A path that is absolute is cut down to its name. Raises InputError for a JSON that is damaged.
    """
    facts: Facts = IMAGENET if start == "imagenet" else facts_of(model, start)
    start = SHIPPED[0] if start in SHIPPED else start
    name = last_name(start) if Path(start).is_absolute() else start
    return {"weights": name} | {name: fact for name, fact in facts.items() if name != "log"}


def unfinished(path: Path) -> list[Facts]:
    """What `path`.json says of a training that goes on from its checkpoint, if there is one."""
    begun = path.with_name("checkpoint.pt").exists() and Path(f"{path}.json").exists()
    return [read_json(f"{path}.json", "what `minivos train` wrote")] if begun else []


def every_so_often(history: History, rows: int = 50) -> History:
    """The log in at most `rows` rows: loss and J averaged over equal stretches of steps."""
    length = -(-len(history) // rows)
    stretches = [history[i : i + length] for i in range(0, len(history), length)]
    return [
        {"step": part[-1]["step"]}
        | {key: round(fmean(row[key] for row in part), 4) for key in ("loss", "J")}
        for part in stretches
    ]
