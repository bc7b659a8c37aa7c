"""What must a memory keep of a long clip in which objects vanish? The same three schedules for all four networks.

    python studies/memory_policy.py              # runs what memory_policy.csv lacks, then prints the effects
    python studies/memory_policy.py --show       # prints the effects alone

The four shipped small networks, each with the given frame and the newest; with every eighth frame beside them; and with
the newest alone. Two rendered clips a seed, 40 frames of 96 x 144 pixels, in which every object goes behind something
or out of the frame and comes back. Seeds choose clips; the weights are the same throughout.
"""

from pathlib import Path

import minivos
from minivos.evaluation.evaluate import evaluate_model
from minivos.evaluation.study import Study, clips_of
from minivos.nn.memory import Schedule

NETWORKS = "aot_mini", "sst_mini", "sitvos_mini", "hst_mini"
SCHEDULES = {
    "given and newest": Schedule(last=1),
    "and every 8th": Schedule(last=1, every=8),
    "newest alone": Schedule(first=False, last=1),
}


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Score one schedule with each network."""
    number, frames = (1, 3) if quick else (2, 40)
    clips = clips_of(seed, range(number), frames, (96, 144), scenario="occlusion_reentry")
    networks = {name: minivos.create_model(name, "shipped") for name in NETWORKS}
    schedule = SCHEDULES[variant]
    return {name: evaluate_model(each, clips, schedule=schedule, side=96).mean for name, each in networks.items()}


STUDY = Study(Path(__file__).with_suffix(".csv"), tuple(SCHEDULES), NETWORKS, run, seeds=6)

if __name__ == "__main__":
    STUDY.main(__doc__)
