"""What people type: `minivos segment`, `train`, `eval`, `demo`, `shootout`, `models`, `doctor`."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import av
import psutil
import torch
import typer
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation import shootout
from minivos.evaluation.evaluate import evaluate_folders, score_samples
from minivos.evaluation.report import build_cards, write_report
from minivos.evaluation.tables import Table, write_csv
from minivos.models import (
    PRESETS,
    SHIPPED,
    create_model,
    has_weights,
    list_models,
    pick_device,
    read_facts,
    save_weights,
)
from minivos.nn.network import VOSNetwork
from minivos.nn.summary import count_parameters
from minivos.official import load_official
from minivos.tracker import Tracker
from minivos.training.loop import fit_side, train
from minivos.training.recipe import RECIPES, Recipe, find_recipe
from minivos.training.samples import clips_for
from minivos.video.clip import shrink_labels
from minivos.video.datasets import DavisDataset, samples_root
from minivos.video.files import prepare_output, whole_file, whole_folder
from minivos.video.frames import OverlayWriter, open_frames
from minivos.video.mask_files import (
    check_mask,
    describe_mask,
    read_binary_masks,
    read_mask,
    write_mask,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def plain_errors(command: Callable) -> Callable:
    """Print bad input as one line and exit with status 2 instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except InputError as error:
            print(f"minivos: {error}", file=sys.stderr)
            raise typer.Exit(2) from error

    return run


Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]
Model = Annotated[str, typer.Option(help="model name, see `minivos models`")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="model name, repeatable; all that come with weights if not given"),
]
Weights = Annotated[
    str, typer.Option(help="'shipped' (with the package) or a .safetensors / .pt file")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="write into a folder that holds results already")
]
STAGES = ", ".join(name for name in RECIPES if name != "small")
FIELDS = ", ".join(
    field.name
    for field in dataclasses.fields(Recipe)
    if field.name not in ("steps", "minutes", "seed")
)
FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm")


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="say more")] = False,
) -> None:
    """Video object segmentation: the masks of the first frame in, the masks of every frame out."""
    ours = logging.StreamHandler()
    ours.addFilter(logging.Filter("minivos"))  # other packages print their own
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="minivos: %(message)s", handlers=[ours])


