"""Every small network on rendered and on real video: how well, how fast, how large, how it was trained.

    python benchmarks/real_video.py                                # needs no data but the repository's
    python benchmarks/real_video.py --davis DAVIS:dev --clips MY/dog MY/street --out now.json --before earlier.json
    python benchmarks/real_video.py --weights aot_mini=runs/aot_mini/aot_mini.safetensors

Scores are J&F as `minivos benchmark` gives it, of the first mask alone, at the side that a network takes by itself. All
objects of a DAVIS clip count as one, as in 2016. --clips takes folders with `frames/` and a mask on each in `masks/`.

--out gets every score as soon as it is known, and the tables stand beside it as Markdown. Run again, the script
measures only what is new: another clip, other weights, another setting of the network. It does not see that code
changed: give another --out then. Speed is measured anew each time: all networks in turn, the best of three rounds
over a rendered clip of 854x480 pixels with three objects.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from minivos.cli.show import training_minutes
from minivos.errors import InputError
from minivos.evaluation.evaluate import evaluate_model
from minivos.evaluation.loop import run_task
from minivos.models import WEIGHTS, checksum, create_model, has_weights, list_models
from minivos.nn.network import VOSNetwork
from minivos.nn.summary import count_parameters
from minivos.speed import side_for
from minivos.synthetic.clips import render
from minivos.training.terms import NOT_STATED
from minivos.video.clip import Clip
from minivos.video.datasets import ClipFolders, DavisDataset, samples_root
from minivos.video.files import as_path, read_json, whole_file
from minivos.video.task import Task

SIZE, TIMED, ROUNDS = (480, 854), 24, 3
Row = dict[str, Any]  # what is known of one network
T = TypeVar("T")

# 1. What is measured ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entrant:
    """A network with its weights, and what the JSON beside them says."""

    name: str
    file: Path

    def facts(self) -> Row:
        about = self.file.with_suffix(".json")
        known = read_json(about, "how the weights were trained") if about.exists() else {}
        return {
            "model": self.name,
            "megabytes": round(self.file.stat().st_size / 1e6, 1),
            "minutes": round(training_minutes(known)),  # with those of the weights that it began with
            "trained on": ", ".join(known.get("trained_on", [NOT_STATED])),
            "terms": known.get("terms", NOT_STATED),
        }


def entrants(shipped: Iterable[str], others: Iterable[str]) -> dict[str, Entrant]:
    """These shipped networks, then the others, each given as NAME=FILE; a row is called by the end of its path."""
    found = [(name, Entrant(name, WEIGHTS / f"{name}.safetensors")) for name in shipped]
    for text in others:
        name, equals, file = text.partition("=")
        if not equals:
            raise InputError(f"got --weights {text}; expected NAME=FILE, such as aot_mini=my.safetensors")
        found.append((f"{name} ({'/'.join(Path(file).parts[-2:])})", Entrant(name, Path(file))))
    return each_once(found)


def parts(davis: Iterable[str], clips: Iterable[Path]) -> dict[str, ClipFolders]:
    """Clips by the part of the tables that they belong to."""
    root = samples_root()
    found: list[tuple[str, ClipFolders]] = [(name, DavisDataset(root, name)) for name in ("val", "scenarios")]
    for text in davis:
        folder, colon, split = text.rpartition(":")
        if not colon:
            raise InputError(f"got --davis {text}; expected ROOT:SPLIT, such as DAVIS:val")
        found.append((f"DAVIS {split}", DavisDataset(folder, split, year=2016)))
    for clip in map(as_path, clips):
        found.append((clip.name, ClipFolders(clip.parent, [clip.name], clip / "masks")))
    return each_once(found)


def each_once(named: list[tuple[str, T]]) -> dict[str, T]:
    """As a dictionary; InputError where two have one name."""
    names = [name for name, _ in named]
    if double := [name for name in names if names.count(name) > 1]:
        raise InputError(f"got two of {double[0]}; expected different names: rename a folder or leave one out")
    return dict(named)


# 2. Measuring -------------------------------------------------------------------------------------


def measure(rows: dict[str, Row], models: dict[str, VOSNetwork], found: dict[str, ClipFolders]) -> Iterator[None]:
    """Add to the rows what they lack: the scores of each object of each clip; stops after every clip."""
    for part, folders in found.items():
        for clip in tqdm(folders, desc=part, unit="clip", disable=None):
            for label, model in models.items():
                cells, proof = rows[label].setdefault("scores", {}), fingerprint(model, clip)
                key = f"{part}/{clip.name}"
                if cells.get(key, {}).get("of") == proof:
                    continue
                scores = evaluate_model(model, [clip], refine=True).scores[clip.name]
                means = [[round(s.J_statistics.mean, 4), round(s.F_statistics.mean, 4)] for s in scores]
                cells[key] = {"of": proof, "J, F": means}
                yield


def fingerprint(model: VOSNetwork, clip: Clip) -> str:
    """What decides a score: weights, settings of the network, frames and masks."""
    digest = hashlib.sha256(f"{checksum(model.state_dict())} {model.config} {model.schedule} {model.sizing}".encode())
    for picture in (clip.frames, *clip.masks.values()):
        digest.update(picture.tobytes())
    return digest.hexdigest()[:16]


def add_speed(rows: dict[str, Row], models: dict[str, VOSNetwork]) -> None:
    """Frames per second of each network, the best of all rounds: other work only ever slows one down."""
    clip = render(0, frames=1 + TIMED, size=SIZE, objects=3)
    task = Task.of(Clip(clip.frames, {0: clip.masks[0]}))
    for number in range(ROUNDS):
        for label, model in models.items():
            side = side_for(model, SIZE)
            fps = run_task(model, task, side=side, refine=True).fps
            rows[label]["side"] = side or model.sizing.short_side
            rows[label]["fps"] = round(max(fps, rows[label]["fps"] if number else 0), 1)


# 3. Tables ----------------------------------------------------------------------------------------


def mean_score(row: Row, clips: Sequence[str]) -> float:
    """Mean J&F of all objects of these clips, "PART/NAME"; nan where one was not measured."""
    cells = row.get("scores", {})
    if not all(clip in cells for clip in clips):
        return math.nan
    return fmean(fmean(pair) for clip in clips for pair in cells[clip]["J, F"])


def tables(rows: dict[str, Row], before: dict[str, Row], found: dict[str, ClipFolders]) -> str:
    """All of it as Markdown; figures of `before`, of the same row or else the same network, in brackets."""
    clips = {part: [f"{part}/{name}" for name in folders.names] for part, folders in found.items()}

    def score(label: str, *of: str) -> str:
        earlier = before.get(label, before.get(rows[label]["model"], {}))
        now, then = mean_score(rows[label], of), mean_score(earlier, of)
        return ("" if math.isnan(now) else f"{now:.3f}") + ("" if math.isnan(then) else f" ({then:.3f})")

    facts = ["parameters", "megabytes", "side", "fps", "minutes", "trained on", "terms"]
    scores = {label: [score(label, *keys) for keys in clips.values()] for label in rows}
    body = [[label, *scores[label], *(str(row[fact]) for fact in facts)] for label, row in rows.items()]
    by_clip = [[clip, *(score(label, clip) for label in rows)] for keys in clips.values() for clip in keys]
    note = "J&F" + (", in brackets before" if before else "")
    speed = f"fps: {SIZE[1]}x{SIZE[0]} video, three objects, {torch.get_num_threads()} CPU threads"
    head = ["network", *found, *facts]
    return f"{note}; {speed}.\n\n{markdown(head, body)}\n\n{markdown(['clip', *rows], by_clip)}\n"


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


# 4. The run ---------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> str:
    """Measure, keep, and return the tables."""
    what = "the figures that this script wrote"
    kept = read_json(options.out, what) if options.out.exists() else {}
    before = read_json(options.before, what) if options.before else {}
    chosen = entrants(options.networks, options.weights)
    found = parts(options.davis, options.clips)
    models = {label: create_model(each.name, weights=each.file) for label, each in chosen.items()}
    rows = {
        label: kept.get(label, {}) | each.facts() | {"parameters": count_parameters(models[label])}
        for label, each in chosen.items()
    }

    def keep() -> None:
        with whole_file(options.out) as file:
            file.write_text(json.dumps(kept | rows, indent=1) + "\n", encoding="utf-8")

    for _ in measure(rows, models, found):
        keep()
    add_speed(rows, models)
    keep()
    text = tables(rows, before, found)
    with whole_file(options.out.with_suffix(".md")) as file:
        file.write_text(text, encoding="utf-8")
    return text


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = [name for name in list_models() if has_weights(name)]
    parser.add_argument("--networks", nargs="*", default=shipped, help="shipped ones; by default all")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE, more of them; may be repeated")
    parser.add_argument("--davis", action="append", default=[], help="ROOT:SPLIT; may be repeated")
    parser.add_argument("--clips", nargs="*", type=Path, default=[], help="folders of one clip each")
    parser.add_argument("--out", type=Path, default=Path("real_video.json"))
    parser.add_argument("--before", type=Path, help="an earlier --out, to show beside")
    try:
        print(run(parser.parse_args(words)))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
