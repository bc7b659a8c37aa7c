"""The benchmark: every data set passes, a run that was cut short goes on, memory does not grow with the clips."""

import csv
import math
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import data_trees
from minivos.cli import app
from minivos.errors import InputError
from minivos.evaluation import benchmark as module
from minivos.evaluation import loop
from minivos.evaluation.benchmark import Row, benchmark, read_rows
from minivos.evaluation.evaluate import evaluate_folders, evaluate_model
from minivos.evaluation.loop import run_task
from minivos.models import create_model
from minivos.nn.memory import Schedule
from minivos.nn.network import Sizing
from minivos.video.clip import Clip
from minivos.video.datasets import DATASETS, DavisDataset, YouTubeVOS, open_dataset
from minivos.video.mask_files import read_mask, write_mask
from minivos.video.metrics import region_similarity, score_labels
from minivos.video.task import Task
from tiny import EveryFrameCounts

TESTS = Path(__file__).parents[1]


def repeats() -> EveryFrameCounts:
    """A network that repeats the newest masks."""
    return EveryFrameCounts(None, Schedule(previous=1))


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def scores_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# Every data set

ALL = [f"{t:05}.png" for t in range(data_trees.FRAMES)]
FIVES = [f"{5 * t:05}.png" for t in range(data_trees.FRAMES)]
CASES = [
    ("davis2016", data_trees.davis2016, "", [f"camel/{name}" for name in ALL], [1]),
    ("davis2016", data_trees.davis2016, "trainval", [f"{clip}/{n}" for clip in ("bear", "camel") for n in ALL], [1]),
    ("davis2016", data_trees.davis2017, "val", [f"dogs/{name}" for name in ALL], [1]),
    ("davis2017", data_trees.davis2017, "", [f"dogs/{name}" for name in ALL], [1, 2]),
    ("davis2017", data_trees.davis2017, "trainval", [f"{clip}/{n}" for clip in ("bear", "dogs") for n in ALL], [1, 2]),
    ("davis2017", data_trees.davis2017, "test-dev", [f"hidden/{name}" for name in ALL], []),
    ("davis2017", data_trees.davis2017, "test-challenge", [f"hidden/{name}" for name in ALL], []),
    ("youtubevos2018", data_trees.youtube, "", [f"Annotations/0v/{name}" for name in FIVES], []),
    ("youtubevos2019", data_trees.youtube, "valid_all_frames", [f"Annotations/0v/{name}" for name in FIVES], []),
    ("youtubevos2019", data_trees.youtube, "train",
     [f"Annotations/{clip}/{name}" for clip in ("0a", "0b", "0c") for name in FIVES], [1, 2]),
]  # fmt: skip


@pytest.mark.parametrize(("dataset", "make", "split", "files", "objects"), CASES)
def test_every_data_set_passes_through_the_command(dataset, make, split, files, objects, tmp_path, monkeypatch):
    monkeypatch.setattr("minivos.official.create_model", lambda name, weights: repeats())
    data, out = make(tmp_path / "data"), tmp_path / "out"
    more = ["--split", split] * bool(split)
    status, printed = run("benchmark", data, "--dataset", dataset, *more, "--out", out, "--zip", "--device", "cpu")
    assert status == 0, printed
    with zipfile.ZipFile(out / "submission.zip") as zipped:
        assert sorted(zipped.namelist()) == files
    masks = [out / "masks" / name.removeprefix("Annotations/") for name in files]
    assert files_in(out / "masks") == [name.removeprefix("Annotations/") for name in files]
    for mask in masks:
        assert Image.open(mask).mode == "P" and read_mask(mask).shape == data_trees.SIZE
    rows = scores_of(out)
    assert {int(row["object"]) for row in rows if row["object"]} == set(objects)
    assert ("J&F: " in printed) == bool(objects) and "frames per second: " in printed and "peak memory" in printed
    assert {row["sequence"] for row in rows} == {mask.parent.name for mask in masks}
    found = {int(k) for mask in masks for k in np.unique(read_mask(mask))}
    assert found == {0, 1} if dataset == "davis2016" else found == {0, 1, 2}


def test_a_trained_network_passes_with_its_weights(tmp_path):
    data = data_trees.davis2017(tmp_path / "data")
    status, printed = run("benchmark", data, "--dataset", "davis2017", "--side", 32, "--out", tmp_path / "out", "--zip")
    assert status == 0 and "all 1 clips" in printed and "submission.zip, checked" in printed, printed


