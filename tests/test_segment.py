"""`minivos segment`: which mask is of which frame, what is said at the end, and what hurried hands do."""

import json
import os
import re
import shlex
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import minivos
from minivos.cli import app
from minivos.cli.segment import Findings
from minivos.errors import InputError
from minivos.models import save_weights
from minivos.nn.memory import Schedule
from minivos.propagation import Answer, _add, follow, propagate, track
from minivos.tracker import Tracker
from minivos.video.clip import Clip
from minivos.video.files import MARK
from minivos.video.frames import OverlayWriter, open_frames
from minivos.video.given_masks import find_frame, read_given_masks
from minivos.video.mask_files import read_mask, write_mask
from tiny import EveryFrameCounts, squares, tiny_aot

SIZE = (48, 64)


def labels_of(*ids: int) -> np.ndarray:
    """A mask with a square of each of these objects, each at a place of its own."""
    labels = np.zeros(SIZE, np.uint8)
    for i in ids:
        top, left = 24 * (i % 4 // 2) + 3, 32 * (i % 2) + 5
        labels[top : top + 17, left : left + 21] = i
    return labels


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder with frames 00000 to 00005 of squares that stand, tiny.safetensors, and an empty folder masks/."""
    (tmp_path / "frames").mkdir()
    (tmp_path / "masks").mkdir()
    picture = np.array([(90, 90, 90), (220, 40, 40), (40, 220, 40), (40, 40, 220)], np.uint8)[labels_of(1, 2, 3)]
    for t in range(6):
        Image.fromarray(picture + np.uint8(t)).save(tmp_path / f"frames/{t:05}.png")
    torch.manual_seed(0)
    save_weights(minivos.create_model("aot_mini"), tmp_path / "tiny.safetensors")
    return tmp_path


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def segment(clip: Path, *more: object) -> tuple[int, str]:
    return run("segment", clip / "frames", "--out", clip / "out", "--model", "aot_mini", "--weights",
               clip / "tiny.safetensors", "--side", 32, "--device", "cpu", *more)  # fmt: skip


def given(clip: Path, *asked: str, video: str = "frames") -> dict[int, list[int]]:
    """The frames of the masks that are read, with their objects."""
    masks = read_given_masks(asked, open_frames(clip / video))
    return {t: [int(i) for i in np.unique(labels) if i] for t, labels in masks.items()}


def test_a_mask_is_of_the_frame_that_is_named(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    write_mask(clip / "a=b.png", labels_of(2))
    file = f"{clip}/first.png"
    assert given(clip, file) == {0: [1]}
    assert given(clip, file, f"3={clip}/a=b.png", f"00005={file}") == {0: [1], 3: [2], 5: [1]}
    assert given(clip, f"{clip}/a=b.png") == {0: [2]}
    for wrong in ("6", "-1", "first", "1.5"):
        with pytest.raises(InputError, match=f"the video has no frame '{wrong}'; expected one of 00000 to 00005"):
            given(clip, f"{wrong}={file}")
    with pytest.raises(InputError, match="got two masks of frame 00000, .*; expected one: .* --mask FRAME=FILE"):
        given(clip, file, f"{clip}/a=b.png")
    with pytest.raises(InputError, match="got two masks of frame 00002"):
        given(clip, f"2={file}", f"00002={file}")


def test_a_mask_that_is_called_like_a_later_frame_is_not_taken_for_the_first(clip: Path) -> None:
    for name in ("00003.png", "3.png", "mask_00003.png", "00000.png", "0.png", "car3.png"):
        write_mask(clip / name, labels_of(1))
    for name in ("00003.png", "3.png", "mask_00003.png"):
        with pytest.raises(InputError, match=f"give --mask 00003=.*{name}, or --mask 00000=.*{name} for the first"):
            given(clip, f"{clip}/{name}")
        assert given(clip, f"0={clip}/{name}") == {0: [1]}
    for name in ("00000.png", "0.png", "car3.png"):
        assert given(clip, f"{clip}/{name}") == {0: [1]}


def test_frames_are_found_by_name_then_by_number() -> None:
    assert [find_frame(name, ["5", "7", "9"]) for name in ("7", "09")] == [1, 2]
    assert [find_frame(name, ["a1", "a2", "b"]) for name in ("a2", "2", "b")] == [1, 2, 2]
    with pytest.raises(InputError, match="without those that --stride leaves out"):
        find_frame("1", ["0", "2", "4"])
    with pytest.raises(InputError, match="expected one of 0 to 4$"):
        find_frame("5", ["0", "2", "4"])


def test_a_folder_of_masks_is_read_by_its_names(clip: Path) -> None:
    for name, ids in (("00002", (1, 2)), ("00004", (3,))):
        write_mask(clip / f"masks/{name}.png", labels_of(*ids))
    assert given(clip, f"{clip}/masks") == {2: [1, 2], 4: [3]}  # one picture holds two objects: of frames
    write_mask(clip / "masks/00002.png", labels_of(1))
    with pytest.raises(InputError, match=r"per object or one per frame; give --mask 00000=.* --mask frames="):
        given(clip, f"{clip}/masks")
    assert given(clip, f"frames={clip}/masks") == {2: [1], 4: [3]}
    assert given(clip, f"0={clip}/masks") == {0: [2, 4]}  # the names are ids, then
    write_mask(clip / "masks/00000.png", labels_of(2))  # no object has the id 0
    assert given(clip, f"{clip}/masks") == {0: [2], 2: [1], 4: [3]}
    (clip / "masks/00000.png").rename(clip / "masks/7.png")
    assert given(clip, f"{clip}/masks") == {0: [2, 4, 7]}
    with pytest.raises(InputError, match="the video has no frame '7'"):
        given(clip, f"frames={clip}/masks")
    for t in (2, 4, 7):
        next((clip / "masks").glob(f"*{t}.png")).rename(clip / f"masks/cat{t}.png")
    assert given(clip, f"{clip}/masks") == {0: [1, 2, 3]}


def test_a_colour_means_the_same_object_in_all_masks(clip: Path) -> None:
    red, blue = (250, 0, 0), (0, 0, 250)
    for name, colours in (("0", (red, blue)), ("4", (blue,))):
        picture = np.zeros((*SIZE, 3), np.uint8)
        for colour in colours:
            picture[8:16, 8 * (1 + (colour == red)) :][:, :6] = colour
        Image.fromarray(picture).save(clip / f"c{name}.png")
    assert given(clip, f"4={clip}/c4.png", f"{clip}/c0.png") in ({0: [1, 2], 4: [2]}, {0: [1, 2], 4: [1]})
    masks = read_given_masks([f"4={clip}/c4.png", f"{clip}/c0.png"], open_frames(clip / "frames"))
    assert masks[4].max() == masks[0][10, 10]


def test_numbers_of_a_video_are_those_of_its_frames_whatever_the_stride(clip: Path) -> None:
    with OverlayWriter(clip / "film.mp4", SIZE, 12) as film:
        for _ in range(6):
            film.write(np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8))
    write_mask(clip / "m.png", labels_of(1))
    for stride, numbers in ((1, {0: 0, 4: 4}), (2, {0: 0, 4: 2})):
        source = open_frames(clip / "film.mp4", stride=stride)
        masks = read_given_masks([f"{clip}/m.png", f"4={clip}/m.png"], source)
        assert list(masks) == list(numbers.values())
    with pytest.raises(InputError, match="the video has no frame '3'"):
        read_given_masks([f"3={clip}/m.png"], open_frames(clip / "film.mp4", stride=2))


def test_segment_takes_corrections_and_late_objects(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    write_mask(clip / "later.png", labels_of(1, 3))
    status, printed = segment(clip, "--mask", clip / "first.png", "--mask", f"3={clip}/later.png")
    assert status == 0 and "mask of frame 00003: 2 objects" in printed, printed
    frames = np.stack(list(open_frames(clip / "frames")))
    network = minivos.create_model("aot_mini", clip / "tiny.safetensors")
    wanted = list(track(network, frames, {0: labels_of(1), 3: labels_of(1, 3)}, side=32))
    for t in range(6):
        np.testing.assert_array_equal(read_mask(clip / f"out/masks/{t:05}.png"), wanted[t])
    rows = (clip / "out/confidence.csv").read_text().splitlines()
    assert rows[:2] == ["frame,object,confidence", "00000,1,1.000"] and len(rows) == 1 + 6 + 3
    assert all(0 <= float(row.split(",")[2]) <= 1 for row in rows[1:])
    (worst,) = re.findall(r"frame (0000\d): object \d is least certain \(0\.\d\d\): .*--mask 0000\d=FILE", printed)
    (words,) = re.findall("a page to correct it on: minivos (.*)", printed)
    status, printed = run(*shlex.split(words), "--out", clip / "mask.html")
    assert status == 0 and f"--at {worst}" in words and (clip / "mask.html").is_file(), printed


def test_masks_come_out_at_the_size_of_the_video(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    assert segment(clip, "--mask", clip / "first.png")[0] == 0
    assert read_mask(clip / "out/masks/00005.png").shape == SIZE
    assert run("eval", clip / "out/masks", clip / "out/masks", "--csv", clip / "s.csv")[0] == 0
    status, printed = segment(clip, "--mask", clip / "first.png", "--max-side", 32, "--overwrite")
    assert status == 0 and read_mask(clip / "out/masks/00005.png").shape == (24, 32), printed


def test_objects_are_followed_backward_from_their_first_mask() -> None:
    pictures, labels = squares(frames=6, ids=(1, 2))
    one, both = np.where(labels[2] == 1, labels[2], 0), labels[4]
    network = tiny_aot()
    frames = Clip(pictures).frames
    found = np.stack(list(track(network, frames, {2: one, 4: both}, backward=True)))
    forward = np.stack(list(track(network, frames, {2: one, 4: both})))
    assert np.array_equal(found[4:], forward[4:]) and not forward[:2].any()
    behind = np.stack(list(track(network, frames[4::-1], {0: both, 2: one})))[::-1]
    for t in range(4):
        old = np.where(t < 2, 0, forward[t])
        new = np.where(t < 2, behind[t], np.where(behind[t] == 2, 2, 0))
        assert np.array_equal(found[t], np.where(old > 0, old, new))
    assert (found[0] > 0).any() and np.array_equal(found[2] == 1, forward[2] == 1)
    single = propagate(network, Clip(pictures, {3: labels[3]}), backward=True)
    assert np.array_equal(single[:4], np.stack(list(track(network, pictures[3::-1], {0: labels[3]})))[::-1])


def test_from_behind_come_only_objects_that_are_not_known_yet_and_only_onto_background() -> None:
    labels, behind = np.array([[0, 1, 1, 0]], np.uint8), np.array([[1, 2, 1, 2]], np.uint8)
    found, confidence = _add([1], labels, {1: 0.9}, zlib.compress(behind.tobytes()), {1: 0.1, 2: 0.5})
    assert found.tolist() == [[0, 1, 1, 2]] and confidence == {1: 0.9, 2: 0.5}


def test_going_backward_takes_frames_again_and_holds_few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pictures, labels = squares(frames=7)
    clip = Clip(pictures, {5: labels[5]})
    whole = propagate(tiny_aot(), clip, backward=True)
    clip.save(tmp_path / "clip")
    monkeypatch.setattr("minivos.propagation.HELD_BYTES", 2 * pictures[0].nbytes)
    source = open_frames(tmp_path / "clip")
    assert np.array_equal(whole, list(track(tiny_aot(), source, {5: labels[5]}, backward=True)))
    with pytest.raises(InputError, match="got frames as list_iterator, which can be gone through only once"):
        list(track(tiny_aot(), iter(list(pictures)), {5: labels[5]}, backward=True))
    with pytest.raises(InputError, match=r"frames \[9\], which the video lacks"):
        list(track(tiny_aot(), pictures, {5: labels[5], 9: np.where(labels[5] == 1, 7, 0)}, backward=True))


def test_confidence_of_frames_before_the_first_mask_is_that_from_behind() -> None:
    pictures, labels = squares(frames=4)
    answers = list(follow(EveryFrameCounts(5, Schedule()), pictures, {2: labels[2]}, backward=True))
    assert [sorted(answer.confidence) for answer in answers] == [[1, 2]] * 4
    assert answers[2].confidence == {1: 1.0, 2: 1.0} and 0.5 < answers[0].confidence[1] < 1
    assert np.array_equal(answers[3].frame, pictures[3])


def test_the_end_tells_who_was_lost_and_where_to_correct() -> None:
    found = Findings(given=[0])
    told = [{1: 1.0, 2: 1.0}, {1: 0.9, 2: 0.43}, {1: 0.8, 2: 0.5}, {1: 0.7, 2: 0.0}]
    answers = [Answer(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), confidence) for confidence in told]
    assert [name for name, _ in found.watch(iter(answers), iter("abcd"))] == list("abcd")
    assert list(found.advice()) == [
        "warning: object 2 is not seen after frame c",
        "frame b: object 2 is least certain (0.43): correct its mask first: --mask b=FILE --overwrite",
    ]
    assert found.frames == 4 and not list(Findings([]).advice())


def test_parts_that_a_killed_run_left_are_no_results(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    assert segment(clip, "--mask", clip / "first.png")[0] == 0
    for path in (clip / "out").iterdir():  # as if it had been killed in the middle
        if path.name != MARK:
            path.rename(path.with_name(f".{path.name}.{2**22 + 1}.part"))
    status, printed = segment(clip, "--mask", clip / "first.png")
    assert status == 0, printed
    left = sorted(path.name for path in (clip / "out").iterdir() if path.name != MARK)
    assert left == ["confidence.csv", "masks", "overlay.mp4"]


@pytest.mark.parametrize("name", ["12:30", "x" * 300, "ünï"])
def test_odd_names_of_output_folders(clip: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip)
    write_mask(clip / "first.png", labels_of(1))
    status, printed = segment(clip, "--mask", "first.png", "--out", name)
    if len(name) > 255:
        assert status == 2 and "cannot write to xxx" in printed and "too long" in printed, printed
    else:
        assert status == 0 and (clip / name / "overlay.mp4").is_file(), printed


def test_the_work_goes_on_when_nobody_reads_what_is_printed(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    words = [
        "segment",
        "--model",
        "aot_mini",
        "frames",
        "--mask",
        "first.png",
        "--weights",
        "tiny.safetensors",
        "--side",
        "32",
    ]
    command = [sys.executable, "-m", "minivos.cli", *words, "--device", "cpu", "--out", "out"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=clip, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 0 and "nobody reads what is printed; the work goes on" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and len(list((clip / "out/masks").iterdir())) == 6


def test_bad_settings_are_refused_before_anything_is_written(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    for words, said in (
        (("--precision", "float16"), "got precision='float16'; expected float32 or bfloat16"),
        (("--side", "3"), "got side=3; expected"),
        (("--stride", "0"), "got stride=0"),
        (("--mask", "9=first.png"), "the video has no frame '9'"),
    ):
        status, printed = segment(clip, "--mask", clip / "first.png", *words)
        assert status == 2 and said in printed and not (clip / "out").exists(), printed


def test_bfloat16_on_the_command_line(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    status, printed = segment(clip, "--mask", clip / "first.png", "--precision", "bfloat16")
    assert status == 0 and "6 frames at" in printed, printed


def test_frame_writes_a_frame_to_paint_on(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip)
    status, printed = run("frame", "frames", "--at", 3)
    assert status == 0 and "--mask 00003=FILE" in printed, printed
    written = np.asarray(Image.open(clip / "frames-00003.png"))
    np.testing.assert_array_equal(written, np.asarray(Image.open(clip / "frames/00003.png")))
    for words, said in (
        (("--at", 3), "frames-00003.png; expected the name of a new .png file"),
        (("--at", 6), "the video has no frame '6'"),
        (("--out", "x.jpg"), "expected the name of a new .png file"),
        (("--out", "none/x.png"), "cannot write none/x.png"),
    ):
        status, printed = run("frame", "frames", *words)
        assert status == 2 and said in printed, printed
    assert run("frame", "frames", "--out", "first.png")[0] == 0 and (clip / "first.png").is_file()


def test_a_side_that_needs_too_much_memory_is_one_clear_line(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    status, printed = run("segment", clip / "frames", "--mask", clip / "first.png", "--model", "sitvos_mini", "--side",
                          10**9, "--out", clip / "out", "--device", "cpu")  # fmt: skip
    assert status == 2 and re.search(r"pixels need [\d,]+ GiB of memory or more", printed), printed
    assert not (clip / "out/masks").exists()


def test_the_tracker_of_a_network_is_the_same_by_steps_or_by_follow() -> None:
    pictures, labels = squares(frames=4)
    tracker, network = Tracker(tiny_aot()), tiny_aot()
    for t, answer in enumerate(follow(network, pictures, {0: labels[0]})):
        assert np.array_equal(answer.labels, tracker.step(pictures[t], labels[0] if t == 0 else None))
        assert answer.confidence == tracker.confidence


def test_weights_of_ones_own_say_which_network_they_are_of_and_their_terms(clip: Path) -> None:
    write_mask(clip / "first.png", labels_of(1))
    words = ["segment", clip / "frames", "--mask", clip / "first.png", "--weights", clip / "tiny.safetensors"]
    words += ["--out", clip / "out", "--side", 32, "--device", "cpu", "--overwrite"]
    status, printed = run(*words)
    assert status == 2 and "of another network" in printed, printed
    (clip / "tiny.json").write_text(json.dumps({"model": "aot_mini", "terms": "non-commercial"}))
    status, printed = run(*words)
    assert status == 0 and "the weights of aot_mini are non-commercial" in printed, printed
