"""Files and folders of pictures: in natural order, decoded and written whole or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from minivos.errors import InputError

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def as_path(path: str | os.PathLike) -> Path:
    """The path, InputError for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"got {path!r} as path; expected a text or a pathlib.Path")
    return Path(path)


def as_written(path: str | Path) -> Path:
    """The absolute path by the names that people gave: without `..`, its links not followed."""
    return Path(os.path.abspath(path))


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts frame2 before frame10; the name itself breaks the tie between 1 and 01."""
    parts: list[str | int] = re.split(r"(\d+)", name)  # text and digits take turns
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, name


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder in natural order, without hidden ones.

    Raises InputError if there is none, or two of the same name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected a folder of JPEG or PNG pictures")
    paths = sorted(
        (path for path in folder.iterdir() if is_picture(path)),
        key=lambda path: natural_key(path.stem),
    )
    if not paths:
        raise InputError(
            f"{folder} holds no picture; expected files such as 00000.jpg or 00000.png in it"
        )
    for path, following in pairwise(paths):
        if path.stem == following.stem:
            raise InputError(
                f"{folder} holds {path.name} and {following.name}; "
                "expected one picture of each name: move one of them elsewhere"
            )
    return paths


def is_picture(path: Path) -> bool:
    """Tell by its name whether a file is a picture that is not hidden."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def open_picture(path: str | Path) -> Image.Image:
    """Decode a picture file completely; InputError when it is missing, damaged or no picture."""
    path = as_path(path)
    if not path.is_file():
        raise InputError(f"there is no picture file {path}; check the path")
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        state = "is empty" if path.stat().st_size == 0 else f"cannot be decoded ({error})"
        raise InputError(
            f"{path} {state}; expected a whole JPEG or PNG picture: copy or export it again"
        ) from error
    return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in 8-bit RGB: 65535 of 16 bits becomes 255, the transparent lies on black.

    Raises InputError for floating-point values.
    """
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise InputError(
            "got a picture of floating-point values, which have no fixed white; "
            "expected 8 or 16 bits per channel: save it as such"
        )
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which takes its place if the block succeeds."""
    path = as_path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()
        yield part
        os.replace(part, path)
    except OSError as error:
        why = error.strerror or error  # without the temporary name
        raise InputError(
            f"cannot write {path} ({why}); expected a folder that exists and is writable"
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which takes its place if the block succeeds."""
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        part = Path(temporary) / path.name
        part.mkdir()
        yield part
        clear_folder(path)
        os.replace(part, path)


def clear_folder(path: Path) -> None:
    """Remove a folder if it is there; of a link only itself, not what it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def prepare_output(path: str | Path, overwrite: bool) -> Path:
    """Make an output folder and check that it can be written to.

    Raises InputError when it cannot, or when results are there already and `overwrite` is false.
    Deletes nothing.
    """
    folder = as_path(path)
    if folder.is_file():
        raise InputError(f"{folder} is a file; expected a folder, which is made if missing")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        taken = any(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error}); choose another output folder"
        ) from error
    if taken and not overwrite:
        raise InputError(
            f"{folder} already holds results; choose another output, or ask for overwriting"
        )
    return folder
