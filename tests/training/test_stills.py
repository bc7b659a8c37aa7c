"""Stills on disk: each data set in its own layout, down to two steps of training."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from test_footage import write_davis, write_frames

from minivos.errors import InputError
from minivos.training.loop import train
from minivos.training.recipe import Recipe
from minivos.training.still_files import coco_stills, find_stills, read_salient
from minivos.training.stills import still_clips, stills_in
from minivos.video.mask_files import write_mask
from tiny import squares, tiny_aot

SIZE = (40, 48)
RECIPE = Recipe(steps=2, batch=1, frames=2, side=32, objects=3, pool=0, footage="stills")


def picture(number: int, size=SIZE, ids=(1, 2)) -> tuple[np.ndarray, np.ndarray]:
    frames, labels = squares(number, frames=1, size=size, ids=ids)
    return frames[0], labels[0]


def save(path, array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def grey(labels: np.ndarray) -> np.ndarray:
    """A mask of what stands out, with a soft edge: 0, 90, 200 and 255."""
    soft = np.where(labels > 0, 255, 0).astype(np.uint8)
    rows = np.flatnonzero(labels.any(axis=1))
    soft[rows[0]] = soft[rows[0]] // 255 * 90
    soft[rows[-1]] = soft[rows[-1]] // 255 * 200
    return soft


# ------------------------------------------------------------------------------------------------------- the layouts
def write_salient(root, pictures: str, masks: str, ending: str = ".jpg"):
    for number in range(3):
        frame, labels = picture(number, ids=(1,))
        save(root / pictures / f"{number}{ending}", frame)
        save(root / masks / f"{number}.png", grey(labels))
    return root


def write_voc(root):
    for number in range(3):
        frame, labels = picture(number)
        labels[:2] = 255  # void
        save(root / f"JPEGImages/2007_{number}.jpg", frame)
        (root / "SegmentationObject").mkdir(exist_ok=True)
        write_mask(root / f"SegmentationObject/2007_{number}.png", labels)
    save(root / "JPEGImages/2007_9.jpg", picture(9)[0])  # most pictures of VOC have no mask
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/trainval.txt").write_text("2007_0\n2007_1\n2007_2\n")
    return root


def polygon(top: int, left: int, bottom: int, right: int) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def runs(mask: np.ndarray) -> dict:
    """A mask as run lengths that are not compressed: column by column, background first."""
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def write_coco(root, folder: str = "train2017", **changes):
    square = np.zeros(SIZE, bool)
    square[20:30, 5:25] = True
    objects = [
        {"segmentation": [polygon(2, 2, 8, 8)], "area": 36, "iscrowd": 0},  # lies on the next
        {"segmentation": [polygon(0, 0, 16, 20), polygon(0, 30, 8, 40)], "area": 400, "iscrowd": 0},
        {"segmentation": runs(square), "area": 200, "iscrowd": 0},
        {"segmentation": runs(np.ones(SIZE, bool)), "area": 1920, "iscrowd": 1},
    ]
    images = [{"id": n, "file_name": f"{n:012}.jpg", "height": SIZE[0], "width": SIZE[1]} for n in (7, 8, 9)]
    for image in images:
        save(root / folder / image["file_name"], picture(image["id"])[0])
    annotations = [one | {"image_id": number, "id": 10 * number} for number in (7, 8) for one in objects]
    (root / "annotations").mkdir()
    content = {"images": images, "annotations": annotations} | changes
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    return root


def write_flat(root):
    write_frames(root / "JPEGImages", root / "Annotations", *squares(0, 3))
    return root


def write_youtube(root):
    write_frames(root / "train/JPEGImages/c", root / "train/Annotations/c", *squares(0, 3))
    (root / "train/meta.json").write_text(json.dumps({"videos": {"c": {"objects": {"1": {"frames": ["00000"]}}}}}))
    return root


LAYOUTS = {
    "ECSSD": lambda root: write_salient(root, "images", "ground_truth_mask"),
    "MSRA10K": lambda root: write_salient(root, "Imgs", "Imgs"),
    "MSRA10K's inner folder": lambda root: write_salient(root, "", ""),
    "PASCAL-S": lambda root: write_salient(root, "imgs/pascal", "masks/pascal"),
    "PASCAL-S, flat": lambda root: write_salient(root, "Imgs", "GT"),
    "HKU-IS": lambda root: write_salient(root, "imgs", "gt", ".png"),
    "VOC": write_voc,
    "VOCdevkit": lambda root: write_voc_inside(root),
    "COCO": write_coco,
    "COCO in images": lambda root: write_coco(root, "images/train2017"),
    "flat": write_flat,
    "DAVIS": lambda root: write_davis(root, {"a": squares(0, 3)}),
    "YouTube-VOS": write_youtube,
}


def write_voc_inside(root):
    (root / "VOCdevkit").mkdir()
    (root / "VOCdevkit/VOC2012").mkdir()
    write_voc(root / "VOCdevkit/VOC2012")
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_data_set_in_its_own_layout_trains_a_network(layout, tmp_path):
    root = LAYOUTS[layout](tmp_path)
    stills = find_stills(root)
    assert len(stills) == (2 if layout.startswith("COCO") else 3)
    for still in stills:
        frames, labels = still()
        assert frames.shape == (1, *SIZE, 3) and labels.shape == (1, *SIZE) and (labels > 0).any()
    make_clip = still_clips(stills_in([root]), RECIPE.frames, RECIPE.side, RECIPE.objects, RECIPE.seed)
    history = train(tiny_aot(layers=1), RECIPE, None, "cpu", make_clip)
    assert len(history) == 2 and all(0 < row["loss"] < 20 for row in history)


# ----------------------------------------------------------------------------------------------------- what they hold
@pytest.mark.parametrize("layout", ["ECSSD", "MSRA10K", "PASCAL-S", "HKU-IS"])
def test_masks_of_what_stands_out_are_cut_at_half_and_lie_on_their_pictures(layout, tmp_path):
    stills = find_stills(LAYOUTS[layout](tmp_path))
    for number, still in enumerate(stills):
        frame, labels = picture(number, ids=(1,))
        found, mask = still()
        rows = np.flatnonzero(labels.any(axis=1))
        labels[rows[0]] = 0  # 90 is background, 200 is object
        assert np.array_equal(mask[0], labels)
        colours = [shown[labels > 0].mean(axis=0) for shown in (found[0], frame)]
        assert np.abs(np.subtract(*colours)).max() < 15  # those of another picture are not as near


def test_masks_may_be_palettes_zeros_and_ones_or_empty(tmp_path):
    _, labels = picture(0, ids=(1,))
    save(tmp_path / "ones.png", labels)
    save(tmp_path / "white.png", labels * 255)
    save(tmp_path / "colour.png", np.repeat(labels[..., None] * 255, 3, axis=-1))
    save(tmp_path / "empty.png", 0 * labels)
    Image.fromarray(labels * 255).convert("1").save(tmp_path / "bits.png")
    for name in ("ones", "white", "colour", "bits"):
        assert np.array_equal(read_salient(tmp_path / f"{name}.png"), labels), name
    assert not read_salient(tmp_path / "empty.png").any()


def test_voc_has_objects_void_and_only_what_its_list_names(tmp_path):
    for number, still in enumerate(find_stills(write_voc(tmp_path))):
        _, labels = picture(number)
        labels[:2] = 255
        assert np.array_equal(still()[1][0], labels)
    (tmp_path / "SegmentationObject/2007_1.png").unlink()
    with pytest.raises(InputError, match=r"lists .*2007_1.png, which is not there \(1 files are not\)"):
        find_stills(tmp_path)
    (tmp_path / "ImageSets/Segmentation/trainval.txt").write_text("../../secret")
    with pytest.raises(InputError, match="not a path"):
        find_stills(tmp_path)


def test_coco_draws_small_objects_on_large_ones_and_leaves_crowds_out(tmp_path):
    (_, labels), _ = (still() for still in find_stills(write_coco(tmp_path)))
    wanted = np.zeros(SIZE, np.uint8)
    wanted[0:16, 0:20] = wanted[0:8, 30:40] = 1  # the largest: two polygons
    wanted[20:30, 5:25] = 2
    wanted[2:8, 2:8] = 3
    assert np.array_equal(labels[0], wanted)


def test_compressed_run_lengths_of_coco_are_read(tmp_path):
    masks = pytest.importorskip("pycocotools.mask")
    square = np.zeros(SIZE, np.uint8)
    square[3:9, 10:30] = 1
    packed = masks.encode(np.asfortranarray(square))
    packed["counts"] = packed["counts"].decode()
    one = {"id": 1, "image_id": 7, "segmentation": packed, "area": 120, "iscrowd": 0}
    (still,) = find_stills(write_coco(tmp_path, annotations=[one]))
    assert np.array_equal(still()[1][0], square)


# ------------------------------------------------------------------------------------------------------ what is wrong
@pytest.mark.parametrize(
    "changes",
    [
        {"images": 3},
        {"annotations": [{"image_id": 7}]},
        {"annotations": [{"image_id": 7, "iscrowd": 0, "area": 1, "segmentation": [["a"]]}]},
        {"images": [{"id": 7, "file_name": "../7.jpg", "height": 4, "width": 4}]},
        {"images": [{"id": 7, "file_name": "none.jpg", "height": 4, "width": 4}]},
    ],
)
def test_a_damaged_list_of_coco_is_named(changes, tmp_path):
    with pytest.raises(InputError, match=r"instances_train2017.json (is damaged|has the name|lists)"):
        find_stills(write_coco(tmp_path, **changes))


def test_an_object_of_coco_that_cannot_be_drawn_is_named(tmp_path):
    bad = {"image_id": 7, "iscrowd": 0, "area": 1, "segmentation": {"counts": [3], "size": "large"}}
    (still,) = find_stills(write_coco(tmp_path, annotations=[bad]))
    with pytest.raises(InputError, match="000000000007.jpg has an object of COCO that cannot be drawn"):
        still()


def test_a_list_of_coco_that_is_no_json_is_named(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "annotations/instances_train2017.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is damaged .* expected the instances of COCO"):
        find_stills(tmp_path)


def test_coco_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match=r"pip install 'minivos\[coco\]'"):
        coco_stills(tmp_path, tmp_path / "annotations/instances_train2017.json")


def test_a_mask_without_picture_and_a_folder_without_stills_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no stills; expected .* COCO, VOC 2012, ECSSD"):
        find_stills(tmp_path / "nowhere")
    write_salient(tmp_path, "images", "masks")
    (tmp_path / "images/1.jpg").unlink()
    with pytest.raises(InputError, match=r"masks.1.png has no picture of its name"):
        find_stills(tmp_path)


def test_a_mask_of_another_size_is_named(tmp_path):
    write_salient(tmp_path, "images", "masks")
    save(tmp_path / "masks/0.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match="0.png is 9x9 pixels, but 48x40 were expected"):
        find_stills(tmp_path)[0]()
