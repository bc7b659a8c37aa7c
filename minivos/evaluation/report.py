"""One HTML page, a file that needs no other, that shows what networks do on a few clips."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.evaluate import Evaluation, every_mask
from minivos.evaluation.loop import run_task
from minivos.evaluation.tables import Table
from minivos.nn.network import VOSNetwork
from minivos.nn.recording import AttentionMap, record_attention
from minivos.tracker import Tracker
from minivos.video.baselines import BASELINES
from minivos.video.clip import Clip
from minivos.video.masks import is_object, overlay
from minivos.video.task import Task
from minivos.viewing import plots
from minivos.viewing.cells import Cells, middle_of_largest_object
from minivos.viewing.page import data_url, fact_list, table, write_page

FRAME_TIME, LAST_FRAME_TIME = 125, 750  # milliseconds in the animations
PAGE_TITLE = "minivos report"
GAP = 4  # pixels between the panels of an animation
QUALITY = 70  # of WebP, in 0..100

INTRODUCTION = """
<p>Each network gets the masks of some objects in the first frame of a clip and finds the same
objects in every later frame, one frame after the other.</p>
<p><b>J&amp;F</b> is the score of the DAVIS benchmark, from 0 to 1: the mean of region overlap J and
contour accuracy F. Two baselines that learn nothing show how hard a clip is: one repeats the first
mask, the other moves it along with the patches that look most alike from frame to frame.</p>
<p>The pictures of attention are single looks, and not every look is for finding objects: some
networks find them in one read and gather other things in another, so a small share of weight on the
object is no error by itself.</p>
"""


@dataclass(frozen=True)
class Card:
    """What the report shows of one clip; InputError when frames and labels do not fit together."""

    name: str
    frames: np.ndarray  # uint8 (T,H,W,3)
    truth: np.ndarray  # uint8 (T,H,W)
    predictions: Mapping[str, np.ndarray]  # of each network, uint8 (T,H,W)
    scores: Mapping[str, float]  # J&F in [0,1] of the networks and of the baselines
    fps: Mapping[str, float]  # frames per second of each network
    looks: Mapping[str, Figure]  # what there is to see -> where a network looked

    def __post_init__(self) -> None:
        shapes = (
            self.frames.shape[:3],
            self.truth.shape,
            *(labels.shape for labels in self.predictions.values()),
        )
        if len(set(shapes)) > 1:
            raise InputError(
                f"{self.name} has frames, truth and predictions of (T,H,W) "
                f"{', '.join(map(str, shapes))}; "
                "expected the same: predict every frame at the size of the clip"
            )


# From clips to cards ------------------------------------------------------------------------------


def build_cards(
    models: Mapping[str, VOSNetwork], clips: Iterable[Clip], **settings: Any
) -> list[Card]:
    """Let the networks segment each clip; time them, score them, look once at their attention.

    `settings` go to `Tracker`. Raises InputError for a clip that lacks the mask of a frame.
    """
    return [build_card(models, clip, **settings) for clip in tqdm(clips, unit="clip", disable=None)]


def build_card(models: Mapping[str, VOSNetwork], clip: Clip, **settings: Any) -> Card:
    """See `build_cards`."""
    truth = every_mask(clip)
    predictions: dict[str, np.ndarray] = {}
    fps: dict[str, float] = {}
    looks: dict[str, Figure] = {}
    for name, model in models.items():
        predictions[name], fps[name] = answer(model, clip, **settings)
        looks |= look_at_attention(name, model, clip.frames, truth, **settings)
    answers = predictions | {name: baseline(clip) for name, baseline in BASELINES.items()}
    scores = {
        name: Evaluation.of({clip.name: (truth, labels)}).mean for name, labels in answers.items()
    }
    return Card(clip.name, clip.frames, truth, predictions, scores, fps, looks)


def answer(model: VOSNetwork, clip: Clip, **settings: Any) -> tuple[np.ndarray, float]:
    """Labels (T,H,W) that a network finds from a clip's first mask, and its frames per second."""
    found: dict[str, np.ndarray] = {}
    outcome = run_task(model, Task.of(clip), found.__setitem__, **settings)
    return np.stack(list(found.values())), outcome.fps


