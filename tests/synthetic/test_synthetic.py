"""Synthetic video: the same every time, masks and correspondence that are exact, scenarios true to their names."""

import hashlib
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivos.errors import InputError
from minivos.synthetic import clips as synthetic
from minivos.synthetic.clips import SAMPLE_SIZE, SAMPLES, SCENARIOS, SyntheticClip, render, write_sample, write_samples
from minivos.synthetic.motion import Layer, poses, waves
from minivos.synthetic.rendering import Look
from minivos.synthetic.scenes import LEAST_AREA, LEAST_AREA_THIN
from minivos.video.mask_files import read_mask

REPOSITORY = Path(__file__).parents[2]
SEEDS = range(8)
cached = lru_cache(maxsize=None)(render)


def object_ids(clip: SyntheticClip) -> range:
    return range(1, int(clip.masks[0].max()) + 1)


def areas(clip: SyntheticClip) -> np.ndarray:
    """Pixels of each object in each frame, (T, K)."""
    return np.stack([(clip.masks == k).sum((1, 2)) for k in object_ids(clip)], 1)


def centres(clip: SyntheticClip) -> np.ndarray:
    """Middle (y, x) of what is visible of each object in each frame, (T, K, 2), NaN where it is hidden."""
    middles = np.full((len(clip.masks), len(object_ids(clip)), 2), np.nan)
    for t, labels in enumerate(clip.masks):
        for k in object_ids(clip):
            if (labels == k).any():
                middles[t, k - 1] = np.argwhere(labels == k).mean(0)
    return middles


def steps(scenario: str, difficulty: float = 1.0) -> float:
    """Median distance that objects move per frame, as a fraction of the side of the frame."""
    paths = [centres(cached(seed, scenario=scenario, difficulty=difficulty)) for seed in SEEDS]
    lengths = [np.linalg.norm(np.diff(path, axis=0), axis=-1).ravel() / 128 for path in paths]
    return float(np.nanmedian(np.concatenate(lengths)))


def follow(clip: SyntheticClip, source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) of the source that are visible in the target, and where they are there (N, 2)."""
    places = clip.correspondence(source, target)
    seen = np.isfinite(places).all(-1)
    return np.argwhere(seen), places[seen]


def values_at(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of a picture (H, W, ...) at the pixels nearest to points (N, 2)."""
    rows, columns = np.rint(points).astype(int).T
    return picture[rows, columns]


def colour_change(clip: SyntheticClip, source: int, target: int) -> tuple[float, float]:
    """Median colour difference of object points that are followed, and of the same points if taken to stand still."""
    here, there = follow(clip, source, target)
    moving = values_at(clip.masks[source], here) > 0
    here, there = here[moving], there[moving]
    colours = values_at(clip.frames[source], here).astype(int)
    along, still = (np.abs(values_at(clip.frames[target], points) - colours).mean(-1) for points in (there, here))
    return float(np.median(along)), float(np.median(still))


@pytest.fixture
def perfect_camera(monkeypatch):
    """Full motion and deformation, but no blur, shadow, noise or change of light; not for `cached` clips."""
    monkeypatch.setattr(synthetic, "random_look", lambda *_: Look(0.0, 0.0, (0, 0)))
    monkeypatch.setattr(
        synthetic, "film", lambda rng, light, difficulty: (255 * np.moveaxis(light, 1, -1).clip(0, 1)).astype(np.uint8)
    )


# ------------------------------------------------------------------------------------------------------ what comes out
@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_every_object_is_visible_in_the_first_frame(scenario):
    least = LEAST_AREA_THIN if scenario in (None, "thin_parts", "many_objects") else LEAST_AREA
    for seed in SEEDS:
        clip = cached(seed, scenario=scenario)
        assert clip.frames.shape == (8, 128, 128, 3) and clip.masks.shape == (8, 128, 128)
        assert clip.frames.dtype == clip.masks.dtype == np.uint8
        assert (areas(clip)[0] >= least * 128 * 128).all()
        assert set(np.unique(clip.masks)) <= {0, *object_ids(clip)}


