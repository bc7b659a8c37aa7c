"""This checkout against another one: a frame of aot_mini, and short-term attention in training.

    git worktree add ../before b15d6fa
    python benchmarks/against.py ../before

Each is measured in a process of its own, in turn: a step of the tracker at aot_mini's own side, of a video of 480x854
with three objects, once the memory is full; short-term attention forward and backward, for a batch of 8 samples of
16 x 16 cells; float32 and bfloat16. Milliseconds are those of the processor, medians.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from minivos import Tracker, create_model
from minivos.aot import KeysValues, ShortTermAttention
from minivos.synthetic.clips import render

HERE = Path(__file__).resolve().parents[1]
ROUNDS, TIMED = 3, 5
FULL = 22  # frames after which the memory of either checkout is full


def milliseconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    began = time.process_time()
    call()
    return 1000 * (time.process_time() - began)


def tracking(precision: str) -> float:
    """Of one step."""
    clip = render(0, frames=FULL + TIMED, size=(480, 854), objects=3)
    tracker = Tracker(create_model("aot_mini"), precision=precision)
    tracker.step(clip.frames[0], clip.masks[0])
    for frame in clip.frames[1:FULL]:
        tracker.step(frame)
    return median(milliseconds(lambda frame=frame: tracker.step(frame)) for frame in clip.frames[FULL:])


def training(half: bool) -> float:
    """Of short-term attention, forward and backward."""
    attention = ShortTermAttention(width=96, heads=4, window=9)
    q, k, v = (torch.randn(8, 256, 96, requires_grad=True) for _ in range(3))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            read = attention(q, KeysValues(k, v, (1, 16, 16)))
        read.float().square().sum().backward()

    step()
    return median(milliseconds(step) for _ in range(TIMED))


def measure() -> dict[str, float]:
    """All figures of the checkout on the path."""
    return {
        "a frame": tracking("float32"),
        "a frame in bfloat16": tracking("bfloat16"),
        "short-term, forward and backward": training(half=False),
        "the same in bfloat16": training(half=True),
    }


def measure_in(root: Path) -> dict[str, float]:
    """All figures of the checkout in root."""
    command = [sys.executable, str(Path(__file__).resolve()), "--measure"]
    environment = os.environ | {"PYTHONPATH": str(root.resolve())}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?", default=HERE, help="the other checkout")
    parser.add_argument("--measure", action="store_true", help="print the figures of this one only, as JSON")
    settings = parser.parse_args()
    if settings.measure:
        print(json.dumps(measure()))
        sys.exit()
    pairs = [(measure_in(settings.root), measure_in(HERE)) for _ in range(ROUNDS)]
    print(f"{torch.get_num_threads()} CPU threads\n{'ms':34} {'other':>8} {'this':>8} {'other / this':>14}")
    for what in pairs[0][0]:
        other, this = (median(pair[i][what] for pair in pairs) for i in (0, 1))
        print(f"{what:34} {other:8.1f} {this:8.1f} {other / this:14.2f}")
