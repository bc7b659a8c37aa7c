"""A page that shows what networks do on a few clips, and beside it an explorer for each clip.

Explorers are pages of their own, in frames of the first: from disk, where a page may not fetch
data, it may still open others. A script opens each when it comes into view, because browsers are
lazy (`loading="lazy"`) over the network only.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from minivos.errors import InputError
from minivos.evaluation.evaluate import Evaluation, every_mask
from minivos.evaluation.loop import run_task
from minivos.evaluation.tables import Table
from minivos.nn.network import VOSNetwork
from minivos.video.baselines import BASELINES
from minivos.video.clip import Clip
from minivos.video.files import as_path
from minivos.video.masks import is_object, overlay
from minivos.video.task import Task
from minivos.viewing.explorer import Explorer, check_out, explore
from minivos.viewing.page import FRAMED, check_replaceable, data_url, fact_list, table, write_page

FRAME_TIME, REST = 125, 625  # milliseconds in the animations; at their end they rest
PAGE_TITLE = "minivos report"
GAP = 4  # pixels between the panels of an animation
# Of animations: frames at most, and quality of WebP in 0..100; of explorers: frames, cells, and
# maps, without those by which memory looks (SITVOS). So all sample clips stay below 10 MB.
MOVING, QUALITY = 10, 40
SHOWN, GRID, ONLY = 4, (8, 12), "[!m]*"

STYLE = """
body { max-width: 80rem }
body > p, body > dl, section > p { max-width: 46rem }
section h2 { margin-bottom: .3rem }
.film img { max-width: 76rem; border-radius: 0; background: none }
.film .panels { color: var(--quiet); font-size: .875rem }
.tables { display: flex; flex-wrap: wrap; gap: 0 3rem }
iframe { display: block; width: calc(100% + 2rem); height: 54rem; margin: 0 -1rem; border: 0;
  border-block: 1px solid var(--line); background: var(--page) }
@media (max-width: 40rem) {
  body { padding: .5rem }
  section { padding: .6rem }
  .panels span { overflow: hidden; text-overflow: ellipsis; font-size: .6rem }
  iframe { width: calc(100% + 1.2rem); height: 85vh; margin: 0 -.6rem }
}
"""

SCRIPT = """<script>
const near = { rootMargin: "50%" }
for (const frame of document.querySelectorAll("iframe")) {
  const watch = new IntersectionObserver(entries => {
    if (!entries.some(each => each.isIntersecting)) return
    watch.disconnect()
    frame.src = frame.dataset.src
  }, near)
  watch.observe(frame)
}
</script>"""

INTRODUCTION = """
<p>Each network gets the masks of some objects in the first frame of a clip and finds the same
objects in every later frame, one frame after the other.</p>
<p><b>J&amp;F</b> is the score of the DAVIS benchmark, from 0 to 1: the mean of region overlap J and
contour accuracy F. Two baselines that learn nothing show how hard a clip is: one repeats the first
mask, the other moves it along with the patches that look most alike from frame to frame.</p>
<p>Below each clip you can ask the networks where they look: <b>click a cell of the frame</b>, and
the memory glows where that cell looks. Another network, another layer, a guided tour: all of it is
there, and arrow keys move the cell. Not every look is for finding objects: some networks find them
in one read and gather other things in another, so a small share of weight on the object is no error
by itself.</p>
<p>These explorers are small: a few frames, the mean of the heads, coarse cells, and no maps by
which memory looks. <code>minivos explore</code> makes larger ones, also of your own video.</p>
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
    explorer: Explorer | None = None  # where the networks looked

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
    models: Mapping[str, VOSNetwork],
    clips: Iterable[Clip],
    explored: Sequence[str] = (),
    **settings: Any,
) -> list[Card]:
    """Let the networks segment each clip; time them, score them, and see where they look.

    `explored` names those whose attention is kept for the page; `settings` go to `Tracker`. Raises
    InputError for a clip that lacks the mask of a frame.
    """
    each = tqdm(clips, unit="clip", disable=None)
    return [build_card(models, clip, explored, **settings) for clip in each]


def build_card(
    models: Mapping[str, VOSNetwork], clip: Clip, explored: Sequence[str] = (), **settings: Any
) -> Card:
    """See `build_cards`."""
    truth = every_mask(clip)
    predictions: dict[str, np.ndarray] = {}
    fps: dict[str, float] = {}
    for name, model in models.items():
        predictions[name], fps[name] = answer(model, clip, **settings)
    answers = predictions | {name: baseline(clip) for name, baseline in BASELINES.items()}
    scores = {
        name: Evaluation.of({clip.name: (truth, labels)}).mean for name, labels in answers.items()
    }
    explorer = explore_clip(models, clip, explored, **settings)
    return Card(clip.name, clip.frames, truth, predictions, scores, fps, explorer)


