"""Does confidence tell where a network is wrong, and which frame to correct?

For each network with weights and each clip of the scenarios: the correlation of the expected J with the true one over
all frames and objects that are seen, and the mean J when one more true mask is given: in the frame that is named by
`minivos segment` (its least certain object), in the middle frame, and, as the most that one mask can do, in the best of
some frames.

    python benchmarks/corrections.py [MODEL ...]
"""

import sys
from statistics import fmean

import numpy as np

from minivos import create_model, list_models
from minivos.models import has_weights
from minivos.propagation import follow
from minivos.video.clip import Clip
from minivos.video.datasets import DavisDataset, samples_root
from minivos.video.masks import is_object
from minivos.video.metrics import region_similarity

TRIED = 4  # frames, evenly spread, among which the best is sought


def run(network, clip: Clip, *more: int) -> tuple[float, list[tuple[float, float, int]]]:
    """Mean J of a clip with true masks at frame 0 and at `more`; confidence, J and frame of whatever is seen."""
    given = {t: clip.masks[t] for t in (0, *more) if is_object(clip.masks[t]).any()}
    ids = [int(i) for i in np.unique(clip.masks[0]) if i not in (0, 255)]
    every, seen = [], []
    for t, answer in enumerate(follow(network, clip.frames, given)):
        for i in ids:
            j = region_similarity(clip.masks[t][None] == i, answer.labels[None] == i)[0]
            every.append(j)
            if t not in given and answer.confidence.get(i, 0) > 0:
                seen.append((answer.confidence[i], j, t))
    return fmean(every), seen


def main(names: list[str]) -> None:
    """Print a line per network."""
    clips = list(DavisDataset(samples_root(), split="scenarios"))
    print(f"{'':12} correlation   J: one mask   + least certain   + middle   + best of {TRIED}")
    for name in names or [name for name in list_models() if has_weights(name)]:
        network, rows, seen = create_model(name, "shipped"), [], []
        for clip in clips:
            before, told = run(network, clip)
            seen += told
            last = len(clip.frames) - 1
            tried = [run(network, clip, t)[0] for t in np.linspace(1, last, TRIED + 1).astype(int)[:-1].tolist()]
            hinted = run(network, clip, min(told)[2])[0]
            rows.append((before, hinted, run(network, clip, len(clip.frames) // 2)[0], max(*tried, hinted)))
        r = np.corrcoef([c for c, _, _ in seen], [j for _, j, _ in seen])[0, 1]
        print(
            f"{name:12} {r:11.2f}" + "   {:11.3f}   {:15.3f}   {:8.3f}   {:11.3f}".format(*np.mean(rows, axis=0)),
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
