"""Studies: questions that take more than one run, and the tables of their runs.

Each row of a table is one score, and the runs of a seed are compared with one another. The studies
and their tables stand in the folder `studies/` of the repository.
"""

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.evaluate import evaluate_model, every_mask
from minivos.nn.network import VOSNetwork
from minivos.synthetic.clips import render
from minivos.training.loop import train
from minivos.training.recipe import find_recipe
from minivos.video.clip import Clip
from minivos.video.files import as_path
from minivos.viewing.picture import Picture

UNIT = "J&F in percent, gain over the first row"
COLUMNS = "case", "variant", "seed", "J&F"
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # for 2 to 10 seeds


@dataclass(frozen=True)
class Study:
    """A design choice, tried on cases it was made for, seed by seed.

    `run(variant, seed, quick)` gives J&F in [0, 1] for each case; it draws clips, weights and
    samples from the seed, so that all variants of a seed share them. `quick` asks for every step in
    seconds, and decides nothing.
    """

    table: Path  # CSV: a row for each case, variant and seed
    variants: Sequence[str]  # the first is the design, with which the others are compared
    cases: Sequence[str]  # scenarios, or networks; the first is the one that the study is about
    run: Callable[[str, int, bool], Mapping[str, float]]
    seeds: int = 8  # 2 to 10

    def main(self, about: str, arguments: Sequence[str] | None = None) -> None:
        """The command of a study: run what its table lacks, and print the effects."""
        shape = argparse.RawDescriptionHelpFormatter
        parser = argparse.ArgumentParser(description=about, formatter_class=shape)
        parser.add_argument("--quick", action="store_true", help="two tiny seeds, into --out")
        parser.add_argument("--show", action="store_true", help="run nothing, print the effects")
        parser.add_argument("--out", type=Path, help=f"the table; {self.table.name} if not given")
        settings = parser.parse_args(arguments)
        if settings.quick and settings.out is None:
            parser.error("--quick needs --out: its scores do not belong into the stored table")
        table = settings.out or self.table
        if not settings.show:
            self.run_missing(table, settings.quick)
        print(describe(read_effects(table)))

    def run_missing(self, table: Path, quick: bool = False) -> None:
        """Run what the table lacks, and write each run as soon as it is known."""
        done = {(row["variant"], row["seed"]) for row in read_runs(table)}
        runs = product(range(2 if quick else self.seeds), self.variants)
        missing = [(name, seed) for seed, name in runs if (name, str(seed)) not in done]
        for variant, seed in tqdm(missing, unit="run", disable=None):
            scores = self.run(variant, seed, quick)
            rows = [(case, variant, seed, f"{scores[case]:.4f}") for case in self.cases]
            begins = not table.exists()
            with table.open("a", newline="", encoding="utf8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([COLUMNS] * begins + rows)


@dataclass(frozen=True)
class Effect:
    """What a variant scores on a case, in percent, and what it gains over the design."""

    case: str
    variant: str
    scores: np.ndarray = field(repr=False)  # (seeds,)
    gains: np.ndarray = field(repr=False)  # (seeds,); those of the design are 0

    @property
    def interval(self) -> tuple[float, float]:
        """Mean gain, and how far its 95 % interval reaches to either side."""
        return interval(self.gains)

    @property
    def decided(self) -> bool:
        """Whether the interval excludes zero."""
        mean, half = self.interval
        return bool(abs(mean) > half)


def clips_of(
    seed: int, numbers: range, frames: int, size: tuple[int, int], **settings: Any
) -> list[Clip]:
    """The clips with these numbers of a seed, a mask on every frame; `settings` go to `render`."""
    clips = []
    for number in numbers:
        clip = render(10_000 * (seed + 1) + number, frames=frames, size=size, **settings)
        clips.append(Clip(clip.frames, dict(enumerate(clip.masks)), name=str(number)))
    return clips


def score_on(
    network: VOSNetwork, scenarios: Sequence[str], seed: int, numbers: range, frames: int,
    size: tuple[int, int], **settings: Any,
) -> dict[str, float]:  # fmt: skip
    """J&F in [0, 1] on `clips_of` each scenario; `settings` go to `evaluate_model`."""
    scores = {}
    for name in scenarios:
        clips = clips_of(seed, numbers, frames, size, scenario=name)
        scores[name] = evaluate_model(network, clips, **settings).mean
    return scores


def train_on(
    network: VOSNetwork, clips: Sequence[Clip], side: int, steps: int, rate: float, seed: int
) -> None:
    """Train a network on these clips, four to a step, at `side` pixels, by the recipe "laptop"."""
    footage = [(clip.frames, every_mask(clip)) for clip in clips]
    recipe = find_recipe("laptop", steps=steps, batch=4, side=side, learning_rate=rate, seed=seed)
    train(network, recipe, make_clip=lambda n: footage[n % len(footage)])


def read_runs(table: str | Path) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns; none where there is no file yet."""
    if not (table := as_path(table)).exists():
        return []
    with table.open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def read_effects(table: str | Path) -> list[Effect]:
    """The effects in the table of a Study, case by case, the design first.

    A seed counts where all its variants have run. InputError where there are not two such seeds.
    """
    runs = read_runs(table)
    found = {(r["case"], r["variant"], r["seed"]): 100 * float(r["J&F"]) for r in runs}
    cases, variants, seeds = (list(dict.fromkeys(r[name] for r in runs)) for name in COLUMNS[:3])
    whole = [s for s in seeds if all((c, v, s) in found for c in cases for v in variants)]
    if len(whole) < 2:
        raise InputError(f"{table} has {len(whole)} whole seeds; expected 2 or more: run the study")
    effects = []
    for case in cases:
        scores = {v: np.array([found[case, v, s] for s in whole]) for v in variants}
        design = scores[variants[0]]
        effects += [Effect(case, v, each, each - design) for v, each in scores.items()]
    return effects


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean over seeds, and how far its 95 % interval reaches to either side (Student's t).

    InputError unless there are 2 to 10 seeds.
    """
    seeds = len(values)
    if not 2 <= seeds <= len(T_95) + 1:
        raise InputError(f"got {seeds} seeds; expected 2 to {len(T_95) + 1} for an interval")
    return values.mean(), T_95[seeds - 2] * values.std(ddof=1) / seeds**0.5


def by_case(effects: Sequence[Effect]) -> dict[str, list[Effect]]:
    """The effects of each case."""
    names = dict.fromkeys(each.case for each in effects)
    return {name: [each for each in effects if each.case == name] for name in names}


def describe_cases(effects: Sequence[Effect]) -> dict[str, str]:
    """The rows of each case as text, in `UNIT`, by its name and its number of seeds."""
    told, width = {}, max(len(each.variant) for each in effects)
    for case, (design, *others) in by_case(effects).items():
        lines = [f"  {design.variant:{width}}  {design.scores.mean():5.1f}"]
        for each in others:
            (mean, half), unclear = each.interval, "" if each.decided else "  cannot say"
            gain = f"{mean:+5.1f} +- {half:4.1f}{unclear}"
            lines.append(f"  {each.variant:{width}}  {each.scores.mean():5.1f}  {gain}")
        told[f"{case}, {len(design.scores)} seeds"] = "\n".join(lines)
    return told


def describe(effects: Sequence[Effect]) -> str:
    """The effects as text: J&F in percent, and what each variant gains over the design."""
    return "\n".join(f"{case}: {UNIT}\n{rows}" for case, rows in describe_cases(effects).items())


def draw_effects(effects: Sequence[Effect]) -> Picture:
    """What each variant gains over the design: every seed, the mean and its 95 % interval."""
    parts = by_case(effects)
    variants = [each.variant for each in effects if each.case == effects[0].case]
    figure = Picture(figsize=(4 + 2.5 * len(parts), 1.5 + 0.5 * len(variants)))
    panels = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (case, (_, *others)) in zip(panels, parts.items(), strict=True):
        axes.axvline(0, color="0.5", lw=1)
        for row, each in enumerate(others, start=1):
            mean, half = each.interval
            axes.plot(each.gains, [row - 0.2] * len(each.gains), "o", color="0.5", ms=4, alpha=0.6)
            axes.errorbar(mean, row, xerr=half, fmt="D", color="tab:blue", capsize=4)
        axes.set(title=case.replace("_", " "), xlabel="points of J&F")
        axes.set_yticks(range(len(variants)), variants)
        axes.set_ylim(len(variants) - 0.5, -0.5)  # the design on top
    return figure
