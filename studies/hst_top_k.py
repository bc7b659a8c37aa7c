"""HST's guided read: how many coarse cells should the finer stages look under?

    python studies/hst_top_k.py              # runs what hst_top_k.csv lacks, then prints the effects
    python studies/hst_top_k.py --show       # prints the effects alone

The shipped `hst_mini`, trained with k = 8, with k = 1, 2, 8 and all cells (a dense read at every stage). Nothing is
trained again, which favours 8. Three rendered clips a seed, 12 frames of 96 x 144 pixels, of objects with thin parts,
and of compact ones ("plain"). Seeds choose clips.
"""

from pathlib import Path

import minivos
from minivos.evaluation.study import Study, score_on

SCENARIOS = "thin_parts", "plain"
CELLS = {"k = 8": 8, "k = 1": 1, "k = 2": 2, "all cells": None}


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Score one k."""
    network = minivos.create_model("hst_mini", "shipped", top_k=CELLS[variant])
    number, frames = (1, 3) if quick else (3, 12)
    return score_on(network, SCENARIOS, seed, range(number), frames, (96, 144))


STUDY = Study(Path(__file__).with_suffix(".csv"), tuple(CELLS), SCENARIOS, run, seeds=5)

if __name__ == "__main__":
    STUDY.main(__doc__)
