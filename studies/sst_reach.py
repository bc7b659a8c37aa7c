"""SST on fast objects: how far must attention reach? Each network is trained with its own pattern.

    python studies/sst_reach.py              # runs what sst_reach.csv lacks, then prints the effects
    python studies/sst_reach.py --show       # prints the effects alone

`sst_mini` with four patterns: the local window of the shipped network (h = 5: four cells to each side), a small one
(h = 2: one cell), the cross of grid attention, and the strided pattern, whose cells lie five apart. The weights of
attention are the same for every pattern, so all start from the shipped ones (trained with h = 5, **which favours the
first**) and adapt, each with its own pattern, to the same clips in the same order: 120 steps of 4 rendered clips of
fast motion, 96 pixels, three frames of each. A cell is 8 pixels; objects move by 10 to 24 pixels a frame. Scored on
clips that no training saw: 8 of fast motion and 8 of slow motion ("plain") a seed. Seeds choose clips and samples.
"""

from pathlib import Path

import torch

import minivos
from minivos.evaluation.study import Study, clips_of, score_on, train_on

SCENARIOS = "fast_motion", "plain"
PATTERNS = {
    "local, 4 cells": {"pattern": "local", "h": 5},
    "local, 1 cell": {"pattern": "local", "h": 2},
    "grid": {"pattern": "grid"},
    "strided": {"pattern": "strided", "h": 5},
}
SIDE = 96


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Train one network and score it."""
    steps, number = (2, 1) if quick else (120, 8)
    torch.manual_seed(seed)
    network = minivos.create_model("sst_mini", "shipped", **PATTERNS[variant])
    clips = clips_of(seed, range(8 * number), 8, (SIDE, SIDE), scenario=SCENARIOS[0])
    train_on(network, clips, SIDE, steps, 5e-4, seed)
    return score_on(network, SCENARIOS, seed, range(1000, 1000 + number), 12, (SIDE, SIDE), side=SIDE)


STUDY = Study(Path(__file__).with_suffix(".csv"), tuple(PATTERNS), SCENARIOS, run, seeds=6)

if __name__ == "__main__":
    STUDY.main(__doc__)