def look_at_attention(
    name: str, model: VOSNetwork, frames: np.ndarray, truth: np.ndarray, **settings: Any
) -> dict[str, Figure]:
    """Where a network looks from amid the largest object of a later frame: {caption: figure}."""
    present = [t for t in range(len(frames) * 3 // 4 + 1) if is_object(truth[t]).any()]
    now = present[-1]
    object_id, pixel = middle_of_largest_object(truth[now])
    tracker = Tracker(model, **settings)
    for t in range(now):
        tracker.step(frames[t], truth[0] if t == 0 else None)
    with record_attention() as maps:
        labels = tracker.step(frames[now], truth[0] if now == 0 else None)

    figures, aligned = {}, model.sizing.align_corners
    number = tracker.ids.index(object_id) + 1 if object_id in tracker.ids else 0  # 0: untracked
    for look in last_memory_reads(maps, now, number):
        y, x = Cells(look.query_grid, truth.shape[1:], aligned).at(np.array(pixel)).tolist()
        hit = weight_on_object(look, (y, x), truth == object_id, aligned)
        sentence = (
            f"Where {name} looks, {look.name}: the cross is one pixel of object {object_id} in "
            f"frame {now}; the brighter a cell, the more it counts. "
            f"{hit:.0%} of the weight lies on the same object."
        )
        figures[sentence] = plots.attention(
            look, (y, x), frames, mask=labels, align_corners=aligned
        )
    return figures


def last_memory_reads(maps: Iterable[AttentionMap], now: int, number: int) -> list[AttentionMap]:
    """Of the maps by which frame `now` looks at others, the last of each kind.

    block1/long and block2/long are of one kind. Where each object has maps of its own, those of
    object `number` alone.
    """
    reads = (
        look
        for look in maps
        if look.query_frame == now
        and set(look.key_frames) != {now}
        and look.object in (None, number)
    )
    return list({re.sub(r"\d+", "", look.name): look for look in reads}.values())


def weight_on_object(
    look: AttentionMap, cell: tuple[int, int], mask: np.ndarray, align_corners: bool = False
) -> float:
    """Share in [0,1] of the attention of a query cell (head mean) that is on an object.

    `mask` bool (T,H,W) is the object's; `align_corners` as in the `sizing` of the network.
    """
    cells = Cells(look.key_grid[1:], mask.shape[1:], align_corners)
    covered = cells.mean(mask[list(look.key_frames)])  # share of each cell, (T,h,w)
    return float((look.look_from(*cell).mean(0).numpy() * covered).sum())


# From cards to the page ---------------------------------------------------------------------------


def write_report(path: str | Path, cards: list[Card], facts: Mapping[str, object]) -> None:
    """Write the cards as one HTML file, whole or not at all.

    `facts` {name: value} say how the networks were made. Raises InputError without cards, when the
    cards score different methods, and where no file can be written.
    """
    if len({tuple(card.scores) for card in cards}) != 1:
        methods = sorted({name for card in cards for name in card.scores})
        raise InputError(
            f"got {len(cards)} cards with scores of {methods or 'nothing'}; expected at least one "
            "card, and scores of the same methods in the same order on each: "
            "make them with build_cards"
        )
    body = [INTRODUCTION, fact_list(facts), _summary(cards), *map(_section, cards)]
    write_page(path, PAGE_TITLE, "What the networks segment, and where they look", "".join(body))


def _summary(cards: list[Card]) -> str:
    """Two tables of all clips, the means last: J&F, the best in bold, and frames per second."""
    scores = {card.name: list(card.scores.values()) for card in cards}
    scores["mean of the clips"] = np.mean(list(scores.values()), axis=0).tolist()
    best_marked = {clip: _mark_best(row) for clip, row in scores.items()}

    networks, frames = list(cards[0].fps), sum(len(card.frames) for card in cards)
    seconds = [sum(len(card.frames) / card.fps[name] for card in cards) for name in networks]
    speeds = {card.name: list(card.fps.values()) for card in cards}
    speeds["mean of the clips"] = [frames / spent for spent in seconds]
    rates = Table("frames per second", networks, speeds, decimals=1)
    return table(["J&F", *cards[0].scores], best_marked) + rates.html()


def _mark_best(scores: list[float]) -> list[str]:
    return [f"<b>{score:.2f}</b>" if score == max(scores) else f"{score:.2f}" for score in scores]


def _section(card: Card) -> str:
    name, networks = escape(card.name), list(card.predictions)
    scores = " · ".join(f"{method} {score:.2f}" for method, score in card.scores.items())
    captions = "".join(f"<span>{escape(caption)}</span>" for caption in ("truth", *networks))
    looks = "".join(_look(card.name, sentence, figure) for sentence, figure in card.looks.items())
    alt = (
        f"Animation of the clip {name}, {len(card.frames)} frames. Above: the true masks and those "
        f"of {escape(', '.join(networks))}. Below: the frame, and the pixels where each network "
        "differs from the truth."
    )
    return f"""
<section>
<h2>{name}</h2>
<figure>
<img src="{data_url("webp", film(card))}" alt="{alt}">
<figcaption><div class="panels">{captions}</div>
Below: the frame, and what each network got wrong (white).</figcaption>
</figure>
<p>J&amp;F: {escape(scores)}.</p>
{looks}
</section>
"""


def _look(clip: str, sentence: str, figure: Figure) -> str:
    titles = "; ".join(axes.get_title() for axes in figure.axes if axes.get_title())
    alt = escape(f"Attention of one pixel in the clip {clip}, panels: {titles}.")
    image = f'<img src="{data_url("png", plots.png_bytes(figure))}" alt="{alt}">'
    caption = f"<figcaption>{escape(sentence)}</figcaption>"
    return f'<figure class="look">{image}{caption}</figure>'


def film(card: Card) -> bytes:
    """An endless WebP: true and predicted masks, below them the frame, and mistakes in white."""
    moments = zip(card.frames, card.truth, *card.predictions.values(), strict=True)
    pictures = [_panels(*moment) for moment in moments]
    durations = [FRAME_TIME] * (len(pictures) - 1) + [LAST_FRAME_TIME]
    first, *rest = pictures
    settings: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": durations}
    file = io.BytesIO()
    first.save(file, "WEBP", **settings, loop=0, quality=QUALITY)
    return file.getvalue()


def _panels(frame: np.ndarray, truth: np.ndarray, *predictions: np.ndarray) -> Image.Image:
    above = [overlay(frame, labels) for labels in (truth, *predictions)]
    below = [frame]
    for labels in predictions:
        wrong = (is_object(truth) | is_object(labels)) & (truth != labels)
        below.append(np.where(wrong[..., None], 255, frame // 2))
    rows = [np.concatenate([_framed(panel) for panel in row], axis=1) for row in (above, below)]
    return Image.fromarray(np.concatenate(rows)[:-GAP, :-GAP].astype(np.uint8))


def _framed(panel: np.ndarray) -> np.ndarray:
    """A panel (H,W,3) with a white gap below and to the right."""
    return np.pad(panel, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
