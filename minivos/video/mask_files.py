"""Mask files: what people save masks as, read into labels, and labels written as DAVIS does."""

import io
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from minivos.errors import InputError
from minivos.video.files import open_picture, pictures_in, to_rgb, whole_file
from minivos.video.masks import VOID, check_array, davis_palette, is_object

log = logging.getLogger(__name__)

Report = Callable[[str], None]
LOSSLESS = {"PNG", "BMP", "GIF", "TIFF"}
RARE = 0.0005  # colours with a smaller share of the pixels come from smoothed edges
SMOOTHED = 3  # so many greys that fill nothing come from smoothed edges, ...
MANY = 16  # ... and so many do even if no grey fills anything
NEAR = 24  # of 255: how far the colours at a smoothed edge are from those that they run into


def read_mask(path: str | Path, *, report: Report = log.info) -> np.ndarray:
    """Read a mask file as labels uint8 (H,W): 0 background, 1..254 objects, 255 void.

    Palette pictures keep their index. Grey ones keep their value, but one of only 0 and white, or
    of one grey with smoothed edges, is a mask of object 1. RGB colours become the id that they have
    in the DAVIS palette, other colours the free ids, largest area first; `report` is then told
    which colour became which object. Raises InputError when the labels would be guesswork.
    """
    return _read_mask(Path(path), report, colour_ids={})


def read_masks(paths: Sequence[str | Path], *, report: Report = log.info) -> list[np.ndarray]:
    """Read the masks of one clip; a colour stands for the same object in all of them."""
    colour_ids: dict[int, int] = {}
    return [_read_mask(Path(path), report, colour_ids) for path in paths]


def read_binary_masks(folder: str | Path, *, report: Report = log.info) -> np.ndarray:
    """Read a folder with one black-and-white picture per object as labels uint8 (H,W).

    Names that are numbers are the ids, else the natural order of the names counts from 1. Where
    masks overlap the later one wins, and `report` is told so. Raises InputError for masks of
    several objects, of two sizes or of the same id.
    """
    paths = pictures_in(Path(folder))
    numbered = all(path.stem.isdecimal() for path in paths)
    ids = [int(path.stem) if numbered else order for order, path in enumerate(paths, start=1)]
    if min(ids) < 1 or max(ids) >= VOID or len(set(ids)) < len(ids):
        raise InputError(
            f"{folder} names the objects {ids}; "
            "expected one picture per object, named 1.png to 254.png"
        )
    masks = [read_mask(path, report=report) for path in paths]
    labels = np.zeros_like(masks[0])
    for object_id, path, mask in zip(ids, paths, masks, strict=True):
        check_size(mask, labels.shape, path)
        if np.unique(mask[mask > 0]).size > 1:
            raise InputError(
                f"{path} holds {describe_mask(mask)}; "
                "expected one object, white on black, per picture"
            )
        if overlap := np.count_nonzero((mask > 0) & (labels > 0)):
            report(
                f"{path.name}: {overlap:,} px that earlier objects also claim "
                f"now belong to object {object_id}"
            )
        labels[mask > 0] = object_id
    return labels


def write_mask(path: str | Path, labels: np.ndarray) -> None:
    """Write labels (H,W) in 0..255 as a palette PNG with the DAVIS palette, whole or not at all."""
    content = encode_mask(labels, str(path))
    with whole_file(path) as part:
        part.write_bytes(content)


def encode_mask(labels: np.ndarray, name: str = "the mask") -> bytes:
    """Labels (H,W) in 0..255 as the content of a palette PNG with the DAVIS palette."""
    picture, file = Image.fromarray(_as_labels(labels, name)), io.BytesIO()
    picture.putpalette(davis_palette().tobytes())
    picture.save(file, format="PNG")
    return file.getvalue()


def check_mask(labels: np.ndarray, size: tuple[int, int], name: str = "the mask") -> np.ndarray:
    """Return labels as uint8 (H,W), if they fit a frame of that size and hold an object.

    Labels of only 0 and 255 are a mask of object 1, as a picture of black and white is, and the log
    says so. Raises InputError otherwise.
    """
    labels = _as_labels(labels, name)
    check_size(labels, size, name)
    if np.unique(labels).tolist() == [0, VOID]:
        log.info("%s has no values but 0 and 255: it is taken as white on black, object 1", name)
        labels = (labels == VOID).astype(np.uint8)
    if not is_object(labels).any():
        what = "is void (255) everywhere" if (labels == VOID).all() else "holds no object"
        raise InputError(
            f"{name} {what}; expected pixels with the labels 1, 2, ...: paint at least one object"
        )
    return labels


