"""Small trees in the layouts of DAVIS and YouTube-VOS, made by the tests that need them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from minivos.video.mask_files import write_mask

SIZE = (40, 48)
FRAMES = 5


def moving(frames: int = FRAMES, objects: int = 2, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Coloured boxes that move right by one pixel a frame: pictures (T,H,W,3), labels (T,H,W)."""
    labels = np.zeros((frames, *size), np.uint8)
    for t in range(frames):
        for k in range(1, objects + 1):
            labels[t, 18 * k - 16 : 18 * k - 2, 4 + t : 18 + t] = k
    colours = np.array([(90, 90, 90), (220, 40, 40), (40, 60, 220)], np.uint8)
    return colours[labels], labels


def write_clip(root: Path, folder: str, pictures: np.ndarray, labels: Mapping[int, np.ndarray], **how) -> None:
    """JPEGImages/FOLDER and Annotations/FOLDER; `how`: ending, grey (0 and 255), step of the names."""
    step = how.get("step", 1)
    frames, masks = root / "JPEGImages" / folder, root / "Annotations" / folder
    for place in (frames, masks):
        place.mkdir(parents=True)
    for t, picture in enumerate(pictures):
        Image.fromarray(picture).save(frames / f"{t * step:05}{how.get('ending', '.jpg')}", format="JPEG")
    for t, mask in labels.items():
        path = masks / f"{t * step:05}.png"
        if how.get("grey"):
            Image.fromarray((mask > 0).astype(np.uint8) * 255).save(path)
        else:
            write_mask(path, mask)


def write_list(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def davis2017(root: Path, names: Sequence[str] = ("bear", "dogs"), frames: int = FRAMES) -> Path:
    """With train, val, the lists of 2016, and test-dev, of which only the first masks are known."""
    pictures, labels = moving(frames)
    for name in names:
        write_clip(root, f"480p/{name}", pictures, dict(enumerate(labels)))
    write_clip(root, "480p/hidden", pictures, {0: labels[0]})
    for year in ("2016", "2017"):
        write_list(root / "ImageSets" / year / "val.txt", names[1:])
        write_list(root / "ImageSets" / year / "train.txt", names[:1])
    for split in ("test-dev", "test-challenge"):
        write_list(root / "ImageSets" / "2017" / f"{split}.txt", ["hidden"])
    return root


def davis2016(root: Path) -> Path:
    """As it was published by itself: lists of frames, masks of black and white, endings in capitals."""
    pictures, labels = moving()
    lines = []
    for name in ("bear", "camel"):
        write_clip(root, f"480p/{name}", pictures, dict(enumerate(labels)), grey=True, ending=".JPG")
        lines += [
            f"/JPEGImages/480p/{name}/{t:05}.JPG /Annotations/480p/{name}/{t:05}.png " for t in range(len(pictures))
        ]
    write_list(root / "ImageSets" / "480p" / "val.txt", lines[FRAMES:])
    write_list(root / "ImageSets" / "480p" / "train.txt", lines[:FRAMES])
    return root


def youtube(root: Path) -> Path:
    """train of three clips, valid of one with the masks of objects where they enter, and all frames of that.

    Object 2 enters at the second frame. Names count in fives, those of all frames in ones.
    """
    pictures, labels = moving()
    names = [f"{5 * t:05}" for t in range(FRAMES)]
    entering = labels.copy()
    entering[0][labels[0] == 2] = 0
    listed = {"1": {"category": "dog", "frames": names}, "2": {"category": "cat", "frames": names[1:]}}
    rare = {"1": {"category": "yak", "frames": names}, "2": {"category": "dog", "frames": names[1:]}}
    for name in ("0a", "0b", "0c"):
        write_clip(root / "train", name, pictures, dict(enumerate(entering)), step=5)
    write_meta(root / "train", {"0a": listed, "0b": listed, "0c": rare})
    second = np.where(labels[1] == 2, 2, 0).astype(np.uint8)
    write_clip(root / "valid", "0v", pictures, {0: entering[0], 1: second}, step=5)
    write_meta(root / "valid", {"0v": listed})
    every = np.repeat(pictures, 5, axis=0)[: 5 * FRAMES - 2]  # the last ones are not asked for
    write_clip(root / "valid_all_frames", "0v", every, {})
    return root


def write_meta(folder: Path, videos: Mapping[str, Mapping]) -> None:
    content = {"videos": {name: {"objects": objects} for name, objects in videos.items()}}
    (folder / "meta.json").write_text(json.dumps(content))