def test_every_known_data_set_is_among_these():
    assert {case[0] for case in CASES} == set(DATASETS)


def test_the_scores_are_those_of_the_masks_that_it_wrote(tmp_path):
    data = data_trees.davis2017(tmp_path / "data")
    result = benchmark(DavisDataset(data), repeats(), tmp_path / "out", {})
    written = evaluate_folders(data / "Annotations" / "480p", tmp_path / "out" / "masks", "val")
    assert [result.summary()[name] for name in ("J", "F", "J&F")] == pytest.approx(written.summary(), abs=1e-6)
    clips = evaluate_model(repeats(), DavisDataset(data))
    assert clips.summary() == pytest.approx(written.summary())
    assert 0.3 < written.mean < 1


def test_frames_one_at_a_time_score_like_whole_arrays():
    _, gt = data_trees.moving(6)
    pictures, found = data_trees.moving(6)[0], {}
    outcome = run_task(repeats(), Task.of(Clip(pictures, dict(enumerate(gt)))), found.__setitem__)
    for mine, whole in zip(outcome.scores, score_labels(gt, np.stack(list(found.values()))), strict=True):
        assert mine.object_id == whole.object_id
        np.testing.assert_array_equal(mine.J, whole.J)
        np.testing.assert_array_equal(mine.F, whole.F)


def test_helping_threads_change_nothing(tmp_path):
    dataset = DavisDataset(data_trees.davis2017(tmp_path / "data"), "trainval")
    runs = [benchmark(dataset, repeats(), tmp_path / str(n), {}, workers=n).summary()["J&F"] for n in (0, 3)]
    assert runs[0] == runs[1]
    for name in files_in(tmp_path / "0" / "masks"):
        assert (tmp_path / "0" / "masks" / name).read_bytes() == (tmp_path / "3" / "masks" / name).read_bytes()


def test_an_error_in_a_helping_thread_names_the_clip(tmp_path):
    data = data_trees.davis2017(tmp_path / "data")
    (data / "JPEGImages/480p/dogs/00003.jpg").write_bytes(b"")
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"00003\.jpg is empty"):
            benchmark(DavisDataset(data), repeats(), tmp_path / "out", {}, workers=workers)


@pytest.mark.parametrize(("own", "expected"), [(None, 480), (96, 96)])
def test_networks_without_a_size_of_their_own_work_at_480(own, expected, tmp_path):
    pictures, labels = data_trees.moving(3, size=(600, 640))
    data_trees.write_clip(tmp_path, "480p/large", pictures, dict(enumerate(labels)))
    data_trees.write_list(tmp_path / "ImageSets/2017/val.txt", ["large"])
    network, sizes = repeats(), set()
    network.sizing, encode = Sizing(8, own), network.encode
    network.encode = lambda frame: sizes.add(tuple(frame.shape[-2:])) or encode(frame)
    benchmark(DavisDataset(tmp_path), network, tmp_path / "out", {})
    assert {min(size) for size in sizes} == {expected}
    assert read_mask(tmp_path / "out/masks/large/00002.png").shape == (600, 640)


# Objects that enter, categories


def test_an_object_is_given_where_it_enters_and_scored_after_that(tmp_path):
    dataset = YouTubeVOS(data_trees.youtube(tmp_path / "data"), "train")
    task, labels = dataset.task("0a"), {}
    assert task.scored == {1: [1, 2, 3, 4], 2: [2, 3, 4]} and task.ids == {1, 2}
    assert [task.given(t, known) is None for t, known in ((0, []), (1, [1]), (2, [1, 2]))] == [False, False, True]
    assert set(np.unique(task.given(1, [1]))) == {0, 2}
    outcome = run_task(repeats(), task, labels.__setitem__)
    assert [set(np.unique(mask)) for mask in labels.values()] == [{0, 1}] + 4 * [{0, 1, 2}]
    truth = [task.masks[t] for t in range(5)]
    expected = [region_similarity(truth[t] == 2, labels[task.frame_names[t]] == 2) for t in (2, 3, 4)]
    np.testing.assert_array_equal(outcome.scores[1].J, expected)


