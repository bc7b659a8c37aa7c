"""Stills on disk, in the layouts in which their data sets come: COCO, VOC, and salient objects.

    COCO 2014, 2017    annotations/instances_train2017.json, train2017/ or images/train2017/
    VOC 2012           JPEGImages/, SegmentationObject/, ImageSets/Segmentation/trainval.txt
    ECSSD              images/, ground_truth_mask/       HKU-IS      imgs/, gt/
    MSRA10K            Imgs/ with NAME.jpg, NAME.png     PASCAL-S    imgs/pascal/, masks/pascal/
    any                JPEGImages/NAME.jpg, Annotations/NAME.png
    DAVIS, YouTube-VOS the annotated frames of their training clips

Pictures of validation are never among them, but for VOC, on which no video network is measured.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minivos.errors import InputError
from minivos.training.footage import (
    annotated_frames,
    name_split,
    read_pictures,
    training_videos,
)
from minivos.training.pool import Footage
from minivos.video.datasets import check_name, read_names
from minivos.video.files import is_picture, open_picture, to_rgb
from minivos.video.mask_files import read_mask

Still = Callable[[], Footage]  # reads a picture (1,H,W,3) and its labels (1,H,W)
PICTURES = ("images", "image", "imgs", "img")  # folders of salient objects, in small letters
MASKS = ("ground_truth_mask", "gt", "masks", "mask")
MOST_OBJECTS = 254


def find_stills(root: str | Path) -> list[Still]:
    """All training stills below `root`, in one of the layouts above; InputError for another.

    The clips of DAVIS may be those of a list, "DAVIS:LIST".
    """
    named, (root, split) = root, name_split(root)
    if split:
        return [still for folder in video_folders(named) for still in annotated_stills(folder)]
    lists = sorted((root / "annotations").glob("instances_train*.json"))
    if lists:
        return [still for listing in lists for still in coco_stills(root, listing)]
    for voc in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (voc / "ImageSets" / "Segmentation").is_dir():
            return voc_stills(voc)
    if (root / "ImageSets").is_dir() or (root / "train").is_dir():
        return [still for folder in video_folders(root) for still in annotated_stills(folder)]
    if (root / "JPEGImages").is_dir():
        return annotated_stills(root / "JPEGImages")
    if stills := salient_stills(root):
        return stills
    raise InputError(
        f"{root} holds no stills; expected JPEGImages/NAME.jpg with Annotations/NAME.png in it, "
        "or the layout of COCO, VOC 2012, ECSSD, MSRA10K, PASCAL-S, HKU-IS, DAVIS or YouTube-VOS: "
        "check the path"
    )


def video_folders(root: str | Path) -> list[Path]:
    """The folders of the training clips of DAVIS or YouTube-VOS."""
    return sorted({folder for folder, _ in training_videos(root)})


def read_still(
    picture: Path, mask: Path, read: Callable[[Path], np.ndarray] = read_mask
) -> Footage:
    """A picture file with the labels that `read` makes of its mask file."""
    labels = read(mask)
    return read_pictures([picture], [labels], [mask]), labels[None]


def annotated_stills(folder: Path) -> list[Still]:
    """The pictures of a folder that have a mask, see `annotated_frames`."""
    return [partial(read_still, *frame) for frame in annotated_frames(folder)]


# Salient objects ----------------------------------------------------------------------------------


def salient_stills(root: Path) -> list[Still]:
    """Pictures with one mask of what stands out; none where `root` is laid out otherwise."""
    children = root.iterdir() if root.is_dir() else ()
    folders = {child.name.lower(): child for child in children if child.is_dir()}
    pictures, masks = (
        next((folders[name] for name in names if name in folders), None)
        for names in (PICTURES, MASKS)
    )
    if pictures and masks:
        found = by_name(pictures, ""), by_name(masks, "")
    else:
        together = pictures or root
        found = by_name(together, ".jpg", ".jpeg"), by_name(together, ".png")
    pairs, (picture_of, mask_of) = [], found
    for name, mask in mask_of.items() if picture_of else ():
        if name not in picture_of:
            raise InputError(f"{mask} has no picture of its name: unpack the data set again")
        pairs.append((picture_of[name], mask))
    return [partial(read_still, *pair, read_salient) for pair in pairs]


def by_name(folder: Path, *endings: str) -> dict[str, Path]:
    """The pictures below a folder with one of these endings, by their path without it."""
    paths = sorted(path for path in folder.rglob("*") if is_picture(path))
    kept = [path for path in paths if path.suffix.lower().endswith(endings)]
    return {str(path.relative_to(folder).with_suffix("")): path for path in kept}


def read_salient(path: Path) -> np.ndarray:
    """A grey mask, 0 to 255 (or 0 and 1), cut at half: labels uint8 (H,W), 1 the object."""
    grey = np.asarray(to_rgb(open_picture(path)).convert("L"))
    white = 255 if grey.max() > 1 else 1
    return (grey > white / 2).astype(np.uint8)


# VOC ----------------------------------------------------------------------------------------------


def voc_stills(root: Path) -> list[Still]:
    """The pictures of VOC with a mask of each object, of the lists of training and validation."""
    sets = root / "ImageSets" / "Segmentation"
    listing = sets / "trainval.txt"
    if not listing.is_file():
        raise InputError(f"there is no {listing}; expected the lists of VOC 2012: unpack it again")
    pairs = [
        (root / "JPEGImages" / f"{name}.jpg", root / "SegmentationObject" / f"{name}.png")
        for name in read_names(listing)
    ]
    check_there(listing, (path for pair in pairs for path in pair))
    return [partial(read_still, *pair) for pair in pairs]


def check_there(listing: Path, paths: Iterable[Path]) -> None:
    """InputError unless all these files are there."""
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(
            f"{listing} lists {missing[0]}, which is not there ({len(missing)} files are not); "
            "expected every one: unpack the data set again"
        )


# COCO ---------------------------------------------------------------------------------------------


def coco_stills(root: Path, listing: Path) -> list[Still]:
    """The pictures of COCO with instances; crowds are left out, small objects lie on large ones.

    Raises InputError when pycocotools is missing, or the list is damaged.
    """
    find_pycocotools()
    split = listing.stem.removeprefix("instances_")
    folder = next((root / way for way in (split, f"images/{split}") if (root / way).is_dir()), root)
    try:
        content = json.loads(listing.read_bytes())
        objects = defaultdict(list)
        for one in content["annotations"]:
            if not one["iscrowd"]:
                objects[one["image_id"]].append((one["area"], as_arrays(one["segmentation"])))
        shown = [picture for picture in content["images"] if picture["id"] in objects]
        pictures = [
            (folder / check_name(one["file_name"], listing), (one["height"], one["width"]))
            for one in shown
        ]
        shapes = [objects[picture["id"]] for picture in shown]
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{listing} is damaged ({error!r:.100}); expected the instances of COCO: "
            "unpack it again"
        ) from error
    check_there(listing, (path for path, _ in pictures))
    return [partial(read_coco, *one, of) for one, of in zip(pictures, shapes, strict=True)]


def find_pycocotools() -> Any:
    """The module that knows the masks of COCO; InputError where it is not installed."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise InputError(
            "COCO needs pycocotools, which is not installed: pip install 'minivos[coco]'"
        ) from error
    return mask


