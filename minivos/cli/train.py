"""`minivos train`: weights of one's own."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivos.cli.options import Compile, Device, Model
from minivos.errors import InputError
from minivos.training.recipe import FOOTAGE, RECIPES, Recipe, find_recipe, read_shares

if TYPE_CHECKING:
    from minivos.nn.network import VOSNetwork

Scores = dict[str, dict[str, float]]
OURS = ("small", "mixed", "laptop", "gpu")
STAGES = ", ".join(name for name in RECIPES if name not in OURS)
FIELDS = ", ".join(
    field.name
    for field in dataclasses.fields(Recipe)
    if field.name not in ("steps", "minutes", "seed", "footage")
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
        typer.Option(
            "--recipe",
            help="small or mixed (for a laptop), laptop or gpu (for a few minutes), or a stage "
            f"of a paper: {STAGES}",
        ),
    ] = "small",
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="FOLDER, or KIND=FOLDER where there are several kinds; repeatable. "
            "video: DAVIS, or DAVIS:LIST for one of its lists, YouTube-VOS. stills: COCO, "
            "VOC 2012, ECSSD, MSRA10K, PASCAL-S, HKU-IS, JPEGImages/ and Annotations/. "
            "cutouts: pictures with alpha. photos: as --photos"
        ),
    ] = None,
    footage: Annotated[
        list[str] | None,
        typer.Option(help=f"KIND=SHARE of the samples, repeatable; kinds: {', '.join(FOOTAGE)}"),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="weights to begin with: 'shipped', 'imagenet' or a file")
    ] = None,
    borrow: Annotated[
        str | None,
        typer.Option(
            help="a small network with shipped weights, or a file: begin with those of its weights "
            "that have the same names and shapes"
        ),
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
        Path | None,
        typer.Option(help="folder of photographs, for textures and for cut-outs to lie on"),
    ] = None,
    terms: Annotated[
        str,
        typer.Option(
            help="what the licences of the footage leave of the weights: free or non-commercial "
            "(such as with DAVIS), noted in their JSON; what they start from may narrow it"
        ),
    ] = "",
    workers: Annotated[
        int, typer.Option(help="processes that prepare samples ahead of time, but for a pool")
    ] = 0,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto, which is bfloat16 on a GPU")
    ] = "auto",
    compiled: Compile = False,
    half: Annotated[
        bool, typer.Option("--half", help="write the weights in float16, in half the bytes")
    ] = False,
    accumulate: Annotated[
        int, typer.Option(help="parts in which a batch goes through the network, to fit in memory")
    ] = 1,
    val: Annotated[
        Path | None,
        typer.Option(help="root folder of a data set to score on instead of data_samples"),
    ] = None,
    val_dataset: Annotated[
        str, typer.Option(help="which one --val is, as --dataset of `minivos benchmark`; davis2017")
    ] = "",
    val_split: Annotated[
        str,
        typer.Option(help="split of --val with masks to score by; val. Of YouTube-VOS: train"),
    ] = "",
    val_videos: Annotated[
        Path | None,
        typer.Option(help="only these clips of it: a text file with a name on each line"),
    ] = None,
    no_score: Annotated[bool, typer.Option("--no-score", help="write weights and stop")] = False,
) -> None:
    """Train a network, by default a small one on synthetic clips, and score it on data_samples.

    Checkpoint and weights are written every minute, at the end, and on Ctrl-C. Repeat the command
    to go on, with more --minutes or --steps if you like.
    """
    import torch

    from minivos.models import PRESETS, borrow_weights, create_model, pick_device
    from minivos.training.checks import fit_side
    from minivos.training.export import export_run, origin, settings_of, unfinished
    from minivos.training.loop import train
    from minivos.training.processes import join_processes, rank_and_world
    from minivos.training.samples import clips_for
    from minivos.training.terms import terms_of
    from minivos.video.files import prepare_output

    recipe = find_recipe(
        recipe_name,
        settings or (),
        minutes=minutes,
        steps=steps,
        seed=seed,
        footage=read_shares(footage) if footage else None,
    )
    score = None
    if not no_score:  # what it needs may be missing: ask before the work
        score = find_scorer(val, val_dataset, val_split, val_videos)
    where = pick_device(device)
    join_processes(where)
    torch.manual_seed(recipe.seed)
    network = create_model(model, start)
    fresh = [] if start else [*network.state_dict()]
    if borrow:
        own, left = len(network.state_dict()), borrow_weights(network, borrow)
        print(f"{own - len(left)} of {own} tensors are those of {borrow}")
        fresh = [name for name in fresh if name in left]
    recipe = fit_side(network, recipe)
    out = out or Path("runs") / (model if recipe_name == "small" else f"{model}-{recipe_name}")
    folders, photos = read_folders(data or (), photos)
    make_clip = clips_for(recipe, folders, photos)
    if not sys.stderr.isatty():  # lines in a file instead of a bar on the screen
        logging.getLogger("minivos").setLevel(logging.INFO)
    facts: dict[str, Any] = {"model": model, "recipe": settings_of(recipe), "device": str(where)}
    earlier = unfinished(out / model)
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    if (random := frozen.intersection(fresh)) and not earlier:
        print(
            f"warning: {len(random)} tensors of {model} are random and training leaves them so, "
            f"such as {min(random)}: begin with --start imagenet"
        )
    if start:
        earlier += [origin(model, start)]
        facts["start"] = earlier[-1]
    if borrow:
        shipped = borrow in PRESETS
        earlier += [origin(borrow, "shipped") if shipped else origin(model, borrow)]
        facts["borrowed from"] = earlier[-1]
    facts |= terms_of(recipe, folders, photos, terms, earlier)
    prepare_output(out, overwrite=True, kind="train")
    try:
        history = train(
            network,
            recipe,
            out,
            where,
            make_clip,
            workers=workers,
            accumulate=accumulate,
            precision=precision,
            compiled=compiled,
            export=lambda averaged, log: export_run(out / model, averaged, facts, log, half),
        )
        if rank_and_world()[0] == 0:
            seconds, data_seconds = (
                sum(row[name] for row in history) for name in ("seconds", "data_seconds")
            )
            print(
                f"{len(history)} steps done, {data_seconds / seconds:.0%} of their time for data: "
                f"{out / model}.safetensors and .json"
            )
            if score:
                print("scoring, which may take minutes; --no-score leaves it out")
                print_score(out / model, score(network))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def read_folders(
    texts: Sequence[str], photos: Path | None
) -> tuple[dict[str, list[str]] | list[str], Path | None]:
    """Folders by kind, or a mere list of folders, and the folder of photographs among them.

    Raises InputError for an unknown kind, for folders with and without kind, and for more than one
    folder of photographs.
    """
    by_kind: dict[str, list[str]] = defaultdict(list)
    plain = []
    for text in texts:
        kind, equals, folder = text.partition("=")
        if kind in (*FOOTAGE, "photos") and equals:
            by_kind[kind].append(folder)
        elif equals and not Path(text).exists():
            raise InputError(
                f"got --data {text}; expected a folder, or KIND=FOLDER with one of "
                f"{', '.join(FOOTAGE[1:])}, photos"
            )
        else:
            plain.append(text)
    albums = [Path(folder) for folder in by_kind.pop("photos", [])]
    albums += [photos] if photos else []
    if len(albums) > 1:
        raise InputError(f"got {len(albums)} folders of photographs; expected one: join them")
    if plain and by_kind:
        raise InputError(
            f"got --data {plain[0]} beside {', '.join(by_kind)}; expected a kind for each: "
            f"--data KIND={plain[0]}"
        )
    return plain or dict(by_kind), albums[0] if albums else None


def find_scorer(
    val: Path | None, dataset: str = "", split: str = "", videos: Path | None = None
) -> Callable[[VOSNetwork], Scores]:
    """What scores a network: on a split of a data set, or on data_samples.

    Raises InputError now, before the work, when these are not there or lack masks.
    """
    from minivos.evaluation import evaluate
    from minivos.video.datasets import open_dataset, read_names, samples_root

    if val is None:
        if dataset or split or videos:
            raise InputError("got --val-dataset, --val-split or --val-videos alone: add --val DATA")
        samples_root()
        return lambda network: evaluate.score_samples(network)
    dataset, split = dataset or "davis2017", split or "val"
    clips = open_dataset(dataset, val, split)
    if videos:
        clips.only(read_names(videos))
    tasks = [task for task in clips.tasks() if task.scored]
    if not tasks:
        raise InputError(
            f"{val} has no masks to score {split} by; expected one of each frame: "
            "choose another --val-split, or --no-score"
        )
    name = f"{dataset} {split}"
    return lambda network: {name: evaluate.evaluate_tasks(network, tasks).rounded()}


def print_score(path: Path, scores: Scores) -> None:
    """Put scores into the JSON beside the weights, and say the main one, which is the first."""
    from minivos.training.export import add_scores

    add_scores(path, scores)
    split, means = next(iter(scores.items()))
    print(f"J&F {means['J&F']:.3f} on {split}")
