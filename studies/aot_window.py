"""AOT's short-term attention on fast objects: how far must its window reach?

    python studies/aot_window.py              # runs what aot_window.csv lacks, then prints the effects
    python studies/aot_window.py --show       # prints the effects alone

The shipped `aot_mini` with its window of 9 x 9 cells, and with the middle of it alone: 3 x 3 cells, and the cell
itself. Nothing is trained anew; the weights of the places that are left are the same. A cell is 8 pixels; fast objects
move by 10 to 24 pixels a frame, "plain" ones by 1 to 3. Long-term attention sees all cells in every variant. Eight
rendered clips a seed, 12 frames of 96 x 144 pixels. Seeds choose clips; the weights are the same throughout.
"""

from pathlib import Path

from torch import Tensor

import minivos
from minivos.evaluation.study import Study, score_on

SCENARIOS = "fast_motion", "plain"
WINDOWS = {"9 x 9 cells": 9, "3 x 3 cells": 3, "1 cell": 1}


def middle(name: str, weights: Tensor, before: int, after: int) -> Tensor:
    """Of what short-term attention has for each place in a window, keep what lies in its middle."""
    edge = (before - after) // 2
    inside = slice(edge, edge + after)
    if ".relative_score." in name:  # (heads * places, ...)
        places = weights.unflatten(0, (-1, before, before))[:, inside, inside]
        return places.flatten(0, 2)
    if name.endswith(".relative_value"):  # (..., places)
        return weights.unflatten(-1, (before, before))[..., inside, inside].flatten(-2)
    return weights


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Score one window."""
    shipped, window = minivos.create_model("aot_mini", "shipped"), WINDOWS[variant]
    network = minivos.create_model("aot_mini", window=window)
    known = shipped.state_dict().items()
    network.load_state_dict({name: middle(name, weights, shipped.config.window, window) for name, weights in known})
    number, frames = (1, 3) if quick else (8, 12)
    return score_on(network, SCENARIOS, seed, range(number), frames, (96, 144), side=96)


STUDY = Study(Path(__file__).with_suffix(".csv"), tuple(WINDOWS), SCENARIOS, run, seeds=10)

if __name__ == "__main__":
    STUDY.main(__doc__)
