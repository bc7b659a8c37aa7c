"""Mask files: every way in which people save masks, and the ways that must be refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from minivos.errors import InputError
from minivos.video.mask_files import check_mask, describe_mask, read_binary_masks, read_mask, read_masks, write_mask
from minivos.video.masks import davis_palette

LABELS = np.zeros((40, 50), dtype=np.uint8)
LABELS[5:20, 5:20] = 1
LABELS[10:30, 25:45] = 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mask.png"


@pytest.fixture
def lines():
    return []


def save(values, path, **options):
    Image.fromarray(values).save(path, **options)
    return path


def colours(*values):
    """Paint the labels 0, 1, ... of LABELS in these colours, uint8 (H,W,3)."""
    return np.array(values, dtype=np.uint8)[LABELS]


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 999))
def test_palette_png_round_trip_is_exact(tmp_path_factory, height, width, seed):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    labels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    write_mask(path, labels)
    assert np.array_equal(read_mask(path), labels)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.array(picture.convert("RGB")), davis_palette()[labels])


def test_index_counts_in_palettes_of_other_colours(path):
    picture = Image.fromarray(LABELS)
    picture.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    picture.save(path)
    assert np.array_equal(read_mask(path), LABELS)


def test_palette_of_a_paint_program_is_read_by_colour(path):
    picture = Image.fromarray(np.array([2, 0, 1], dtype=np.uint8)[LABELS])
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 0])  # black is not index 0
    picture.save(path)
    assert np.array_equal(read_mask(path), np.array([0, 2, 1], dtype=np.uint8)[LABELS])  # 2 has the larger area


def test_grey_ids_are_kept_with_255_as_void(path):
    labels = LABELS.copy()
    labels[:3] = 255
    assert np.array_equal(read_mask(save(labels, path)), labels)


def test_grey_ids_may_come_as_rgb(path):
    assert np.array_equal(read_mask(save(colours((0, 0, 0), (1, 1, 1), (2, 2, 2)), path)), LABELS)
    assert read_mask(save(colours((0, 0, 0), (5, 5, 5), (9, 9, 9)), path)).max() == 9


@pytest.mark.parametrize("kind", ["grey", "one bit", "grey palette", "rgb", "rgba", "16 bit"])
def test_white_on_black_is_one_object(path, kind):
    picture = Image.fromarray((LABELS == 1).astype(np.uint8) * 255)
    if kind == "16 bit":
        picture = Image.fromarray((LABELS == 1).astype(np.uint16) * 65535)
    else:
        picture = picture.convert({"one bit": "1", "grey palette": "P", "rgb": "RGB", "rgba": "RGBA"}.get(kind, "L"))
    picture.save(path)
    assert np.array_equal(read_mask(path), LABELS == 1)


def test_smoothed_white_on_black_is_cut_at_half(path, lines):
    picture = Image.new("L", (400, 400))
    ImageDraw.Draw(picture).ellipse((80, 100, 300, 330), fill=255)
    small = picture.resize((100, 100), Image.Resampling.BICUBIC)
    small.save(path)
    assert np.array_equal(read_mask(path, report=lines.append), np.asarray(small) > 127)
    assert "smoothed edges" in lines[0]


def disc(size, fills, blur):
    """Discs side by side of these greys or colours on black, blurred by so many pixels."""
    width, height = size
    picture = Image.new("L" if isinstance(fills[0], int) else "RGB", size)
    for i, fill in enumerate(fills):
        left = width * (i + 0.15) / len(fills)
        box = (left, 0.2 * height, left + 0.6 * width / len(fills), 0.8 * height)
        ImageDraw.Draw(picture).ellipse(box, fill=fill)
    return picture.filter(ImageFilter.GaussianBlur(blur))


@pytest.mark.parametrize("size", [(60, 60), (104, 72), (427, 240)])
@pytest.mark.parametrize("grey", [255, 200, 128])
@pytest.mark.parametrize("blur", [0.7, 1, 3])
def test_one_grey_with_soft_edges_is_one_object(path, lines, size, grey, blur):
    disc(size, [grey], blur).save(path)
    labels, sharp = read_mask(path, report=lines.append), np.asarray(disc(size, [grey], 0)) > 0
    assert set(np.unique(labels)) == {0, 1} and "cut at half" in lines[-1]
    assert (labels[sharp] == 1).mean() > 0.8 and (labels[~sharp] == 0).mean() > 0.8


@pytest.mark.parametrize(("fills", "blur"), [([128, 255], 1), ([128, 255], 3), ([255, 255], 8), ([255], 8)])
def test_several_greys_with_soft_edges_are_refused(path, fills, blur):
    disc((60, 60), fills, blur).save(path)
    with pytest.raises(InputError, match=r"greys, as smoothed edges make them.* without smoothing \(antialiasing\)"):
        read_mask(path)


@pytest.mark.parametrize(
    "fills", [[(255, 0, 0)], [(128, 0, 0), (0, 128, 0)], [(255, 255, 0), (0, 0, 255), (255, 0, 255)]]
)
@pytest.mark.parametrize("blur", [1, 3])
def test_colours_with_soft_edges_are_one_object_each(path, fills, blur):
    disc((854, 480), fills, blur).save(path)
    assert set(np.unique(read_mask(path))) == set(range(len(fills) + 1))


@pytest.mark.parametrize("bits", [np.uint16, np.int32])
def test_wide_integers_hold_ids_up_to_254(path, bits):
    path = path.with_suffix(".tif")
    labels = LABELS.astype(bits) * 127
    assert read_mask(save(labels, path)).max() == 254
    with pytest.raises(InputError, match=r"labels 0..508; expected 0..254"):
        read_mask(save(labels * 2, path))


def test_colours_of_the_palette_keep_their_id(path, lines):
    palette = davis_palette()
    read = read_mask(save(colours(palette[0], palette[7], palette[3]), path), report=lines.append)
    assert np.array_equal(read, np.array([0, 7, 3], dtype=np.uint8)[LABELS])
    assert "(128, 128, 0) is object 3 (400 px)" in lines[0]


def test_other_colours_are_numbered_by_area_around_those_of_the_palette(path):
    labels = read_mask(save(colours((0, 0, 0), (255, 0, 0), (0, 0, 255)), path))
    assert np.array_equal(labels, np.array([0, 2, 1], dtype=np.uint8)[LABELS])
    labels = read_mask(save(colours((0, 0, 0), (128, 0, 0), (0, 0, 255)), path))
    assert np.array_equal(labels, LABELS)


def test_small_object_in_palette_colours_survives(path):
    picture = davis_palette()[np.zeros((100, 100), dtype=np.uint8)]
    picture[50, 50] = davis_palette()[1]
    assert read_mask(save(picture, path)).sum() == 1


@pytest.mark.parametrize("size", [(60, 60), (400, 300)])
def test_smoothed_edges_join_the_nearest_colour(path, lines, size):
    width, height = size
    sharp = Image.new("RGB", (4 * width, 4 * height))
    draw = ImageDraw.Draw(sharp)
    draw.ellipse((0.3 * width, 0.4 * height, 2 * width, 2 * height), fill=(255, 0, 0))
    draw.rectangle((2.5 * width + 1, height + 2, 3.5 * width + 2, 3 * height + 1), fill=(0, 255, 0))
    sharp.resize(size, Image.Resampling.BICUBIC).save(path)
    labels = read_mask(path, report=lines.append)
    expected = np.asarray(sharp.resize(size, Image.Resampling.NEAREST))
    assert set(np.unique(labels)) == {0, 1, 2}
    wrong = (labels == 0) != ~expected.any(axis=-1)
    assert wrong.mean() < 0.02
    assert "rare colours" in lines[0] and "is object 2" in lines[1]


def test_transparent_pixels_are_background(path):
    picture = np.full((40, 50, 4), 255, dtype=np.uint8)
    picture[..., 1:3] = 0
    picture[..., 3] = (LABELS == 1) * 255
    assert np.array_equal(read_mask(save(picture, path)), LABELS == 1)


def test_a_colour_means_the_same_object_in_all_masks_of_a_clip(tmp_path):
    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    first = save(colours((0, 0, 0), red, blue), tmp_path / "0.png")
    second = save(colours((0, 0, 0), blue, green), tmp_path / "1.png")
    labels = read_masks([first, second])
    assert np.array_equal(labels[0], np.array([0, 2, 1], dtype=np.uint8)[LABELS])
    assert np.array_equal(labels[1], np.array([0, 1, 3], dtype=np.uint8)[LABELS])


def test_an_object_known_from_an_earlier_mask_may_become_small(tmp_path):
    first = save(colours((0, 0, 0), (250, 0, 0), (0, 0, 250)), tmp_path / "0.png")
    shrunken = colours((0, 0, 0), (0, 0, 0), (0, 0, 250))
    shrunken[0, 0] = (250, 0, 0)
    assert read_masks([first, save(shrunken, tmp_path / "1.png")])[1][0, 0] == 2


def test_refuses_masks_whose_labels_would_be_guesswork(path, tmp_path):
    with pytest.raises(InputError, match="no black pixel"):
        read_mask(save(colours((255, 255, 255), (255, 0, 0), (0, 255, 0)), path))
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="one flat colour per object"):
        read_mask(save(photo, path))
    with pytest.raises(InputError, match="is a JPEG file"):
        read_mask(save(LABELS, tmp_path / "mask.jpg"))


def test_refuses_more_than_254_colours(path):
    ids = np.arange(300).repeat(4).reshape(30, 40).repeat(2, axis=0)  # flat patches of 2x4 pixels
    blues = np.stack([ids // 256 * 9, ids * 0, ids % 256], axis=-1).astype(np.uint8)
    with pytest.raises(InputError, match="300 colours"):
        read_mask(save(blues, path))


def test_refuses_files_that_are_missing_empty_or_cut_short(path):
    with pytest.raises(InputError, match="there is no file"):
        read_mask(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_mask(path)
    write_mask(path, np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="cannot be decoded"):
        read_mask(path)


def test_write_mask_is_whole_or_not_at_all(path, tmp_path):
    write_mask(path, LABELS)
    with pytest.raises(InputError, match=r"labels 0..256; expected 0..255"):
        write_mask(path, LABELS.astype(int) * 128)
    with pytest.raises(InputError, match=r"float64 of shape \(40, 50\)"):
        write_mask(path, LABELS / 2)
    with pytest.raises(InputError, match="cannot write"):
        write_mask(tmp_path / "absent" / "mask.png", LABELS)
    assert np.array_equal(read_mask(path), LABELS)
    assert [file.name for file in tmp_path.iterdir()] == ["mask.png"]


def test_a_failed_write_leaves_the_old_file(path, tmp_path, monkeypatch):
    write_mask(path, LABELS)

    def run_out_of_space(self, content):
        self.write_text("half a")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", run_out_of_space)
    with pytest.raises(InputError, match="No space left"):
        write_mask(path, LABELS * 0)
    assert np.array_equal(read_mask(path), LABELS)
    assert [file.name for file in tmp_path.iterdir()] == ["mask.png"]


def test_binary_masks_take_their_ids_from_numbers_or_from_their_order(tmp_path, lines):
    for folder, names in (("numbers", ("2.png", "10.png")), ("words", ("cat2.png", "cat10.png"))):
        (tmp_path / folder).mkdir()
        for name, label in zip(names, (1, 2), strict=True):
            save((label == LABELS).astype(np.uint8) * 255, tmp_path / folder / name)
    assert np.array_equal(read_binary_masks(tmp_path / "numbers"), np.array([0, 2, 10], dtype=np.uint8)[LABELS])
    assert np.array_equal(read_binary_masks(tmp_path / "words"), LABELS)
    save(np.full((40, 50), 255, dtype=np.uint8), tmp_path / "words" / "cat11.png")
    assert (read_binary_masks(tmp_path / "words", report=lines.append) == 3).all()
    assert lines[-1] == "cat11.png: 625 px that earlier objects also claim now belong to object 3"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no picture"),
        ({"1.png": LABELS}, r"2 objects: 1 \(225 px\), 2 \(400 px\); expected one object"),
        ({"1.png": LABELS // 2, "2.png": LABELS[1:] // 2}, "2.png is 50x39 pixels, but 50x40 were expected"),
        ({"0.png": LABELS // 2}, r"names the objects \[0\]"),
        ({"1.png": LABELS // 2, "01.png": LABELS // 2}, r"names the objects \[1, 1\]"),
        ({"1.png": LABELS // 2, "1.bmp": LABELS // 2}, "expected one picture of each name"),
    ],
)
def test_binary_masks_refuse(tmp_path, files, message):
    for name, values in files.items():
        save(values, tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_binary_masks(tmp_path)


def test_check_mask_passes_good_masks_and_explains_bad_ones():
    assert check_mask(LABELS.astype(np.int64), (40, 50)).dtype == np.uint8
    for labels, message in [
        (LABELS.T, "is 40x50 pixels, but 50x40 were expected"),
        (LABELS * 0, "holds no object"),
        (LABELS * 0 + 255, "is void"),
        (LABELS.astype(int) + 299, "labels 299..301; expected 0..255"),
        (LABELS.astype(int) - 1, "labels -1..1"),
        (LABELS[None], "expected whole numbers of shape"),
    ]:
        with pytest.raises(InputError, match=message):
            check_mask(labels, (40, 50))


def test_describe_mask():
    many = np.zeros((60, 60), dtype=np.uint8)
    many[:40] = 3
    many[50, :5] = 255
    assert describe_mask(many) == "1 object: 3 (2,400 px); void 5 px"
    assert describe_mask(LABELS) == "2 objects: 1 (225 px), 2 (400 px)"
    assert describe_mask(LABELS * 0) == "no object"
