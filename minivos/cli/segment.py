"""`minivos segment`: the masks of a video."""

from __future__ import annotations

import csv
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivos.cli.options import (
    Compile,
    Device,
    Overwrite,
    Precision,
    Refine,
    Released,
    Weights,
    model_for,
)
from minivos.errors import InputError

if TYPE_CHECKING:
    from minivos.propagation import Answer
    from minivos.video.frames import FrameSource

DEFAULT = "aot_lite"
MASKS, OVERLAY, CONFIDENCES = "masks", "overlay.mp4", "confidence.csv"
SIDES = Path(__file__).with_name("sides.csv")  # which benchmarks/sides.py writes
FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
Video = Annotated[Path, typer.Argument(help="a video file or a folder of JPEG or PNG frames")]


def segment(
    video: Video,
    mask: Annotated[
        list[str],
        typer.Option(
            help="FILE: mask of the first frame, a PNG or a folder with one PNG per object; "
            "FRAME=FILE: of the frame with that name or number, to correct or to add objects; "
            "frames=FOLDER: of the frames that its pictures are called like; repeatable"
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help=f"{DEFAULT} if not given: of the small ones best on real video, but its weights "
            "are for non-commercial use only; aot_mini is the next best, and free; see `minivos "
            "models`. With --weights FILE, what the JSON beside it says; give it with --released",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option(help="folder for masks/, overlay.mp4 and confidence.csv")
    ] = Path("out/segment"),
    weights: Weights = "shipped",
    released: Released = None,
    backward: Annotated[
        bool, typer.Option("--backward", help="follow objects from their first mask back, too")
    ] = False,
    side: Annotated[
        int,
        typer.Option(
            help="short side in pixels at which the network works; 0: 192 for small networks "
            "(hst_mini: 128), 480 or that of the video for others"
        ),
    ] = 0,
    max_side: Annotated[
        int,
        typer.Option(
            help="shrink frames and results whose long side is longer, in pixels; 0: masks of the "
            "size of the video"
        ),
    ] = 0,
    stride: Annotated[int, typer.Option(help="take every n-th frame")] = 1,
    refine: Refine = True,
    precision: Precision = "float32",
    compiled: Compile = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Follow the objects of masks through a video; masks come out at the size of its frames."""
    from minivos.video.frames import open_frames
    from minivos.video.given_masks import read_given_masks

    if out.suffix.lower() in FILMS:
        raise InputError(
            f"--out {out} looks like a film; give a folder, which gets masks/ and overlay.mp4."
        )
    source = open_frames(video, max_side=max_side or None, stride=stride)
    masks = read_given_masks(mask, source, report=say)
    names = dict(zip(range(max(masks) + 1), source.names, strict=False))

    # Now that the input is known to be good, what takes long to load
    from minivos.models import facts_of
    from minivos.official import open_network
    from minivos.propagation import follow
    from minivos.speed import side_for
    from minivos.tracker import Tracker
    from minivos.video.clip import shrink_labels
    from minivos.video.files import prepare_output
    from minivos.video.mask_files import describe_mask

    model = model or model_for(weights, DEFAULT)
    network = open_network(model, weights, released, device)
    settings: dict[str, Any] = {"precision": precision, "compiled": compiled}
    settings["side"] = side_for(network, source.size, side or None)
    Tracker(network, **settings)  # refuses what cannot be before anything is written
    say(f"{video}: {source.size[1]}x{source.size[0]} pixels")
    for t, labels in masks.items():
        say(f"mask of frame {names[t]}: {describe_mask(labels)}")
        masks[t] = shrink_labels(labels, source.size)
    height, width = network.sizing(source.size, settings["side"])
    say(f"{model} on {next(network.parameters()).device}, working at {width}x{height} pixels")
    terms = "free" if released else facts_of(model, weights).get("terms", "free")
    if terms != "free":
        say(f"the weights of {model} are {terms}: see `minivos models` and docs/weights.md")

    out = prepare_output(out, overwrite, "segmented video")
    if backward and max(masks):
        say(f"first backward from frame {names[max(masks)]}")
    found = Findings(masks)
    answers = follow(network, source, masks, backward, refine, **settings)
    write_results(out, source, found.watch(answers, source.names))
    say(f"{found.frames} frames at {found.frames / found.seconds:.1f} frames per second")
    say(f"{out / MASKS}: {found.frames} palette PNGs, value = object id, 0 = background")
    say(f"{out / OVERLAY}: the frames with the objects drawn over them")
    for line in found.advice():
        say(line)
    if found.least and source.size == source.full_size:
        worst = found.least[-1]
        words = [str(video), "--at", worst, "--mask", str(out / MASKS / f"{worst}.png")]
        say(f"a page to correct it on: minivos paint {shlex.join(words)}")


def speed_by_side() -> str:
    """What `--side` gives and costs, as measured, for the help of the command."""
    with SIDES.open(encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    table = [f"{'network':12} {'--side':>6} {'J&F':>6} {'frames per second':>18}"]
    for row in rows:
        table.append(
            f"{row['network']:12} {row['side']:>6} {row['J&F']:>6} {row['frames per second']:>18}"
        )
    about = (
        f"What --side gives and costs. J&F: mean over {first['clips']} real clips of "
        f"{first['lines']} lines, so that larger sides could not be measured; aot_lite's are those "
        "of its first training, which had not seen these clips. Speed: video of 480 lines, one "
        "object, one CPU core (benchmarks/sides.py)."
    )
    return "\n\n".join([about, "\b\n" + "\n".join(table)])


segment.__doc__ = f"{segment.__doc__}\n\n{speed_by_side()}"


def write_results(out: Path, source: FrameSource, answers: Iterator[tuple[str, Answer]]) -> None:
    """Write masks, overlay and confidences of named answers, each whole or not at all."""
    from tqdm import tqdm

    from minivos.video.files import whole_file, whole_folder
    from minivos.video.frames import OverlayWriter
    from minivos.video.mask_files import write_mask

    with (
        whole_folder(out / MASKS) as part,
        OverlayWriter(out / OVERLAY, source.size, source.fps) as overlay,
        whole_file(out / CONFIDENCES) as table,
        table.open("w", encoding="utf8") as lines,
    ):
        lines.write("frame,object,confidence\n")
        for name, answer in tqdm(answers, total=source.count, unit="frame", disable=None):
            write_mask(part / f"{name}.png", answer.labels)
            overlay.write(answer.frame, answer.labels)
            for i, confidence in answer.confidence.items():
                lines.write(f"{name},{i},{confidence:.3f}\n")


def say(line: str) -> None:
    """Print a line; where nobody reads any more, as after `| head`, the work goes on."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(BrokenPipeError):
            print("minivos: nobody reads what is printed; the work goes on", file=sys.stderr)


class Findings:
    """What is to be said when a video is done: speed, who was lost, which frame to correct."""

    def __init__(self, given: Iterable[int]) -> None:
        self.given = set(given)
        self.frames, self.seconds = 0, 0.0
        self.newest = ""
        self.last_seen: dict[int, str] = {}
        self.least: tuple[float, int, str] | None = None  # confidence, object, frame

    def watch(
        self, answers: Iterator[Answer], names: Iterable[str]
    ) -> Iterator[tuple[str, Answer]]:
        """The names and answers of the frames, noted in passing."""
        began = time.perf_counter()
        for t, (name, answer) in enumerate(zip(names, answers, strict=False)):
            self.seconds += time.perf_counter() - began
            self.frames, self.newest = t + 1, name
            for i, confidence in answer.confidence.items():
                if confidence > 0:
                    self.last_seen[i] = name
                if confidence > 0 and t not in self.given:
                    self.least = min(self.least or (2.0, 0, ""), (confidence, i, name))
            yield name, answer
            began = time.perf_counter()

    def advice(self) -> Iterator[str]:
        """Lines for people: the objects that were lost, and where to correct first."""
        for i, name in sorted(self.last_seen.items()):
            if name != self.newest:
                yield f"warning: object {i} is not seen after frame {name}"
        if self.least:
            confidence, i, name = self.least
            yield (
                f"frame {name}: object {i} is least certain ({confidence:.2f}): "
                f"correct its mask first: --mask {name}=FILE --overwrite"
            )
