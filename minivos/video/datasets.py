"""Data sets on disk, clip by clip.

    1. a list of clips          ClipFolders
    2. DAVIS 2016 and 2017      DavisDataset, samples_root
    3. YouTube-VOS              YouTubeVOS
    4. the lists themselves     read_names, read_meta

`data_samples/` has the layout of DAVIS. What a server takes is in `submission.py`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.files import exists, natural_key, pictures_in, read_json, read_text
from minivos.video.frames import FrameSource, open_frames
from minivos.video.masks import VOID
from minivos.video.task import Listed, MaskFiles, Task, merge_objects

DATASETS = ("davis2016", "davis2017", "youtubevos2018", "youtubevos2019")
MOST_BYTES = 16 * 2**20  # of a list; that of all training clips of YouTube-VOS has a few MB
ALL_FRAMES = "_all_frames"  # ends the names of the splits of YouTube-VOS at 30 frames per second
PAIR = re.compile(r"/?JPEGImages/[^/\s]+/([^/\s]+)/[^/\s]+(\s+\S+)*")  # a line of DAVIS 2016

# 1. A list of clips -------------------------------------------------------------------------------


class ClipFolders:
    """A list of clips, each read when it is asked for; `names` are those of their folders.

    `merged`: all objects of a clip count as one. Raises InputError when a folder is missing.
    """

    layout: ClassVar = "davis"  # of the zip that its server takes

    def __init__(
        self, folder: Path, names: list[str], annotations: Path, merged: bool = False
    ) -> None:
        missing = [name for name in names if not (folder / name).is_dir()]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} listed clips, such as {missing[0]}; "
                "expected every one: unpack the data set again"
            )
        self.folder, self.annotations = folder, annotations
        self.names, self.merged = names, merged

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Clip:
        clip = Clip.load(self.folder / self.names[index])
        if self.merged:
            clip.masks = {t: merge_objects(labels) for t, labels in clip.masks.items()}
        return clip

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    def task(self, name: str) -> Task:
        """The clip of that name as a network gets it, with frames and masks still in their files.

        Raises InputError for masks that are missing or belong to no frame.
        """
        source = open_frames(self.folder / name)
        names = list(source.names)
        files = self._mask_files(name)
        if foreign := sorted(files.keys() - set(names)):
            raise InputError(
                f"{files[foreign[0]]} belongs to no frame; "
                f"expected a frame's name, such as {names[0]}: unpack the data set again"
            )
        numbered = {t: files[stem] for t, stem in enumerate(names) if stem in files}
        masks = MaskFiles(numbered, source.size, self.merged)
        return Task(name, source.size, names, source, masks)

    def tasks(self) -> Iterator[Task]:
        """All clips in turn, see `task`."""
        return (self.task(name) for name in self.names)

    def only(self, names: Iterable[str]) -> None:
        """Keep these clips, in this order; InputError for one that is not in the list."""
        kept = list(dict.fromkeys(names))
        if unknown := [name for name in kept if name not in self.names]:
            raise InputError(
                f"{unknown[0]} is no clip of this split ({len(unknown)} are not); "
                f"expected some of its {len(self)}, such as {', '.join(self.names[:3])}"
            )
        self.names = kept

    def unseen(self) -> set[str] | None:
        """The categories of these clips that no training clip has; None where none are listed."""
        return None

    def _mask_files(self, name: str) -> dict[str, Path]:
        """The mask files of a clip by the names of their frames; InputError without any."""
        return {mask.stem: mask for mask in pictures_in(self.annotations / name)}


def open_dataset(name: str, root: str | Path, split: str) -> ClipFolders:
    """A split of a data set, one of `DATASETS`; the two years of YouTube-VOS are laid out alike.

    Raises InputError for an unknown name and for folders laid out otherwise.
    """
    if name not in DATASETS:
        raise InputError(f"got dataset {name!r}; expected one of {', '.join(DATASETS)}")
    if name.startswith("davis"):
        return DavisDataset(root, split, year=name[-4:])
    return YouTubeVOS(root, split)


# 2. DAVIS -----------------------------------------------------------------------------------------


class DavisDataset(ClipFolders):
    """Clips of one split of DAVIS 2016, whose objects count as one, or 2017.

    The lists of 2016 stand in ImageSets/2016, as in the files of 2017, or in ImageSets/480p, as it
    was published by itself. "trainval" is train and val. Raises InputError for folders laid out
    otherwise and for damaged lists.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "val",
        year: str | int = "2017",
        resolution: str = "480p",
    ) -> None:
        root, year = Path(root), str(year)
        frames, annotations = root / "JPEGImages" / resolution, root / "Annotations" / resolution
        check_name(split, "the name of the split")
        sets = root / "ImageSets" / year
        if year == "2016" and not sets.is_dir() and (sets.parent / resolution).is_dir():
            sets = sets.parent / resolution
        whole = sets / f"{split}.txt"
        parts = [sets / "train.txt", sets / "val.txt"]
        listings = parts if split == "trainval" and not whole.exists() else [whole]
        _expect(root, *listings, frames, annotations)
        names = [name for listing in listings for name in read_names(listing)]
        super().__init__(frames, list(dict.fromkeys(names)), annotations, merged=year == "2016")