@app.command()
@plain_errors
def segment(
    video: Annotated[Path, typer.Argument(help="a video file or a folder of JPEG or PNG frames")],
    mask: Annotated[
        Path,
        typer.Option(help="mask of the first frame: a PNG, or a folder with one PNG per object"),
    ],
    model: Model = "aot_mini",
    out: Annotated[Path, typer.Option(help="folder for masks, overlay.mp4")] = Path("out/segment"),
    weights: Weights = "shipped",
    released: Annotated[
        Path | None,
        typer.Option(help="checkpoint as the network's authors released it, instead of --weights"),
    ] = None,
    max_side: Annotated[
        int, typer.Option(help="shrink frames whose long side is longer, in pixels")
    ] = 480,
    side: Annotated[
        int, typer.Option(help="short side in pixels at which the network works; 0: its own")
    ] = 0,
    stride: Annotated[int, typer.Option(help="take every n-th frame")] = 1,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Follow the objects of the first frame's mask through a video."""
    if out.suffix.lower() in FILMS:
        raise InputError(
            f"--out {out} looks like a film; give a folder, which gets masks/ and overlay.mp4."
        )
    source = open_frames(video, max_side=max_side, stride=stride)
    read = read_binary_masks if mask.is_dir() else read_mask
    first_mask = read(mask, report=print)
    check_mask(first_mask, source.full_size, str(mask))
    first_mask = shrink_labels(first_mask, source.size)
    network = create_model(model, None if released else weights)
    if released:
        load_official(network, released)
    tracker = Tracker(network.to(pick_device(device)), side=side or None)
    print(f"{video}: {source.size[1]}x{source.size[0]} pixels, {describe_mask(first_mask)}")
    height, width = network.sizing(source.size, tracker.side)
    print(f"{model} on {tracker.device}, working at {width}x{height} pixels")

    out = prepare_output(out, overwrite)
    masks_folder, overlay_file = out / "masks", out / "overlay.mp4"
    frames, seconds = 0, 0.0
    with (
        whole_folder(masks_folder) as part,
        OverlayWriter(overlay_file, source.size, source.fps) as overlay,
    ):
        named = zip(source, source.names, strict=False)
        for frame, name in tqdm(named, total=source.count, unit="frame", disable=None):
            began = time.perf_counter()
            labels = tracker.step(frame, first_mask if frames == 0 else None)
            seconds += time.perf_counter() - began
            frames += 1
            write_mask(part / f"{name}.png", labels)
            overlay.write(frame, labels)
    print(f"{frames} frames at {frames / seconds:.1f} frames per second (network alone)")
    print(f"{masks_folder}: {frames} palette PNGs, value = object id, 0 = background")
    print(f"{overlay_file}: the frames with the objects drawn over them")


@app.command("train")
@plain_errors
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
    prepare_output(out, overwrite=True)
    history = train(network, recipe, out, where, make_clip, workers=workers)
    if int(os.environ.get("RANK", 0)) == 0:
        keep(out / model, network, facts, history)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def join_processes(device: torch.device) -> None:
    """Under torchrun, join the processes that train together, each with a GPU of its own."""
    if "RANK" not in os.environ:
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def keep(
    path: Path, network: VOSNetwork, facts: dict[str, Any], history: list[dict[str, float]]
) -> None:
    """Write trained weights as `path`.safetensors, and `facts`, log and scores as `path`.json."""
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
    about = Path(start).with_suffix(".json")
    facts: dict[str, Any] = {}
    try:
        if start in SHIPPED:
            start, facts = SHIPPED[0], read_facts(model)
        elif about.is_file():
            facts = json.loads(about.read_text())
    except ValueError as error:
        raise InputError(
            f"{about} should say how {start} was trained, and is no JSON ({error}): remove it."
        ) from error
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


@app.command("eval")
@plain_errors
def eval_command(
    gt: Annotated[Path, typer.Argument(help="true masks: a folder of PNGs, or of such folders")],
    pred: Annotated[Path, typer.Argument(help="predicted masks, laid out alike")],
    csv: Annotated[
        Path | None, typer.Option(help="where to write the table; PRED/scores.csv if not given")
    ] = None,
) -> None:
    """Score masks as DAVIS does: J, F, J&F, with recall and decay, per object and overall."""
    evaluation = evaluate_folders(gt, pred)
    print(evaluation.table().text())
    evaluation.write_csv(csv := csv or pred / "scores.csv")
    print(f"written to {csv}")


@app.command()
@plain_errors
def demo(
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("out/report.html"),
    model: Models = None,
    weights: Weights = "shipped",
    device: Device = "auto",
) -> None:
    """Segment the sample clips with the shipped weights and write a page to look at."""
    began, where = time.perf_counter(), pick_device(device)
    out = out / "report.html" if out.is_dir() else out
    names = dict.fromkeys(model or filter(has_weights, list_models()))
    networks = {name: create_model(name, weights).to(where) for name in names}
    prepare_output(out.parent, overwrite=True)
    cards = build_cards(networks, DavisDataset(samples_root(), split="scenarios"))
    facts = {}
    for name, network in networks.items():
        height, width = network.sizing(cards[0].truth.shape[1:])
        facts[name] = f"{describe(name, network, weights)}; works at {width}x{height} pixels"
    write_report(out, cards, facts)
    scores = {card.name: list(card.scores.values()) for card in cards}
    speeds = {card.name: list(card.fps.values()) for card in cards}
    print(Table("J&F", list(cards[0].scores), scores).text(), end="\n\n")
    print(Table("frames per second", list(names), speeds, decimals=1).text(), end="\n\n")
    for name, said in facts.items():
        print(f"{name}: {said}")
    print(f"{time.perf_counter() - began:.0f} seconds in all")
    print(f"Open this page in a browser: {out.resolve()}")


@app.command("shootout")
@plain_errors
def shootout_command(
    out: Annotated[Path, typer.Option(help="folder for shootout.csv, shootout.html")] = Path(
        "out/shootout"
    ),
    model: Models = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="two settings of each kind instead of three")
    ] = False,
) -> None:
    """Compare the small networks on the same clips: accuracy, cost, and where they look."""
    names = model or [name for name in list_models() if has_weights(name)]
    shootout.check_names(names)
    prepare_output(out, overwrite=True)
    networks = {name: create_model(name, "shipped") for name in names}
    most = 2 if quick else 3
    settings = (shootout.SIDES[:most], shootout.OBJECTS[:most], shootout.LENGTHS[:most])
    tables = [
        *shootout.accuracy_tables(names),
        *shootout.cost_tables(names, *settings),
        shootout.attention_table(networks, "plain"),
        shootout.attention_table(networks, "crossing_lookalikes"),
    ]
    print("\n\n".join(table.text() for table in tables))
    write_csv(numbers := out / "shootout.csv", tables)
    facts = {name: describe(name, network, "shipped") for name, network in networks.items()}
    shootout.write_shootout(page := out / "shootout.html", tables, facts)
    print(f"\n{numbers}: every number\nOpen this page in a browser: {page.resolve()}")


def describe(name: str, network: torch.nn.Module, weights: str) -> str:
    """Size of a network and where its weights come from."""
    origin = f"weights {weights}"
    if weights in SHIPPED:
        minutes = training_minutes(read_facts(name))
        origin = f"trained for {minutes:.0f} minutes on synthetic clips, none of them shown"
    return f"{count_parameters(network):,} parameters, {origin}"


def training_minutes(facts: dict[str, Any]) -> float:
    """Minutes of a training and of those whose weights it started from."""
    return facts.get("minutes", 0) + (training_minutes(facts["start"]) if "start" in facts else 0)


@app.command()
@plain_errors
def models() -> None:
    """List the networks, their sizes, and what their shipped weights score."""
    for name in list_models():
        preset = PRESETS[name]
        published = f"published {preset.published} M" if preset.published else ""
        with torch.device("meta"):  # sizes without numbers
            millions = count_parameters(create_model(name)) / 1e6
        print(f"{name:12} {millions:6.2f} M parameters  {published:17}  {preset.summary}")
        if has_weights(name):
            score = read_facts(name)["scores"]["val"]["J&F"]
            split = "the validation split of data_samples"
            print(f"{'':12} shipped weights: J&F {score:.3f} on {split}")


@app.command()
@plain_errors
def doctor() -> None:
    """Say what this machine has: versions, device, memory, video support."""
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("minivos", "torch", "torchvision", "timm", "numpy", "av", "jupyterlab"):
        print(f"{package:12} {version(package)}")
    print(f"{'device':12} {pick_device()} ({torch.get_num_threads()} CPU threads)")
    if torch.cuda.is_available():
        print(f"{'GPU':12} {torch.cuda.get_device_name()}, {_free(*torch.cuda.mem_get_info())}")
    memory = psutil.virtual_memory()
    print(f"{'memory':12} {_free(memory.available, memory.total)}")
    codecs = {"read": "h264", "write": "libx264"}
    can = [verb for verb, codec in codecs.items() if codec in av.codecs_available]
    print(f"{'H.264 video':12} can {' and '.join(can) or 'neither read nor write'}")


def _free(free: int, total: int) -> str:
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


if __name__ == "__main__":
    app()
