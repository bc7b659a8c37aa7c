"""What a training is fed, as its recipe says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from minivos.errors import InputError
from minivos.synthetic.clips import render
from minivos.training.footage import video_clips
from minivos.training.pool import Batch, ClipPool, Footage, WholeClips
from minivos.training.recipe import Recipe, longest_gap
from minivos.training.stills import rendered_stills, still_clips, stills_in


def clips_for(
    recipe: Recipe, data: Sequence[Path] = (), photos: Path | None = None
) -> Callable[[int], Footage]:
    """`make_clip` for `train`, as the recipe's `footage` says.

    Clips come from the data sets in the folders `data`, or are rendered where there are none
    (`photos` as in `render`). Raises InputError for video without data, and for data where
    everything is rendered.
    """
    if data and (photos or recipe.footage == "synthetic"):
        raise InputError(
            f"got data in {data[0]} with {'photos' if photos else 'a recipe'} for rendered "
            "pictures; expected one of the two: leave one out, or choose a recipe for stills or "
            "video."
        )
    if recipe.footage == "synthetic":
        return synthetic_clips(recipe, photos)
    sample = recipe.frames, recipe.side, recipe.objects, recipe.seed
    if recipe.footage == "stills":
        stills = stills_in(data) if data else rendered_stills(recipe.side, photos)
        return still_clips(stills, *sample)
    if not data:
        raise InputError("Training on video needs data: name the folder of DAVIS or YouTube-VOS.")
    return video_clips(data, *sample, lambda number: longest_gap(recipe, number))


def draw_batches(
    make_clip: Callable[[int], Footage], recipe: Recipe, first: int, rows: range, workers: int
) -> Iterator[Batch]:
    """These rows of the batches from step `first` on, without end; a step has always the same."""
    sample = recipe.frames, recipe.side, recipe.objects
    if recipe.pool:
        pool = ClipPool(make_clip, recipe.pool, recipe.seed)
        return (pool.batch(step, rows, *sample) for step in count(first))
    numbers = ([step * recipe.batch + row for row in rows] for step in count(first))
    return WholeClips(make_clip, *sample).batches(numbers, workers)


def synthetic_clips(recipe: Recipe, photos: Path | None = None) -> Callable[[int], Footage]:
    """Clips that grow from easy to hard in the share `easy` of the run; `photos` as in `render`."""
    side, frames = round(recipe.clip_side * recipe.side), max(8, recipe.frames)
    growing = max(1.0, recipe.clips_in(recipe.easy))

    def make_clip(number: int) -> Footage:
        difficulty = min(1.0, 0.2 + 0.8 * number / growing)
        number += 1_000_003 * (recipe.seed + 1)  # far from the seeds of the sample clips
        clip = render(
            number, frames=frames, size=(side, side), difficulty=difficulty, photos=photos
        )
        return clip.frames, clip.masks

    return make_clip
