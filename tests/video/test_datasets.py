"""Data sets: DAVIS, YouTube-VOS and the place of the committed samples."""

import json

import numpy as np
import pytest
from PIL import Image

from minivos.errors import InputError
from minivos.video.datasets import DavisDataset, YouTubeVOS, samples_root
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


def test_samples_root_explains_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minivos.video.datasets.__file__", str(tmp_path / "minivos" / "video" / "datasets.py"))
    with pytest.raises(InputError, match="clone the repository"):
        samples_root()
