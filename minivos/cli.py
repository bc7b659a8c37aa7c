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
from minivos.models import PRESETS, create_model, has_weights, list_models, read_facts, save_weights
from minivos.nn.summary import count_parameters
from minivos.official import load_official
from minivos.tracker import Tracker, pick_device
from minivos.training.loop import fit_side, train
from minivos.training.recipe import Recipe
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
Weights = Annotated[
    str, typer.Option(help="'mini' (shipped with the package) or a .safetensors / .pt file")
]
RECIPES = {
    "small": Recipe, "stills": Recipe.aot_stills, "video": Recipe.aot_video,
    "sitvos_stills": Recipe.sitvos_stills, "sitvos_video": Recipe.sitvos_video,
    "hst_stills": Recipe.hst_stills, "hst_video": Recipe.hst_video,
}  # fmt: skip
FIELDS = [
    field.name
    for field in dataclasses.fields(Recipe)
    if field.name not in ("steps", "minutes", "seed")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="write into a folder that holds results already")
]


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="say more")] = False,
) -> None:
    """Video object segmentation with transformers: the masks of the first frame in, the masks of
    every frame out.
    """
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
    out: Annotated[Path, typer.Option(help="folder for masks and overlay.mp4")] = Path(
        "out/segment"
    ),
    weights: Weights = "mini",
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
    if out.suffix.lower() in (".mp4", ".mov", ".avi", ".mkv", ".webm"):
        raise InputError(
            f"--out {out} looks like a film; give a folder, which gets masks/ and overlay.mp4."
        )
    source = open_frames(video, max_side=max_side, stride=stride)
    first_mask = (
        read_binary_masks(mask, report=print) if mask.is_dir() else read_mask(mask, report=print)
    )
    check_mask(first_mask, source.full_size, str(mask))
    first_mask = shrink_labels(first_mask, source.size)
    network = (
        load_official(create_model(model), released) if released else create_model(model, weights)
    )
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
            help="folder for weights, log and checkpoint, from which it goes on; runs/MODEL[-RECIPE]"
        ),
    ] = None,
    recipe_name: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="small (for a laptop), or a stage of a paper: " + ", ".join([*RECIPES][1:]),
        ),
    ] = "small",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="folder of DAVIS, YouTube-VOS, or (stills) of JPEGImages/ and Annotations/; repeatable"
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="weights to begin with: 'mini', 'imagenet' or a file")
    ] = None,
    minutes: Annotated[float, typer.Option(help="train this long; 0: for --steps")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="optimiser steps; the recipe's own if not given")
    ] = None,
    seed: Annotated[int, typer.Option(help="of weights and clips")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"field=value of the recipe, repeatable: {', '.join(FIELDS)}"),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="folder of photographs to use as textures")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="processes that prepare stills or video ahead of time")
    ] = 0,
    device: Device = "auto",
) -> None:
    """Train a network, by default a small one on synthetic clips; score it on the validation
    split of data_samples.
    """
    if recipe_name not in RECIPES:
        raise InputError(
            f"There is no recipe {recipe_name!r}. Known recipes: {', '.join(RECIPES)}."
        )
    recipe = RECIPES[recipe_name]()
    recipe = dataclasses.replace(
        recipe, minutes=minutes, steps=recipe.steps if steps is None else steps, seed=seed
    )
    recipe = change(recipe, settings or [])
    where, main_process = pick_device(device), int(os.environ.get("RANK", 0)) == 0
    if "RANK" in os.environ:
        torch.distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
        if where.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(recipe.seed)
    network = create_model(model, start)
    recipe = fit_side(network, recipe)
    out = out or Path("runs") / (model if recipe_name == "small" else f"{model}-{recipe_name}")
    make_clip = clips_for(recipe, data or (), photos)
    if not sys.stderr.isatty():  # lines in a file instead of a bar on the screen
        logging.getLogger("minivos").setLevel(logging.INFO)
    began_with = {"start": origin(model, start)} if start else {}
    samples_root()  # which may be missing: before the work, not after it
    prepare_output(out, overwrite=True)
    history = train(network, recipe, out, where, make_clip, workers=workers)
    if main_process:
        save_weights(network, out / f"{model}.safetensors")
        facts = {
            "model": model,
            "recipe": dataclasses.asdict(recipe),
            "steps": len(history),
            "device": str(where),
        }
        facts |= began_with
        facts["minutes"] = round(sum(row["seconds"] for row in history) / 60, 1)
        facts["share of time spent on data"] = round(
            sum(row["data_seconds"] for row in history) / sum(row["seconds"] for row in history), 3
        )
        print(f"{len(history)} steps done; scoring on data_samples, which takes a minute on a CPU")
        facts["scores"] = score_samples(network)
        facts["log"] = every_so_often(history)
        with whole_file(out / f"{model}.json") as part:
            part.write_text(json.dumps(facts, indent=1) + "\n")
        print(
            f"{out / model}.safetensors and .json: J&F {facts['scores']['val']['J&F']:.3f} on the validation split"
        )
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def origin(model: str, start: str) -> dict:
    """The weights that a training began with, and how they were trained where a JSON beside them
    says so.
    """
    about = Path(start).with_suffix(".json")
    try:
        facts = (
            read_facts(model)
            if start == "mini"
            else json.loads(about.read_text())
            if about.is_file()
            else {}
        )
    except ValueError as error:
        raise InputError(
            f"{about} should say how {start} was trained, and is no JSON ({error}): remove it."
        ) from error
    return {"weights": start} | {name: fact for name, fact in facts.items() if name != "log"}