def test_an_object_is_not_scored_before_it_shows(tmp_path):
    """Object 2 is listed from the first frame on, where its mask does not show it."""
    data = data_trees.youtube(tmp_path / "data")
    names = [f"{5 * t:05}" for t in range(data_trees.FRAMES)]
    listed = {"1": {"category": "dog", "frames": names}, "2": {"category": "cat", "frames": names}}
    data_trees.write_meta(data / "train", {"0a": listed})
    outcome = run_task(repeats(), YouTubeVOS(data, "train").task("0a"))
    assert [len(score.J) for score in outcome.scores] == [4, 3] and (outcome.scores[1].J < 1).all()


def test_all_frames_are_followed_and_six_per_second_answered(tmp_path):
    dataset = YouTubeVOS(data_trees.youtube(tmp_path / "data"), "valid_all_frames")
    task, network = dataset.task("0v"), repeats()
    seen = []
    run_task(network, task, lambda name, _: seen.append(name))
    assert seen == [f"{t:05}" for t in range(21)] and network.calls["encode"] == 21
    assert task.wanted == [f"{t:05}" for t in range(0, 21, 5)]
    assert set(task.masks) == {0, 5}


def test_categories_are_unseen_when_no_other_training_clip_has_them(tmp_path):
    data, out = data_trees.youtube(tmp_path / "data"), tmp_path / "out"
    dataset = YouTubeVOS(data, "train")
    assert dataset.unseen() == {"cat", "dog", "yak"}  # nothing is left to train on
    assert YouTubeVOS(data, "valid").unseen() == set()
    dataset.only(["0b", "0c"])
    assert dataset.unseen() == {"yak"}
    result = benchmark(dataset, repeats(), out, {}, unseen=dataset.unseen())
    rows = [row for clip in result.rows.values() for row in clip]
    parts = {kind: [r for r in rows if (r.category == "yak") == (kind == "unseen")] for kind in ("seen", "unseen")}
    assert [len(part) for part in parts.values()] == [3, 1]
    J, F = 1, 4  # places in COLUMNS
    expected = {
        f"{name} {kind}": np.mean([row.values[place] for row in part])
        for kind, part in parts.items()
        for name, place in (("J", J), ("F", F))
    }
    summary = result.summary()
    assert {name: summary[name] for name in expected} == pytest.approx(expected)
    assert summary["G"] == pytest.approx(np.mean(list(expected.values())))


def test_the_command_takes_a_list_of_clips_and_unseen_categories(tmp_path, monkeypatch):
    monkeypatch.setattr("minivos.official.create_model", lambda name, weights: repeats())
    data = data_trees.youtube(tmp_path / "data")
    data_trees.write_list(tmp_path / "held_out.txt", ["0b"])
    command = ["benchmark", data, "--dataset", "youtubevos2019", "--split", "train", "--out", tmp_path / "out"]
    status, printed = run(*command, "--videos", tmp_path / "held_out.txt", "--unseen", "cat")
    assert status == 0 and "J unseen: " in printed and "G: " in printed
    assert {row["sequence"] for row in scores_of(tmp_path / "out")} == {"0b"}
    data_trees.write_list(tmp_path / "held_out.txt", ["0x"])
    status, printed = run(*command, "--videos", tmp_path / "held_out.txt")
    assert status == 2 and "0x is no clip of this split" in printed


def test_precision_and_compiling_reach_the_tracker_and_the_settings(tmp_path, monkeypatch):
    asked = {}
    tracker = loop.Tracker

    def tracked(model, **settings):
        asked.update(settings)
        return tracker(model, **settings | {"compiled": False})

    monkeypatch.setattr(loop, "Tracker", tracked)
    monkeypatch.setattr("minivos.official.create_model", lambda name, weights: repeats())
    command = [
        "benchmark",
        data_trees.davis2017(tmp_path / "data"),
        "--dataset",
        "davis2017",
        "--out",
        tmp_path / "out",
    ]
    status, printed = run(*command, "--precision", "bfloat16", "--compile", "--device", "cpu")
    assert status == 0, printed
    assert asked == {"side": None, "precision": "bfloat16", "compiled": True}
    status, printed = run(*command, "--precision", "float32", "--compile", "--device", "cpu")
    assert status == 2 and "results with precision = 'bfloat16'" in printed


