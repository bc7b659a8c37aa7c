"""Frames per second of a small network, alone and beside another busy process, by how its threads wait.

    python benchmarks/beside_a_busy_loop.py                       # aot_mini, on all cores and on one
    python benchmarks/beside_a_busy_loop.py --model sst_mini --busy 2

A network works on all cores, and at the end of each small task its threads wait for the slowest. Those that wait
"active" keep their core busy meanwhile; where another process needs it, everything waits for that process. Those that
wait "passive" leave the core to it. "as torch does" is what OpenMP does when nobody asks: active for some milliseconds.
"as minivos does" is the same with minivos imported before torch, which asks for passive threads. Each figure is from a
process of its own; of several rounds, in which all take turns, the median counts.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

FORMS = {  # what is imported first, and the policy that the environment asks for
    "active": ("torch", "active"),
    "passive": ("torch", "passive"),
    "as torch does": ("torch", None),
    "as minivos does": ("minivos", None),
}
MEASURE = """
import {first}
import time
import minivos
from minivos.synthetic.clips import render
clip = render(0, frames=1 + {frames}, size=({side}, {side} * 16 // 9), objects=3)
tracker, seconds = minivos.Tracker(minivos.create_model({model!r}), side={side}), []
for t, frame in enumerate(clip.frames):
    began = time.perf_counter()
    tracker.step(frame, clip.masks[0] if t == 0 else None)
    seconds.append(time.perf_counter() - began)
print({frames} / sum(seconds[1:]))
"""


def measure(settings: argparse.Namespace, form: str, threads: int, busy: int) -> float:
    """Frames per second in a new process, beside so many that count without end."""
    first, policy = FORMS[form]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_NUM_THREADS": str(threads)} | ({"OMP_WAIT_POLICY": policy} if policy else {})
    code = MEASURE.format(first=first, model=settings.model, side=settings.side, frames=settings.frames)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    return float(answer.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="aot_mini")
    parser.add_argument("--side", type=int, default=192, help="short side in pixels")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--busy", type=int, default=1, help="number of busy processes")
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows = [*((form, cores) for form in FORMS), ("as minivos does", 1)]
    found = {(row, busy): [] for row in dict.fromkeys(rows) for busy in (0, settings.busy)}
    for _ in range(settings.rounds):
        for row, busy in found:
            found[row, busy].append(measure(settings, *row, busy))
    print(f"{settings.model} at {settings.side} pixels, frames per second, median of {settings.rounds} rounds")
    print(f"{'threads wait':>15} {'threads':>8} {'alone':>6} {f'beside {settings.busy}':>9} {'ratio':>6}")
    for form, threads in rows:
        alone, beside = (median(found[(form, threads), busy]) for busy in (0, settings.busy))
        print(f"{form:>15} {threads:8} {alone:6.1f} {beside:9.1f} {beside / alone:6.2f}")


if __name__ == "__main__":
    main()
