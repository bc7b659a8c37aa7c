"""Data sets: DAVIS, YouTube-VOS and the place of the committed samples."""

import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import data_trees
from minivos.errors import InputError
from minivos.video.datasets import DavisDataset, YouTubeVOS, read_meta, read_names, samples_root
from minivos.video.mask_files import write_mask


def add_clip(root, resolution, name, count, masks):
    frames, annotations = (root / part / resolution / name for part in ("JPEGImages", "Annotations"))
    frames.mkdir(parents=True)
    annotations.mkdir(parents=True)
    for t in range(count):
        Image.fromarray(np.full((12, 16, 3), 10 * t, dtype=np.uint8)).save(frames / f"{t:05d}.jpg")
    for t, object_id in masks.items():
        labels = np.zeros((12, 16), dtype=np.uint8)
        labels[:object_id] = object_id
        write_mask(annotations / f"{t:05d}.png", labels)


@pytest.fixture
def davis(tmp_path):
    root = tmp_path / "DAVIS"
    for name, count in (("bear", 3), ("dogs-jump", 2), ("unlisted", 1)):
        add_clip(root, "480p", name, count, {0: 1, 1: 2} if count > 1 else {0: 1})
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("dogs-jump\nbear\n\n")
    return root


@pytest.fixture
def youtube(tmp_path):
    add_clip(tmp_path / "valid", "", "0a1b", 4, {0: 1, 3: 2})
    listing = {"videos": {"0a1b": {"objects": {"1": {"category": "dog", "frames": ["00000"]}}}}}
    (tmp_path / "valid" / "meta.json").write_text(json.dumps(listing))
    return tmp_path


def test_davis_lists_its_split_and_reads_on_demand(davis):
    dataset = DavisDataset(davis, split="val", year=2017)
    assert dataset.names == ["dogs-jump", "bear"] and len(dataset) == 2
    clip = dataset[1]
    assert (clip.name, clip.frames.shape, list(clip.masks)) == ("bear", (3, 12, 16, 3), [0, 1])
    assert [clip.name for clip in dataset] == ["dogs-jump", "bear"]
    (davis / "JPEGImages" / "480p" / "bear" / "00001.jpg").write_bytes(b"damaged")
    assert DavisDataset(davis)[0].name == "dogs-jump"


def test_youtube_vos_has_masks_where_objects_appear(youtube):
    dataset = YouTubeVOS(youtube, split="valid")
    assert dataset.names == ["0a1b"]
    assert {t: mask.max() for t, mask in dataset[0].masks.items()} == {0: 1, 3: 2}


def test_missing_folders_say_which_layout_was_expected(davis, youtube):
    with pytest.raises(InputError, match=r"train.txt; expected ImageSets/2017/train.txt, JPEGImages/480p, Annotations"):
        DavisDataset(davis, split="train")
    with pytest.raises(InputError, match="JPEGImages/1080p; expected"):
        DavisDataset(davis, resolution="1080p")
    with pytest.raises(InputError, match=r"meta.json; expected meta.json, JPEGImages, Annotations"):
        YouTubeVOS(youtube, split="train")


def test_listed_clips_must_be_there(davis, youtube):
    (davis / "ImageSets" / "2017" / "val.txt").write_text("bear\ncat\n")
    with pytest.raises(InputError, match="lacks 1 listed clips, such as cat"):
        DavisDataset(davis)
    (youtube / "valid" / "meta.json").write_text("{}")
    with pytest.raises(InputError, match="meta.json is damaged"):
        YouTubeVOS(youtube)


