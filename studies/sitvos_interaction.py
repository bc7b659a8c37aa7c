"""SITVOS with and without its feature interaction module, on objects whose size changes.

    python studies/sitvos_interaction.py              # runs what the table lacks, then prints the effects
    python studies/sitvos_interaction.py --show       # prints the effects alone

`sitvos_mini`, trained with the module (Eq. 3 and 4) and without it (the query reads M_x itself). Both start from random
weights but for the encoder, which is the shipped one and stays as it is, and see the same clips in the same order: 400
steps of 4 rendered clips in which objects grow or shrink, 64 pixels, three frames of each. Scored on clips that no
training saw: 8 of scale change and 8 of slow motion ("plain") a seed. Seeds choose weights, clips and samples.
"""

from pathlib import Path

import torch

import minivos
from minivos.evaluation.study import Study, clips_of, score_on, train_on

SCENARIOS = "scale_change", "plain"
SIDE = 64


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Train one network and score it."""
    steps, number = (2, 1) if quick else (400, 8)
    torch.manual_seed(seed)
    network = minivos.create_model("sitvos_mini", short_side=SIDE, fim=variant == "with")
    network.encoder.load_state_dict(minivos.create_model("sitvos_mini", "shipped").encoder.state_dict())
    network.encoder.requires_grad_(False)
    clips = clips_of(seed, range(8 * number), 8, (SIDE, SIDE), scenario=SCENARIOS[0])
    train_on(network, clips, SIDE, steps, 1e-3, seed)
    return score_on(network, SCENARIOS, seed, range(1000, 1000 + number), 12, (SIDE, SIDE), side=SIDE)


STUDY = Study(Path(__file__).with_suffix(".csv"), ("with", "without"), SCENARIOS, run, seeds=5)

if __name__ == "__main__":
    STUDY.main(__doc__)