def check_size(labels: np.ndarray, size: tuple[int, ...], name: str | Path) -> None:
    """Raise InputError unless the labels are of size (H,W)."""
    if labels.shape != tuple(size):
        (height, width), (expected_height, expected_width) = labels.shape, size
        raise InputError(
            f"{name} is {width}x{height} pixels, "
            f"but {expected_width}x{expected_height} were expected: "
            "draw the mask on the frame at its own size, or resize it with nearest neighbour"
        )


def describe_mask(labels: np.ndarray) -> str:
    """One line for people, such as '2 objects: 1 (2,310 px), 2 (45 px)'."""
    ids, counts = np.unique(labels, return_counts=True)
    objects = is_object(ids)
    areas = [
        f"{label} ({count:,} px)"
        for label, count in zip(ids[objects], counts[objects], strict=True)
    ]
    void = f"; void {np.count_nonzero(labels == VOID):,} px" if VOID in ids else ""
    if not areas:
        return f"no object{void}"
    return f"{len(areas)} object{'s' if len(areas) > 1 else ''}: {', '.join(areas)}{void}"


def _as_labels(labels: np.ndarray, name: str) -> np.ndarray:
    check_array(labels, name, "whole numbers (H,W)", "np.asarray(picture)")
    whole = labels.dtype.kind in "uib" or (labels.dtype.kind == "f" and (labels % 1 == 0).all())
    if labels.ndim != 2 or not whole or labels.size == 0:
        raise InputError(
            f"{name} is {labels.dtype} of shape {labels.shape}; "
            "expected whole numbers of shape (H,W): cut probabilities, as in mask > 0.5"
        )
    if labels.min() < 0 or labels.max() > 255:
        raise InputError(
            f"{name} has labels {labels.min()}..{labels.max()}; "
            "expected 0..255: renumber its objects"
        )
    return labels.astype(np.uint8)


def _read_mask(path: Path, report: Report, colour_ids: dict[int, int]) -> np.ndarray:
    picture = open_picture(path)
    if picture.format not in LOSSLESS:
        raise InputError(
            f"{path} is a {picture.format} file, which may change colours; save the mask as PNG"
        )
    if picture.mode == "P" and _index_is_id(picture):
        return np.array(picture)
    if picture.mode == "1":
        return _labels_from_grey(np.asarray(picture) * np.uint8(255), path, report)
    if picture.mode == "L" or picture.mode.startswith("I"):
        return _labels_from_grey(np.asarray(picture), path, report)
    colours = np.asarray(to_rgb(picture)).astype(np.int32)  # (H,W,3)
    codes = (colours << (16, 8, 0)).sum(axis=-1)  # one number 0xRRGGBB per pixel, (H,W)
    palette_only = np.isin(codes, _palette_codes()).all()
    if not palette_only and (colours == colours[..., :1]).all():
        return _labels_from_grey(colours[..., 0], path, report)
    if not palette_only:
        codes = _merge_rare(codes, path, report, colour_ids)
    return _labels_from_colours(codes, path, report, colour_ids)


def _index_is_id(picture: Image.Image) -> bool:
    """Tell a palette of labels, which begins with black, from a paint program's or a grey ramp."""
    palette = np.array(picture.getpalette("RGB")).reshape(-1, 3)
    grey_ramp = np.repeat(np.arange(len(palette))[:, None], 3, axis=1)
    return not palette[0].any() and not (len(palette) > 2 and (palette == grey_ramp).all())


def _labels_from_grey(grey: np.ndarray, path: Path, report: Report) -> np.ndarray:
    white = 65535 if grey.max() > 255 else 255
    levels, counts = np.unique(grey, return_counts=True)
    if np.isin(levels, (0, white)).all():
        return (grey == white) * np.uint8(1 if 0 in levels else VOID)
    flat = _flat(grey)
    areas = levels[flat & (counts >= RARE * grey.size) & (levels > 0)]
    thin = np.count_nonzero(~flat)
    smoothed = thin >= SMOOTHED and thin > len(areas)
    if (smoothed or set(areas) == {white}) and len(areas):
        brightest = levels[-1]
        if (
            areas[-1] >= 0.9 * brightest
            and not ((areas > 0.1 * brightest) & (areas < 0.9 * brightest)).any()
        ):
            report(f"{path.name}: one object with smoothed edges, whose greys are cut at half")
            return (grey > brightest / 2).astype(np.uint8)
    if smoothed and (len(areas) or thin > MANY):
        raise InputError(
            f"{path} has {len(levels):,} greys, as smoothed edges make them, which tell no "
            "objects apart; expected one value per object: save it without smoothing (antialiasing)"
        )
    if levels[-1] > 255 or levels[0] < 0:
        raise InputError(
            f"{path} has labels {levels[0]}..{levels[-1]}; expected 0..254: renumber its objects"
        )
    return grey.astype(np.uint8)


