"""What HST's memory read costs as the memory grows: time per stage and peak memory, top-k beside dense.

    python benchmarks/hst_read.py                   # 480x864, HST-B, k=128, one object
    python benchmarks/hst_read.py --size 224 416    # smaller frames, k=29: the same share of them

"map" is the dense read of the paper's comparison, which holds all weights of a stage; "dense" gives the same by a fused
kernel, which holds none, in chunks of 16 coarse cells, as top-k has them. The arithmetic ratio is that of the finer
stages, dense over top-k: T H4 W4 / k. Time and memory are measured in processes of their own. Memory is what the read
adds to keys and values, when what it frees goes back to the system at once; where it does not, which is faster, a
process may hold some hundred MiB more.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Mapping
from unittest.mock import patch

import torch

from minivos.evaluation.cost import peak_memory
from minivos.hst import HSTConfig, Stage

WIDTHS, TIMES, KINDS, LIMIT_GIB = (128, 256, 512, 1024), (1, 2, 4, 8), ("top-k", "dense", "map"), 12
STAGES = (4, 3, 2, 1)
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}  # what is freed, from 1 MiB up; read by Linux's malloc


def make_stage(number: int, times: int, coarse: tuple[int, int]) -> Stage:
    """Random keys and values of a stage in HST-B's widths."""
    config, width, side = HSTConfig(), WIDTHS[number - 1], 2 ** (4 - number)
    keys, values, size = width // config.key_share, width // config.value_share, [n * side for n in coarse]
    q, k, v = torch.randn(1, keys, *size), torch.randn(1, keys, times, *size), torch.randn(1, values, times, *size)
    return Stage.cut(number, q * keys**-0.5, k, v, frames=tuple(range(times)), objects=(1,))


def read_by_map(stage: Stage) -> torch.Tensor:
    """The dense read written out."""
    queries, keys, values = (part.flatten(1, 2) for part in (stage.queries, stage.keys, stage.values))
    return (queries @ keys.mT).softmax(dim=-1) @ values


@torch.inference_mode()
def measure(kind: str, times: int, coarse: tuple[int, int], k: int, tries: int) -> tuple[list[float], float]:
    """Seconds of each stage, coarsest first (the least of so many tries, or of 3 seconds), and MiB that it adds."""
    torch.manual_seed(0)
    stages = [make_stage(number, times, coarse) for number in STAGES]
    small = make_stage(3, 1, (1, 1))
    small.read(small.best(1), chunk=1)  # load what is loaded on first use
    before, seconds, chunk = peak_memory(), [], HSTConfig().chunk
    for stage in stages:
        spent = []
        while len(spent) < tries and sum(spent) < 3:
            began = time.perf_counter()
            if stage.number == 4 and kind == "top-k":
                chosen = stage.best(k)
            if kind == "map":
                read_by_map(stage)
            else:
                stage.read(None if stage.number == 4 or kind != "top-k" else chosen, chunk)
            spent.append(time.perf_counter() - began)
        seconds.append(min(spent))
    return seconds, peak_memory() - before


def measure_alone(*arguments: object, environment: Mapping[str, str] | None = None) -> tuple[list[float], float]:
    """`measure` in a new process."""
    with patch.dict(os.environ, environment or {}), multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def whole_cells(pixels: str) -> int:
    """Coarse cells along a side of so many pixels."""
    if not pixels.isdecimal() or int(pixels) % 32 or int(pixels) == 0:
        raise argparse.ArgumentTypeError(f"got {pixels}; expected a multiple of 32 pixels, 32 or more")
    return int(pixels) // 32


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=whole_cells, nargs=2, default=[15, 27], metavar=("HEIGHT", "WIDTH"))
    coarse = parser.parse_args().size
    cells = coarse[0] * coarse[1]
    k, totals = max(1, round(128 * cells / 405)), {}
    print(f"{coarse[0]} x {coarse[1]} coarse cells, k={k}, float32, {torch.get_num_threads()} CPU threads")
    print(
        f"{'T':>2} {'read':>6} {'stage 4':>8} {'3':>6} {'2':>6} {'1':>6} {'seconds':>8} {'MiB':>6}   times top-k; mult."
    )
    for times in TIMES:
        for kind in KINDS:
            gib = 4 * times * (cells * 64) ** 2 / 2**30  # the map of stage 1
            if kind == "map" and 2 * gib > LIMIT_GIB:
                print(f"{times:2} {kind:>6}  the map of stage 1 alone has {gib:.0f} GiB")
                continue
            seconds, _ = measure_alone(kind, times, coarse, k, 3)
            _, mib = measure_alone(kind, times, coarse, k, 1, environment=GIVE_BACK)
            totals[kind, times] = total = sum(seconds)
            ratios = "" if kind == "top-k" else f"{total / totals['top-k', times]:8.1f} {times * cells / k:9.2f}"
            each = f"{seconds[0]:8.3f} {seconds[1]:6.2f} {seconds[2]:6.2f} {seconds[3]:6.2f}"
            print(f"{times:2} {kind:>6} {each} {total:8.2f} {mib:6.0f}{ratios}", flush=True)
    first, last = (totals["top-k", times] for times in (TIMES[0], TIMES[-1]))
    print(f"top-k from T={TIMES[0]} to T={TIMES[-1]}: {last / first - 1:+.0%}")


if __name__ == "__main__":
    main()
