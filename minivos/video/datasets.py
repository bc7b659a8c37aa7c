"""Data sets on disk, clip by clip, and the zip files in which their servers take answers.

    1. clips of a data set      DavisDataset, YouTubeVOS, samples_root
    2. answers for a server     write_submission, check_submission

`data_samples/` has the layout of DAVIS.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.files import whole_file
from minivos.video.mask_files import encode_mask
from minivos.video.masks import VOID

LAYOUTS = {"davis": "", "youtube_vos": "Annotations/"}  # where the zip has the folders of clips
SHOWN = 5  # so many mistakes are spelled out

# 1. Clips of a data set ---------------------------------------------------------------------------


class ClipFolders:
    """A list of clips, each read when it is asked for; `names` are those of their folders."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        missing = [name for name in names if not (folder / name).is_dir()]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} listed clips, such as {missing[0]}; "
                "expected every one: unpack the data set again"
            )
        self.folder = folder
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Clip:
        return Clip.load(self.folder / self.names[index])

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))


class DavisDataset(ClipFolders):
    """Clips of one split of DAVIS 2016 or 2017; InputError for folders laid out otherwise."""

    def __init__(
        self,
        root: str | Path,
        split: str = "val",
        year: str | int = "2017",
        resolution: str = "480p",
    ) -> None:
        root = Path(root)
        listing = root / "ImageSets" / str(year) / f"{split}.txt"
        frames = root / "JPEGImages" / resolution
        _expect(root, listing, frames, root / "Annotations" / resolution)
        super().__init__(frames, listing.read_text().split())


class YouTubeVOS(ClipFolders):
    """Clips of one split of YouTube-VOS, where objects may get their mask in later frames.

    Raises InputError for folders laid out otherwise, and for a damaged list of clips.
    """

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        folder = Path(root) / split
        listing = folder / "meta.json"
        _expect(folder, listing, folder / "JPEGImages", folder / "Annotations")
        try:
            names = sorted(json.loads(listing.read_text())["videos"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{listing} is damaged ({error!r}); expected the meta.json of YouTube-VOS"
            ) from error
        super().__init__(folder / "JPEGImages", names)


def samples_root() -> Path:
    """The folder `data_samples` in the working directory or beside the package.

    Raises InputError when there is none.
    """
    beside_package = Path(__file__).resolve().parents[2]
    for place in (Path.cwd(), beside_package):
        if (place / "data_samples" / "JPEGImages").is_dir():
            return place / "data_samples"
    raise InputError(
        f"got no data_samples in {Path.cwd()} or {beside_package}; "
        "expected the folder of the repository, which an installed package lacks: "
        "clone the repository and work inside it, or name the root of a data set"
    )


def _expect(root: Path, *paths: Path) -> None:
    """Raise InputError unless all of these paths in `root` exist."""
    for path in paths:
        if not path.exists():
            layout = ", ".join(str(expected.relative_to(root)) for expected in paths)
            raise InputError(
                f"there is no {path}; expected {layout} in {root}: check the root and the split"
            )


# 2. Answers for a server --------------------------------------------------------------------------


def write_submission(
    path: str | Path, clips: Iterable[Clip], answers: Mapping[str, np.ndarray], layout: str
) -> None:
    """Write labels uint8 (T,H,W) of each clip, by its name, as a zip file, and check it.

    The masks are palette PNGs with the names of the clip's frames, and the folders lie directly in
    the zip. `layout` is "davis" or "youtube_vos". The file is written whole or not at all. Raises
    InputError for an unknown layout, for answers that are missing, too many or of another shape
    than the frames, and as `check_submission`.
    """
    clips = list(clips)
    files = _files_of(clips, layout)
    names = [clip.name for clip in clips]
    if not names or sorted(names) != sorted(answers):
        raise InputError(
            f"got answers for {sorted(answers) or 'nothing'}; "
            f"expected one for each of the clips {sorted(names)}"
        )
    for clip in clips:
        if answers[clip.name].shape != clip.frames.shape[:3]:
            raise InputError(
                f"{clip.name}: got labels of shape {answers[clip.name].shape}; "
                f"expected {clip.frames.shape[:3]} (T,H,W), that of the frames"
            )
    masks = (labels for clip in clips for labels in answers[clip.name])
    with whole_file(path) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, labels in zip(files, masks, strict=True):
                zipped.writestr(name, encode_mask(labels, name))
        _check_zip(part, str(path), files)


def check_submission(path: str | Path, clips: Iterable[Clip], layout: str) -> None:
    """Raise InputError, with what is wrong, unless a zip is what a server expects of these clips.

    Checked are the folders, that no frame lacks or is too many, that each file is an 8-bit PNG with
    palette or grey of the frames' size, and that it has no object but those whose masks the clip
    gives. InputError also for what is no whole zip file.
    """
    _check_zip(path, str(path), _files_of(clips, layout))


def _files_of(clips: Iterable[Clip], layout: str) -> dict[str, Clip]:
    """The files that a server expects in the zip, in order, each with its clip."""
    if layout not in LAYOUTS:
        raise InputError(f"got layout={layout!r}; expected one of {', '.join(LAYOUTS)}")
    return {
        f"{LAYOUTS[layout]}{clip.name}/{name}.png": clip
        for clip in clips
        for name in clip.frame_names
    }


def _check_zip(path: str | Path, called: str, expected: dict[str, Clip]) -> None:
    """See `check_submission`; messages say what the file is called."""
    wrong = []
    try:
        with zipfile.ZipFile(path) as zipped:
            files = {name for name in zipped.namelist() if not name.endswith("/")}
            wrong += [f"{name} is missing" for name in sorted(expected.keys() - files)]
            wrong += [f"{name} does not belong there" for name in sorted(files - expected.keys())]
            for name in sorted(expected.keys() & files):
                wrong += _mistakes(name, zipped.read(name), expected[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{called} is no whole zip file ({error}); write it again") from error
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"{called} is not what the server expects: {'; '.join(wrong[:SHOWN])}{more}"
        )


def _mistakes(name: str, content: bytes, clip: Clip) -> list[str]:
    """What is wrong with one mask of a clip."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind, mode, labels = picture.format, picture.mode, np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        return [f"{name} is no whole picture ({error})"]
    if kind != "PNG" or mode not in ("P", "L"):
        return [
            f"{name} is a {kind} of mode {mode}; expected a PNG whose pixel values are object ids"
        ]
    if labels.shape != clip.frames.shape[1:3]:
        return [f"{name} has {labels.shape} pixels; expected {clip.frames.shape[1:3]}"]
    given = {int(k) for mask in clip.masks.values() for k in np.unique(mask)} | {0}
    if strange := {int(k) for k in np.unique(labels)} - (given - {VOID}):
        return [f"{name} has the objects {sorted(strange)}, which no given mask has"]
    return []
