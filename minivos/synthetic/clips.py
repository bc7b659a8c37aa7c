"""Synthetic video with exact masks and exact point correspondence, for training and for scores.

A scene (scenes.py) is a stack of layers, back to front. A layer is a texture (textures.py) seen
through a silhouette (silhouettes.py), carried by a pose and bent by waves (motion.py); rendering.py
draws them. To follow a point, its pixel is taken to the surface of its layer, and the surface point
to another frame.

`python -m minivos.synthetic data_samples` writes the sample data set.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from minivos.errors import InputError
from minivos.synthetic import textures
from minivos.synthetic.motion import Layer
from minivos.synthetic.rendering import expose, film, owners_of, random_look
from minivos.synthetic.scenes import PLANS, Plan, Scene, random_scene
from minivos.video.files import prepare_output, whole_file
from minivos.video.mask_files import write_mask

Rng = np.random.Generator
TRIES = 100  # scenes drawn until every object is visible enough in frame 0
MOST_OBJECTS = 10
SCENARIOS: tuple[str, ...] = tuple(PLANS)


@dataclass(frozen=True)
class SyntheticClip:
    """A rendered clip, its exact masks, and the layers that made it."""

    frames: np.ndarray  # uint8 (T, H, W, 3) RGB
    masks: np.ndarray  # uint8 (T, H, W), 0 background, 1..K objects
    owners: np.ndarray  # uint8 (T, H, W), which layer each pixel shows
    layers: tuple[Layer, ...]  # back to front

    def correspondence(self, source: int, target: int) -> np.ndarray:
        """Where in frame `target` the points of frame `source` are: (y, x), float32 (H, W, 2).

        Those are the points of the surfaces that the pixels of `source` show. NaN where one is
        hidden or outside in `target`. Raises InputError if a frame number is not in 0..T-1.
        """
        frames, height, width = self.masks.shape
        for name, t in (("source", source), ("target", target)):
            if not 0 <= t < frames:
                raise InputError(
                    f"got {name}={t}; expected a frame of this clip, from 0 to {frames - 1}."
                )
        places = np.full((height, width, 2), np.nan, np.float32)
        for index, layer in enumerate(self.layers):
            rows, columns = np.nonzero(self.owners[source] == index)
            u, v = layer.to_surface(columns.astype(float), rows.astype(float), source)
            roll = layer.roll[source] - layer.roll[target]
            x, y = layer.to_frame(u + roll[0], v + roll[1], target)
            near_x, near_y = np.rint(x).astype(int), np.rint(y).astype(int)
            seen = (near_x >= 0) & (near_x < width) & (near_y >= 0) & (near_y < height)
            seen[seen] = self.owners[target][near_y[seen], near_x[seen]] == index
            places[rows[seen], columns[seen]] = np.stack([y[seen], x[seen]], -1)
        return places


def _check(
    seed: int,
    frames: int,
    size: tuple[int, int],
    scenario: str | None,
    objects: int | None,
    difficulty: float,
) -> None:
    if seed < 0:
        raise InputError(f"got seed={seed}; expected a number from 0 up.")
    if frames < 1:
        raise InputError(f"got frames={frames}; expected at least 1.")
    if len(size) != 2 or min(size) < 32:
        raise InputError(f"got size={size}; expected (height, width), each at least 32 pixels.")
    if scenario is not None and scenario not in PLANS:
        raise InputError(
            f"got scenario={scenario!r}; expected one of {', '.join(SCENARIOS)}, or None for a mix."
        )
    if objects is not None and not 1 <= objects <= MOST_OBJECTS:
        raise InputError(
            f"got objects={objects}; expected 1 to {MOST_OBJECTS}, or None to draw a number."
        )
    if scenario == "crossing_lookalikes" and objects == 1:
        raise InputError("got objects=1; expected at least 2 for crossing_lookalikes.")
    if not 0 <= difficulty <= 1:
        raise InputError(f"got difficulty={difficulty}; expected 0 (easy) to 1 (full).")


def _pick(rng: Rng, scenario: str | None, objects: int | None) -> tuple[Plan, int]:
    """Choose the plan and the number of objects."""
    if scenario is None:
        name = rng.choice(SCENARIOS) if rng.random() < 0.4 else None
        plan = PLANS[name] if name is not None else Plan()
        count = objects or int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.2, 0.28, 0.22, 0.15, 0.1, 0.05]))
        return (Plan() if plan.path == "cross" and count == 1 else plan), count
    plan = PLANS[scenario]
    return plan, objects or int(rng.integers(plan.objects[0], plan.objects[1] + 1))


def _visible_enough(scene: Scene, size: tuple[int, int]) -> bool:
    """Tell whether each object covers its least area in frame 0."""
    labels = np.array([layer.label for layer in scene.layers])[owners_of(scene.layers, 0, size)]
    areas = np.bincount(labels.ravel(), minlength=len(scene.least_areas) + 1)[1:] / labels.size
    return bool((areas >= scene.least_areas).all())


def _paint(
    rng: Rng,
    layer: Layer,
    style: textures.Style,
    size: tuple[int, int],
    photos: tuple[np.ndarray, ...],
) -> np.ndarray:
    """Render a layer's texture (3, n, n), sometimes from a photograph."""
    n = min(16 * (max(size) // 12), textures.LARGEST) if layer.body is None else layer.body.shape[1]
    photo = None
    if photos and rng.random() < 0.5:
        photo = textures.crop_photo(rng, photos[rng.integers(len(photos))], n)
    return textures.paint(rng, style, n, photo)


def render(
    seed: int,
    *,
    frames: int = 8,
    size: tuple[int, int] = (128, 128),
    scenario: str | None = None,
    objects: int | None = None,
    difficulty: float = 1.0,
    photos: Path | None = None,
) -> SyntheticClip:
    """Render a clip of `frames` frames of `size` (H, W); the same arguments give the same clip.

    `scenario` is one of SCENARIOS or None for a mix of all; `objects` 1..10 or None to draw a
    number; `difficulty` in [0, 1] scales motion, deformation, occlusion and degradation; crops of
    the pictures in the folder `photos` serve as some of the textures. Raises InputError for
    anything outside these ranges.
    """
    _check(seed, frames, size, scenario, objects, difficulty)
    album = textures.load_photos(Path(photos)) if photos is not None else ()
    rng = np.random.default_rng(seed)
    plan, count = _pick(rng, scenario, objects)
    for _ in range(TRIES):
        scene = random_scene(rng, plan, frames, size, count, difficulty)
        if _visible_enough(scene, size):
            break
    else:
        raise InputError(
            f"got {count} objects, which do not fit in frames of {size}; "
            "expected fewer objects or larger frames."
        )
    layers = scene.layers
    paints = [
        _paint(rng, layer, style, size, album)
        for layer, style in zip(layers, scene.styles, strict=True)
    ]
    look = random_look(rng, plan.exposure, min(size), difficulty)
    light, owners = expose(layers, paints, size, look)
    masks = np.array([layer.label for layer in layers], np.uint8)[owners]
    return SyntheticClip(film(rng, light, difficulty), masks, owners, tuple(layers))


# the samples --------------------------------------------------------------------------------------
SAMPLE_SIZE, SAMPLE_QUALITY = (128, 192), 88
# Clips that show clearly what their scenario is about
SCENARIO_SEEDS = (307, 302, 308, 302, 306, 309, 304)
SAMPLES: dict[str, dict[str, dict]] = {  # split -> name of the clip -> arguments of `render`
    "train": {
        f"train_{i:02d}": {"seed": 100 + i, "frames": 10, "objects": 1 + i % 5} for i in range(10)
    },
    "val": {
        f"val_{i:02d}": {"seed": 200 + i, "frames": 16, "objects": 1 + i % 5} for i in range(12)
    },
    "scenarios": {
        name: {"seed": seed, "frames": 20, "scenario": name}
        for name, seed in zip(SCENARIOS, SCENARIO_SEEDS, strict=True)
    },
}


def write_samples(root: Path | str) -> None:
    """Render all SAMPLES and write them under `root` in the layout of DAVIS 2017.

    Files of these names are replaced in a folder that `write_samples` made. Raises InputError when
    `root` holds other files or cannot be written to.
    """
    root = prepare_output(root, overwrite=True, kind="samples")
    for split, clips in SAMPLES.items():
        for name, arguments in tqdm(clips.items(), desc=split, disable=None):
            write_sample(root, name, render(**arguments, size=SAMPLE_SIZE))
        listing = root / "ImageSets" / "2017" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(listing) as part:
            part.write_text("".join(f"{name}\n" for name in clips))


def write_sample(root: Path, name: str, clip: SyntheticClip) -> None:
    """Write one clip's frames as JPEG and its masks as palette PNG under a DAVIS root."""
    pictures, annotations = (root / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
    for folder in (pictures, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    for t, (frame, labels) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        with whole_file(pictures / f"{t:05d}.jpg") as part:
            Image.fromarray(frame).save(part, "JPEG", quality=SAMPLE_QUALITY)
        write_mask(annotations / f"{t:05d}.png", labels)
