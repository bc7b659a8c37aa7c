"""`minivos eval`, `minivos benchmark`: how good masks and networks are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minivos.cli.options import (
    Compile,
    Device,
    Model,
    Overwrite,
    Precision,
    Refine,
    Released,
    Weights,
)
from minivos.errors import InputError

MOST_WORKERS = 64  # each holds a frame


def eval_command(
    gt: Annotated[Path, typer.Argument(help="true masks: a folder of PNGs, or of such folders")],
    pred: Annotated[Path, typer.Argument(help="predicted masks, laid out alike")],
    split: Annotated[
        str | None,
        typer.Option(
            help="score these sequences only: a text file with a name on each line, or the name of "
            "a split, such as val or 2016/val, of the data set in which the true masks lie"
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="all objects count as one, as in DAVIS 2016")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(help="where to write the table; PRED/scores.csv if not given")
    ] = None,
) -> None:
    """Score masks as DAVIS does: J, F, J&F, with recall and decay, per object and overall."""
    from minivos.evaluation.evaluate import evaluate_folders

    evaluation = evaluate_folders(gt, pred, split, merge)
    print(evaluation.table().text())
    evaluation.write_csv(csv := csv or pred / "scores.csv")
    print(f"written to {csv}")


def benchmark_command(
    data: Annotated[Path, typer.Argument(help="root folder of the data set")],
    dataset: Annotated[
        str, typer.Option(help="davis2016, davis2017, youtubevos2018 or youtubevos2019")
    ],
    split: Annotated[
        str,
        typer.Option(
            help="train, val, trainval, test-dev, test-challenge (DAVIS); train, valid, "
            "valid_all_frames, test (YouTube-VOS); val or valid if not given"
        ),
    ] = "",
    model: Model = "aot_mini",
    weights: Weights = "shipped",
    released: Released = None,
    side: Annotated[
        int,
        typer.Option(
            help="short side in pixels at which the network works; 0: 192 for small networks "
            "(hst_mini: 128), 480 or that of the video for others"
        ),
    ] = 0,
    flip: Annotated[
        bool, typer.Option("--flip", help="see each frame mirrored as well, and average")
    ] = False,
    scale: Annotated[
        list[float] | None,
        typer.Option(help="see each frame at so many times --side and average, repeatable"),
    ] = None,
    device: Device = "auto",
    refine: Refine = True,
    precision: Precision = "float32",
    compiled: Compile = False,
    workers: Annotated[
        int,
        typer.Option(
            help="threads that read frames ahead, and write and score masks while the network "
            "works; two or more pay beside a GPU"
        ),
    ] = 0,
    videos: Annotated[
        Path | None,
        typer.Option(help="only these clips of the split: a text file with a name on each line"),
    ] = None,
    unseen: Annotated[
        list[str] | None,
        typer.Option(
            help="category of YouTube-VOS that counts as unseen in training, repeatable; those "
            "that no other clip of train/ has if not given"
        ),
    ] = None,
    zipped: Annotated[
        bool, typer.Option("--zip", help="also pack and check submission.zip for the server")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="folder for the results; out/DATASET-SPLIT-MODEL")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Run a network on DAVIS or YouTube-VOS: masks, J, F, J&F, speed, memory, zip for the server.

    The same command again goes on where a run was cut short.
    """
    from minivos.evaluation.augmented import Augmented
    from minivos.evaluation.benchmark import benchmark
    from minivos.official import open_network
    from minivos.video.datasets import open_dataset, read_names

    if not 0 <= workers <= MOST_WORKERS:
        raise InputError(f"got --workers {workers}; expected 0 to {MOST_WORKERS} threads")
    split = split or ("val" if dataset.startswith("davis") else "valid")
    clips = open_dataset(dataset, data, split)
    if videos:
        clips.only(read_names(videos))
    network = open_network(model, weights, released, device)
    where = next(network.parameters()).device
    out = out or Path("out") / f"{dataset}-{split}-{model}"
    said: dict[str, Any] = {
        "dataset": dataset,
        "data": str(data.resolve()),
        "split": split,
        "clips": None if videos is None else clips.names,
        "model": model,
        "device": str(where),
    }
    if flip or scale:
        network = Augmented(network, scale or [1.0], flip, side or None)
        said |= {"flip": flip, "scales": scale or [1.0], "short side": side}
        refine, side = False, 0  # each view has a size of its own
    print(f"{len(clips)} clips of {dataset} {split}, {model} on {where}, into {out}")
    result = benchmark(
        clips, network, out, said, side=side or None, workers=workers,
        unseen=set(unseen) if unseen else clips.unseen(),
        zipped=zipped, overwrite=overwrite, refine=refine, precision=precision, compiled=compiled,
    )  # fmt: skip
    print(result.table().text())
    for measure, value in result.summary().items():
        print(f"{measure}: {value:.3f}")
    print(f"{out}: scores.csv, summary.csv, masks/{', submission.zip, checked' * zipped}")
