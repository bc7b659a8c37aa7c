"""Steps of training a minute on a CPU, in float32 and with convolutions in bfloat16, and whether the loss agrees.

    python benchmarks/training_speed.py                        # the small networks
    python benchmarks/training_speed.py aot_mini --steps 100

Two copies of each network, with shipped or else fresh weights, learn from the same batches by the recipe "small": one
makes its step, then the other, so that whatever else the machine does slows both. Times are of the whole step but for
its data, in seconds of the processor. The losses are means over the second half of the steps.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean

import torch

from minivos import create_model, list_models
from minivos.models import has_weights
from minivos.training.loop import Unroll, add_gradients, weight_groups
from minivos.training.pool import Batch
from minivos.training.recipe import Recipe
from minivos.training.samples import clips_for, draw_batches

PRECISIONS = "float32", "bfloat16"


class Learner:
    """A network that learns at one precision."""

    def __init__(self, name: str, precision: str, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        network = create_model(name, "shipped" if has_weights(name) else None).train()
        self.unroll, self.precision, self.recipe = Unroll(network), precision, recipe
        self.optimiser = torch.optim.AdamW(weight_groups(network, recipe.weight_decay), lr=recipe.learning_rate)
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def step(self, batch: Batch) -> None:
        """One step of the optimiser."""
        torch.manual_seed(len(self.losses))
        began = time.process_time()
        self.optimiser.zero_grad()
        loss, _ = add_gradients(self.unroll, [batch], self.recipe, 1.0, self.precision)
        self.optimiser.step()
        self.seconds.append(time.process_time() - began)
        self.losses.append(loss.item())


def learn(name: str, recipe: Recipe, batches: Iterator[Batch]) -> list[Learner]:
    """Both copies after all steps, taken in turn."""
    learners = [Learner(name, precision, recipe) for precision in PRECISIONS]
    for _ in range(recipe.steps):
        batch = next(batches)
        for learner in learners:
            learner.step(batch)
    return learners


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = [name for name in list_models() if name.endswith(("_mini", "_lite"))]
    parser.add_argument("networks", nargs="*", default=small)
    parser.add_argument("--steps", type=int, default=20)
    settings = parser.parse_args()
    torch.set_num_threads(1)  # processor time would count all of them
    if settings.steps < 2:
        parser.error(f"got --steps {settings.steps}; expected 2 or more, for the first is not timed")
    recipe = replace(Recipe(), steps=settings.steps, frames=4, learning_rate=1e-4, auxiliary=0.0, easy=0.0)
    print(f"batches of {recipe.batch} clips of {recipe.frames} frames of {recipe.side}x{recipe.side} pixels\n")
    print("| network | steps a minute, float32 | bfloat16 | ratio | loss, float32 | bfloat16 |")
    print("|---|---|---|---|---|---|")
    for name in settings.networks:
        batches = draw_batches(clips_for(recipe), recipe, 0, range(recipe.batch), workers=0)
        exact, half = learn(name, recipe, batches)
        rates = [60 / fmean(learner.seconds[1:]) for learner in (exact, half)]
        losses = [fmean(learner.losses[recipe.steps // 2 :]) for learner in (exact, half)]
        row = (*(f"{rate:.1f}" for rate in rates), f"{rates[1] / rates[0]:.2f}", *(f"{loss:.3f}" for loss in losses))
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
