"""What one layer of SST's attention costs as videos grow: time, peak memory, multiplications, and growth exponents.

    python benchmarks/sst_attention.py           # up to 16 x 64 x 64 cells of 32 channels, one head
    python benchmarks/sst_attention.py --quick   # up to 8 x 32 x 32

"dense" is PyTorch's fused attention over all pairs, which builds no map; "map" is dense attention that does, as is
needed to see the weights. h is the root of the grid's width. Local and strided layers see all frames. Each row is a
process of its own; its memory is what the layer adds to that of its inputs. An exponent e says that cost grows as the
size to the power e, fitted over the rows: with the side of the grid at 8 frames, and with the frames at a side of 32.
"""

import argparse
import math
import multiprocessing
import time

import numpy as np
import torch

from minivos.evaluation.cost import peak_memory
from minivos.nn.patterns import Pattern
from minivos.sst import attend_sparsely, find_pattern

CHANNELS, REPEATS, LIMIT_GIB = 32, 3, 8
SIDES, FRAMES = (16, 32, 48, 64), (2, 4, 8, 16)
PATTERNS = ("dense", "map", "grid", "local", "strided")
CLAIMS = {  # exponents of the side (H = W = n, large against T) and of T that the paper's O() means
    "dense": "O(C (THW)^2): 4, 2",
    "map": "O(C (THW)^2): 4, 2",
    "grid": "O(C (T+H+W) THW): 3, 1",
    "local": "O(C (THW)^1.5): 3, 1.5",
    "strided": "O(C (THW)^1.5): 3, 1.5",
}
Shape = tuple[int, int, int]


def pattern_for(name: str, shape: Shape) -> Pattern:
    """The pattern with h near the root of the width."""
    return find_pattern("dense" if name == "map" else name, round(math.sqrt(shape[2])), temporal="dense")


@torch.inference_mode()
def measure(name: str, shape: Shape) -> tuple[float, float]:
    """Seconds (the least of three runs, or of as many as half a second holds), and MiB that the layer adds."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, CHANNELS, *shape)
    pattern = pattern_for(name, shape)
    attend_sparsely(*(x[..., :2, :2, :2] for x in (q, k, v)), pattern)  # load what is loaded on first use
    before, seconds = peak_memory(), []
    while len(seconds) < REPEATS or sum(seconds) < 0.5:
        began = time.perf_counter()
        if name == "map":
            mine, theirs, values = (x[0].flatten(1) for x in (q, k, v))
            (mine.T @ theirs).softmax(dim=1) @ values.T
        else:
            attend_sparsely(q, k, v, pattern)
        seconds.append(time.perf_counter() - began)
    return min(seconds), peak_memory() - before


def exponent(sizes: list[int], costs: list[float]) -> float:
    """The slope of log cost over log size."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 8 x 32 x 32")
    sides, lengths = (SIDES[:2], FRAMES[:3]) if parser.parse_args().quick else (SIDES, FRAMES)
    largest = [] if len(sides) == 2 else [(16, 64, 64)]
    shapes = sorted({(8, n, n) for n in sides} | {(t, 32, 32) for t in lengths} | set(largest), key=math.prod)
    context, seconds = multiprocessing.get_context("spawn"), {}
    print(f"{CHANNELS} channels, one head, float32, {torch.get_num_threads()} CPU threads")
    print(f"{'T x H x W':>12} {'pattern':>8} {'seconds':>9} {'MiB':>8} {'10^9 mult.':>11}")
    for shape in shapes:
        for name in PATTERNS:
            work = 2 * CHANNELS * pattern_for(name, shape).pairs(shape) / 1e9
            label = f"{' x '.join(map(str, shape)):>12} {name:>8}"
            gib = 4 * math.prod(shape) ** 2 / 2**30
            if name == "map" and 2 * gib > LIMIT_GIB:
                print(f"{label} {'-':>9} {'-':>8} {work:11.3f}  the map alone has {gib:.0f} GiB", flush=True)
                continue
            with context.Pool(1) as pool:
                seconds[name, shape], mib = pool.apply(measure, (name, shape))
            print(f"{label} {seconds[name, shape]:9.4f} {mib:8.0f} {work:11.3f}", flush=True)

    print(f"\n{'exponents':8} {'side: time':>12} {'mult.':>6} {'T: time':>9} {'mult.':>6}   the paper's claim: side, T")
    for name in PATTERNS:
        row = []
        for sizes, shape_of in ((sides, lambda n: (8, n, n)), (lengths, lambda t: (t, 32, 32))):
            done = [n for n in sizes if (name, shape_of(n)) in seconds]
            row.append(exponent(done, [seconds[name, shape_of(n)] for n in done]))
            row.append(exponent(list(sizes), [pattern_for(name, shape_of(n)).pairs(shape_of(n)) for n in sizes]))
        print(f"{name:>8} {row[0]:13.2f} {row[1]:6.2f} {row[2]:9.2f} {row[3]:6.2f}   {CLAIMS[name]}")


if __name__ == "__main__":
    main()