def test_flip_and_scales_are_views_of_one_network(tmp_path, monkeypatch):
    network = create_model("aot_mini")
    monkeypatch.setattr("minivos.official.create_model", lambda name, weights: network)
    sizes, encode = [], network.encode
    network.encode = lambda frame: sizes.append(tuple(frame.shape[-2:])) or encode(frame)
    data, out = data_trees.davis2017(tmp_path / "data"), tmp_path / "out"
    command = ["benchmark", data, "--dataset", "davis2017", "--out", out, "--device", "cpu"]
    status, printed = run(*command, "--flip", "--scale", 1, "--scale", 2, "--side", 40)
    assert status == 0 and "J&F: " in printed, printed
    once, twice = (network.sizing(data_trees.SIZE, side) for side in (40, 80))
    assert sizes[:4] == [once, once, twice, twice] and once != twice and len(sizes) == 4 * data_trees.FRAMES
    status, printed = run(*command, "--flip", "--scale", 1, "--side", 40)
    assert status == 2 and "results with scales = [1.0, 2.0], this run has [1.0]" in printed


# What outlives a run

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from evaluation.test_benchmark import repeats, Path
from minivos.evaluation.benchmark import benchmark
from minivos.video.datasets import DavisDataset
network = repeats()
encode, frames = network.encode, 0
def killed(frame):
    global frames
    frames += 1
    if frames == 8:  # the third frame of the second clip
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(frame)
network.encode = killed
benchmark(DavisDataset({data!r}, "trainval"), network, {out!r}, {{}})
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    data, out = data_trees.davis2017(tmp_path / "data", ("bear", "cows", "dogs")), tmp_path / "out"
    script = KILLED.format(tests=str(TESTS), data=str(data), out=str(out))
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    died = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert list(read_rows(out)) == ["bear"] and not (out / "masks" / "cows").exists()
    before = (out / "masks/bear/00001.png").stat().st_mtime_ns

    dataset, network = DavisDataset(data, "trainval"), repeats()
    resumed = benchmark(dataset, network, out, {}, zipped=True)
    assert network.calls["encode"] == 2 * data_trees.FRAMES
    assert (out / "masks/bear/00001.png").stat().st_mtime_ns == before
    whole = benchmark(dataset, repeats(), tmp_path / "whole", {}, zipped=True)
    for name in ("J", "F", "J&F"):
        assert resumed.summary()[name] == whole.summary()[name]
    assert files_in(out) == files_in(tmp_path / "whole")  # nothing half-done is left
    assert (out / "submission.zip").stat().st_size == (tmp_path / "whole/submission.zip").stat().st_size


def test_a_finished_run_is_only_read_and_a_lost_folder_made_again(tmp_path):
    dataset = DavisDataset(data_trees.davis2017(tmp_path / "data"), "trainval")
    first = benchmark(dataset, repeats(), tmp_path / "out", {})
    network, summary = repeats(), (tmp_path / "out/summary.csv").read_text()
    assert benchmark(dataset, network, tmp_path / "out", {}).rows == first.rows and network.calls["encode"] == 0
    assert (tmp_path / "out/summary.csv").read_text() == summary
    for file in (tmp_path / "out/masks/dogs").iterdir():
        file.unlink()
    (tmp_path / "out/masks/dogs").rmdir()
    benchmark(dataset, network, tmp_path / "out", {})
    assert network.calls["encode"] == data_trees.FRAMES


def test_other_settings_are_refused_and_overwriting_begins_anew(tmp_path):
    dataset, out = DavisDataset(data_trees.davis2017(tmp_path / "data"), "val"), tmp_path / "out"
    benchmark(dataset, repeats(), out, {"model": "a"}, zipped=True)
    with pytest.raises(InputError, match="results with model = 'a', this run has 'b'.*--overwrite"):
        benchmark(dataset, repeats(), out, {"model": "b"})
    with pytest.raises(InputError, match="results with side = None, this run has 32"):
        benchmark(dataset, repeats(), out, {"model": "a"}, side=32)
    other = repeats()
    other.weight.data += 1
    with pytest.raises(InputError, match="results with weights = "):
        benchmark(dataset, other, out, {"model": "a"})
    benchmark(dataset, network := repeats(), out, {"model": "b"}, overwrite=True)
    assert network.calls["encode"] == data_trees.FRAMES and not (out / "submission.zip").exists()


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    data = data_trees.davis2017(tmp_path / "data")
    before = files_in(data)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="files that minivos did not write"):
            benchmark(DavisDataset(data), repeats(), data, {}, overwrite=overwrite)
    assert files_in(data) == before


