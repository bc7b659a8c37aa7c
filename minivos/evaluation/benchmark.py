"""Networks on whole data sets, clip by clip, so that memory does not grow with their number.

    1. the run                  benchmark
    2. what it gave             Row, Result
    3. what outlives a run      scores.csv, masks/, settings.json

A run that was cut short goes on where it was: clips with a row in scores.csv are finished.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.augmented import Augmented
from minivos.evaluation.cost import peak_memory
from minivos.evaluation.evaluate import COLUMNS, values_of
from minivos.evaluation.loop import Outcome, run_task
from minivos.evaluation.tables import Table
from minivos.models import checksum
from minivos.nn.network import VOSNetwork
from minivos.speed import side_for
from minivos.video.datasets import ClipFolders
from minivos.video.files import clear_folder, prepare_output, read_json, whole_file, whole_folder
from minivos.video.mask_files import encode_mask
from minivos.video.submission import pack_submission
from minivos.video.task import Task

HEAD = ("sequence", "object", "category", *COLUMNS, "frames", "seconds", "MiB")
SCORES, SETTINGS, MASKS, ZIP = "scores.csv", "settings.json", "masks", "submission.zip"
SUMMARY = "summary.csv"

# 1. The run ---------------------------------------------------------------------------------------


def benchmark(
    dataset: ClipFolders,
    model: VOSNetwork,
    out: str | Path,
    said: Mapping[str, Any],
    *,
    side: int | None = None,
    workers: int = 0,
    unseen: Collection[str] | None = None,
    zipped: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Result:
    """Let a network segment every clip of a data set, and score it where there is truth.

    Args:
        dataset: its clips.
        model: the network, on its device; `Augmented` for flip and multi-scale testing.
        out: folder for masks/CLIP/FRAME.png, scores.csv, summary.csv and submission.zip. Finished
            clips that it holds are not done again.
        said: what else tells this run from others, such as the names of data set and network.
        side: short side in pixels at which frames are processed; None: as `speed.side_for` says.
        workers: threads that read frames ahead, and write and score masks behind the network.
        unseen: categories that no training clip shows; they are scored by themselves.
        zipped: also pack the masks for the server of the data set, and check the file.
        overwrite: begin anew, whatever results of a benchmark `out` holds.
        settings: for `Tracker`.

    Raises InputError for a folder that is not ours or holds results of other settings, and for
    clips that cannot be read.
    """
    folder = prepare_output(out, overwrite=True, kind="benchmark")
    facts = {**said, "side": side, **settings, "weights": checksum(_on_cpu(model))}
    _begin(folder, facts, overwrite)
    rows = read_rows(folder)
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    todo = [name for name in dataset.names if name not in rows]
    for name in tqdm(todo, unit="clip", disable=None):
        task = dataset.task(name)
        outcome = _one_clip(model, task, folder / MASKS / name, side, workers, settings)
        rows[name] = _rows_of(outcome, task, peak_memory(device))
        write_rows(folder, rows)
    result = Result({name: rows[name] for name in dataset.names}, unseen)
    result.write_summary(folder / SUMMARY)
    if zipped:
        pack_submission(folder / ZIP, folder / MASKS, dataset.tasks(), dataset.layout)
    return result


def _one_clip(
    model: VOSNetwork,
    task: Task,
    folder: Path,
    side: int | None,
    workers: int,
    settings: Mapping[str, Any],
) -> Outcome:
    """Follow one clip and write its masks, as a whole folder or not at all."""
    if not isinstance(model, Augmented):  # which chooses for each view
        side = side_for(model, task.size, side)
    wanted = frozenset(task.wanted)
    folder.parent.mkdir(exist_ok=True)
    with whole_folder(folder) as part:

        def keep(frame: str, labels: np.ndarray) -> None:
            if frame in wanted:
                (part / f"{frame}.png").write_bytes(encode_mask(labels))

        return run_task(model, task, keep, workers, side=side, **settings)


def _on_cpu(model: VOSNetwork) -> dict[str, torch.Tensor]:
    return {name: value.cpu().contiguous() for name, value in model.state_dict().items()}


# 2. What it gave ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """The scores of one object of a clip; of a clip without truth one row, without object."""

    sequence: str
    object_id: int | None
    category: str  # of YouTube-VOS, else empty
    values: tuple[float, ...]  # of COLUMNS, nan without truth
    frames: int  # of the clip, that were timed
    seconds: float  # that the network took for them
    peak: float  # MiB that the process, or on a GPU its tensors, had held at most by then


@dataclass(frozen=True)
class Result:
    """The rows of every clip, and what they come to; each object counts once, however long."""

    rows: Mapping[str, list[Row]]  # by clip
    unseen: Collection[str] | None  # categories that no training clip shows

    @property
    def peak(self) -> float:
        """The most memory that the process, or on a GPU its tensors, held: MiB."""
        return max(row.peak for part in self.rows.values() for row in part)

    @property
    def fps(self) -> float:
        """Frames per second of the network alone, without the first frame of each clip."""
        return _fps(rows[0] for rows in self.rows.values())

    def summary(self) -> dict[str, float]:
        """Means over all objects: J, F, J&F, and G of YouTube-VOS with its four parts.

        G only where there are both kinds of objects; where there is no truth, speed and memory.
        """
        rows = [row for part in self.rows.values() for row in part if row.object_id is not None]
        means = _means(rows) if rows else {}
        new = [row for row in rows if self.unseen and row.category in self.unseen]
        if new and (old := [row for row in rows if row not in new]):
            parts = {
                f"{measure} {kind}": _means(part)[measure]
                for kind, part in (("seen", old), ("unseen", new))
                for measure in ("J", "F")
            }
            means |= parts | {"G": float(np.mean(list(parts.values())))}
        return means | {"frames per second": self.fps, "peak memory, MiB": self.peak}

    def table(self) -> Table:
        """J, F and J&F of each clip and of all objects, and frames per second."""
        shown = {name: [*_means(part).values(), _fps(part[:1])] for name, part in self.rows.items()}
        all_rows = [row for part in self.rows.values() for row in part]
        shown[f"all {len(self.rows)} clips"] = [*_means(all_rows).values(), self.fps]
        return Table("sequence", ["J", "F", "J&F", "frames/s"], shown, decimals=3)

    def write_summary(self, path: Path) -> None:
        """Write `summary` as CSV, one measure a line, whole or not at all."""
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("measure", "value"))
            writer.writerows((name, f"{value:.6f}") for name, value in self.summary().items())


def _means(rows: Iterable[Row]) -> dict[str, float]:
    """J, F and J&F over the objects of these rows; nan where there is none."""
    scored = [row.values for row in rows if row.object_id is not None]
    if not scored:
        return dict.fromkeys(("J", "F", "J&F"), math.nan)
    by_name = dict(zip(COLUMNS, np.mean(scored, axis=0).tolist(), strict=True))
    J, F = by_name["J-Mean"], by_name["F-Mean"]
    return {"J": J, "F": F, "J&F": (J + F) / 2}


def _fps(clips: Iterable[Row]) -> float:
    """Frames per second over clips, one row of each."""
    frames, seconds = np.sum([(row.frames, row.seconds) for row in clips], axis=0)
    return frames / seconds if seconds else math.nan


def _rows_of(outcome: Outcome, task: Task, peak: float) -> list[Row]:
    cost = outcome.frames, round(outcome.seconds, 6), round(peak, 1)
    listed = task.listed or {}
    rows = []
    for score in outcome.scores:
        known = listed.get(score.object_id)
        values = tuple(round(value, 6) for value in values_of(score))
        category = known.category if known else ""
        rows.append(Row(outcome.name, score.object_id, category, values, *cost))
    return rows or [Row(outcome.name, None, "", (math.nan,) * len(COLUMNS), *cost)]


# 3. What outlives a run ---------------------------------------------------------------------------


def _begin(folder: Path, facts: Mapping[str, Any], overwrite: bool) -> None:
    """Note what this run is; InputError where another one finished clips, unless `overwrite`."""
    path, facts = folder / SETTINGS, json.loads(json.dumps(facts))
    if overwrite:
        for name in (SCORES, SUMMARY, ZIP):
            (folder / name).unlink(missing_ok=True)
        clear_folder(folder / MASKS)
    elif read_rows(folder) and (before := read_json(path, "the settings of a benchmark")) != facts:
        names = sorted(before.keys() | facts.keys())
        other = next(name for name in names if before.get(name) != facts.get(name))
        raise InputError(
            f"{folder} holds results with {other} = {before.get(other)!r}, this run has "
            f"{facts.get(other)!r}; expected the same settings to go on: "
            "choose another --out, or begin anew with --overwrite"
        )
    with whole_file(path) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def write_rows(folder: Path, rows: Mapping[str, list[Row]]) -> None:
    """Write scores.csv, whole or not at all."""
    with whole_file(folder / SCORES) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for row in (row for clip in rows.values() for row in clip):
            number = "" if row.object_id is None else row.object_id
            values = ["" if math.isnan(value) else f"{value:.6f}" for value in row.values]
            start = row.sequence, number, row.category
            cost = row.frames, f"{row.seconds:.6f}", f"{row.peak:.1f}"
            writer.writerow([*start, *values, *cost])


def read_rows(folder: Path) -> dict[str, list[Row]]:
    """The clips that are finished: those of scores.csv whose masks are there.

    InputError for a file that was changed by hand so that it cannot be read.
    """
    path = folder / SCORES
    rows: dict[str, list[Row]] = {}
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        try:
            for sequence, number, category, *cells in list(csv.reader(file))[1:]:
                *values, frames, seconds, peak = (float(cell or "nan") for cell in cells)
                object_id = int(number) if number else None
                scores = tuple(values)
                row = Row(sequence, object_id, category, scores, int(frames), seconds, peak)
                rows.setdefault(sequence, []).append(row)
        except (ValueError, csv.Error) as error:
            raise InputError(
                f"{path} is damaged ({error}); expected what a benchmark wrote: "
                "remove it, or begin anew with --overwrite"
            ) from error
    return {name: clip for name, clip in rows.items() if (folder / MASKS / name).is_dir()}
