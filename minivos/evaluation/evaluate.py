"""Scores of masks, as tables: the DAVIS protocol over folders of mask PNGs or label arrays."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.tables import Table
from minivos.video.clip import Clip
from minivos.video.datasets import DavisDataset, read_names, samples_root
from minivos.video.files import (
    as_path,
    as_written,
    check_regular,
    exists,
    is_picture,
    pictures_in,
    whole_file,
)
from minivos.video.mask_files import check_size, read_masks
from minivos.video.metrics import ObjectScore, Statistics, score_labels
from minivos.video.task import Task, merge_objects

if TYPE_CHECKING:
    from minivos.nn.network import VOSNetwork

COLUMNS = (  # as the official CSV has them
    "J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """The scores of every object of some sequences; each object counts once, however long."""

    scores: Mapping[str, Sequence[ObjectScore]]  # sequence name -> one score per object

    @classmethod
    def of(cls, sequences: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Evaluation":
        """Score label maps {name: (gt, pred)}, each uint8 (T,H,W); errors as in `score_labels`."""
        return cls({name: _score_sequence(name, *pair) for name, pair in sequences.items()})

    def __post_init__(self) -> None:
        if not any(self.scores.values()):
            raise InputError("no sequence to evaluate; expected at least one with one object")

    @property
    def J_statistics(self) -> Statistics:
        """Mean, recall and decay of J, each averaged over all objects."""
        return _average(score.J_statistics for score in self._objects())

    @property
    def F_statistics(self) -> Statistics:
        """Mean, recall and decay of F, each averaged over all objects."""
        return _average(score.F_statistics for score in self._objects())

    @property
    def mean(self) -> float:
        """J&F, the mean of mean J and mean F, in [0,1]."""
        return (self.J_statistics.mean + self.F_statistics.mean) / 2

    def summary(self) -> tuple[float, float, float]:
        """Mean J, mean F and J&F over all objects, each in [0,1]."""
        return self.J_statistics.mean, self.F_statistics.mean, self.mean

    def rounded(self) -> dict[str, float]:
        """J, F and J&F over all objects, with four decimals."""
        return {
            name: round(value, 4)
            for name, value in zip(("J", "F", "J&F"), self.summary(), strict=True)
        }

    def table(self) -> Table:
        """One row per object and a last row for all, three decimals."""
        width = max(len("sequence"), *map(len, self.scores))
        rows = {f"{name:{width}}  {number:>6}": values for name, number, values in self._rows()}
        return Table(f"{'sequence':{width}}  object", COLUMNS, rows, decimals=3)

    def write_csv(self, path: Path | str) -> None:
        """Write the rows as CSV, whole or not at all.

        Raises InputError where no file can be written, or where one stands that is no such table.
        """
        head = ["sequence", "object", *COLUMNS]
        if exists(path := as_path(path)):
            with check_regular(path).open("rb") as old:
                ours = old.readline().strip() == ",".join(head).encode()
            if not ours:
                raise InputError(
                    f"{path} holds something else than scores; expected a new file: "
                    "choose another place for the table (--csv)"
                )
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            for sequence, object_id, values in self._rows():
                writer.writerow([sequence, object_id, *(f"{value:.3f}" for value in values)])

    def _objects(self) -> list[ObjectScore]:
        return [score for objects in self.scores.values() for score in objects]

    def _rows(self) -> Iterator[tuple[str, str, tuple[float, ...]]]:
        """Sequence, object id and the values of COLUMNS, for every object and for all together."""
        for sequence, objects in self.scores.items():
            for score in objects:
                yield sequence, str(score.object_id), values_of(score)
        yield "global", "", values_of(self)


def evaluate_folders(
    gt: Path | str, pred: Path | str, split: str | None = None, merged: bool = False
) -> Evaluation:
    """Score the mask PNGs in `pred` against those in `gt` by the DAVIS protocol.

    Both are one sequence (a folder of PNGs) or both are folders of sequences, like Annotations/480p
    of DAVIS. `split` chooses the sequences: a text file with their names, or the name of a split of
    the data set in which `gt` lies, such as "val" (of 2017, if there are two) or "2016/val".
    `merged`: all objects count as one. Raises InputError, naming the file, when sequences, frame
    names or sizes differ, and as `metrics.score_labels`.
    """
    folders = _sequence_folders(Path(gt), Path(pred), split)
    matched = {name: _matching_frames(*pair) for name, pair in folders.items()}
    progress = tqdm(matched.items(), unit="sequence", disable=None)
    read = ((name, _read_sequence(frames, merged)) for name, frames in progress)
    return Evaluation({name: _score_sequence(name, gt, pred) for name, (gt, pred) in read})


def evaluate_model(model: "VOSNetwork", clips: Iterable[Clip], **settings: Any) -> Evaluation:
    """Score what a network makes of clips from their first masks; `settings` go to the tracker.

    Raises InputError for a clip without a mask on every frame.
    """

    def tasks() -> Iterator[Task]:
        for clip in clips:
            every_mask(clip)
            yield Task.of(clip)

    return evaluate_tasks(model, tasks(), **settings)


def evaluate_tasks(
    model: "VOSNetwork", tasks: Iterable[Task], side: int | None = None, **settings: Any
) -> Evaluation:
    """Score what a network makes of videos, at the size of their frames, as `benchmark` does.

    `side` is the short side in pixels at which it sees them; None: as `speed.side_for` says.
    """
    from minivos.evaluation.loop import run_task  # which loads torch: scoring masks does not
    from minivos.speed import side_for

    return Evaluation({
        task.name: run_task(model, task, side=side_for(model, task.size, side), **settings).scores
        for task in tasks
    })  # fmt: skip


def score_clips(answer: Callable[[Clip], np.ndarray], clips: Iterable[Clip]) -> Evaluation:
    """Score anything that makes labels uint8 (T,H,W) of a clip, such as a baseline.

    Raises InputError for a clip without a mask on every frame.
    """
    return Evaluation.of({clip.name: (every_mask(clip), answer(clip)) for clip in clips})


def score_samples(model: "VOSNetwork") -> dict[str, dict[str, float]]:
    """J, F and J&F on the validation split of data_samples, "val", and on each scenario clip."""
    return _on_samples(lambda clips: evaluate_model(model, clips))


def score_on_samples(answer: Callable[[Clip], np.ndarray]) -> dict[str, dict[str, float]]:
    """As `score_samples`, of anything that makes labels uint8 (T,H,W) of a clip."""
    return _on_samples(lambda clips: score_clips(answer, clips))


def _on_samples(evaluate: Callable[[Iterable[Clip]], Evaluation]) -> dict[str, dict[str, float]]:
    root = samples_root()
    parts = {"val": evaluate(DavisDataset(root, "val"))}
    scenarios = evaluate(DavisDataset(root, "scenarios"))
    parts |= {name: Evaluation({name: scores}) for name, scores in scenarios.scores.items()}
    return {name: part.rounded() for name, part in parts.items()}


def every_mask(clip: Clip) -> np.ndarray:
    """The masks of a clip as one array uint8 (T,H,W); InputError when a frame has none."""
    if missing := [t for t in range(len(clip)) if t not in clip.masks]:
        raise InputError(
            f"clip {clip.name} has no mask for frame {missing[0]} ({len(missing)} of {len(clip)} "
            "frames lack one); scoring needs a mask on every frame"
        )
    return np.stack([clip.masks[t] for t in range(len(clip))])


def _score_sequence(name: str, gt: np.ndarray, pred: np.ndarray) -> list[ObjectScore]:
    try:
        return score_labels(gt, pred)
    except InputError as error:
        raise InputError(f"sequence {name}: {error}") from error


def _average(statistics: Iterable[Statistics]) -> Statistics:
    return Statistics(*np.mean([astuple(each) for each in statistics], axis=0).tolist())


def values_of(scored: ObjectScore | Evaluation) -> tuple[float, ...]:
    """The values of COLUMNS."""
    return scored.mean, *astuple(scored.J_statistics), *astuple(scored.F_statistics)


def _sequence_folders(gt: Path, pred: Path, split: str | None) -> dict[str, tuple[Path, Path]]:
    """The folders of ground truth and prediction of each sequence, by its name."""
    if gt.is_dir() and any(map(is_picture, gt.iterdir())):
        if split:
            raise InputError(f"{gt} is one sequence, of which there is no split: leave it out")
        return {gt.resolve().name: (gt, pred)}
    names, predicted = _subfolders(gt), _subfolders(pred)
    if split:
        names = read_names(_listing(gt, split))
        predicted = [name for name in names if (pred / name).is_dir()]
    if unpaired := sorted(set(names) ^ set(predicted)):
        raise InputError(
            f"{unpaired[0]} is only in one of {gt} and {pred} ({len(unpaired)} sequences are); "
            "expected the same names: complete the folders, or choose a split"
        )
    return {name: (gt / name, pred / name) for name in names}


def _listing(gt: Path, split: str) -> Path:
    """The file that lists a split, given by its path, or by its name in the data set around gt."""
    if exists(path := Path(split)) and path.is_file():
        return path
    places = [sets for parent in as_written(gt).parents for sets in [parent / "ImageSets"]]
    years = [place / year for place in places for year in ("", "2017", "2016", "480p")]
    for folder in years:
        if (path := folder / f"{split}.txt").is_file():
            return path
    raise InputError(
        f"there is no split {split!r}; expected a text file with the name of a sequence on each "
        f"line, or a file ImageSets/2017/{split}.txt of the data set around {gt}"
    )


def _subfolders(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    if not names:
        raise InputError(
            f"{folder} holds no sequence; expected a folder of mask PNGs, or of such folders"
        )
    return names


def _matching_frames(gt: Path, pred: Path) -> list[tuple[Path, Path]]:
    """The mask files of ground truth and prediction, frame by frame in the order of time."""
    gt_files, pred_files = (
        {path.stem: path for path in pictures_in(folder)} for folder in (gt, pred)
    )
    if missing := [name for name in gt_files if name not in pred_files]:
        raise InputError(
            f"{pred / gt_files[missing[0]].name} is missing ({len(missing)} of {len(gt_files)} "
            f"masks are); expected one for each file in {gt}, under the same name"
        )
    if extra := [name for name in pred_files if name not in gt_files]:
        raise InputError(
            f"{pred_files[extra[0]]} has no ground truth in {gt} ({len(extra)} files have none); "
            "remove or rename them"
        )
    return [(gt_files[name], pred_files[name]) for name in gt_files]


def _read_sequence(frames: list[tuple[Path, Path]], merged: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ground truth and prediction, uint8 (T,H,W) each, at the size of the first true mask."""
    gt_paths, pred_paths = zip(*frames, strict=True)
    gt, pred = read_masks(gt_paths), read_masks(pred_paths)
    for path, labels in zip(gt_paths, gt, strict=True):
        check_size(labels, gt[0].shape, path)
    for path, labels in zip(pred_paths, pred, strict=True):
        if labels.shape != gt[0].shape:
            (height, width), (true_height, true_width) = labels.shape, gt[0].shape
            raise InputError(
                f"{path} is {width}x{height} pixels, but its truth is {true_width}x{true_height}; "
                "masks are scored at the size of the truth: write them at the size of the video, "
                "as `minivos benchmark` does, or enlarge them with nearest neighbour"
            )
    if merged:
        gt, pred = [merge_objects(mask) for mask in gt], [merge_objects(mask) for mask in pred]
    return np.stack(gt), np.stack(pred)
