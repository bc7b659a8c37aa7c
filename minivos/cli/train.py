"""`minivos train`: weights of one's own."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivos.cli.options import Device, Model
from minivos.training.recipe import RECIPES, Recipe, find_recipe

if TYPE_CHECKING:
    import torch

    from minivos.nn.network import VOSNetwork

STAGES = ", ".join(name for name in RECIPES if name != "small")
FIELDS = ", ".join(
    field.name
    for field in dataclasses.fields(Recipe)
    if field.name not in ("steps", "minutes", "seed")
)


def train_command(
    model: Model = "aot_mini",
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for weights, log and checkpoint, from which it goes on; "
            "runs/MODEL[-RECIPE]"
        ),
    ] = None,
    recipe_name: Annotated[
        str,
        typer.Option("--recipe", help=f"small (for a laptop), or a stage of a paper: {STAGES}"),
    ] = "small",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="folder of DAVIS, YouTube-VOS, or (stills) of JPEGImages/ and Annotations/; "
            "repeatable"
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="weights to begin with: 'shipped', 'imagenet' or a file")
    ] = None,
    minutes: Annotated[float, typer.Option(help="train this long; 0: for --steps")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="optimiser steps; the recipe's own if not given")
    ] = None,
    seed: Annotated[int, typer.Option(help="of weights and clips")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"field=value of the recipe, repeatable: {FIELDS}"),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="folder of photographs to use as textures")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="processes that prepare stills or video ahead of time")
    ] = 0,
    device: Device = "auto",
) -> None:
    """Train a network, by default a small one on synthetic clips, and score it on data_samples."""
    import torch

    from minivos.models import create_model, pick_device
    from minivos.training.loop import fit_side, train
    from minivos.training.samples import clips_for
    from minivos.video.datasets import samples_root
    from minivos.video.files import prepare_output

    recipe = find_recipe(recipe_name, settings or (), minutes=minutes, steps=steps, seed=seed)
    where = pick_device(device)
    join_processes(where)
    torch.manual_seed(recipe.seed)
    network = create_model(model, start)
    recipe = fit_side(network, recipe)
    out = out or Path("runs") / (model if recipe_name == "small" else f"{model}-{recipe_name}")
    make_clip = clips_for(recipe, data or (), photos)
    if not sys.stderr.isatty():  # lines in a file instead of a bar on the screen
        logging.getLogger("minivos").setLevel(logging.INFO)
    facts = {"model": model, "recipe": dataclasses.asdict(recipe), "device": str(where)}
    facts |= {"start": origin(model, start)} if start else {}
    samples_root()  # which may be missing: before the work, not after it
    prepare_output(out, overwrite=True, kind="train")
    history = train(network, recipe, out, where, make_clip, workers=workers)
    if int(os.environ.get("RANK", 0)) == 0:
        keep(out / model, network, facts, history)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def join_processes(device: torch.device) -> None:
    """Under torchrun, join the processes that train together, each with a GPU of its own."""
    import torch

    if "RANK" not in os.environ:
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def keep(
    path: Path, network: VOSNetwork, facts: dict[str, Any], history: list[dict[str, float]]
) -> None:
    """Write trained weights as `path`.safetensors, and `facts`, log and scores as `path`.json."""
    from minivos.evaluation.evaluate import score_samples
    from minivos.models import save_weights
    from minivos.video.files import whole_file

    save_weights(network, path.with_suffix(".safetensors"))
    seconds, data_seconds = (
        sum(row[name] for row in history) for name in ("seconds", "data_seconds")
    )
    print(f"{len(history)} steps done; scoring on data_samples, which takes a minute on a CPU")
    scores = score_samples(network)
    facts = facts | {
        "steps": len(history),
        "minutes": round(seconds / 60, 1),
        "share of time spent on data": round(data_seconds / seconds, 3),
        "scores": scores,
        "log": every_so_often(history),
    }
    with whole_file(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{path}.safetensors and .json: J&F {scores['val']['J&F']:.3f} on the validation split")


def origin(model: str, start: str) -> dict[str, Any]:
    """The weights that a training began with, and what a JSON beside them says of theirs."""
    from minivos.models import SHIPPED, read_facts
    from minivos.video.files import read_json

    about = Path(start).with_suffix(".json")
    facts: dict[str, Any] = {}
    if start in SHIPPED:
        start, facts = SHIPPED[0], read_facts(model)
    elif about.exists():
        facts = read_json(about, f"how {start} was trained")
    return {"weights": start} | {name: fact for name, fact in facts.items() if name != "log"}


def every_so_often(history: list[dict[str, float]], rows: int = 50) -> list[dict[str, float]]:
    """The log in at most `rows` rows: loss and J averaged over equal stretches of steps."""
    length = -(-len(history) // rows)
    stretches = [history[i : i + length] for i in range(0, len(history), length)]
    return [
        {"step": part[-1]["step"]}
        | {key: round(fmean(row[key] for row in part), 4) for key in ("loss", "J")}
        for part in stretches
    ]
