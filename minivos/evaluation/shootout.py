"""The small networks side by side on the same clips: how well, how fast, where they look.

accuracy_tables      J&F, J and F on the validation split and on each scenario
cost_tables          frames per second and peak memory, by resolution, objects and length of clip
attention_table      how much of the attention lands on the right object, and near the true point
score_table          the same, on given clips
write_explorers      pages on which every cell of such a clip says where they look
write_shootout       the tables as one HTML page
"""

import multiprocessing
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from html import escape
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.cost import peak_memory, wait_for
from minivos.evaluation.evaluate import score_on_samples, score_samples
from minivos.evaluation.tables import Table
from minivos.models import create_model, has_weights, pick_device
from minivos.nn.network import VOSNetwork
from minivos.synthetic.clips import SyntheticClip, render
from minivos.tracker import Tracker
from minivos.video.baselines import BASELINES
from minivos.viewing import page
from minivos.viewing.attention_scores import score_attention
from minivos.viewing.explorer import explore

SIDES, OBJECTS, LENGTHS = (128, 192, 256), (1, 3, 10), (12, 48, 192)
SEEDS = 1, 2  # of the clips whose attention is scored
SMALL: dict[str, Any] = {"frames": 6, "size": (96, 144)}  # and what they are like
TIMED = 8  # frames at the end of a clip, of which the fastest counts


def check_names(names: Sequence[str]) -> None:
    """InputError unless each network is named once and has trained weights."""
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"got {', '.join(names) or 'no network'}; expected at least one network, and each once"
        )
    for name in names:
        create_model(name)
        if not has_weights(name):
            raise InputError(
                f"{name} has no trained weights to compare; "
                "`minivos models` says which networks have"
            )


def accuracy_tables(names: Sequence[str], device: str | torch.device = "auto") -> list[Table]:
    """J&F, J and F of trained networks and two baselines, on the validation split and scenarios."""
    scores, where = {}, pick_device(device)
    for name in tqdm(names, "accuracy", disable=None):
        scores[name] = score_samples(create_model(name, "shipped").to(where))
    scores |= {name: score_on_samples(baseline) for name, baseline in BASELINES.items()}

    def table(measure: str) -> Table:
        rows = {
            clip: [each[clip][measure] for each in scores.values()] for clip in scores[names[0]]
        }
        return Table(measure, list(scores), rows)

    return [table(measure) for measure in ("J&F", "J", "F")]


def cost_tables(
    names: Sequence[str],
    sides: Sequence[int] = SIDES,
    objects: Sequence[int] = OBJECTS,
    lengths: Sequence[int] = LENGTHS,
    device: str | torch.device = "auto",
) -> list[Table]:
    """Frames per second and peak memory, each setting in a process of its own.

    One of resolution, objects and length changes, the others stay at their first, second and first
    value.
    """
    base = sides[0], objects[min(1, len(objects) - 1)], lengths[0]
    settings = {f"short side {side}": (side, *base[1:]) for side in sides}
    for count in objects:
        settings[f"{count} object{'s' * (count > 1)}"] = (base[0], count, base[2])
    settings |= {f"{length} frames": (*base[:2], length) for length in lengths}
    costs, processes = {}, _fresh_processes()
    runs = [(name, setting) for setting in dict.fromkeys(settings.values()) for name in names]
    for name, setting in tqdm(runs, "cost", disable=None):
        with ProcessPoolExecutor(1, mp_context=processes) as pool:
            side, count, length = setting
            costs[name, setting] = pool.submit(cost, name, side, count, length, device).result()

    def table(title: str, part: int, decimals: int) -> Table:
        rows = {
            label: [costs[name, setting][part] for name in names]
            for label, setting in settings.items()
        }
        return Table(title, names, rows, decimals)

    return [table("frames per second", 0, 1), table("MiB added at the peak", 1, 0)]


def _fresh_processes() -> BaseContext:
    """A way to start processes that have held no memory before."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])  # the imports once, not once for each setting
    return processes


def cost(
    name: str, side: int, objects: int, length: int, device: str | torch.device = "auto"
) -> tuple[float, float]:
    """What it costs to follow a clip of 16:9: frames per second, and MiB added to the peak.

    Counted is the fastest of the last frames. On a CUDA device the memory is that of its tensors.
    """
    where = pick_device(device)
    clip = render(0, frames=12, size=(side, side * 16 // 9), objects=objects)
    there_and_back = [*range(12), *range(10, 0, -1)]  # a clip of any length
    tracker, seconds = Tracker(create_model(name).to(where), side=side), []
    before = peak_memory(where)
    for t in range(length):
        frame = clip.frames[there_and_back[t % len(there_and_back)]]
        began = time.perf_counter()
        tracker.step(frame, clip.masks[0] if t == 0 else None)
        wait_for(where)
        seconds.append(time.perf_counter() - began)
    return 1 / min(seconds[-TIMED:]), peak_memory(where) - before


def attention_table(
    networks: Mapping[str, VOSNetwork],
    scenario: str,
    seeds: Iterable[int] = SEEDS,
    **settings: Any,
) -> Table:
    """The scores of every attention on small clips of a scenario; see `score_table`."""
    clips = [render(seed, scenario=scenario, **SMALL) for seed in seeds]
    return score_table(f"attention, {scenario}", networks, clips, **settings)


def score_table(
    title: str,
    networks: Mapping[str, VOSNetwork],
    clips: Sequence[SyntheticClip],
    **settings: Any,
) -> Table:
    """Shares of every attention that looks at another frame, beside those of equal weights.

    See `attention_scores.Shares`. `settings` go to `Tracker`.
    """
    rows = {}
    for name, network in networks.items():
        for score in score_attention(network, *clips, **settings):
            pairs = zip(score.shares, score.chance, strict=True)
            rows[f"{name} {score.name}"] = [share for pair in pairs for share in pair]
    columns = ["right object", "chance", "1 cell", "chance", "2 cells", "chance"]
    return Table(title, columns, rows)


def write_explorers(
    folder: Path, networks: Mapping[str, VOSNetwork], scenarios: Iterable[str]
) -> list[Path]:
    """A page for each scenario: where the networks look in the first clip of its attention table.

    The true points are known there, and marked.
    """
    pages = []
    for scenario in scenarios:
        clip = render(SEEDS[0], scenario=scenario, **SMALL)
        pages.append(folder / f"explore-{scenario}.html")
        explore(networks, clip, pages[-1], heads="mean", grid=(8, 12))
    return pages


def write_shootout(
    path: str | Path,
    tables: Iterable[Table],
    facts: Mapping[str, str],
    where: str = "cpu",
    explorers: Iterable[Path] = (),
) -> None:
    """The tables as one HTML page, whole or not at all.

    `facts` say of each network where its weights come from, `where` on what they ran; `explorers`
    are pages in the same folder, to which it links.
    """
    sections = "".join(
        f"<section><h2>{escape(table.title)}</h2>{table.html()}</section>" for table in tables
    )
    said = (
        "<p>One training each, of unequal length: differences between networks are also "
        f"differences between trainings. Measured with {torch.get_num_threads()} threads on "
        f"{where}.</p>"
    )
    links = ", ".join(
        f'<a href="{quote(each.name)}">{escape(each.stem.removeprefix("explore-"))}</a>'
        for each in explorers
    )
    look = f"<p>See where they look, and click yourself: {links}.</p>" if links else ""
    body = said + look + page.fact_list(facts) + sections
    page.write_page(path, "minivos shoot-out", "The small networks side by side", body)
