"""J, F and J&F of the shipped networks and of the two baselines, on the validation split and on each scenario.

python benchmarks/baselines.py                       # data_samples
python benchmarks/baselines.py CLIP [CLIP ...]       # folders with frames/ and masks/, or DAVIS sequences
"""

import sys
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from minivos import Clip, create_model, list_models, propagate
from minivos.evaluation.evaluate import Evaluation, every_mask
from minivos.models import has_weights
from minivos.video.baselines import block_matching, repeat_first_mask
from minivos.video.datasets import DavisDataset, samples_root

Method = Callable[[Clip], np.ndarray]


def methods() -> dict[str, Method]:
    """Everything that is compared: clip -> labels (T, H, W)."""
    networks = {name: create_model(name, weights="mini") for name in list_models() if has_weights(name)}
    trained = {name: partial(propagate, network) for name, network in networks.items()}
    return trained | {"first mask repeated": repeat_first_mask, "block matching": block_matching}


def score(method: Method, clips: Iterable[Clip]) -> tuple[float, float, float]:
    """J, F, J&F over all objects of the clips."""
    return Evaluation.of({clip.name: (every_mask(clip), method(clip)) for clip in clips}).summary()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sets = {clip.name: [clip] for clip in map(Clip.load, sys.argv[1:])}
    else:
        root = samples_root()
        sets = {"val": DavisDataset(root, "val")} | {clip.name: [clip] for clip in DavisDataset(root, "scenarios")}
    compared = methods()
    print(f"{'clips':22}" + "".join(f"{name:>24}" for name in compared))
    for name, clips in sets.items():
        scores = (score(method, clips) for method in compared.values())
        print(f"{name:22}" + "".join(f"{j:10.3f}/{f:.3f}/{both:.3f}".rjust(24) for j, f, both in scores))