@pytest.mark.parametrize("count", [1, 4, 10])
def test_number_of_objects_frames_and_size_can_be_chosen(count):
    clip = render(5, frames=3, size=(96, 160), objects=count)
    assert len(object_ids(clip)) == count
    assert clip.frames.shape == (3, 96, 160, 3)


def test_the_same_arguments_give_the_same_clip_and_another_seed_another():
    first, again, other = render(1, frames=3), render(1, frames=3), render(2, frames=3)
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.masks, again.masks)
    assert np.array_equal(first.correspondence(0, 2), again.correspondence(0, 2), equal_nan=True)
    assert not np.array_equal(first.frames, other.frames)


def test_another_process_renders_the_same_clip():
    code = (
        "import hashlib; from minivos.synthetic.clips import render; clip = render(7, frames=3);"
        "print(hashlib.sha256(clip.frames.tobytes() + clip.masks.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    clip = render(7, frames=3)
    assert there.stdout.strip() == hashlib.sha256(clip.frames.tobytes() + clip.masks.tobytes()).hexdigest()


def test_repeating_the_first_mask_is_no_solution():
    scores = []
    for name, arguments in SAMPLES["val"].items():
        masks = render(**arguments, size=SAMPLE_SIZE).masks
        for k in range(1, arguments["objects"] + 1):
            first, later = masks[0] == k, masks[1:-1] == k
            union = (first | later).sum((1, 2))
            scores.append(((first & later).sum((1, 2)) / union).mean())
            assert union.min() > 0, name
    assert np.mean(scores) <= 0.33


# ------------------------------------------------------------------------------------------------------ correspondence
@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_every_point_corresponds_to_itself_in_the_same_frame(scenario):
    here, there = follow(cached(3, scenario=scenario), 4, 4)
    assert len(here) == 128 * 128
    assert np.abs(here - there).max() < 0.05


@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_followed_points_keep_their_label(scenario):
    for seed in SEEDS:
        clip = cached(seed, scenario=scenario)
        here, there = follow(clip, 1, 4)
        assert np.array_equal(values_at(clip.masks[1], here), values_at(clip.masks[4], there))


def test_most_points_of_a_calm_clip_can_be_followed():
    for seed in SEEDS:
        clip = cached(seed, scenario="plain", difficulty=0.0)
        here, _ = follow(clip, 0, 1)
        assert (values_at(clip.masks[0], here) > 0).sum() > 0.85 * (clip.masks[0] > 0).sum()


def test_colours_follow_calm_points():
    changes = [colour_change(cached(seed, scenario="plain", difficulty=0.0), 0, 7) for seed in SEEDS]
    along, still = np.mean(changes, 0)
    assert along < 3 and still > 4 * along


@pytest.mark.parametrize("scenario", [None, "scale_change", "thin_parts"])
def test_colours_follow_deforming_rolling_points(perfect_camera, scenario):
    changes = [colour_change(render(seed, scenario=scenario), 0, 5) for seed in range(20, 28)]
    along, still = np.mean(changes, 0)
    assert along < 7 and still > 4 * along


def test_the_way_to_the_surface_and_back_is_exact():
    rng = np.random.default_rng(0)
    turned = poses(np.array([[60.0, 50.0]]), 0.4, np.array([[40.0, 25.0]]))
    for _ in range(20):
        layer = Layer(1, turned, np.zeros((1, 2)), waves(rng, 1, 0.24), None)
        x, y = rng.uniform(20, 100, (2, 500))
        back_x, back_y = layer.to_frame(*layer.to_surface(x, y, 0), 0)
        assert max(np.abs(back_x - x).max(), np.abs(back_y - y).max()) < 0.05


# ----------------------------------------------------------------------------------------------------------- scenarios
def test_plain_clips_have_two_or_three_objects():
    assert {len(object_ids(cached(seed, scenario="plain"))) for seed in SEEDS} == {2, 3}


def test_lookalikes_cross_and_look_alike():
    nearest, likeness, usual = [], [], []
    for seed in SEEDS:
        clip = cached(seed, scenario="crossing_lookalikes")
        path = centres(clip)
        gap = np.linalg.norm(path[:, 0] - path[:, 1], axis=-1)
        nearest.append(np.nanmin(gap) / gap[0])
        for clips, differences in ((clip, likeness), (cached(seed, scenario="plain"), usual)):
            one, two = (clips.frames[0][clips.masks[0] == k].mean(0) for k in (1, 2))
            differences.append(np.abs(one - two).mean())
    assert np.max(nearest) < 0.5
    assert np.mean(likeness) < 0.5 * np.mean(usual)


def test_something_disappears_and_comes_back():
    for seed in SEEDS:
        size = areas(cached(seed, frames=16, scenario="occlusion_reentry"))
        gone = size < 0.1 * size[0]
        back = [size[gone[:, k].argmax() :, k].max() > 0.3 * size[0, k] for k in range(size.shape[1])]
        assert (gone.any(0) & back).any()


def test_fast_objects_are_fast():
    assert 0.1 < steps("fast_motion") < 0.25
    assert steps("plain") < 0.05


def test_objects_grow_or_shrink_by_two_to_four():
    changes = []
    for seed in SEEDS:
        size = areas(cached(seed, scenario="scale_change"))
        ratio = np.sqrt(np.maximum(size[-1], 1) / size[0])
        changes.append(np.maximum(ratio, 1 / ratio).max())
    assert min(changes) > 1.6 and 2 < np.median(changes) < 4.5


def test_many_objects_are_five_to_eight():
    counts = {len(object_ids(cached(seed, scenario="many_objects"))) for seed in SEEDS}
    assert counts <= {5, 6, 7, 8} and len(counts) > 2


def test_thin_parts_have_much_outline_for_their_area():
    def raggedness(scenario: str) -> float:
        values = []
        for clip in (cached(seed, scenario=scenario) for seed in SEEDS):
            for k in object_ids(clip):
                inside = np.pad(clip.masks[0] == k, 1)
                outline = (inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum()
                values.append(outline**2 / inside.sum())
        return float(np.median(values))

    assert raggedness("thin_parts") > 1.3 * raggedness("plain")


def test_difficulty_scales_motion_and_degradation():
    assert steps("plain", difficulty=0.0) < 0.6 * steps("plain")
    grain = []
    for difficulty in (0.0, 1.0):
        clips = [cached(seed, scenario="plain", difficulty=difficulty) for seed in SEEDS]
        grain.append(np.mean([np.abs(np.diff(clip.frames[:2].astype(int), axis=0)).mean() for clip in clips]))
    assert grain[0] < 0.7 * grain[1]


# -------------------------------------------------------------------------------------------------------------- photos
def test_photographs_become_textures(tmp_path):
    Image.new("RGB", (80, 60), (255, 0, 0)).save(tmp_path / "red.png")

    def redness(**photos: Path) -> float:
        frames = [render(seed, frames=1, difficulty=0.0, **photos).frames.astype(int) for seed in range(6)]
        return float(np.mean([picture[..., 0] - picture[..., 1:].max(-1) > 100 for picture in frames]))

    assert redness(photos=tmp_path) > redness() + 0.2


def test_a_folder_without_photographs_is_an_error(tmp_path):
    with pytest.raises(InputError, match="got photos=.*missing', which is not a folder; expected a folder with"):
        render(0, photos=tmp_path / "missing")
    (tmp_path / ".hidden.png").write_bytes(b"")
    with pytest.raises(InputError, match="got photos=.*, which holds no photograph; expected"):
        render(0, photos=tmp_path)
    (tmp_path / "broken.jpg").write_text("not a picture")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        render(0, photos=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "got seed=-1; expected a number from 0 up"),
        ({"frames": 0}, "got frames=0; expected at least 1"),
        ({"size": (128, 16)}, r"got size=\(128, 16\); expected \(height, width\), each at least 32"),
        ({"scenario": "plane"}, "got scenario='plane'; expected one of plain, crossing_lookalikes"),
        ({"objects": 0}, "got objects=0; expected 1 to 10"),
        ({"objects": 1, "scenario": "crossing_lookalikes"}, "got objects=1; expected at least 2"),
        ({"difficulty": 1.5}, r"got difficulty=1\.5; expected 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        render(**{"seed": 0, **arguments})


def test_objects_that_never_fit_are_an_error(monkeypatch):
    monkeypatch.setattr(synthetic, "_visible_enough", lambda scene, size: False)
    with pytest.raises(InputError, match=r"got 2 objects, which do not fit in frames of \(32, 40\)"):
        render(0, frames=1, size=(32, 40), objects=2)


def test_a_frame_that_does_not_exist_has_no_correspondence():
    with pytest.raises(InputError, match="got target=8; expected a frame of this clip, from 0 to 7"):
        cached(0).correspondence(0, 8)


# --------------------------------------------------------------------------------------------------------- the samples
def test_the_samples_are_what_the_code_renders(tmp_path):
    name, arguments = "val_03", SAMPLES["val"]["val_03"]
    write_sample(tmp_path, name, render(**arguments, size=SAMPLE_SIZE))
    for t in range(arguments["frames"]):
        picture, mask = f"JPEGImages/480p/{name}/{t:05d}.jpg", f"Annotations/480p/{name}/{t:05d}.png"
        new, stored = (np.asarray(Image.open(root / picture), int) for root in (tmp_path, REPOSITORY / "data_samples"))
        assert np.abs(new - stored).mean() < 3
        assert np.array_equal(read_mask(tmp_path / mask), read_mask(REPOSITORY / "data_samples" / mask))


def test_the_stored_samples_are_complete():
    root = REPOSITORY / "data_samples"
    for split, clips in SAMPLES.items():
        assert (root / "ImageSets" / "2017" / f"{split}.txt").read_text().split() == list(clips)
        for name, arguments in clips.items():
            for kind in ("JPEGImages", "Annotations"):
                assert len(list((root / kind / "480p" / name).iterdir())) == arguments["frames"]


def test_samples_are_written_in_the_layout_of_davis_and_always_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "SAMPLES", {"val": {"one": {"seed": 3, "frames": 2}}})
    trees = []
    for root in (tmp_path / "first", tmp_path / "second"):
        write_samples(root)
        write_samples(root)  # over what is there
        trees.append({str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()})
    assert trees[0] == trees[1]
    assert list(trees[0]) == [
        ".minivos",
        "Annotations/480p/one/00000.png",
        "Annotations/480p/one/00001.png",
        "ImageSets/2017/val.txt",
        "JPEGImages/480p/one/00000.jpg",
        "JPEGImages/480p/one/00001.jpg",
    ]
    assert Image.open(tmp_path / "first" / "Annotations/480p/one/00000.png").mode == "P"


def command(*arguments: str | Path) -> subprocess.CompletedProcess:
    """What `python -m minivos.synthetic` does with these arguments."""
    line = [sys.executable, "-m", "minivos.synthetic", *map(str, arguments)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True)


def test_the_command_writes_the_samples(tmp_path):
    done = command(tmp_path / "samples")
    assert done.returncode == 0, done.stderr
    new, stored = tmp_path / "samples", REPOSITORY / "data_samples"
    written, committed = ({path.relative_to(root) for path in root.rglob("*.*")} for root in (new, stored))
    assert written == committed
    for mask in new.rglob("*.png"):
        assert np.array_equal(read_mask(mask), read_mask(stored / mask.relative_to(new))), mask


def test_the_command_explains_what_it_cannot_do(tmp_path):
    (tmp_path / "notes").write_text("a file, not a folder")
    for arguments in ((), (tmp_path, tmp_path)):
        refused = command(*arguments)
        assert refused.returncode == 2 and refused.stderr.startswith("usage: minivos.synthetic [-h] folder\n")
    refused = command(tmp_path / "notes")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert refused.stderr.startswith(f"minivos.synthetic: {tmp_path / 'notes'} is a file; expected a folder")


def test_a_frame_costs_less_than_a_few_dozen_jpegs(tmp_path):
    def seconds(task, repeats: int) -> float:
        task()
        start = time.process_time()
        for _ in range(repeats):
            task()
        return (time.process_time() - start) / repeats

    picture = Image.fromarray(cached(0).frames[0])
    jpeg = seconds(lambda: (picture.save(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg").load()), 100)
    clips = iter(range(100, 200))
    frame = seconds(lambda: render(next(clips), objects=3), 15) / 8
    assert frame < 50 * jpeg
