"""Memory and work of one training step of every network by the recipes of its paper, and the GPUs that a stage takes.

    python benchmarks/training_memory.py                       # all of them, counted
    python benchmarks/training_memory.py aot_t hst_t           # some
    python benchmarks/training_memory.py aot_mini --measure    # a real step beside what was counted

Counted: one clip goes forward through the network at the size of its recipe, on the CPU in float32; the tensors that
autograd saves for the way back are added up, each storage once, and let go, so that little memory is needed; torch
counts the operations of matrix products, convolutions and attention. To that come 20 bytes for each weight: itself, its
gradient, its average, and two moments of AdamW. Buffers for a single operation are not in it: --measure compares the
peak of a process that makes whole steps, which is higher.

On paper: the numbers of GPUs are the fewest that hold the batch at once in float32, when what is counted may fill seven
tenths of their memory; bfloat16 takes less. With --accumulate one is enough wherever one clip fits.
"""

import argparse
import multiprocessing
from dataclasses import dataclass, replace

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from minivos import create_model
from minivos.evaluation.cost import peak_memory
from minivos.nn.network import VOSNetwork
from minivos.nn.summary import count_parameters
from minivos.training.checks import fit_side
from minivos.training.loop import Unroll, train
from minivos.training.recipe import RECIPES, Recipe

STAGES = {
    "aot_t": "aot_video", "aot_s": "aot_video", "aot_b": "aot_video", "aot_l": "aot_video", "r50_aot_l": "aot_video",
    "swinb_aot_l": "aot_video", "sst": "sst_video", "sitvos": "sitvos_video", "hst_t": "hst_video",
    "hst_s": "hst_video", "hst_b": "hst_video", "hst_l": "hst_video",
    "aot_mini": "small", "sst_mini": "small", "sitvos_mini": "small", "hst_mini": "small",
}  # fmt: skip
BYTES_PER_WEIGHT = 20
USABLE = 0.7  # of its memory: a step takes more than what is counted, see --measure
GPUS = (24, 80)  # GB of memory


@dataclass
class Row:
    """What one clip of a recipe takes."""

    name: str
    recipe: Recipe
    weights: int
    clip: int  # bytes that wait for the way back
    operations: int  # forward

    def fixed(self) -> int:
        """Bytes that do not depend on the batch."""
        return BYTES_PER_WEIGHT * self.weights

    def gpus(self, gigabytes: int) -> str:
        """The fewest GPUs among which the batch divides and fits."""
        for number in range(1, self.recipe.batch + 1):
            share = self.recipe.batch / number
            need = self.fixed() + share * self.clip
            if share.is_integer() and need <= USABLE * gigabytes * 1e9:
                return str(number)
        return "-"


def make_clip(recipe: Recipe, objects: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise (1,T,3,H,W) with objects that stand as columns, (1,T,H,W)."""
    side = recipe.side
    columns = torch.arange(side) * (objects + 1) // side
    return torch.rand(1, recipe.frames, 3, side, side), columns.expand(1, recipe.frames, side, side).contiguous()


def saved_bytes(network: VOSNetwork, recipe: Recipe, objects: int) -> tuple[int, int]:
    """Bytes saved for the way back of one clip, and operations of the way forward."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict(keep_vars=True).values()}
    alive: dict[int, StorageWeakRef] = {}
    total = 0

    def let_go(tensor: torch.Tensor) -> None:
        nonlocal total
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        counted = place in alive and not alive[place].expired()
        if place not in own and not counted:
            total += storage.nbytes()
            alive[place] = StorageWeakRef(storage)

    counter = FlopCounterMode(display=False)
    hooks = torch.autograd.graph.saved_tensors_hooks(let_go, lambda _: None)
    with hooks, counter:
        Unroll(network)(*make_clip(recipe, objects), recipe, 0.0)
    return total, counter.get_total_flops()


def count(name: str, objects: int) -> Row:
    """One row of the table."""
    network = create_model(name).train()
    recipe = fit_side(network, RECIPES[STAGES[name]])
    return Row(name, recipe, count_parameters(network), *saved_bytes(network, recipe, objects))


def measure(name: str, objects: int) -> tuple[float, float]:
    """Bytes by which two steps with one clip raise the peak memory of this process, and seconds of the second."""
    network = create_model(name)
    recipe = replace(fit_side(network, RECIPES[STAGES[name]]), batch=1, steps=2, pool=0)
    frames, labels = make_clip(recipe, objects)
    clip = (frames[0].movedim(1, -1) * 255).byte().numpy(), labels[0].byte().numpy()
    before = peak_memory()
    log = train(network, replace(recipe, objects=objects), None, "cpu", lambda number: clip)
    return (peak_memory() - before) * 2**20, log[-1]["seconds"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(STAGES), help="names; all if not given")
    parser.add_argument("--objects", type=int, default=3, help="in the clip")
    parser.add_argument("--measure", action="store_true", help="make real steps, too, each in a process of its own")
    settings = parser.parse_args()
    heads = ("network", "recipe", "side", "frames", "batch", "weights M", "fixed GB", "clip GB", "GFLOP")
    print(
        f"{settings.objects} objects; GFLOP of one clip, forward; GPUs on paper, for the whole batch in float32",
        flush=True,
    )
    print("| " + " | ".join([*heads, *(f"GPUs {g} GB" for g in GPUS)]) + " |")
    print("|---|---|" + (len(heads) - 2 + len(GPUS)) * "---:|", flush=True)
    for name in settings.networks:
        row = count(name, settings.objects)
        recipe = row.recipe
        sizes = [name, STAGES[name], *map(str, (recipe.side, recipe.frames, recipe.batch)), f"{row.weights / 1e6:.1f}"]
        numbers = [f"{cost / 1e9:.2f}" for cost in (row.fixed(), row.clip)]
        numbers.append(f"{row.operations / 1e9:,.0f}")
        print("| " + " | ".join([*sizes, *numbers, *map(row.gpus, GPUS)]) + " |", flush=True)
        if settings.measure:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peak, seconds = pool.apply(measure, (name, settings.objects))
            counted = row.fixed() + row.clip
            print(f"{name}: measured {peak / 1e9:.2f} GB, counted {counted / 1e9:.2f}; a step took {seconds:.1f} s")
