"""What a training is fed, as its recipe says: one kind of footage, or a mix of kinds by share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, count
from pathlib import Path

from minivos.errors import InputError
from minivos.synthetic.clips import render
from minivos.training.film import film_clips
from minivos.training.footage import video_clips
from minivos.training.pool import Batch, ClipLanes, ClipPool, Footage, WholeClips
from minivos.training.recipe import FOOTAGE, Recipe, longest_gap
from minivos.training.stills import (
    cutouts_in,
    photo_sheets,
    rendered_stills,
    sheets_of,
    still_clips,
    stills_in,
)

Folders = Mapping[str, Sequence[str | Path]]
MakeClip = Callable[[int], Footage]
ON_DISK = tuple(kind for kind in FOOTAGE if kind != "synthetic")
GOLDEN = (math.sqrt(5) - 1) / 2


def clips_for(
    recipe: Recipe, data: Folders | Sequence[str | Path] = (), photos: Path | None = None
) -> MakeClip:
    """`make_clip` for `train`, as the recipe's `footage` says.

    `data` has the folders of each kind of footage, or those of the only kind that needs some.
    Stills alone are rendered where there are none. `photos` is a folder of photographs: textures of
    what is rendered (see `render`), and what cut-outs lie on. Raises InputError for a kind without
    its folders and for folders without their kind.
    """
    folders = sort_folders(recipe, data)
    if recipe.footage == {"synthetic": 1}:
        return synthetic_clips(recipe, photos)
    if photos and folders and not {"synthetic", "cutouts"} & {*recipe.footage}:
        raise InputError(
            f"got photos={str(photos)!r} with footage that has no use for them; expected synthetic "
            "footage, cut-outs or rendered stills in the recipe: leave them out"
        )
    return mix_for(recipe, folders, photos)


def mix_for(recipe: Recipe, folders: Folders, photos: Path | None = None) -> MakeClip:
    """`make_clip` of finished samples, each of the kind that `kind_of` says; see `clips_for`."""
    sample = recipe.frames, recipe.side, recipe.objects, recipe.seed
    film, makers, fronts = recipe.motion == "film", {}, []
    stills = None
    if "stills" in recipe.footage:
        draw = stills_in(folders["stills"]) if folders else rendered_stills(recipe.side, photos)
        stills = sheets_of(draw, recipe.objects)
        fronts.append(stills)
        makers["stills"] = (
            film_clips(stills, stills, (0, 1, 1, 2), *sample)
            if film
            else still_clips(draw, *sample)
        )
    if "cutouts" in recipe.footage:
        cutouts = cutouts_in(folders["cutouts"])
        fronts.append(cutouts)
        grounds = photo_sheets(photos) if photos else stills
        if not grounds:
            raise InputError(
                "got cut-outs without pictures to lie on; expected photographs, or stills in the "
                "mix: name a folder with --photos"
            )
        makers["cutouts"] = film_clips(grounds, cutouts, (1, 1, 2, 3), *sample)
    if "video" in recipe.footage:
        gaps = partial(longest_gap, recipe)
        makers["video"] = video_clips(folders["video"], *sample, gaps, fronts if film else None)
    if "synthetic" in recipe.footage:
        makers["synthetic"] = synthetic_samples(recipe, photos)
    return lambda number: makers[kind_of(recipe, number)](number)


def sort_folders(recipe: Recipe, data: Folders | Sequence[str | Path]) -> Folders:
    """The folders of each kind of the recipe's footage.

    Raises InputError for an unknown kind, a kind without folders, folders without a kind, and a
    mere list of folders where several kinds need some.
    """
    needed = [kind for kind in recipe.footage if kind in ON_DISK]
    shares = ", ".join(f"{share:.0%} {kind}" for kind, share in recipe.footage.items())
    options = " ".join(f"--data {kind}=DIR" for kind in needed)
    if not isinstance(data, Mapping):
        if len(needed) != 1 and data:
            raise InputError(
                f"got data in {data[0]} for footage of {shares}; expected "
                + (f"the kind of each folder: {options}" if needed else "none: leave it out, or "
                   "choose another footage, such as --footage video")
            )  # fmt: skip
        data = {needed[0]: data} if data else {}
    if unknown := [kind for kind in data if kind not in ON_DISK]:
        raise InputError(f"got data for {unknown[0]!r}; expected one of {', '.join(ON_DISK)}")
    if unused := [kind for kind in data if kind not in needed]:
        raise InputError(
            f"got data for {unused[0]} with footage of {shares}; expected data of its kinds: "
            f"leave {unused[0]} out, or give it a share with --footage"
        )
    missing = [kind for kind in needed if not data.get(kind)]
    if missing and recipe.footage != {"stills": 1}:
        raise InputError(
            f"got no data of {' and '.join(missing)} for footage of {shares}; expected folders: "
            f"name them with {options}, or choose other shares with --footage"
        )
    return {kind: folders for kind, folders in data.items() if folders}


def kind_of(recipe: Recipe, number: int) -> str:
    """The kind of footage that sample `number` is.

    Steps of the golden ratio give each kind its share of any stretch of numbers, evenly spread.
    """
    place = (GOLDEN * (number + 1009 * recipe.seed)) % 1
    ends = accumulate(recipe.footage.values())
    reached = (kind for kind, end in zip(recipe.footage, ends, strict=True) if place < end)
    return next(reached, [*recipe.footage][-1])


def draw_batches(
    make_clip: MakeClip, recipe: Recipe, first: int, rows: range, workers: int
) -> Iterator[Batch]:
    """These rows of the batches from step `first` on, without end; a step has always the same."""
    sample = recipe.frames, recipe.side, recipe.objects
    if recipe.rolling:
        pool = ClipPool(make_clip, recipe.pool, recipe.seed)
        return (pool.batch(step, rows, *sample) for step in count(first))
    numbers = ([step * recipe.batch + row for row in rows] for step in count(first))
    return WholeClips(make_clip, *sample).batches(numbers, workers)


def synthetic_clips(recipe: Recipe, photos: Path | None = None) -> MakeClip:
    """Clips that grow from easy to hard in the share `easy` of the run; `photos` as in `render`."""
    side, frames = round(recipe.clip_side * recipe.side), max(8, recipe.frames)
    growing = max(1.0, recipe.easy * clips_rendered(recipe))

    def make_clip(number: int) -> Footage:
        difficulty = min(1.0, 0.2 + 0.8 * number / growing)
        number += 1_000_003 * (recipe.seed + 1)  # far from the seeds of the sample clips
        clip = render(
            number, frames=frames, size=(side, side), difficulty=difficulty, photos=photos
        )
        return clip.frames, clip.masks

    return make_clip


def clips_rendered(recipe: Recipe) -> float:
    """How many synthetic clips a training renders."""
    share = recipe.footage.get("synthetic", 1.0)
    return share * recipe.steps * (1 if recipe.pool else recipe.batch)


def synthetic_samples(recipe: Recipe, photos: Path | None = None) -> MakeClip:
    """Samples cut out of rendered clips, of which each serves a few, for a mix of footage."""
    lanes = ClipLanes(
        synthetic_clips(recipe, photos),
        recipe.pool,
        recipe.seed,
        recipe.batch,
        recipe.footage["synthetic"],
    )
    return lambda number: lanes.sample(number, recipe.frames, recipe.side, recipe.objects)
