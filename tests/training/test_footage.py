"""Training samples from annotated videos and from stills on disk."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from minivos.errors import InputError
from minivos.training import footage
from minivos.training.footage import (
    GREY,
    annotated_frames,
    cut,
    draw_times,
    keep_objects,
    lay_over,
    read_some,
    training_videos,
    video_clips,
)
from minivos.training.stills import move, rendered_stills, still_clips, stills_in
from minivos.video.datasets import samples_root
from minivos.video.mask_files import write_mask
from tiny import squares

SAMPLE = {"frames": 4, "side": 64, "objects": 3, "seed": 0}
OBJECT = (40, 200, 90)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def write_frames(pictures, annotations, frames, labels, masked=None) -> None:
    """Pictures of these frames, and masks of all of them, or of those numbers in `masked`."""
    pictures.mkdir(parents=True)
    annotations.mkdir(parents=True)
    for t, (frame, mask) in enumerate(zip(frames, labels, strict=True)):
        Image.fromarray(frame).save(pictures / f"{t:05d}.png")
        if masked is None or t in masked:
            write_mask(annotations / f"{t:05d}.png", mask)


def write_davis(root, train: dict, other: dict = {}):  # noqa: B006, nobody changes it
    for name, clip in (train | other).items():
        write_frames(root / "JPEGImages/480p" / name, root / "Annotations/480p" / name, *clip)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/train.txt").write_text("\n".join(train))
    return root


def painted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames that show where the objects are: one colour on black."""
    return np.where((labels > 0)[..., None], np.uint8(OBJECT), np.uint8(0)), labels


def agreement(pictures: np.ndarray, labels: np.ndarray) -> list[float]:
    """Intersection over union, per frame, of the objects in the labels and those in the pictures of `painted`."""
    shows = np.linalg.norm(pictures - np.float32(OBJECT), axis=-1) < 60
    return [float((a & b).sum() / max(1, (a | b).sum())) for a, b in zip(shows, labels > 0, strict=True)]


