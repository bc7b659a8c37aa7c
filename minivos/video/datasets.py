"""Data sets on disk: DAVIS (and data_samples/, which has its layout) and YouTube-VOS, one clip at a time."""

import json
from pathlib import Path

from minivos.errors import InputError
from minivos.video.clip import Clip


class ClipFolders:
    """A list of clips that are read when they are asked for; `names` are the names of their folders."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        missing = [name for name in names if not (folder / name).is_dir()]
        if missing:
            raise InputError(f"{folder} lacks {len(missing)} listed clips, such as {missing[0]}; unpack them again")
        self.folder = folder
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Clip:
        return Clip.load(self.folder / self.names[index])


class DavisDataset(ClipFolders):
    """Clips of one split of DAVIS 2016 or 2017; InputError when the folders are not as DAVIS lays them out."""

    def __init__(
        self, root: str | Path, split: str = "val", year: str | int = "2017", resolution: str = "480p"
    ) -> None:
        root = Path(root)
        listing = root / "ImageSets" / str(year) / f"{split}.txt"
        frames = root / "JPEGImages" / resolution
        _expect(root, listing, frames, root / "Annotations" / resolution)
        super().__init__(frames, listing.read_text().split())


class YouTubeVOS(ClipFolders):
    """Clips of one split of YouTube-VOS, where objects may appear, and get their mask, in later frames."""

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        folder = Path(root) / split
        listing = folder / "meta.json"
        _expect(folder, listing, folder / "JPEGImages", folder / "Annotations")
        try:
            names = sorted(json.loads(listing.read_text())["videos"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{listing} is damaged ({error!r}); expected the meta.json of YouTube-VOS") from error
        super().__init__(folder / "JPEGImages", names)


def samples_root() -> Path:
    """The folder `data_samples` in the working directory or beside the package; InputError when there is none."""
    beside_package = Path(__file__).resolve().parents[2]
    for place in (Path.cwd(), beside_package):
        if (place / "data_samples" / "JPEGImages").is_dir():
            return place / "data_samples"
    raise InputError(
        f"no data_samples in {Path.cwd()} or {beside_package}; it comes with the repository, not with the installed "
        "package: clone the repository and work inside it, or name the root of a data set"
    )


def _expect(root: Path, *paths: Path) -> None:
    for path in paths:
        if not path.exists():
            layout = ", ".join(str(expected.relative_to(root)) for expected in paths)
            raise InputError(f"there is no {path}; expected {layout} in {root}: check the root and the split")
