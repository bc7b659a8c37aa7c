"""Tables of studies: each row is one run, and the runs of a seed are compared with one another.

The studies and their tables stand in the folder `studies/` of the repository.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minivos.errors import InputError
from minivos.video.files import as_path
from minivos.viewing.picture import Picture

T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # for 2 to 10 seeds
Row = dict[str, str]


def read_runs(path: str | Path) -> list[Row]:
    """The rows of a table, by the names of its columns; none where there is no file yet."""
    if not (path := as_path(path)).exists():
        return []
    with path.open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def scores_of(runs: list[Row], **chosen: object) -> dict[str, np.ndarray]:
    """J&F in percent of each kind of training (`stages`), a value for each seed that has them all.

    `chosen` {column: value} says which runs, such as network="hst_mini". InputError when there is
    none, and when a kind and seed comes twice: then they are of several sizes.
    """
    rows = [run for run in runs if all(run[name] == str(value) for name, value in chosen.items())]
    found = {(row["stages"], row["seed"]): 100 * float(row["J&F"]) for row in rows}
    if not found or len(found) < len(rows):
        raise InputError(
            f"got {len(rows)} runs of {chosen}; expected one for each seed and kind of training: "
            "choose by more columns, or by others"
        )
    kinds, seeds = (list(dict.fromkeys(column)) for column in zip(*found, strict=True))
    whole = [seed for seed in seeds if all((kind, seed) in found for kind in kinds)]
    return {kind: np.array([found[kind, seed] for seed in whole]) for kind in kinds}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean over seeds, and how far its 95 % interval reaches to either side (Student's t).

    InputError unless there are 2 to 10 seeds.
    """
    seeds = len(values)
    if not 2 <= seeds <= len(T_95) + 1:
        raise InputError(f"got {seeds} seeds; expected 2 to {len(T_95) + 1} for an interval")
    return values.mean(), T_95[seeds - 2] * values.std(ddof=1) / seeds**0.5


def draw_scores(
    scores: Mapping[str, np.ndarray], paper: Mapping[str, float], first_mask: float
) -> Picture:
    """What `scores_of` gives, seeds and their mean, beside the numbers of the paper; in percent.

    `first_mask` is what the first mask, repeated, scores on the same clips: a dashed line.
    """
    figure = Picture(figsize=(8, 2.8))
    ours, theirs = figure.subplots(1, 2)
    ours.bar(list(scores), [values.mean() for values in scores.values()], color="0.8")
    for place, values in enumerate(scores.values()):
        ours.plot([place] * len(values), values, "o", color="0.2")
    ours.axhline(first_mask, ls="--", color="0.2", label="first mask repeated")
    seeds, highest = len(next(iter(scores.values()))), max(map(np.max, scores.values()))
    ours.set(title=f"ours: {seeds} seeds and their mean", ylabel="J&F in percent")
    ours.set_ylim(0, 1.35 * max(highest, first_mask))  # room for the legend
    ours.legend(loc="upper left", frameon=False)
    theirs.bar(list(paper), list(paper.values()), color="0.8")
    theirs.set(title="the paper: one training each")
    return figure