def as_arrays(segmentation: Any) -> Any:
    """Polygons as arrays, which take a tenth of the memory; run lengths stay as they are."""
    if isinstance(segmentation, dict):
        return segmentation
    return [np.array(polygon, np.float32) for polygon in segmentation]


def read_coco(picture: Path, size: tuple[int, int], objects: list[tuple[float, Any]]) -> Footage:
    """A picture with the labels of its objects, drawn from the largest to the smallest."""
    masks, labels = find_pycocotools(), np.zeros(size, np.uint8)
    by_area = sorted(objects, key=lambda one: -one[0])[:MOST_OBJECTS]
    try:
        for number, (_, shape) in enumerate(by_area, start=1):
            if isinstance(shape, list):
                shape = [polygon.tolist() for polygon in shape]
            if not isinstance(shape, dict) or isinstance(shape["counts"], list):
                shape = masks.frPyObjects(shape, *size)
            runs = masks.merge(shape) if isinstance(shape, list) else shape
            labels[masks.decode(runs) > 0] = number
    except Exception as error:  # pycocotools raises what it likes
        raise InputError(
            f"{picture} has an object of COCO that cannot be drawn ({error!r:.100}): "
            "unpack the annotations again"
        ) from error
    return read_pictures([picture], [labels], [picture]), labels[None]