def change(recipe: Recipe, settings: list[str]) -> Recipe:
    """The recipe with `field=value` settings applied; InputError for an unknown field or a value
    of another kind.
    """
    kinds = {field.name: type(getattr(recipe, field.name)) for field in dataclasses.fields(recipe)}
    changes = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise InputError(f"The recipe has no field {name!r}. Known fields: {', '.join(kinds)}.")
        try:
            changes[name] = kinds[name](value)
        except ValueError as error:
            kind = "a whole number" if kinds[name] is int else "a number"
            raise InputError(f"--set {setting} came; give {kind}: --set {name}=...") from error
    return dataclasses.replace(recipe, **changes)


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
    print(evaluation.table())
    evaluation.write_csv(csv := csv or pred / "scores.csv")
    print(f"written to {csv}")


@app.command()
@plain_errors
def demo(
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("out/report.html"),
    model: Annotated[
        list[str] | None,
        typer.Option(help="model name, repeatable; all that come with weights if not given"),
    ] = None,
    weights: Weights = "mini",
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
    out: Annotated[Path, typer.Option(help="folder for shootout.csv and shootout.html")] = Path(
        "out/shootout"
    ),
    model: Annotated[
        list[str] | None,
        typer.Option(help="model name, repeatable; all that come with weights if not given"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="two settings of each kind instead of three")
    ] = False,
) -> None:
    """Compare the small networks on the same clips: accuracy, speed, memory, growth and
    attention.
    """
    names = model or [name for name in list_models() if has_weights(name)]
    shootout.check_names(names)
    prepare_output(out, overwrite=True)
    networks = {name: create_model(name, "mini") for name in names}
    most = 2 if quick else 3
    tables = [
        *shootout.accuracy_tables(names),
        *shootout.cost_tables(
            names, shootout.SIDES[:most], shootout.OBJECTS[:most], shootout.LENGTHS[:most]
        ),
        *(
            shootout.attention_table(networks, scenario)
            for scenario in ("plain", "crossing_lookalikes")
        ),
    ]
    print("\n\n".join(table.text() for table in tables))
    write_csv(out / "shootout.csv", tables)
    facts = {name: describe(name, network, "mini") for name, network in networks.items()}
    shootout.write_page(out / "shootout.html", tables, facts)
    print(
        f"\n{out / 'shootout.csv'}: every number\nOpen this page in a browser: {(out / 'shootout.html').resolve()}"
    )


def describe(name: str, network: torch.nn.Module, weights: str) -> str:
    """Size of a network and where its weights come from."""
    origin = f"weights {weights}"
    if weights == "mini":
        origin = f"trained for {training_minutes(read_facts(name)):.0f} minutes on synthetic clips, none of them shown"
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
            scores = read_facts(name)["scores"]["val"]
            print(
                f"{'':12} shipped weights: J&F {scores['J&F']:.3f} on the validation split of data_samples"
            )


@app.command()
@plain_errors
def doctor() -> None:
    """Say what this machine has: versions, device, memory, video support."""
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("minivos", "torch", "torchvision", "timm", "numpy", "av", "jupyterlab"):
        print(f"{package:12} {version(package)}")
    print(f"{'device':12} {pick_device()} ({torch.get_num_threads()} CPU threads)")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        print(
            f"{'GPU':12} {torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    memory = psutil.virtual_memory()
    print(f"{'memory':12} {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free")
    can = [
        verb
        for verb, codec in (("read", "h264"), ("write", "libx264"))
        if codec in av.codecs_available
    ]
    print(f"{'H.264 video':12} can {' and '.join(can) or 'neither read nor write'}")


if __name__ == "__main__":
    app()
