"""AOT's identities: must training give an object a random one?

    python studies/aot_identities.py              # runs what aot_identities.csv lacks, then prints the effects
    python studies/aot_identities.py --show       # prints the effects alone

`aot_mini` learns its identities anew: the bank and the last layer of the decoder, which has an output for each of
them, are random, all else begins with the shipped weights. 200 steps of 4 rendered clips of two or three objects, 96
pixels, three frames of each. In one variant object k gets a random identity of the ten, as in the paper (Sec. 4.1);
in the other it gets identity k, so that training uses three of the ten. Scored on clips that no training saw: 8 of five
to eight objects, 8 of look-alikes that cross and 8 of slow motion ("plain") a seed, the last two with two or three
objects. Seeds choose clips, samples and new weights.
"""

from pathlib import Path

import torch

import minivos
from minivos.evaluation.study import Study, clips_of, score_on, train_on

SCENARIOS = "many_objects", "crossing_lookalikes", "plain"
SIDE = 96
NEW = "identity_bank.", "decoder.conv_out."


def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
    """Train one network and score it."""
    steps, number = (2, 1) if quick else (200, 8)
    torch.manual_seed(seed)
    network = minivos.create_model("aot_mini", shuffle_identities=variant == "random")
    shipped = minivos.create_model("aot_mini", "shipped").state_dict()
    kept = {name: value for name, value in shipped.items() if not name.startswith(NEW)}
    network.load_state_dict(kept, strict=False)
    clips = clips_of(seed, range(8 * number), 8, (SIDE, SIDE), scenario="plain")
    train_on(network, clips, SIDE, steps, 5e-4, seed)
    return score_on(network, SCENARIOS, seed, range(1000, 1000 + number), 12, (SIDE, SIDE), side=SIDE)


STUDY = Study(Path(__file__).with_suffix(".csv"), ("random", "in order"), SCENARIOS, run, seeds=5)

if __name__ == "__main__":
    STUDY.main(__doc__)
