"""Two stages of training, in miniature: stills only, video only, or stills and then video.

    python studies/two_stages.py                # runs what two_stages.csv lacks, then prints the table
    python studies/two_stages.py --table        # prints the table alone
    python studies/two_stages.py --quick --out quick.csv        # every step of it, in seconds; decides nothing

SITVOS (Table 3) and HST (Table IV.1) train on pictures that are moved by hand, of which there are many, and then on
video, of which there is little. Here "stills" are 256 rendered pictures under random affine motion, "video" is 8
rendered clips of 8 frames, in which objects move by themselves, bend, and hide each other. All runs have the same
number of steps; "both" spends half of them on each. "none" is the untrained network.

Scores are J&F at 64 pixels on the 12 clips of the validation split. A seed draws its own pictures, clips, weights and
samples, and all runs of the seed share them, so they are compared seed by seed. A finished run is a row of the table
and is not run again; of another size (steps, pictures, clips, side, clips that are scored) it is another row. The
stored table has three seeds of both networks with 600 steps, and with 100, where it lacks the third seed of HST.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import minivos
from minivos.evaluation.evaluate import evaluate_model, score_clips
from minivos.evaluation.study import Row, interval, read_runs, scores_of
from minivos.nn.network import VOSNetwork
from minivos.synthetic.clips import render
from minivos.training.loop import train
from minivos.training.pool import Footage
from minivos.training.recipe import Recipe
from minivos.training.stills import rendered_stills, still_clips
from minivos.video.baselines import repeat_first_mask
from minivos.video.clip import Clip
from minivos.video.datasets import DavisDataset, samples_root

TABLE = Path(__file__).with_suffix(".csv")
SIZES = "steps", "pictures", "clips", "side", "scored"  # fields of Size that make another run of a run
COLUMNS = "network", "stages", "seed", *SIZES, "J&F"
NETWORKS = "sitvos_mini", "hst_mini"
STAGES = {"none": (), "stills": ("stills",), "video": ("video",), "both": ("stills", "video")}
PAPER = {  # J&F on the validation split of DAVIS 2017: SITVOS Table 3, HST Table IV.1
    "sitvos_mini": {"stills": 66.6, "video": 76.3, "both": 83.5},
    "hst_mini": {"stills": 74.2, "video": 82.8, "both": 85.9},
}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    seeds: int = 3
    steps: int = 600  # of all stages of a run together
    pictures: int = 256
    clips: int = 8
    side: int = 64  # pixels, in training and scoring
    scored: int = 12  # clips


QUICK = Size(seeds=2, steps=2, pictures=2, clips=1, scored=1)


@cache
def draw_pictures(seed: int, size: Size) -> list[Footage]:
    """The stills of a seed, one frame each."""
    draw, chance = rendered_stills(size.side), np.random.default_rng([seed, 1])
    return [draw(chance) for _ in range(size.pictures)]


@cache
def draw_clips(seed: int, size: Size) -> list[Footage]:
    """The videos of a seed."""
    side = round(1.25 * size.side)
    clips = [render(1_000_000 + 1000 * seed + n, frames=8, size=(side, side)) for n in range(size.clips)]
    return [(clip.frames, clip.masks) for clip in clips]


def moved_stills(seed: int, size: Size) -> Callable[[int], Footage]:
    """Training samples: stills, moved."""
    pictures = draw_pictures(seed, size)
    return still_clips(lambda rng: pictures[rng.integers(size.pictures)], 3, size.side, 2, seed)


def rendered_video(seed: int, size: Size) -> Callable[[int], Footage]:
    """The videos again and again; the training's pool cuts samples out of them."""
    clips = draw_clips(seed, size)
    return lambda number: clips[number % size.clips]


