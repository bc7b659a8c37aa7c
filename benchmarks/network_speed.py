"""Frames per second of the small networks, at short sides of 128, 192 and 480 pixels, on this machine.

    python benchmarks/network_speed.py

A frame is timed as a user meets it: resize, encode, read, masks at full size, memorize.
"""

import time
from statistics import median

import torch
from tqdm import tqdm

from minivos import Tracker, create_model, list_models
from minivos.models import has_weights
from minivos.synthetic.clips import render

WARM_UP, TIMED = 3, 12


def seconds_per_frame(name: str, side: int) -> float:
    """Median seconds of one step with three objects; frames are `side` pixels high and 16:9."""
    clip = render(0, frames=1 + WARM_UP + TIMED, size=(side, side * 16 // 9), objects=3)
    tracker = Tracker(create_model(name), side=side)
    tracker.step(clip.frames[0], clip.masks[0])
    seconds = []
    for frame in clip.frames[1:]:
        began = time.perf_counter()
        tracker.step(frame)
        seconds.append(time.perf_counter() - began)
    return median(seconds[WARM_UP:])


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} CPU threads, 3 objects, median of {TIMED} frames")
    print(f"{'network':12} {'size':>10} {'frames per second':>20}")
    for name in tqdm(filter(has_weights, list_models()), disable=None):
        for side in (128, 192, 480):
            print(f"{name:12} {f'{side * 16 // 9}x{side}':>10} {1 / seconds_per_frame(name, side):20.1f}")
