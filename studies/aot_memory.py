"""AOT's long-term memory: what does a hidden object need to be found again?

    python studies/aot_memory.py              # runs what aot_memory.csv lacks, then prints the effects
    python studies/aot_memory.py --show       # prints the effects alone

The shipped `aot_mini`, with three schedules of its long-term memory: its own (the given frame and every fifth), the
given frame alone (as the paper's T, S and B), and the frame before alone, so that all it knows is one frame old. Four
rendered clips a seed, 20 frames of 96 x 144 pixels, in which every object goes behind something or out of the frame and
comes back; and four in which none does ("plain"). Seeds choose clips; the weights are the same throughout.
"""

from pathlib import Path

import minivos
from minivos.evaluation.study import Study, score_on
from minivos.nn.memory import Schedule

SCENARIOS = "occlusion_reentry", "plain"
SCHEDULES = {
    "given and every 5th": None,  # its own
    "given frame": Schedule(),
    "frame before": Schedule(first=False, last=1),
}


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Score one schedule."""
    network = minivos.create_model("aot_mini", "shipped")
    number, frames = (1, 3) if quick else (4, 20)
    return score_on(network, SCENARIOS, seed, range(number), frames, (96, 144), schedule=SCHEDULES[variant])


STUDY = Study(Path(__file__).with_suffix(".csv"), tuple(SCHEDULES), SCENARIOS, run)

if __name__ == "__main__":
    STUDY.main(__doc__)