def train_in_stages(name: str, stages: Sequence[str], seed: int, size: Size) -> VOSNetwork:
    """A network that went through these stages, each from the weights of the one before."""
    torch.manual_seed(seed)
    network = minivos.create_model(name)
    steps = size.steps // max(1, len(stages))
    recipe = replace(Recipe.short(), steps=steps, batch=4, side=size.side, objects=2, learning_rate=1e-3, seed=seed)
    for stage in stages:
        if stage == "stills":
            train(network, replace(recipe, pool=0), make_clip=moved_stills(seed, size))
        else:
            train(network, replace(recipe, pool=size.clips), make_clip=rendered_video(seed, size))
    return network


def run(name: str, stages: str, seed: int, size: Size, clips: Sequence[Clip]) -> Row:
    """One row of the table."""
    network = train_in_stages(name, STAGES[stages], seed, size)
    score = evaluate_model(network, clips, side=size.side).mean
    return key(name, stages, seed, size) | {"J&F": f"{score:.4f}"}


def key(name: str, stages: str, seed: int, size: Size) -> Row:
    """What tells one run from all others: the columns of the table but for the score."""
    what = {"network": name, "stages": stages, "seed": seed} | {column: getattr(size, column) for column in SIZES}
    return {column: str(value) for column, value in what.items()}


def scored_clips(number: int) -> list[Clip]:
    """The first so many clips of the validation split."""
    return list(DavisDataset(samples_root(), "val"))[:number]


def run_missing(path: Path, size: Size) -> None:
    """Run what the table lacks and append a row as soon as it is known."""
    done = [{column: row[column] for column in COLUMNS[:-1]} for row in read_runs(path)]
    wanted = [(name, stages, seed) for name in NETWORKS for seed in range(size.seeds) for stages in STAGES]
    missing = [each for each in wanted if key(*each, size) not in done]
    if not missing:
        return
    clips = scored_clips(size.scored)
    for name, stages, seed in tqdm(missing, unit="run", disable=None):
        row = run(name, stages, seed, size, clips)
        begins = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if begins:
                writer.writeheader()
            writer.writerow(row)


def with_interval(values: np.ndarray) -> str:
    """Mean over seeds and its 95 % interval; of one seed its value."""
    if len(values) < 2:
        return f"{values.mean():5.1f}"
    mean, half = interval(values)
    return f"{mean:5.1f} +- {half:4.1f}"


def print_table(runs: list[Row]) -> None:
    """By size and network: each kind of run, and what "both" has over each stage alone, seed by seed."""
    print("J&F in percent, mean over seeds and its 95 % interval")
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in runs:
        parts.setdefault(tuple(row[column] for column in SIZES), []).append(row)
    for size, part in parts.items():
        print("\n" + ", ".join(f"{column} {value}" for column, value in zip(SIZES, size, strict=True)))
        still = score_clips(repeat_first_mask, scored_clips(int(part[0]["scored"]))).mean
        print(f"first mask repeated {100 * still:.1f}")
        for name in dict.fromkeys(row["network"] for row in part):
            print_network(name, scores_of(part, network=name))


def print_network(name: str, scores: dict[str, np.ndarray]) -> None:
    """The rows of one network and size; nothing if no seed is whole."""
    if set(scores) != set(STAGES) or not len(scores["both"]):
        return
    print(f"{name}, {len(scores['both'])} seeds")
    for stages, values in scores.items():
        paper = f"{PAPER[name][stages]:.1f}" if stages in PAPER[name] else "   -"
        print(f"  {stages:13} {with_interval(values)}   paper {paper}   each", *values.round(1).tolist())
    for stages in ("stills", "video"):
        print(f"  both - {stages:6} {with_interval(scores['both'] - scores[stages])}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two steps a run, in a table of its own")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, help="the table; two_stages.csv beside this file if not given")
    settings = parser.parse_args(arguments)
    if settings.quick and settings.out is None:
        parser.error("--quick needs --out: its scores do not belong into the stored table")
    path = settings.out or TABLE
    if not settings.table:
        run_missing(path, QUICK if settings.quick else Size())
    print_table(read_runs(path))


if __name__ == "__main__":
    main()
