"""Files and folders of pictures: natural order, decoding that never half succeeds, writing that
is all or nothing.
"""

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
        raise InputError(f"{path!r} came as path; give a text or a pathlib.Path")
    return Path(path)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts frame2 before frame10; the name itself breaks the tie between 1 and 01."""
    parts: list[str | int] = re.split(r"(\d+)", name)  # text and digits take turns
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, name


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder in natural order, hidden files left out; InputError if there
    is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected a folder of JPEG or PNG pictures")
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    ]
    if not found:
        raise InputError(
            f"{folder} holds no picture; expected files such as 00000.jpg or 00000.png in it"
        )
    paths = sorted(found, key=lambda path: natural_key(path.stem))
    for path, following in pairwise(paths):
        if path.stem == following.stem:
            both = f"{path.name} and {following.name}"
            raise InputError(
                f"{folder} holds {both}; expected one picture of each name: move one of them elsewhere"
            )
    return paths


def open_picture(path: str | Path) -> Image.Image:
    """Decode a picture file completely; InputError when it is missing, empty, cut short or no
    picture.
    """
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
    """8-bit RGB of a grey, palette, 16-bit (65535 becomes 255) or transparent (laid on black)
    picture.
    """
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise InputError(
            "a picture of floating-point values has no fixed white; save it with 8 or 16 bits per channel"
        )
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; it takes the place of `path` if the block succeeds,
    else it is removed.
    """
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
    """Yield a temporary folder; it takes the place of `path` if the block succeeds, else it is
    removed.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        part = Path(temporary) / path.name
        part.mkdir()
        yield part
        shutil.rmtree(path, ignore_errors=True)
        os.replace(part, path)


def prepare_output(path: str | Path, overwrite: bool) -> Path:
    """Make an output folder and check that it can be written to.

    Raises InputError when it cannot, or when results are there already and `overwrite` is false.
    Deletes nothing.
    """
    folder = as_path(path)
    if folder.is_file():
        raise InputError(f"{folder} is a file; give a folder, which is made where it is missing")
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
