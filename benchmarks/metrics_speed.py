"""How long J and F take at 480x854, on one thread: python benchmarks/metrics_speed.py"""

import time
from collections.abc import Callable

import numpy as np

from minivos.video.metrics import contour_accuracy, region_similarity, score_labels

SIZE = (480, 854)
FRAMES = 20
OFFICIAL_MS = 4.5  # CPU for J and F of one object in one frame; quoted from a run on a comparable machine


def moving_blobs(objects: int, lag: int = 0) -> np.ndarray:
    """Wobbling blobs on straight paths, later ids in front: uint8 (FRAMES,H,W), shown `lag` frames late."""
    rng = np.random.default_rng(objects)
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    labels = np.zeros((FRAMES, *SIZE), np.uint8)
    for k in range(1, objects + 1):
        start, speed = rng.uniform((80, 120), (400, 730)), rng.uniform(-3, 3, size=2)
        radii, phase = rng.uniform(30, 160, size=2), rng.uniform(0, 6)
        for t in range(FRAMES):
            dy, dx = y - start[0] - speed[0] * (t - lag), x - start[1] - speed[1] * (t - lag)
            angle = np.arctan2(dy, dx)
            wobble = 1 + 0.15 * np.sin(5 * angle + phase + (t - lag) / 9) + 0.05 * np.sin(17 * angle)
            labels[t][(dy / radii[0]) ** 2 + (dx / radii[1]) ** 2 < wobble] = k
    return labels


def milliseconds(function: Callable[..., object], *arguments: np.ndarray) -> float:
    """CPU time of one call, the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function(*arguments)
        times.append(1000 * (time.process_time() - start))
    return min(times)


def main() -> None:
    """Print one row for each number of objects, then the mean over all object-frames."""
    print(f"milliseconds of CPU for one object in one frame at {SIZE[0]}x{SIZE[1]}")
    print("objects      J      F    J+F   score_labels")
    totals, counts = np.zeros(3), range(1, 6)
    for objects in counts:
        gt, pred = moving_blobs(objects), moving_blobs(objects, lag=1)
        masks = [(gt == k, pred == k) for k in range(1, objects + 1)]
        j = sum(milliseconds(region_similarity, *pair) for pair in masks) / FRAMES
        f = sum(milliseconds(contour_accuracy, *pair) for pair in masks) / FRAMES
        both = milliseconds(score_labels, gt, pred) / (FRAMES - 2)
        totals += (j, f, both)
        print(f"{objects:7d} {j / objects:6.2f} {f / objects:6.2f} {(j + f) / objects:6.2f} {both / objects:14.2f}")
    j, f, both = totals / sum(counts)
    print(f"   mean {j:6.2f} {f:6.2f} {j + f:6.2f} {both:14.2f}")
    print(f"official program: {OFFICIAL_MS} ms for J+F (a quoted figure), {OFFICIAL_MS / (j + f):.1f} times as long")


if __name__ == "__main__":
    main()