def samples_root() -> Path:
    """The folder `data_samples` in the working directory, beside the package, or inside it.

    A clone has it beside the package, an installed wheel inside (see setup.py). Raises InputError
    when there is none.
    """
    package = Path(__file__).resolve().parents[1]
    places = (Path.cwd(), package.parent, package)
    for place in places:
        if (place / "data_samples" / "JPEGImages").is_dir():
            return place / "data_samples"
    raise InputError(
        f"got no data_samples in {', '.join(map(str, places))}; "
        "expected the folder that the repository and its wheel have: "
        "clone the repository, install the wheel again, or name the root of a data set"
    )


def _expect(root: Path, *paths: Path) -> None:
    """Raise InputError unless all of these paths in `root` exist."""
    for path in paths:
        if not exists(path):
            layout = ", ".join(str(expected.relative_to(root)) for expected in paths)
            there = sorted(found.stem for found in path.parent.glob("*.txt"))
            splits = f" (splits here: {', '.join(there)})" if there else ""
            raise InputError(
                f"there is no {path}; expected {layout} in {root}: "
                f"check the root and the split{splits}"
            )


# 3. YouTube-VOS -----------------------------------------------------------------------------------


class YouTubeVOS(ClipFolders):
    """Clips of one split of YouTube-VOS 2018 or 2019, where objects may get their mask late.

    A split "valid_all_frames" has the frames of that folder, 30 per second, and the objects of
    "valid", which are asked for 6 times per second. Raises InputError for folders laid out
    otherwise and for a damaged list.
    """

    layout: ClassVar = "youtube_vos"

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        check_name(split, "the name of the split")
        self.root = Path(root)
        self.every_frame = split.endswith(ALL_FRAMES)
        folder = self.root / split
        about = self.root / split.removesuffix(ALL_FRAMES)
        listing, frames, annotations = (
            about / "meta.json",
            folder / "JPEGImages",
            about / "Annotations",
        )
        _expect(self.root if about != folder else folder, listing, frames, annotations)
        self.meta = read_meta(listing)
        super().__init__(frames, sorted(self.meta), annotations)

    def task(self, name: str) -> Task:
        """See `ClipFolders.task`; without the frames that no object of the list is asked for.

        Of "valid_all_frames", those between the listed ones stay.
        """
        listed, source = self.meta[name], open_frames(self.folder / name)
        asked = {frame for each in listed.values() for frame in each.frames}
        if missing := sorted(asked - set(source.names)):
            raise InputError(
                f"{self.folder / name} lacks frame {missing[0]} ({len(missing)} of {len(asked)} "
                "listed ones); expected every one: unpack the data set again"
            )
        places = [t for t, frame in enumerate(source.names) if frame in asked]
        frames = Picked(source, range(places[0], places[-1] + 1) if self.every_frame else places)
        files = self._mask_files(name)
        numbered = {t: files[frame] for t, frame in enumerate(frames.names) if frame in files}
        return Task(
            name, source.size, frames.names, frames, MaskFiles(numbered, source.size), listed
        )

    def unseen(self) -> set[str] | None:
        """The categories of these clips that no other training clip has.

        None without train/meta.json, or where clips lack their category.
        """
        listing = self.root / "train" / "meta.json"
        here = self._categories(self.meta, self.names)
        if not listing.exists() or "" in here:
            return None
        training = read_meta(listing)
        return here - self._categories(training, training.keys() - set(self.names))

    @staticmethod
    def _categories(meta: Mapping[str, Mapping[int, Listed]], names: Collection[str]) -> set[str]:
        return {each.category for name in names for each in meta[name].values()}


