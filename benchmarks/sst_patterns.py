"""J&F of sst_mini by pattern: each trained alike for a short time, with several seeds.

    python benchmarks/sst_patterns.py                                  # half an hour on one core
    python benchmarks/sst_patterns.py local --steps 1000 --seeds 5

Every run starts from random weights but for the encoder: that of the shipped sst_mini, which stays as it is. It has
been trained with local attention, so the others may be at a slight disadvantage. A run sees clips of 3 frames of 96
pixels and scores at the network's usual size; compare these figures with each other, not with those of the shipped
weights. "still" repeats the first mask. Seeds choose weights and clips.
"""

import argparse

import torch
from tqdm import tqdm

from minivos import create_model
from minivos.evaluation.evaluate import score_on_samples, score_samples
from minivos.training.loop import train
from minivos.training.recipe import Recipe
from minivos.video.baselines import repeat_first_mask

PATTERNS = ("grid", "local", "strided", "local_strided")


def scores(pattern: str, steps: int, seed: int) -> dict[str, float]:
    """J&F on the validation split and on each scenario after a short training."""
    torch.manual_seed(seed)
    network = create_model("sst_mini", pattern=pattern)
    network.encoder.load_state_dict(create_model("sst_mini", weights="shipped").encoder.state_dict())
    network.encoder.requires_grad_(False)
    recipe = Recipe(steps=steps, frames=3, side=96, clip_side=1.0, objects=3, easy=1.0, hardest=0.6, seed=seed)
    train(network, recipe)
    return {name: score["J&F"] for name, score in score_samples(network).items()}


def main() -> None:
    """Print a row for each run, and the mean of each pattern."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=PATTERNS, metavar="PATTERN", help=", ".join(PATTERNS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    settings = parser.parse_args()
    if unknown := set(settings.patterns) - set(PATTERNS):
        parser.error(f"no pattern is called {', '.join(unknown)}; choose from {', '.join(PATTERNS)}")
    known = {name: score["J&F"] for name, score in score_on_samples(repeat_first_mask).items()}
    print(f"{settings.steps} steps; {'pattern':>13} {'seed':>4}" + "".join(f"{name[:11]:>12}" for name in known))
    print(f"{'still':>23} {'':>4}" + "".join(f"{score:12.2f}" for score in known.values()))
    for pattern in tqdm(settings.patterns, disable=None):
        runs = []
        for seed in range(settings.seeds):
            runs.append(scores(pattern, settings.steps, seed))
            print(f"{pattern:>23} {seed:4}" + "".join(f"{runs[-1][name]:12.2f}" for name in known), flush=True)
        means = (sum(run[name] for run in runs) / len(runs) for name in known)
        print(f"{pattern:>23} mean" + "".join(f"{mean:12.2f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
