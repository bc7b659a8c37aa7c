"""Files and folders: read with a clear word where it fails, written whole or not at all.

1. pictures, texts and JSON       pictures_in, open_picture, read_text, read_json
2. written whole or not at all    whole_file, whole_folder
3. folders of our own             prepare_output
"""

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from minivos.errors import InputError

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
MOST_BYTES = 32 * 2**20  # of a text or JSON file that people may hand us
MARK = ".minivos"  # the file in each output folder that we made; its first line says what for
PART = re.compile(r"\..+\.(\d+)\.part")  # what the process of that number has not finished yet

# 1. Pictures, texts and JSON ----------------------------------------------------------------------


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
    with _named(f"cannot read {folder}", "expected a folder that may be read: check its rights"):
        paths = [path for path in folder.iterdir() if is_picture(path)]
    paths.sort(key=lambda path: natural_key(path.stem))
    if not paths:
        raise InputError(
            f"{folder} holds no picture; expected files such as 00000.jpg or 00000.png in it"
        )
    for path in paths:
        check_regular(path)
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
    path = check_regular(path)
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


def read_text(path: str | Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of a UTF-8 file; InputError, with the file's name, when it has none or too much."""
    path = check_regular(path)
    with _named(f"cannot read {path}", "expected a file that may be read: check its rights"):
        size, content = path.stat().st_size, b""
        if size <= most_bytes:
            content = path.read_bytes()
    if size > most_bytes:
        raise InputError(
            f"{path} has {size / 2**20:,.0f} MiB; expected at most {most_bytes / 2**20:,.0f}: "
            "check that it is the right file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeError as error:
        raise InputError(f"{path} is no text ({error}); expected UTF-8: save it as such") from error


def read_json(path: str | Path, expected: str, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The object in a JSON file; InputError for what is none, or holds numbers without end."""
    text = read_text(path, most_bytes)
    try:
        content = json.loads(
            text, parse_float=_finite, parse_constant=_finite, parse_int=_within_64_bits
        )
        why = f"it holds a {type(content).__name__}"
    except RecursionError:
        content, why = None, "nested too deep"
    except ValueError as error:
        content, why = None, str(error)
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged ({why}); expected {expected}: correct or remove it")
    return content


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:20]} is no finite number")
    return number


def _within_64_bits(digits: str) -> int:
    if len(digits) > 20 or abs(number := int(digits)) >= 2**63:
        raise ValueError(f"the number {digits[:20]}... is too large")
    return number


def check_regular(path: str | Path) -> Path:
    """The path, if it is a file that ends: no folder, pipe or device; InputError otherwise."""
    path = as_path(path)
    with _named(f"cannot look at {path}", "check the path and its rights"):
        if path.is_file():
            return path
        if not path.exists():
            raise InputError(f"there is no file {path}; check the path")
    raise InputError(f"{path} is no regular file; expected a file, no folder, pipe or device")


def exists(path: str | Path) -> bool:
    """Whether there is anything at the path; InputError for what cannot be a path."""
    path = as_path(path)
    with _named(f"cannot look at {path}", "check the path and its rights"):
        return path.exists()


@contextmanager
def _named(what: str, remedy: str) -> Iterator[None]:
    """Turn what the system says into an InputError that names the file."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error  # without the name of a temporary file
        raise InputError(f"{what} ({why}); {remedy}") from error


# 2. Written whole or not at all -------------------------------------------------------------------


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which takes its place if the block succeeds."""
    path = as_path(path)
    part = _part_of(path)
    with _named(f"cannot write {path}", "expected a folder that exists and is writable, with room"):
        try:
            part.touch()
            yield part
            os.replace(part, path)
        except RuntimeError as error:
            if "inline_container" not in str(error):
                raise
            raise OSError(None, "no room for all of it") from error  # torch.save says it so
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which takes its place if the block succeeds."""
    path = as_path(path)
    part = _part_of(path)
    with _named(f"cannot write {path}", "expected a folder that exists and is writable, with room"):
        try:
            clear_folder(part)
            part.mkdir()
            yield part
            clear_folder(path)
            os.replace(part, path)
        finally:
            clear_folder(part)


def clear_folder(path: Path) -> None:
    """Remove a folder if it is there; of a link only itself, not what it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _part_of(path: Path) -> Path:
    """Where this process writes what will take the place of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _is_part(path: Path) -> bool:
    return PART.fullmatch(path.name) is not None


def _remove_leftovers(folder: Path) -> None:
    """Remove the parts, at any depth, of processes that ended before they were done."""
    for path in [*folder.rglob(".*.part")]:
        match = PART.fullmatch(path.name)
        if match is None or psutil.pid_exists(int(match[1])):
            continue
        if path.is_dir():
            clear_folder(path)
        else:
            path.unlink(missing_ok=True)


# 3. Folders of our own ----------------------------------------------------------------------------


def prepare_output(path: str | Path, overwrite: bool, kind: str) -> Path:
    """Make an output folder of some kind, such as "clip", and mark it as made by us.

    Parts that a killed run left in it are removed. Raises InputError when it cannot be written to,
    when it holds anything and `overwrite` is false, and always when it holds files but was not
    made by us for this kind of output. Deletes nothing else.
    """
    folder = make_folder(path)
    mark = folder / MARK
    with _named(f"cannot write to {folder}", "choose another output folder"):
        others = [file for file in folder.iterdir() if file != mark and not _is_part(file)]
        ours = mark.is_file()
        made_for = mark.read_text("utf8", "replace").partition("\n")[0].strip() if ours else ""
    if others and not ours:
        raise InputError(
            f"{folder} holds files that minivos did not write, such as {min(others).name}; "
            "expected a new or empty folder, so that nothing of yours is lost: choose another "
            f"(results of an earlier version may be replaced once an empty file {MARK} is in it)"
        )
    if others and made_for not in ("", kind):
        raise InputError(
            f"{folder} holds what minivos wrote as {made_for}, not as {kind}: choose another output"
        )
    if others and not overwrite:
        raise InputError(
            f"{folder} already holds results; choose another output, or ask for overwriting"
        )
    with _named(f"cannot write to {folder}", "choose another output folder"):
        _remove_leftovers(folder)
        mark.write_text(f"{kind}\nmade by minivos, which may replace what it wrote here\n", "utf8")
    return folder


def make_folder(path: str | Path) -> Path:
    """Make a folder if it is missing; InputError when that, or writing into it, is impossible."""
    folder = as_path(path)
    with _named(f"cannot write to {folder}", "choose another output folder"):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; expected a folder, which is made if missing")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder
