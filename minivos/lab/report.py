"""One HTML page that shows what a network does on a few clips; it needs no network connection and no other file."""

import base64
import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from minivos.errors import InputError
from minivos.lab import plots
from minivos.lab.evaluate import Evaluation, every_mask
from minivos.nn.attention import AttentionMap, record_attention
from minivos.nn.network import VOSNetwork
from minivos.tracker import Tracker, propagate
from minivos.video.baselines import block_matching, repeat_first_mask
from minivos.video.clip import Clip
from minivos.video.files import whole_file
from minivos.video.masks import is_object, overlay

NETWORK = "network"
FRAME_TIME, LAST_FRAME_TIME = 125, 750  # milliseconds in the animations
GAP = 4  # pixels between the panels of an animation
QUALITY = 70  # of WebP, in 0..100

STYLE = """
:root { color-scheme: light dark; --page: #fff; --card: #f5f6f8; --ink: #1c1d21; --quiet: #5a5e66; --line: #d6d9df }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181c; --card: #212329; --ink: #e8e9ec; --quiet: #a7abb4; --line: #3a3d45 }
}
body { max-width: 58rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  background: var(--page); color: var(--ink) }
h1, h2 { line-height: 1.2 }
section { margin: 1.5rem 0; padding: 1rem; border-radius: .6rem; background: var(--card) }
section h2 { margin-top: 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child { text-align: left }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }
dt, figcaption { color: var(--quiet) }
dd { margin: 0 }
figure { margin: 1rem 0 }
img { display: block; width: 100%; height: auto; border-radius: .3rem; background: #fff }
.look img { width: auto; max-width: 100% }
.panels { display: grid; grid-template-columns: repeat(3, 1fr); text-align: center }
"""

INTRODUCTION = """
<p>A network gets the masks of some objects in the first frame of a clip and finds the same objects in every later
frame, one frame after the other.</p>
<p><b>J&amp;F</b> is the score of the DAVIS benchmark, from 0 to 1: the mean of region overlap J and contour accuracy F.
Two baselines that learn nothing show how hard a clip is: one repeats the first mask, the other moves it along with
the patches that look most alike from frame to frame.</p>
"""


@dataclass(frozen=True)
class Card:
    """What the report shows of one clip; InputError when frames and labels do not fit together."""

    name: str
    frames: np.ndarray  # uint8 (T,H,W,3)
    truth: np.ndarray  # uint8 (T,H,W)
    prediction: np.ndarray  # uint8 (T,H,W)
    scores: Mapping[str, float]  # J&F in [0,1] of the network and of the baselines
    fps: float  # frames per second of the network
    looks: Mapping[str, Figure]  # what there is to see -> where the network looked

    def __post_init__(self) -> None:
        shapes = self.frames.shape[:3], self.truth.shape, self.prediction.shape
        if len(set(shapes)) > 1:
            raise InputError(
                f"{self.name} has frames, truth and prediction of (T,H,W) {', '.join(map(str, shapes))}; "
                "expected the same: predict every frame at the size of the clip"
            )


# From clips to cards --------------------------------------------------------------------------------------------------


def build_cards(model: VOSNetwork, clips: Iterable[Clip], **settings: object) -> list[Card]:
    """Segment, time and score each clip, and look at the attention once; `settings` go to `Tracker`.

    Raises InputError for a clip that lacks the mask of a frame.
    """
    return [build_card(model, clip, **settings) for clip in tqdm(clips, unit="clip", disable=None)]


def build_card(model: VOSNetwork, clip: Clip, **settings: object) -> Card:
    """See `build_cards`."""
    truth = every_mask(clip)
    began = time.perf_counter()
    prediction = propagate(model, clip, **settings)
    fps = len(clip) / (time.perf_counter() - began)
    answers = {
        NETWORK: prediction,
        "first mask repeated": repeat_first_mask(clip),
        "block matching": block_matching(clip),
    }
    scores = {name: Evaluation.of({clip.name: (truth, labels)}).mean for name, labels in answers.items()}
    looks = look_at_attention(model, clip.frames, truth, **settings)
    return Card(clip.name, clip.frames, truth, prediction, scores, fps, looks)


