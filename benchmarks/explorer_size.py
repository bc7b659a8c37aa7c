"""How large the explorer's page is and how long it takes: `python benchmarks/explorer_size.py`.

The small networks, one by one, on 12 frames of a clip of data_samples, and AOT-T, with random weights, on a rendered
clip of 480x864 pixels. MB are those of the file, scripts and pictures and all; seconds are processor time on one core,
of which `following` is what the network takes without anybody who records.
"""

import logging
import time
from pathlib import Path

import torch
from tqdm import tqdm

from minivos import Clip, Tracker, create_model, explore
from minivos.nn.network import VOSNetwork
from minivos.synthetic.clips import SyntheticClip, render

SAMPLE = Path(__file__).resolve().parents[1] / "data_samples/JPEGImages/480p/crossing_lookalikes"
MINIS = "aot_mini", "sst_mini", "sitvos_mini", "hst_mini"
FRAMES, SIZE = 12, (480, 864)


def following(model: VOSNetwork, clip: Clip | SyntheticClip) -> float:
    """Seconds in which the network follows a clip."""
    began, tracker = time.process_time(), Tracker(model)
    for t, frame in enumerate(clip.frames):
        tracker.step(frame, clip.masks[0] if t == 0 else None)
    return time.process_time() - began


def measure(name: str, model: VOSNetwork, clip: Clip | SyntheticClip, heads: str) -> str:
    """A line of the table."""
    began = time.process_time()
    page = explore({name: model}, clip, frames=FRAMES, heads=heads)
    seconds = time.process_time() - began
    maps = page.given["networks"][0]["maps"]
    kept = "every head" if any(each["heads"] > 1 for each in maps) else "the mean"
    grid = "{}x{}".format(*maps[-1]["grid"])
    size = len(page.html) / 1e6
    return f"{name:12} {kept:11} {len(maps):5} {grid:>6} {size:6.2f} {seconds:8.1f} {following(model, clip):10.1f}"


def main() -> None:
    """Print a line for each network."""
    logging.disable()
    torch.set_num_threads(1)
    clip = Clip.load(SAMPLE)
    jobs = [(name, create_model(name, "shipped"), clip, "auto") for name in MINIS]
    large = render(302, frames=FRAMES, size=SIZE, scenario="crossing_lookalikes")
    jobs.append(("aot_t", create_model("aot_t"), large, "mean"))
    print(f"{'network':12} {'heads':11} {'maps':>5} {'grid':>6} {'MB':>6} {'seconds':>8} {'following':>10}")
    for job in tqdm(jobs, unit="network", disable=None):
        print(measure(*job), flush=True)


if __name__ == "__main__":
    main()
