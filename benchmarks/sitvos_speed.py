"""Seconds per frame of SITVOS for several numbers of objects and memory frames, and what sharing saves.

    python benchmarks/sitvos_speed.py                        # 480x854, CPU
    python benchmarks/sitvos_speed.py --size 240 426

"shared" is the package's network: what is the same for all objects is computed once per frame. "per object" is the same
network with everything done for each object: its backbone sees the frame as often as there are objects. Both answer
alike, which is asserted. A frame is timed from pixels at the network's size to log odds and back into memory, both
forms in turn. Weights are random: they do not change the time.
"""

import argparse
import time
from statistics import median

import torch
from torch import Tensor

from minivos import create_model
from minivos.nn.memory import Memory, Schedule
from minivos.nn.objects import object_log_odds
from minivos.sitvos import SITVOS

TIMED = 3


def memory_of(network: SITVOS, frame: Tensor, masks: Tensor, frames: int) -> Memory:
    """A memory that holds the frame so many times."""
    memory = Memory(Schedule(previous=0, every=1))
    for t in range(frames):
        memory.add(network.memorize(network.encode(frame), masks), t, reference=t == 0)
    return memory


def shared(network: SITVOS, frame: Tensor, memory: Memory) -> Tensor:
    """One pass for all objects."""
    logits, seen = network.read(network.encode(frame), memory)
    network.memorize(seen, logits.softmax(dim=1))
    return logits


def per_object(network: SITVOS, frame: Tensor, memories: list[Memory]) -> Tensor:
    """A pass for each object, from the backbone to the decoder and back into memory."""
    reads = [network.read(network.encode(frame), memory) for memory in memories]
    logits = object_log_odds(torch.cat([answer[:, 1:].sigmoid() for answer, _ in reads], dim=1))
    probabilities = logits.softmax(dim=1)
    for k, (_, seen) in enumerate(reads, start=1):
        network.memorize(seen, probabilities[:, [0, k]])
    return logits


@torch.inference_mode()
def measure(network: SITVOS, size: tuple[int, int], objects: int, frames: int) -> tuple[float, float]:
    """Median seconds per frame, shared and per object."""
    chance = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 3, *size, generator=chance)
    masks = torch.rand(1, 1 + objects, *size, generator=chance).softmax(dim=1)
    memory = memory_of(network, frame, masks, frames)
    memories = [memory_of(network, frame, masks[:, [0, k]], frames) for k in range(1, 1 + objects)]
    seconds, answers = {shared: [], per_object: []}, {}
    for _ in range(1 + TIMED):
        for form, remembered in ((shared, memory), (per_object, memories)):
            began = time.perf_counter()
            answers[form] = form(network, frame, remembered)
            seconds[form].append(time.perf_counter() - began)
    assert torch.allclose(answers[shared], answers[per_object], atol=1e-2)
    return tuple(median(spent[1:]) for spent in seconds.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--memory", type=int, nargs="+", default=[1, 2, 7], help="numbers of memory frames")
    parser.add_argument("--size", type=int, nargs=2, default=[480, 854], metavar=("HEIGHT", "WIDTH"))
    settings = parser.parse_args()
    torch.manual_seed(0)
    network, (height, width) = create_model("sitvos"), settings.size
    print(f"{width}x{height}, {torch.get_num_threads()} CPU threads, float32, median of {TIMED} frames")
    print(f"{'memory frames':>13} {'objects':>8} {'shared':>8} {'per object':>11} {'ratio':>6}")
    for frames in settings.memory:
        for objects in settings.objects:
            one, other = measure(network, (height, width), objects, frames)
            print(f"{frames:13} {objects:8} {one:8.2f} {other:11.2f} {other / one:6.2f}", flush=True)


if __name__ == "__main__":
    main()