def look_at_attention(
    model: VOSNetwork, frames: np.ndarray, truth: np.ndarray, **settings: object
) -> dict[str, Figure]:
    """Where the last block looks from a pixel amid the largest object of a later frame: {what to see: figure}."""
    present = [t for t in range(len(frames) * 3 // 4 + 1) if is_object(truth[t]).any()]
    now = present[-1]
    object_id, pixel = middle_of_largest_object(truth[now])
    tracker = Tracker(model, **settings)
    for t in range(now):
        tracker.step(frames[t], truth[0] if t == 0 else None)
    with record_attention(only="*_term") as maps:
        labels = tracker.step(frames[now], truth[0] if now == 0 else None)

    looks = {}
    for kind, reach in (("long", "the frames in memory"), ("short", "a window of the frame before")):
        seen = maps.find(f"*/{kind}_term")
        cell = tuple(
            at * cells // side for at, cells, side in zip(pixel, seen.query_grid, truth.shape[1:], strict=True)
        )
        hit = weight_on_object(seen, cell, truth == object_id)
        sentence = (
            f"Where the network looks, {kind}-term attention: the cross is one pixel of object {object_id} in frame "
            f"{now}. It looks for itself in {reach}; the brighter a cell, the more it counts. "
            f"{hit:.0%} of the weight lies on the same object."
        )
        looks[sentence] = plots.attention(seen, cell, frames, mask=labels)
    return looks


def middle_of_largest_object(labels: np.ndarray) -> tuple[int, tuple[int, int]]:
    """Id of the largest object of labels (H,W), and its pixel (y, x) closest to its centre."""
    ids, sizes = np.unique(labels[is_object(labels)], return_counts=True)
    object_id = int(ids[sizes.argmax()])
    pixels = np.argwhere(labels == object_id)
    y, x = pixels[((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return object_id, (int(y), int(x))


def weight_on_object(seen: AttentionMap, cell: tuple[int, int], mask: np.ndarray) -> float:
    """Share in [0,1] of the attention from a query cell (head mean) on an object, given its mask bool (T,H,W)."""
    past = torch.from_numpy(mask[list(seen.key_frames)])[None].float()  # (1,T,H,W)
    covered = F.interpolate(past, seen.key_grid[1:], mode="area")[0]  # share of each cell
    return float((seen.look_from(*cell).mean(0) * covered).sum())


# From cards to the page -----------------------------------------------------------------------------------------------


def write_report(path: str | Path, cards: list[Card], facts: Mapping[str, object]) -> None:
    """Write the cards as one HTML file, whole or not at all; `facts` {name: value} say how the network was made.

    Raises InputError without cards, when the cards score different methods, and where no file can be written.
    """
    if len({tuple(card.scores) for card in cards}) != 1:
        methods = sorted({name for card in cards for name in card.scores})
        raise InputError(
            f"{len(cards)} cards came, with scores of {methods or 'nothing'}; expected at least one card, and scores "
            "of the same methods in the same order on each: make them with build_cards"
        )
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>minivos report</title>
<style>{STYLE}</style>
</head>
<body>
<h1>What the network segments, and where it looks</h1>
{INTRODUCTION}
{_fact_list(facts)}
{_summary(cards)}
{"".join(_section(card) for card in cards)}
</body>
</html>
"""
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")


def _fact_list(facts: Mapping[str, object]) -> str:
    items = (f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f"<dl>{''.join(items)}</dl>"


def _summary(cards: list[Card]) -> str:
    """The table of all clips; the best score of each is bold."""
    methods = list(cards[0].scores)
    rows = [(card.name, list(card.scores.values()), card.fps) for card in cards]
    means = np.mean([scores for _, scores, _ in rows], axis=0).tolist()
    frames, seconds = zip(*((len(card.frames), len(card.frames) / card.fps) for card in cards), strict=True)
    rows.append(("mean of the clips", means, sum(frames) / sum(seconds)))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("J&F", *methods, "frames per second"))
    body = "".join(_row(*row) for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(name: str, scores: list[float], fps: float) -> str:
    cells = (f"<td><b>{score:.2f}</b></td>" if score == max(scores) else f"<td>{score:.2f}</td>" for score in scores)
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}<td>{fps:.1f}</td></tr>'


def _section(card: Card) -> str:
    name, scores = escape(card.name), [f"{method} {score:.2f}" for method, score in card.scores.items()]
    looks = "".join(_look(card.name, sentence, figure) for sentence, figure in card.looks.items())
    alt = (
        f"Animation of the clip {name}, {len(card.frames)} frames in three panels: the true masks, "
        "the masks of the network, and the pixels where the two differ."
    )
    return f"""
<section>
<h2>{name}</h2>
<figure>
<img src="{_data_url("webp", film(card))}" alt="{alt}">
<figcaption class="panels"><span>truth</span><span>network</span><span>mistakes (white)</span></figcaption>
</figure>
<p>J&amp;F: {escape(" · ".join(scores))}. The network runs at {card.fps:.1f} frames per second.</p>
{looks}
</section>
"""


def _look(clip: str, sentence: str, figure: Figure) -> str:
    titles = "; ".join(axes.get_title() for axes in figure.axes if axes.get_title())
    alt = escape(f"Attention of one pixel in the clip {clip}, panels: {titles}.")
    picture = _data_url("png", plots.png_bytes(figure))
    return f'<figure class="look"><img src="{picture}" alt="{alt}"><figcaption>{escape(sentence)}</figcaption></figure>'


def film(card: Card) -> bytes:
    """An endless WebP animation: true masks, predicted masks, and mistakes in white on the darkened frame."""
    pictures = [_three_panels(*moment) for moment in zip(card.frames, card.truth, card.prediction, strict=True)]
    file, durations = io.BytesIO(), [FRAME_TIME] * (len(pictures) - 1) + [LAST_FRAME_TIME]
    first, *rest = pictures
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, quality=QUALITY)
    return file.getvalue()


def _three_panels(frame: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> Image.Image:
    wrong = (is_object(truth) | is_object(prediction)) & (truth != prediction)
    mistakes = np.where(wrong[..., None], 255, frame // 2)
    gap = np.full((len(frame), GAP, 3), 255)
    panels = [overlay(frame, truth), gap, overlay(frame, prediction), gap, mistakes]
    return Image.fromarray(np.concatenate(panels, axis=1).astype(np.uint8))


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
