"""Accuracy against speed by `--side`: J&F on real video and frames per second, as `minivos segment --help` shows them.

    python benchmarks/sides.py DAVIS:dev                                             # writes minivos/cli/sides.csv
    python benchmarks/sides.py DAVIS:dev --networks --weights aot_mini=runs/aot_mini/aot_mini.safetensors --out my.csv

Take clips that the weights have not learned from: `dev` is a list of your own, `ImageSets/2016/dev.txt`, such as some
of the training clips of DAVIS 2016. All objects of a clip count as one, as in 2016. Sides larger than the clips add
nothing. Masks are made as by `minivos segment`, contours refined. Speed is that of a rendered video of 854x480 pixels
with one object on one core, by processor time: the best of three rounds, for other work only ever slows one down. The
file is written anew after every line.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from minivos import create_model
from minivos.cli.segment import SIDES
from minivos.errors import InputError
from minivos.evaluation.evaluate import evaluate_tasks
from minivos.nn.network import VOSNetwork
from minivos.propagation import follow
from minivos.synthetic.clips import render
from minivos.video.datasets import DavisDataset
from minivos.video.files import whole_file

SIZE, WARM_UP, TIMED, ROUNDS = (480, 854), 12, 8, 3


def frames_per_second(model: VOSNetwork, side: int) -> float:
    """Of a rendered video of SIZE, when the memory has filled."""
    clip = render(0, frames=WARM_UP + TIMED, size=SIZE, objects=1)
    seconds = []
    for _ in range(ROUNDS):
        answers = follow(model, clip.frames, {0: clip.masks[0]}, refine=True, side=side)
        for _ in range(WARM_UP):
            next(answers)
        began = time.process_time()
        timed = sum(1 for _ in answers)
        seconds.append((time.process_time() - began) / timed)
    return 1 / min(seconds)


def measured(names: list[str], weights: list[str], clips: DavisDataset, sides: list[int]) -> Iterator[dict]:
    """The lines of the table."""
    lines = sorted({task.size[0] for task in clips.tasks()})
    files = [word.partition("=")[::2] for word in weights]
    for name, file in [*((name, "shipped") for name in names), *files]:
        model = create_model(name, weights=file)
        for side in tqdm(sides, desc=name, unit="side", disable=None):
            accuracy = evaluate_tasks(model, clips.tasks(), side=side, refine=True).mean
            yield {
                "network": name,
                "side": side,
                "J&F": f"{accuracy:.3f}",
                "frames per second": f"{frames_per_second(model, side):.1f}",
                "clips": len(clips),
                "lines": " and ".join(map(str, lines)),
            }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("davis", help="ROOT:SPLIT")
    parser.add_argument("--networks", nargs="*", default=["aot_mini"], help="shipped ones")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE, more of them; may be repeated")
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 128, 160, 192, 216])
    parser.add_argument("--out", type=Path, default=SIDES)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    root, _, split = options.davis.rpartition(":")
    rows = []
    try:
        for row in measured(options.networks, options.weights, DavisDataset(root, split, year=2016), options.sides):
            rows.append(row)
            print(row, flush=True)
            with whole_file(options.out) as part, part.open("w", newline="", encoding="utf8") as file:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