class Picked:
    """Some frames of a source, by their numbers, with their `names`."""

    def __init__(self, source: FrameSource, numbers: Collection[int]) -> None:
        self.source, self.numbers = source, frozenset(numbers)
        self.names = [name for t, name in enumerate(source.names) if t in self.numbers]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (frame for t, frame in enumerate(self.source) if t in self.numbers)


# 4. The lists themselves --------------------------------------------------------------------------


def read_names(listing: Path) -> list[str]:
    """The clips that a text file names, one a line, or as DAVIS 2016 does, one frame a line.

    Raises InputError for a file that is damaged or empty, and for names that are paths.
    """
    lines = [line.strip() for line in read_text(listing, MOST_BYTES).splitlines()]
    matches = {line: PAIR.fullmatch(line) for line in lines if line}
    names = [check_name(match[1] if match else line, listing) for line, match in matches.items()]
    if not names:
        raise InputError(f"{listing} is empty; expected the name of a clip on each line")
    return list(dict.fromkeys(names))


def read_meta(listing: Path) -> dict[str, dict[int, Listed]]:
    """Clip -> object -> what the meta.json of YouTube-VOS says of it.

    Raises InputError for a damaged file, and for names that are paths.
    """
    expected = (
        "the meta.json of YouTube-VOS, "
        '{"videos": {CLIP: {"objects": {"1": {"category": ..., "frames": [...]}}}}}'
    )
    content = read_json(listing, expected, MOST_BYTES)
    try:
        return {
            check_name(name, listing): _objects_of(about["objects"], listing)
            for name, about in content["videos"].items()
        }
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{listing} is damaged ({error!r}); expected {expected}") from error


def _objects_of(objects: dict[str, Any], listing: Path) -> dict[int, Listed]:
    """The objects of one clip; whatever error shows that they are no such list."""
    listed = {}
    for key, about in objects.items():
        if not key.isdecimal() or not 0 < (number := int(key)) < VOID:
            raise ValueError(f"object {key!r}, expected 1 to 254")
        frames, category = about["frames"], about.get("category", "")
        if not isinstance(frames, list) or not isinstance(category, str):
            raise TypeError(f"object {key} with frames {frames!r:.40} of {category!r:.40}")
        names = {check_name(name, listing) for name in frames}
        if names:
            listed[number] = Listed(sorted(names, key=natural_key), category)
    if not listed:
        raise ValueError("a clip without objects")
    return listed


def check_name(name: object, where: str | Path) -> str:
    """The name of a clip or frame, if it is a plain one; InputError for a path such as ../x."""
    if not isinstance(name, str) or not name.isprintable():
        raise InputError(f"{where} has {name!r:.60} as a name; expected a text such as '00000'")
    too_long = len(name.encode()) > 200  # most systems take 255 bytes, ending included
    if name in ("", ".", "..") or set(name) & set("/\\:") or too_long:
        raise InputError(
            f"{where} has the name {name!r:.60}; expected that of a folder or file, not a path"
        )
    return name