def answer(model: VOSNetwork, clip: Clip, **settings: Any) -> tuple[np.ndarray, float]:
    """Labels (T,H,W) that a network finds from a clip's first mask, and its frames per second."""
    found: dict[str, np.ndarray] = {}
    outcome = run_task(model, Task.of(clip), found.__setitem__, **settings)
    return np.stack(list(found.values())), outcome.fps


def explore_clip(
    models: Mapping[str, VOSNetwork], clip: Clip, explored: Sequence[str], **settings: Any
) -> Explorer | None:
    """The explorer of the networks that `explored` names, small enough to lie beside others."""
    networks = {name: model for name, model in models.items() if name in explored}
    side = settings.get("side")
    if not networks:
        return None
    return explore(networks, clip, frames=SHOWN, heads="mean", grid=GRID, only=ONLY, side=side)


# From cards to the page ---------------------------------------------------------------------------


def write_report(path: str | Path, cards: list[Card], facts: Mapping[str, object]) -> None:
    """Write the cards as one HTML page, and beside it their explorers; each whole or not at all.

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
    files = check_pages(path, [card.name for card in cards])
    for card, file in zip(cards, files, strict=True):
        if card.explorer is not None:
            card.explorer.save(file)
    sections = map(_section, cards, [file.name for file in files])
    body = [INTRODUCTION, fact_list(facts), _summary(cards), *sections, SCRIPT]
    heading = "What the networks segment, and where they look"
    write_page(path, PAGE_TITLE, heading, "".join(body), FRAMED, STYLE)


def check_pages(path: str | Path, names: Sequence[str]) -> list[Path]:
    """The explorer's file of each clip, beside a page; InputError if others' files are there."""
    path = as_path(path)
    check_replaceable(path, PAGE_TITLE)
    plain = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    numbers = [plain[:i].count(name) + 1 for i, name in enumerate(plain)]
    unique = [
        name if number == 1 else f"{name}-{number}"
        for name, number in zip(plain, numbers, strict=True)
    ]
    return [check_out(path.with_name(f"explore-{name}.html")) for name in unique]


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
    both = table(["J&F", *cards[0].scores], best_marked) + rates.html()
    return f'<div class="tables">{both}</div>'


def _mark_best(scores: list[float]) -> list[str]:
    return [f"<b>{score:.2f}</b>" if score == max(scores) else f"{score:.2f}" for score in scores]


def _section(card: Card, file: str) -> str:
    name, networks = escape(card.name), list(card.predictions)
    scores = " · ".join(f"{method} {score:.2f}" for method, score in card.scores.items())
    captions = "".join(f"<span>{escape(caption)}</span>" for caption in ("truth", *networks))
    alt = (
        f"Animation of the clip {name}, {len(card.frames)} frames. Above: the true masks and those "
        f"of {escape(', '.join(networks))}. Below: the frame, and the pixels where each network "
        "differs from the truth."
    )
    return f"""
<section>
<h2>{name}</h2>
<figure class="film">
<div class="panels">{captions}</div>
<img src="{data_url("webp", film(card))}" alt="{alt}">
<figcaption>Below: the frame, and what each network got wrong (white).</figcaption>
</figure>
<p>J&amp;F: {escape(scores)}.</p>
{_framed_explorer(card, file)}
</section>
"""


def _framed_explorer(card: Card, file: str) -> str:
    """The explorer of a clip, which the browser reads when it comes into view."""
    if card.explorer is None:
        return ""
    title = escape(f"Where the networks look in the clip {card.name}")
    return f"""<h3>Where do they look?</h3>
<iframe data-src="{quote(file)}" title="{title}"></iframe>
<p class="alone"><a href="{quote(file)}" target="_blank">Open it as a page of its own</a>: larger,
and what you choose is kept in its link.</p>"""


def film(card: Card) -> bytes:
    """An endless WebP: true and predicted masks, below them the frame, and mistakes in white."""
    every = -(-len(card.frames) // MOVING)
    moments = zip(card.frames, card.truth, *card.predictions.values(), strict=True)
    first, *rest = (_panels(*moment) for moment in islice(moments, None, None, every))
    durations = [every * FRAME_TIME] * len(rest) + [every * FRAME_TIME + REST]
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