def test_samples_root_prefers_the_working_directory(davis, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    davis.rename(tmp_path / "work" / "data_samples")
    monkeypatch.chdir(tmp_path / "work")
    assert samples_root() == tmp_path / "work" / "data_samples"
    assert len(DavisDataset(samples_root())) == 2


def test_samples_root_finds_those_inside_an_installed_package(davis, tmp_path, monkeypatch):
    (tmp_path / "minivos").mkdir()
    davis.rename(tmp_path / "minivos" / "data_samples")
    monkeypatch.setattr("minivos.video.datasets.__file__", str(tmp_path / "minivos" / "video" / "datasets.py"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert samples_root() == tmp_path / "minivos" / "data_samples"


def test_samples_root_explains_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minivos.video.datasets.__file__", str(tmp_path / "minivos" / "video" / "datasets.py"))
    with pytest.raises(InputError, match="clone the repository"):
        samples_root()


# Layouts


def test_davis_2016_reads_both_of_its_layouts_and_merges_the_objects(tmp_path):
    alone = DavisDataset(data_trees.davis2016(tmp_path / "2016"), "trainval", year=2016)
    among = DavisDataset(data_trees.davis2017(tmp_path / "2017"), "val", year="2016")
    assert (alone.names, among.names) == (["bear", "camel"], ["dogs"])
    for dataset in (alone, among):
        clip, task = dataset[-1], dataset.task(dataset.names[-1])
        assert sorted(clip.masks) == list(task.masks) == list(range(data_trees.FRAMES))
        for masks in (clip.masks, task.masks):
            np.testing.assert_array_equal(masks[2], data_trees.moving()[1][2] > 0)
        assert task.scored == {1: [1, 2, 3]} and task.ids == {1}


def test_trainval_is_both_lists_unless_it_has_one(tmp_path):
    data = data_trees.davis2017(tmp_path)
    assert DavisDataset(data, "trainval").names == ["bear", "dogs"]
    data_trees.write_list(data / "ImageSets/2017/trainval.txt", ["dogs"])
    assert DavisDataset(data, "trainval").names == ["dogs"]


def test_links_and_endings_in_capitals_do_not_matter(tmp_path):
    data = data_trees.davis2017(tmp_path / "data")
    for part, new in (("JPEGImages", "JPG"), ("Annotations", "PNG")):
        folder = data / part / "480p"
        (folder / "dogs").rename(tmp_path / f"moved {part}")
        (folder / "dogs").symlink_to(tmp_path / f"moved {part}")
        for file in (folder / "dogs").iterdir():
            file.rename(file.with_suffix(f".{new}"))
    (tmp_path / "link").symlink_to(data)
    dataset = DavisDataset(tmp_path / "link")
    task, clip = dataset.task("dogs"), dataset[0]
    assert clip.name == task.name == "dogs" and len(clip.masks) == len(task.masks) == data_trees.FRAMES
    np.testing.assert_array_equal(np.stack(list(task.frames)), clip.frames)
    np.testing.assert_array_equal(task.masks[3], clip.masks[3])


def test_test_sets_are_not_scored(tmp_path):
    task = DavisDataset(data_trees.davis2017(tmp_path / "davis"), "test-dev").task("hidden")
    assert task.scored == {} and task.wanted == [f"{t:05}" for t in range(data_trees.FRAMES)]
    task = YouTubeVOS(data_trees.youtube(tmp_path / "youtube")).task("0v")
    assert task.scored == {} and task.ids == {1, 2} and set(task.masks) == {0, 1}


def test_frames_that_no_object_is_asked_for_are_left_out(tmp_path):
    data = data_trees.youtube(tmp_path)
    frames = [f"{t:05}" for t in (5, 15)]
    data_trees.write_meta(data / "valid", {"0v": {"2": {"category": "cat", "frames": frames}}})
    task = YouTubeVOS(data).task("0v")
    assert task.frame_names == task.wanted == frames and len(list(task.frames)) == 2
    assert set(task.masks) == {0} and task.given(0, []).max() == 2
    assert YouTubeVOS(data, "valid_all_frames").task("0v").frame_names == [f"{t:05}" for t in range(5, 16)]
    data_trees.write_meta(data / "valid", {"0v": {"2": {"category": "cat", "frames": ["00005", "../../00001"]}}})
    with pytest.raises(InputError, match=r"has the name '../../00001'"):
        YouTubeVOS(data)
    data_trees.write_meta(data / "valid", {"0v": {"2": {"category": "cat", "frames": ["00005", "00007"]}}})
    with pytest.raises(InputError, match=r"lacks frame 00007 \(1 of 2 listed ones\)"):
        YouTubeVOS(data).task("0v")


# Damaged lists, and lists that lead elsewhere


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"../../etc\n", r"has the name '../../etc'; expected that of a folder or file, not a path"),
        (b"/etc\n", "has the name '/etc'"),
        (b"..\n", r"has the name '\.\.'"),
        (b"C:\\Windows\n", "not a path"),
        (300 * b"x", "not a path"),
        (b"/JPEGImages/480p/../00000.jpg /Annotations/480p/../00000.png\n", r"has the name '\.\.'"),
        (b"/etc/passwd/00000.jpg\n", "not a path"),
        (b"dogs\n\x07\n", "expected a text such as"),
        (b"\xff\xfeb\x00e\x00", "UTF-8"),
        ("b\u00e4r".encode("latin-1"), "UTF-8"),
        (b"  \n\n", "is empty; expected the name of a clip on each line"),
        (b"x" * (17 * 2**20), "17 MiB; expected at most 16"),
    ],
)
def test_lists_that_cannot_be_are_refused(content, message, tmp_path):
    data = data_trees.davis2017(tmp_path)
    (data / "ImageSets/2017/val.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        DavisDataset(data)


def test_lists_of_other_systems_are_read(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfbear\r\n dogs \r\n\r\nbear\r\n" + "kühe".encode())
    assert read_names(tmp_path / "list.txt") == ["bear", "dogs", "kühe"]


OBJECT = {"category": "dog", "frames": ["00000"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is damaged"),
        ({"videos": 5}, "is damaged"),
        ({"videos": [1, 2]}, "is damaged"),
        ({"videos": {"a": 5}}, "is damaged"),
        ({"videos": {"a": {"objects": [OBJECT]}}}, "is damaged"),
        ({"videos": {"a": {"objects": {}}}}, "a clip without objects"),
        ({"videos": {"a": {"objects": {"x": OBJECT}}}}, "object 'x', expected 1 to 254"),
        ({"videos": {"a": {"objects": {"0": OBJECT}}}}, "object '0', expected 1 to 254"),
        ({"videos": {"a": {"objects": {"255": OBJECT}}}}, "expected 1 to 254"),
        ({"videos": {"a": {"objects": {"1": 5}}}}, "is damaged"),
        ({"videos": {"a": {"objects": {"1": {"frames": 5}}}}}, "object 1 with frames 5"),
        ({"videos": {"a": {"objects": {"1": {"frames": [0, 5]}}}}}, "has 0 as a name"),
        ({"videos": {"a": {"objects": {"1": {"frames": ["00000"], "category": 3}}}}}, "of 3"),
        ({"videos": {"../a": {"objects": {"1": OBJECT}}}}, "not a path"),
        ({"videos": {"/a": {"objects": {"1": OBJECT}}}}, "not a path"),
        ({"videos": {"": {"objects": {"1": OBJECT}}}}, "not a path"),
    ],
)
def test_a_meta_json_that_cannot_be_is_refused(content, message, tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_meta(tmp_path / "meta.json")


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b'{"videos": Infinity}', b""])
def test_a_meta_json_that_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(InputError, match=r"meta\.json"):
        read_meta(tmp_path / "meta.json")


def test_a_huge_meta_json_is_not_read(tmp_path):
    with (tmp_path / "meta.json").open("wb") as file:
        file.truncate(84 * 2**20)
    tracemalloc.start()
    with pytest.raises(InputError, match="84 MiB; expected at most 16"):
        read_meta(tmp_path / "meta.json")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20