def _labels_from_colours(
    codes: np.ndarray, path: Path, report: Report, colour_ids: dict[int, int]
) -> np.ndarray:
    """Look the ids of the colours (H,W) up; those new in `colour_ids` get one there."""
    colours, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    palette = {int(code): index for index, code in enumerate(_palette_codes())}
    if 0 not in colours and not palette.keys() >= set(colours.tolist()):
        raise InputError(
            f"{path} has no black pixel, so its background is unknown; paint the background black"
        )
    by_area = colours[np.argsort(-counts)].tolist()
    palette_first = sorted(by_area, key=lambda code: code not in palette)
    for code in palette_first:
        if code not in colour_ids:
            colour_ids[code] = _free_id(palette.get(code), colour_ids, path)
    ids = np.array([colour_ids[code] for code in colours.tolist()], dtype=np.uint8)
    lines = [
        f"({code >> 16}, {code >> 8 & 255}, {code & 255}) is object {label} ({count:,} px)"
        for code, label, count in zip(colours, ids, counts, strict=True)
        if is_object(label)
    ]
    report(f"{path.name}: {'; '.join(lines) or 'no object'}")
    return ids[where.reshape(codes.shape)]


def _free_id(wanted: int | None, colour_ids: dict[int, int], path: Path) -> int:
    free = [number for number in range(VOID + 1) if number not in colour_ids.values()]
    if wanted in free:
        return wanted
    objects = [number for number in free if 0 < number < VOID]
    if not objects:
        raise InputError(
            f"{path} brings the 255th object colour; "
            "expected at most 254: save labels as a palette PNG"
        )
    return objects[0]


def _merge_rare(
    codes: np.ndarray, path: Path, report: Report, known: Collection[int]
) -> np.ndarray:
    """Repaint the colours of smoothed edges with the nearest colour that fills an area, (H,W)."""
    colours, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rgb = (colours[:, None] >> (16, 8, 0) & 255).astype(np.float32)  # (colours,3)
    fill_areas = _flat(codes) & (counts >= RARE * codes.size)
    if not fill_areas.all():  # a smoothed edge begins and ends in steps too small to see
        fill_areas[_beside_larger(rgb, counts, np.flatnonzero(fill_areas))] = False
    kept = fill_areas | np.isin(colours, list(known))
    moved = int(counts[~kept].sum())
    if moved > 0.1 * codes.size or kept.sum() > VOID:
        raise InputError(
            f"{path} has {len(colours):,} colours; "
            "expected one flat colour per object on black, as PNG"
        )
    if moved == 0:
        return codes
    # Squared, less a constant per row
    distance = (rgb[kept] ** 2).sum(axis=1) - 2 * rgb @ rgb[kept].T
    nearest = colours[kept][distance.argmin(axis=1)]
    report(
        f"{path.name}: {np.count_nonzero(~kept):,} rare colours ({moved:,} px) "
        "joined the nearest frequent one"
    )
    return np.where(kept, colours, nearest)[where.reshape(codes.shape)]


def _beside_larger(rgb: np.ndarray, counts: np.ndarray, places: np.ndarray) -> list[int]:
    """Those of the places whose colours are NEAR that of another one with a larger area."""
    beside: list[int] = []
    for place in places:
        larger = [i for i in places if counts[i] > counts[place]]
        if (abs(rgb[larger] - rgb[place]).max(axis=1, initial=0) <= NEAR).any():
            beside.append(place)
    return beside


def _flat(values: np.ndarray) -> np.ndarray:
    """Which of the values, in order, have half of their pixels or more in squares of 2x2 pixels.

    Those of lines and smoothed edges have not. Bool (values,).
    """
    corner = values[:-1, :-1]
    square = (corner == values[1:, :-1]) & (corner == values[:-1, 1:]) & (corner == values[1:, 1:])
    inside = np.zeros(values.shape, bool)
    for part in (inside[:-1, :-1], inside[1:, :-1], inside[:-1, 1:], inside[1:, 1:]):
        part |= square
    found, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.bincount(where.ravel(), inside.ravel(), len(found)) >= 0.5 * counts


def _palette_codes() -> np.ndarray:
    return (davis_palette().astype(np.int32) << (16, 8, 0)).sum(axis=-1)