def test_a_damaged_table_is_refused(tmp_path):
    dataset, out = DavisDataset(data_trees.davis2017(tmp_path / "data"), "val"), tmp_path / "out"
    benchmark(dataset, repeats(), out, {})
    (out / "scores.csv").write_text((out / "scores.csv").read_text().replace("0.", "zero"))
    with pytest.raises(InputError, match=r"scores\.csv is damaged .*--overwrite"):
        benchmark(dataset, repeats(), out, {})


def test_rows_survive_the_file(tmp_path):
    rows = {
        "a": [Row("a", 1, "dog, brown", (0.5, *[0.25] * 6), 3, 0.125, 9.5), Row("a", 2, "", (1.0,) * 7, 3, 0.125, 9.5)],
        "b": [Row("b", None, "", (math.nan,) * 7, 0, 0.0, 7.0)],
    }
    for name in rows:
        (tmp_path / "masks" / name).mkdir(parents=True)
    module.write_rows(tmp_path, rows)
    read = read_rows(tmp_path)
    assert read["a"] == rows["a"] and np.isnan(read["b"][0].values).all() and read["b"][0].object_id is None


GROWTH = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import data_trees
from evaluation.test_benchmark import repeats
from minivos.evaluation.benchmark import benchmark
from minivos.evaluation.cost import peak_memory
from minivos.video.datasets import DavisDataset
root = Path({root!r})
pictures, labels = data_trees.moving(10, size=(160, 216))
names = [f"clip{{n:02}}" for n in range(30)]
for name in names:
    data_trees.write_clip(root, f"480p/{{name}}", pictures, dict(enumerate(labels)))
data_trees.write_list(root / "ImageSets/2017/few.txt", names[:3])
data_trees.write_list(root / "ImageSets/2017/many.txt", names)
for split in ("few", "many"):
    benchmark(DavisDataset(root, split), repeats(), root / split, {{}}, workers=1, zipped=True)
    print(peak_memory())
"""


def test_memory_is_the_same_for_3_and_for_30_clips(tmp_path):
    """All frames of the 30 clips would take 30 MiB, all masks 10."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, "-c", GROWTH.format(tests=str(TESTS), root=str(tmp_path))],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    few, many = map(float, re.findall(r"^[\d.]+$", done.stdout, re.M))
    assert many - few < 8, done.stderr


# What cannot be


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "davis2018"], "got dataset 'davis2018'; expected one of davis2016, davis2017"),
        (["--dataset", "davis2017", "--split", "../val"], "not a path"),
        (["--dataset", "davis2017", "--split", "tset"], r"splits here: test-challenge, test-dev, train, val"),
        (["--dataset", "davis2017", "--workers", "-1"], "expected 0 to 64 threads"),
        (["--dataset", "davis2017", "--workers", "65"], "expected 0 to 64 threads"),
        (["--dataset", "youtubevos2019"], "expected meta.json, JPEGImages, Annotations"),
        (["--dataset", "davis2017", "--split", 300 * "x"], "not a path"),
        (["--dataset", "davis2017", "--videos", "nowhere.txt"], "there is no file nowhere.txt"),
        (["--dataset", "davis2017", "--model", "aot_t"], "No trained weights come with aot_t"),
    ],
)
def test_what_cannot_be_benchmarked_is_one_line(words, message, tmp_path):
    status, printed = run("benchmark", data_trees.davis2017(tmp_path / "data"), *words, "--out", tmp_path / "out")
    assert status == 2 and re.search(message, printed) and printed.count("\n") == 1, printed
    assert not (tmp_path / "out").exists()


def test_a_clip_with_some_of_its_masks_is_named(tmp_path):
    data = data_trees.davis2017(tmp_path / "data")
    (data / "Annotations/480p/dogs/00002.png").unlink()
    with pytest.raises(InputError, match="clip dogs has masks of 4 of its 5 frames"):
        benchmark(DavisDataset(data), repeats(), tmp_path / "out", {})
    empty = np.zeros(data_trees.SIZE, np.uint8)
    write_mask(data / "Annotations/480p/hidden/00000.png", empty)
    with pytest.raises(InputError, match="hidden: the mask holds no object"):
        benchmark(open_dataset("davis2017", data, "test-dev"), repeats(), tmp_path / "other", {})
