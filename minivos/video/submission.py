"""Masks as the zip files that benchmark servers take, checked before anybody uploads one.

davis          SEQUENCE/FRAME.png                  DAVIS test-dev and test-challenge
youtube_vos    Annotations/SEQUENCE/FRAME.png      YouTube-VOS
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.files import whole_file
from minivos.video.mask_files import encode_mask
from minivos.video.masks import VOID

LAYOUTS = {"davis": "", "youtube_vos": "Annotations/"}
SHOWN = 5  # so many mistakes are spelled out


def write_submission(path: str | Path, clips: Iterable[Clip], answers: Mapping[str, np.ndarray], layout: str) -> None:
    """Write labels uint8 (T,H,W) of each clip, by its name, as a zip file, whole or not at all, and check it.

    The masks are palette PNGs with the names of the clip's frames, and the folders lie directly in the zip. `layout`
    is "davis" or "youtube_vos". Raises InputError for an unknown layout, for answers that are missing or too many, and
    as `check_submission`.
    """
    clips, prefix = list(clips), folder_of(layout)
    names = [clip.name for clip in clips]
    if not names or sorted(names) != sorted(answers):
        raise InputError(
            f"answers for {sorted(answers) or 'nothing'} came for the clips {sorted(names)}; give one for each"
        )
    with whole_file(path) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            for clip in clips:
                labels = answers[clip.name]
                if labels.shape != clip.frames.shape[:3]:
                    raise InputError(f"{clip.name}: {labels.shape} labels for {clip.frames.shape[:3]} (T,H,W) frames")
                for name, each in zip(clip.frame_names, labels, strict=True):
                    file.writestr(f"{prefix}{clip.name}/{name}.png", encode_mask(each))
        _check(part, str(path), clips, layout)


def check_submission(path: str | Path, clips: Iterable[Clip], layout: str) -> None:
    """Raise InputError, with what is wrong, unless a zip holds what a server expects of these clips.

    Checked are the folders, that no frame lacks or is too many, that each file is an 8-bit PNG with palette or grey of
    the frames' size, and that it has no object but those whose masks the clip gives. InputError also for what is no
    whole zip file.
    """
    _check(path, str(path), clips, layout)


def _check(path: str | Path, called: str, clips: Iterable[Clip], layout: str) -> None:
    """See `check_submission`; messages say what the file is called."""
    prefix, wrong = folder_of(layout), []
    try:
        with zipfile.ZipFile(path) as file:
            files = {name for name in file.namelist() if not name.endswith("/")}
            expected = {f"{prefix}{clip.name}/{name}.png": clip for clip in clips for name in clip.frame_names}
            wrong += [f"{name} is missing" for name in sorted(expected.keys() - files)]
            wrong += [f"{name} does not belong there" for name in sorted(files - expected.keys())]
            for name in sorted(expected.keys() & files):
                wrong += mistakes(name, file.read(name), expected[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:  # as damage may have it
        raise InputError(f"{called} is no whole zip file ({error}); write it again") from error
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(f"{called} is not what the server expects: {'; '.join(wrong[:SHOWN])}{more}")


def mistakes(name: str, content: bytes, clip: Clip) -> list[str]:
    """What is wrong with one mask of a clip."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind, mode, labels = picture.format, picture.mode, np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        return [f"{name} is no whole picture ({error})"]
    if kind != "PNG" or mode not in ("P", "L"):
        return [f"{name} is a {kind} of mode {mode}; expected a PNG whose pixel values are object ids"]
    if labels.shape != clip.frames.shape[1:3]:
        return [f"{name} has {labels.shape} pixels; expected {clip.frames.shape[1:3]}"]
    given = {int(k) for mask in clip.masks.values() for k in np.unique(mask)} | {0}
    if strange := {int(k) for k in np.unique(labels)} - (given - {VOID}):
        return [f"{name} has the objects {sorted(strange)}, which no given mask has"]
    return []


def folder_of(layout: str) -> str:
    """The folder inside the zip that holds those of the sequences."""
    if layout not in LAYOUTS:
        raise InputError(f"there is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout]