# ------------------------------------------------------------------------------------------------------- which frames
@pytest.mark.parametrize("longest_gap", [3, 12])
def test_frames_lie_a_gap_apart_and_run_both_ways(longest_gap):
    rng, steps, firsts = chance(), set(), set()
    for _ in range(300):
        times = draw_times(rng, 1_000_000, 5, longest_gap)
        same_way = np.diff(times)
        assert (same_way > 0).all() or (same_way < 0).all()
        steps |= set(same_way.tolist())
        firsts.add(int(times[0]) // 250_000)
    gaps = set(range(1, longest_gap + 1))
    assert steps == gaps | {-gap for gap in gaps} and firsts == {0, 1, 2, 3}


def test_frames_turn_at_the_ends_of_the_clip():
    rng = chance()
    for length in (1, 2, 5):
        drawn = np.array([draw_times(rng, length, 5, 12) for _ in range(200)])
        assert set(drawn.ravel().tolist()) == set(range(length))
    ones = [draw_times(rng, 3, 5, 1).tolist() for _ in range(50)]  # gaps of 1 in three frames: there is one way each
    assert {tuple(times) for times in ones} == {
        (0, 1, 2, 1, 0), (1, 2, 1, 0, 1), (2, 1, 0, 1, 2), (1, 0, 1, 2, 1)
    }  # fmt: skip


def test_only_training_clips_are_used_and_masks_lie_as_the_data_set_has_them(tmp_path):
    davis = write_davis(tmp_path / "davis", {"a": squares(0, 3), "b": squares(1, 3)}, {"kept_for_val": squares(2, 3)})
    videos = training_videos(davis)
    assert {(folder.name, every) for folder, every in videos} == {("a", 1), ("b", 1)} and len(videos) == 10

    youtube = tmp_path / "youtube/train"
    write_frames(youtube / "JPEGImages/c", youtube / "Annotations/c", *squares(0, 3))
    objects = {"1": {"category": "cat", "frames": ["00000"]}}
    (youtube / "meta.json").write_text(json.dumps({"videos": {"c": {"objects": objects}}}))
    assert training_videos(tmp_path / "youtube") == [(youtube / "JPEGImages/c", 5)]
    with pytest.raises(InputError, match="there is no .*train.txt"):
        training_videos(tmp_path)


@pytest.mark.parametrize(("every", "asked", "longest"), [(1, 12, 12), (5, 12, 3), (5, 25, 5), (5, 1, 1)])
def test_the_longest_gap_is_asked_for_by_number_and_counts_frames_of_the_video(monkeypatch, every, asked, longest):
    drawn = []

    def draw(rng, folder, frames, gap):
        drawn.append(gap)
        return squares(0, frames, size=(64, 80))

    monkeypatch.setattr(footage, "training_videos", lambda root: [(root, every)])
    monkeypatch.setattr(footage, "read_some", draw)
    video_clips(["anywhere"], **SAMPLE, longest_gap=lambda number: asked if number == 7 else 99)(7)
    assert set(drawn) == {longest}


def test_frames_without_a_mask_are_skipped_and_a_clip_without_any_is_refused(tmp_path):
    root = write_davis(tmp_path, {"some": (*squares(0, 6), {1, 4}), "none": (*squares(0, 2), {})})
    some = annotated_frames(root / "JPEGImages/480p/some")
    assert [(picture.stem, mask.stem) for picture, mask in some] == [("00001", "00001"), ("00004", "00004")]
    with pytest.raises(InputError, match="no picture in .*none has a mask"):
        annotated_frames(root / "JPEGImages/480p/none")


def test_the_first_frame_shows_all_objects_where_possible(tmp_path):
    frames, labels = squares(0, 10, ids=(1, 2))
    labels[:6][labels[:6] == 2] = 0  # object 2 comes late
    folder = write_davis(tmp_path, {"late": (frames, labels)}) / "JPEGImages/480p/late"
    rng = chance()
    drawn = [read_some(rng, folder, 3, 3)[1] for _ in range(40)]
    missing = [bool((clip == 2).any() and not (clip[0] == 2).any()) for clip in drawn]
    assert sum(missing) <= 2
    assert any((clip[0] == 2).any() for clip in drawn) and any(not (clip[0] == 2).any() for clip in drawn)


def test_pictures_and_masks_must_have_one_size(tmp_path):
    frames, labels = squares(0, 2)
    root = write_davis(tmp_path / "masks", {"clip": (frames, labels[:, :30])})
    with pytest.raises(InputError, match="48x30 pixels, but 48x40 were expected"):
        video_clips([root], **SAMPLE)(0)
    root = write_davis(tmp_path / "frames", {"clip": ([frames[0], frames[1][:30]], [labels[0], labels[1][:30]])})
    with pytest.raises(InputError, match="differ in size; expected frames of one size"):
        video_clips([root], **SAMPLE)(0)


# ----------------------------------------------------------------------------------------------------- scale and crop
def test_masks_are_cut_as_their_pictures_are():
    rng = chance()
    for size in ((60, 90), (90, 60), (200, 300)):
        frames, labels = cut(rng, *painted(squares(1, 3, size)[1]), side=64)
        assert frames.shape == (3, 64, 64, 3) and labels.shape == (3, 64, 64)
        assert frames.dtype == labels.dtype == np.uint8 and (labels[0] > 0).sum() > 2
        assert min(agreement(frames, labels)) > 0.8


def test_masks_lie_on_their_pictures_to_a_fraction_of_a_pixel():
    labels, above = np.zeros((1, 120, 160), np.uint8), []
    labels[:, 40:80, 60:100] = 1
    for seed in range(40):
        (frame,), (mask,) = cut(chance(seed), *painted(labels), side=100)
        padded = (frame == GREY).all(axis=-1).any()
        if not padded and not mask[[0, -1]].any():
            rows = np.arange(100) + 0.5
            middles = [rows @ weight.sum(axis=1) / weight.sum() for weight in (frame[..., 1], 1.0 * mask)]
            above.append(middles[0] - middles[1])
    assert len(above) > 10 and abs(np.mean(above)) < 0.1


def test_cuts_differ_in_scale_place_and_direction():
    rng, labels = chance(), np.zeros((1, 120, 160), np.uint8)
    labels[:, 40:80, 60:70] = 1
    labels[:, 40:80, 70:100] = 2  # object 1 stands on its left
    heights, left = [], []
    for _ in range(60):
        _, cropped = cut(rng, *painted(labels), side=116)
        rows, columns = np.nonzero(cropped[0] > 0)
        if rows.min() > 0 and rows.max() < 115:
            heights.append((np.ptp(rows) + 1) / (40 * 116 / 120 * 480 / 465))  # over that of an unscaled sample
        left.append(np.nonzero(cropped[0] == 1)[1].mean() < columns.mean())
    assert 0.66 < min(heights) < 0.75 and 1.2 < max(heights) < 1.34
    assert 15 < sum(left) < 45


def test_a_cut_looks_for_an_object_and_pads_with_grey():
    rng, labels = chance(), np.zeros((1, 100, 400), np.uint8)
    labels[:, 45:55, 195:205] = 1
    shows = [bool((cut(rng, *painted(labels), side=64)[1] > 0).any()) for _ in range(60)]
    assert sum(shows) > 40  # with a single try 23 of 60
    small, mask = cut(chance(3), *painted(np.ones((1, 50, 50), np.uint8)), side=64)
    below = mask[0] == 0
    assert below.any() and (small[0][below] == GREY).all()


# ------------------------------------------------------------------------------------------------------------ objects
def test_objects_of_one_clip_are_laid_over_another():
    below = np.zeros((1, 2, 4, 3), np.uint8), np.uint8([[[1, 1, 2, 0], [255, 0, 0, 0]]])
    above = np.full((1, 2, 4, 3), 9, np.uint8), np.uint8([[[0, 1, 1, 2], [255, 0, 255, 0]]])
    frames, labels = lay_over(below, above)
    assert labels.tolist() == [[[1, 3, 3, 4], [255, 0, 0, 0]]]
    assert frames[..., 0].tolist() == [[[0, 9, 9, 9], [0, 0, 0, 0]]]


def test_objects_that_the_first_frame_hardly_shows_are_dropped_and_the_rest_is_numbered():
    labels = np.zeros((2, 465, 465), np.uint8)
    labels[:, :10, :10] = 7  # 100 pixels
    labels[:, 20:31, :10] = 9  # 110
    labels[1, 100:200] = 5
    labels[:, 300:400, :5] = 8
    labels[:, 460:] = 255
    _, kept = keep_objects(chance(), (np.zeros((2, 465, 465, 3), np.uint8), labels), objects=10)
    assert np.unique(kept).tolist() == [0, 1, 2, 255]
    assert {kept[0, 25, 0], kept[0, 350, 0]} == {1, 2} and (kept[labels == 7] == 0).all()
    _, one = keep_objects(chance(), (np.zeros((2, 465, 465, 3), np.uint8), labels), objects=1)
    assert np.unique(one).tolist() == [0, 1, 255]


# ------------------------------------------------------------------------------------------------------ whole sources
@pytest.fixture(scope="module", params=["video", "stills", "rendered"])
def make_clip(request):
    if request.param == "video":
        return video_clips([samples_root()], **SAMPLE)
    stills = stills_in([samples_root()]) if request.param == "stills" else rendered_stills(64)
    return still_clips(stills, **SAMPLE)


def test_samples_are_finished_and_depend_on_seed_and_number_alone(make_clip):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    clips = [make_clip(number) for number in range(3)]
    assert torch.equal(torch.get_rng_state(), state)
    for frames, labels in clips:
        assert frames.shape == (4, 64, 64, 3) and labels.shape == (4, 64, 64)
        ids = np.unique(labels).tolist()
        assert ids == list(range(len(ids))) and 1 < len(ids) <= 4 and set(ids) == set(np.unique(labels[0]).tolist())
        assert all(not np.array_equal(frames[0], frame) for frame in frames[1:])
    torch.manual_seed(6)
    again = make_clip(1)
    assert all(np.array_equal(a, b) for a, b in zip(clips[1], again, strict=True))
    assert not np.array_equal(clips[0][0], clips[1][0])


def test_another_seed_gives_other_samples():
    first, second = (video_clips([samples_root()], **(SAMPLE | {"seed": seed}))(0) for seed in (0, 1))
    assert not np.array_equal(first[0], second[0])


def test_a_sample_without_object_gets_those_of_another(tmp_path):
    frames, labels = squares(0, 3)
    root = write_davis(tmp_path, {"full": (frames, labels), "empty": (frames, 0 * labels)})
    draws = [video_clips([root], **SAMPLE)(number)[1][0].any() for number in range(40)]
    assert sum(draws) > 24  # half of the clips are empty; of two draws a quarter is


# ------------------------------------------------------------------------------------------------------------- stills
def test_masks_move_with_their_pictures():
    still = painted(squares(4, 1, (90, 120))[1])
    for seed in range(8):
        frames, labels = move(chance(seed), still, 5, 64)
        assert frames.shape == (5, 64, 64, 3) and labels.shape == (5, 64, 64)
        assert min(agreement(frames, labels)) > 0.75
        places = {tuple(np.argwhere(mask > 0).mean(axis=0).round(1)) for mask in labels}
        assert len(places) == 5


def test_stills_lie_flat_or_as_video_and_never_come_from_validation(tmp_path):
    write_frames(tmp_path / "flat/JPEGImages", tmp_path / "flat/Annotations", *squares(0, 3))
    frames, labels = stills_in([tmp_path / "flat"])(chance())
    assert frames.shape == (1, 40, 48, 3) and labels.shape == (1, 40, 48) and np.unique(labels).tolist() == [0, 1, 2]

    bright, dark = squares(0, 3), squares(1, 3)
    root = write_davis(tmp_path / "davis", {"a": (0 * bright[0] + 200, bright[1])}, {"val": (0 * dark[0], dark[1])})
    draw, rng = stills_in([root]), chance()
    assert {int(draw(rng)[0].max()) for _ in range(30)} == {200}
    both, rng = stills_in([root, tmp_path / "flat"]), chance()
    assert len({int(both(rng)[0].sum()) for _ in range(40)}) == 4  # three pictures of the one, one of the other


def test_a_folder_that_holds_no_stills_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="holds no stills; expected JPEGImages/NAME.jpg with Annotations/NAME.png"):
        stills_in([tmp_path])
    write_frames(tmp_path / "JPEGImages", tmp_path / "Annotations", *squares(0, 2))
    (tmp_path / "JPEGImages/00001.png").unlink()
    with pytest.raises(InputError, match="00001.png belongs to no frame"):
        stills_in([tmp_path])
    shutil.rmtree(tmp_path / "Annotations")
    with pytest.raises(InputError, match="no picture in .* has a mask"):
        stills_in([tmp_path])
