"""What recording one map costs at the size of AOT-L: 480p, 30 x 54 cells, five frames in memory.

    python benchmarks/recording.py
    python benchmarks/recording.py --grid 24 43 --frames 8 --heads 4 --channels 24       # aot_mini

Long-term attention, timed in turn without recording, with the weights of two cells and with all of them; and the
largest tensor that each makes beside queries, keys and values. Seconds are those of the processor.
"""

import argparse
import math
import time
from contextlib import nullcontext
from statistics import median

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minivos import record_attention
from minivos.nn.attention import attend

ROUNDS, QUERIES = 5, [(2, 3), (5, 7)]
WAYS = {
    "not recorded": nullcontext,
    "two cells": lambda: record_attention(queries=QUERIES),
    "whole": record_attention,
}


class Largest(TorchDispatchMode):
    """Notes how many bytes the largest tensor has that anything computes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        if isinstance(answer, Tensor):
            self.bytes = max(self.bytes, answer.nbytes)
        return answer


@torch.inference_mode()
def measure(grid: tuple[int, int], frames: int, heads: int, channels: int) -> None:
    """Print a row for each way."""
    cells = math.prod(grid)
    q, k, v = (torch.randn(1, heads, cells * times, channels) for times in (1, frames, frames))
    given, seconds = (q, k, v, "long_term", (frames, *grid), tuple(range(frames))), {way: [] for way in WAYS}
    plain, largest = attend(*given), {}
    for way, recording in WAYS.items():
        with recording(), Largest() as found:
            assert torch.equal(attend(*given), plain), f"{way} changes the answer"
        largest[way] = found.bytes
    for _ in range(ROUNDS):
        for way, recording in WAYS.items():  # in turn, so that what disturbs the machine disturbs all alike
            began = time.process_time()
            with recording():
                attend(*given)
            seconds[way].append(time.process_time() - began)
    least = median(seconds["not recorded"])
    for way in WAYS:
        took = median(seconds[way])
        print(f"{way:14} {took:8.3f} s {took / least:8.2f} times {largest[way] / 2**20:10.1f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, nargs=2, default=(30, 54), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=5, help="in memory")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--channels", type=int, default=32, help="of a head")
    settings = parser.parse_args()
    print(f"{torch.get_num_threads()} CPU threads")
    measure(tuple(settings.grid), settings.frames, settings.heads, settings.channels)
