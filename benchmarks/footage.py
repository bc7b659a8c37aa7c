"""What training samples cost: milliseconds of one CPU core for one of each kind of footage, and of the mix.

    python benchmarks/footage.py                  # what needs no data: rendered clips
    python benchmarks/footage.py --data video=DAVIS:fit --data stills=STILLS --data cutouts=CUTOUTS --photos PHOTOS
    python benchmarks/footage.py ... --sheet samples.png

One process makes `--samples` samples of the recipe "mixed", less what there is no data for, after as many that are not
timed. A rendered clip serves about eight samples. `--sheet` draws four samples of each kind with the contours of their
masks, a row each.
"""

import argparse
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from minivos.cli.train import read_folders
from minivos.training.recipe import RECIPES, Recipe
from minivos.training.samples import Footage, MakeClip, kind_of, mix_for
from minivos.video.masks import davis_palette


def mixed(data: dict, photos: Path | None) -> Recipe:
    """The recipe "mixed" with the kinds that there is data for."""
    recipe = RECIPES["mixed"]
    shares = {kind: share for kind, share in recipe.footage.items() if kind in ("synthetic", *data)}
    return replace(recipe, footage={kind: share / sum(shares.values()) for kind, share in shares.items()})


def milliseconds(recipe: Recipe, make_clip: MakeClip, samples: int) -> dict[str, list[float]]:
    """The times of these samples by kind, after as many that fill the pool."""
    times = defaultdict(list)
    for number in range(2 * samples):
        began = time.process_time()
        make_clip(number)
        if number >= samples:
            times[kind_of(recipe, number)].append(1000 * (time.process_time() - began))
    return times


def outlined(sample: Footage) -> np.ndarray:
    """The frames side by side, uint8 (H, T*W, 3), with the contours of their masks drawn inside them."""
    frames, labels = (part.copy() for part in sample)
    inner = labels[:, 1:-1, 1:-1]
    around = (labels[:, :-2, 1:-1], labels[:, 2:, 1:-1], labels[:, 1:-1, :-2], labels[:, 1:-1, 2:])
    edge = np.any([inner != other for other in around], axis=0) & (inner > 0)
    frames[:, 1:-1, 1:-1][edge] = davis_palette()[inner[edge]]
    return np.concatenate(list(frames), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", default=[], help="KIND=FOLDER, as of `minivos train`")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    data, photos = read_folders(options.data, options.photos)
    recipe = mixed(dict(data), photos)
    make_clip = mix_for(recipe, data, photos)
    times = milliseconds(recipe, make_clip, options.samples)
    print(f"{recipe.frames} frames of {recipe.side}x{recipe.side} pixels\n\n| footage | ms per sample |\n|---|---:|")
    times["mix"] = [ms for each in times.values() for ms in each]
    for kind, each in times.items():
        print(f"| {kind} | {fmean(each):.0f} |")
    if options.sheet:
        first = {kind: [n for n in range(200) if kind_of(recipe, n) == kind][:4] for kind in recipe.footage}
        rows = [outlined(make_clip(number)) for numbers in first.values() for number in numbers]
        Image.fromarray(np.concatenate(rows)).save(options.sheet)


if __name__ == "__main__":
    main()
