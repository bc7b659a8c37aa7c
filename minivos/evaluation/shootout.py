"""The small networks side by side on the same clips: accuracy, speed, memory, what makes them grow,
attention.

accuracy_tables      J&F, J and F on the validation split and on each scenario
cost_tables          frames per second and peak memory, against resolution, objects and length of the clip
attention_table      how much of the attention lands on the right object, and near the true point
write_csv            every number, one in a line
write_page           the tables as one HTML page
"""

import multiprocessing
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from html import escape
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.cost import peak_memory
from minivos.evaluation.evaluate import score_on_samples, score_samples
from minivos.evaluation.tables import Table
from minivos.models import create_model, has_weights
from minivos.nn.network import VOSNetwork
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from minivos.video.baselines import block_matching, repeat_first_mask
from minivos.viewing import page
from minivos.viewing.attention_scores import score_attention

SIDES, OBJECTS, LENGTHS = (128, 192, 256), (1, 3, 10), (12, 48, 192)
TIMED = 8  # frames at the end of a clip, of which the fastest counts
BASELINES = {"first mask repeated": repeat_first_mask, "block matching": block_matching}


def check_names(names: Sequence[str]) -> None:
    """InputError unless each network is named once and has trained weights."""
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"networks {', '.join(names) or 'none'} came; name at least one, and each once"
        )
    for name in names:
        create_model(name)
        if not has_weights(name):
            raise InputError(
                f"{name} has no trained weights to compare; `minivos models` says which networks have"
            )


def accuracy_tables(names: Sequence[str]) -> list[Table]:
    """J&F, J and F of the trained networks and of two baselines, on the validation split and on
    each scenario clip.
    """
    scores = {
        name: score_samples(create_model(name, "mini"))
        for name in tqdm(names, "accuracy", disable=None)
    }
    scores |= {name: score_on_samples(baseline) for name, baseline in BASELINES.items()}
    clips = list(scores[names[0]])
    return [
        Table(
            measure,
            list(scores),
            {clip: [each[clip][measure] for each in scores.values()] for clip in clips},
        )
        for measure in ("J&F", "J", "F")
    ]


def cost_tables(
    names: Sequence[str],
    sides: Sequence[int] = SIDES,
    objects: Sequence[int] = OBJECTS,
    lengths: Sequence[int] = LENGTHS,
) -> list[Table]:
    """Frames per second and peak memory, each setting in a process of its own.

    One of resolution, objects and length changes, the others stay at their first, second and first
    value.
    """
    base = sides[0], objects[min(1, len(objects) - 1)], lengths[0]
    settings = {f"short side {side}": (side, *base[1:]) for side in sides}
    settings |= {
        f"{count} object{'s' * (count > 1)}": (base[0], count, base[2]) for count in objects
    }
    settings |= {f"{length} frames": (*base[:2], length) for length in lengths}
    processes = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        processes.set_forkserver_preload([__name__])  # the imports once, not once for each setting
    costs = {}
    runs = [(name, setting) for setting in dict.fromkeys(settings.values()) for name in names]
    for name, setting in tqdm(runs, "cost", disable=None):
        with ProcessPoolExecutor(1, mp_context=processes) as pool:
            costs[name, setting] = pool.submit(cost, name, *setting).result()
    return [
        Table(
            title,
            names,
            {label: [costs[name, at][i] for name in names] for label, at in settings.items()},
            digits,
        )
        for i, (title, digits) in enumerate(
            (("frames per second", 1), ("MiB added at the peak", 0))
        )
    ]


def cost(name: str, side: int, objects: int, length: int) -> tuple[float, float]:
    """Frames per second, of the fastest of the last in a clip of 16:9, and MiB that following it
    adds to the peak.
    """
    clip = render(0, frames=12, size=(side, side * 16 // 9), objects=objects)
    there_and_back = [*range(12), *range(10, 0, -1)]  # a clip of any length
    tracker, seconds = Tracker(create_model(name), side=side), []
    before = peak_memory()
    for t in range(length):
        began = time.perf_counter()
        tracker.step(
            clip.frames[there_and_back[t % len(there_and_back)]], clip.masks[0] if t == 0 else None
        )
        seconds.append(time.perf_counter() - began)
    return 1 / min(seconds[-TIMED:]), peak_memory() - before


def attention_table(
    networks: Mapping[str, VOSNetwork],
    scenario: str,
    seeds: Iterable[int] = (1, 2),
    **settings: object,
) -> Table:
    """Shares of every attention that looks at another frame, beside those of equal weights; see
    `Shares`.

    Maps of single objects count as one attention. `settings` go to `Tracker`.
    """
    clips, rows = (
        [render(seed, frames=6, size=(96, 144), scenario=scenario) for seed in seeds],
        defaultdict(list),
    )
    for name, network in networks.items():
        for score in score_attention(network, *clips, **settings):
            pairs = zip(score.shares, score.chance, strict=True)
            read = re.sub(r"object[0-9]+/", "", score.name)
            rows[f"{name} {read}"].append(
                (score.cells, [share for pair in pairs for share in pair])
            )
    columns = [
        title for what in ("right object", "1 cell", "2 cells") for title in (what, "chance")
    ]
    return Table(
        f"attention, {scenario}",
        columns,
        {read: weighted_mean(found) for read, found in rows.items()},
    )


def weighted_mean(found: Sequence[tuple[int, Sequence[float]]]) -> list[float]:
    """The mean of vectors that count as often as their number says; what is nan does not count."""
    counts, values = (
        np.array([count for count, _ in found], float)[:, None],
        np.array([row for _, row in found]),
    )
    known = np.isfinite(values) * counts
    with np.errstate(invalid="ignore"):  # nothing known: nan
        return (np.nansum(values * known, axis=0) / known.sum(axis=0)).tolist()


def write_page(path: str | Path, tables: Iterable[Table], facts: Mapping[str, str]) -> None:
    """The tables as one HTML page, whole or not at all; `facts` {network: where its weights come
    from}.
    """
    sections = "".join(
        f"<section><h2>{escape(table.title)}</h2>{table.html()}</section>" for table in tables
    )
    said = (
        "<p>One training each, of unequal length: differences between networks are also differences between trainings. "
        f"Measured with {torch.get_num_threads()} threads.</p>"
    )
    body = said + page.fact_list(facts) + sections
    page.write_page(path, "minivos shoot-out", "The small networks side by side", body)
