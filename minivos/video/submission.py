"""Zip files in which the servers of DAVIS and YouTube-VOS take answers."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.datasets import check_name
from minivos.video.files import whole_file
from minivos.video.mask_files import encode_mask
from minivos.video.masks import is_object
from minivos.video.task import Task

LAYOUTS = {"davis": "", "youtube_vos": "Annotations/"}  # where the zip has the folders of clips
SHOWN = 5  # so many mistakes are spelled out


@dataclass(frozen=True)
class Expected:
    """What a server expects of one clip."""

    name: str
    frames: Sequence[str]  # names
    size: tuple[int, int]  # (H,W) of the masks
    ids: frozenset[int]  # the objects that may occur

    @classmethod
    def of(cls, clip: Clip | Task) -> Expected:
        """Masks of the size of the clip, with the objects of the masks that it gives."""
        if isinstance(clip, Task):
            return cls(clip.name, clip.wanted, clip.size, clip.ids)
        height, width = clip.frames.shape[1:3]
        ids = frozenset(int(k) for mask in clip.masks.values() for k in np.unique(mask))
        objects = frozenset(k for k in ids if is_object(np.array(k)))
        return cls(clip.name, clip.frame_names, (height, width), objects)


def write_submission(
    path: str | Path, clips: Iterable[Clip], answers: Mapping[str, np.ndarray], layout: str
) -> None:
    """Write labels uint8 (T,H,W) of each clip, by its name, as a zip file, and check it.

    The masks are palette PNGs with the names of the clip's frames, and the folders lie directly in
    the zip. `layout` is "davis" or "youtube_vos". The file is written whole or not at all. Raises
    InputError for an unknown layout, for answers that are missing, too many or of another shape
    than the frames, and as `check_submission`.
    """
    expected = [Expected.of(clip) for clip in clips]
    files = _files_of(expected, layout)
    names = [clip.name for clip in expected]
    if not names or sorted(names) != sorted(answers):
        raise InputError(
            f"got answers for {sorted(answers) or 'nothing'}; "
            f"expected one for each of the clips {sorted(names)}"
        )
    for clip in expected:
        if answers[clip.name].shape != (len(clip.frames), *clip.size):
            raise InputError(
                f"{clip.name}: got labels of shape {answers[clip.name].shape}; "
                f"expected {(len(clip.frames), *clip.size)} (T,H,W), that of the frames"
            )
    masks = (labels for clip in expected for labels in answers[clip.name])
    with _checked_zip(path, files) as zipped:
        for name, labels in zip(files, masks, strict=True):
            zipped.writestr(name, encode_mask(labels, name))


def pack_submission(
    path: str | Path, folder: Path, clips: Iterable[Clip | Task], layout: str
) -> None:
    """As `write_submission`, of mask files folder/CLIP/FRAME.png, one at a time.

    Raises InputError for a file that is missing, too.
    """
    expected = [Expected.of(clip) for clip in clips]
    files = _files_of(expected, layout)
    masks = [folder / clip.name / f"{frame}.png" for clip in expected for frame in clip.frames]
    if missing := [mask for mask in masks if not mask.is_file()]:
        raise InputError(f"there is no {missing[0]} ({len(missing)} masks lack); make it first")
    with _checked_zip(path, files) as zipped:
        for name, mask in zip(files, masks, strict=True):
            zipped.write(mask, name)


def check_submission(path: str | Path, clips: Iterable[Clip | Task], layout: str) -> None:
    """Raise InputError, with what is wrong, unless a zip is what a server expects of these clips.

    Checked are the folders, that no frame lacks or is too many, that each file is an 8-bit PNG with
    palette or grey of the frames' size, and that it has no object but those whose masks the clip
    gives. InputError also for what is no whole zip file.
    """
    _check_zip(path, str(path), _files_of(map(Expected.of, clips), layout))


@contextmanager
def _checked_zip(path: str | Path, files: Mapping[str, Expected]) -> Iterator[zipfile.ZipFile]:
    """A zip file to write to, which is checked before it takes the place of `path`."""
    with whole_file(path) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as zipped:
            yield zipped
        _check_zip(part, str(path), files)


def _files_of(clips: Iterable[Expected], layout: str) -> dict[str, Expected]:
    """The files that a server expects in the zip, in order, each with its clip."""
    if layout not in LAYOUTS:
        raise InputError(f"got layout={layout!r}; expected one of {', '.join(LAYOUTS)}")
    files: dict[str, Expected] = {}
    for clip in clips:
        for name in (clip.name, *clip.frames):
            check_name(name, "the zip")
        files |= {f"{LAYOUTS[layout]}{clip.name}/{frame}.png": clip for frame in clip.frames}
    return files


def _check_zip(path: str | Path, called: str, expected: Mapping[str, Expected]) -> None:
    """See `check_submission`; messages say what the file is called."""
    wrong = []
    try:
        with zipfile.ZipFile(path) as zipped:
            entries = zipped.infolist()
            sizes = {entry.filename: entry.file_size for entry in entries}
            files = {name for name in sizes if not name.endswith("/")}
            wrong += [f"{name} is missing" for name in sorted(expected.keys() - files)]
            wrong += [f"{name} does not belong there" for name in sorted(files - expected.keys())]
            if len(entries) > len(sizes):
                wrong.append(f"{len(entries) - len(sizes)} names are there twice")
            for name in sorted(expected.keys() & files):
                if sizes[name] > _most_bytes(expected[name]):
                    wrong.append(f"{name} would unpack to {sizes[name]:,} bytes, too many")
                else:
                    wrong += _mistakes(name, zipped.read(name), expected[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{called} is no whole zip file ({error}); write it again") from error
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"{called} is not what the server expects: {'; '.join(wrong[:SHOWN])}{more}"
        )


def _most_bytes(clip: Expected) -> int:
    """More than a mask of this size takes as PNG, however badly it is packed."""
    return 2 * clip.size[0] * clip.size[1] + 2**16


def _mistakes(name: str, content: bytes, clip: Expected) -> list[str]:
    """What is wrong with one mask of a clip."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind, mode, size = picture.format, picture.mode, picture.size[::-1]
            if kind != "PNG" or mode not in ("P", "L"):
                return [
                    f"{name} is a {kind} of mode {mode}; "
                    "expected a PNG whose pixel values are object ids"
                ]
            if size != clip.size:
                return [f"{name} has {size} pixels; expected {clip.size}"]
            labels = np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        return [f"{name} is no whole picture ({error})"]
    if strange := {int(k) for k in np.unique(labels)} - {0} - clip.ids:
        return [f"{name} has the objects {sorted(strange)}, which no given mask has"]
    return []
