"""Checks of notebook 00: what scores say, and a baseline without drift."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.video.metrics import contour_accuracy, region_similarity

Answer = Callable[..., Any]
REACH = 4  # pixels that `search` looks to each side

check_decay = Exercise(
    name="decay",
    notebook="00",
    title="Decay",
    task=(
        "How much higher are the scores in the first quarter of the frames than in the last? "
        "(The number of frames is a multiple of four here.)"
    ),
    hints=(
        "How many frames has a quarter of N frames? The first quarter begins at 0; where does the "
        "last one begin?",
        "Each quarter becomes one number, whatever the number of its frames.",
        "A method that gets worse has a positive decay: which quarter stands before the minus?",
    ),
)


@check_decay.property("constant scores have no decay")
def _(decay):
    require_close(decay(np.full(8, 0.7)), 0, given="8 frames with the score 0.7")


@check_decay.property("four frames: the first less the last")
def _(decay):
    got = decay(np.array([0.9, 0.3, 0.1, 0.2]))
    require_close(got, 0.7, given="the scores 0.9, 0.3, 0.1, 0.2")


@check_decay.property("it is a mean: half a quarter of success counts a half")
def _(decay):
    got = decay(np.array([1.0, 0, 0, 0, 0, 0, 0, 0]))
    require_close(got, 0.5, given="the score 1 in frame 0 of 8, and 0 in all others")


@check_decay.property("every frame of the first quarter counts")
def _(decay):
    scores = np.zeros(16)
    scores[2:4] = 1
    require_close(decay(scores), 0.5, given="the score 1 in frames 2 and 3 of 16, 0 in all others")


@check_decay.property("every frame of the last quarter counts")
def _(decay):
    scores = np.zeros(16)
    scores[12:14] = 1
    given = "the score 1 in frames 12 and 13 of 16, 0 in all others"
    require_close(decay(scores), -0.5, given)


@check_decay.property("the middle does not matter")
def _(decay):
    scores = np.zeros(16)
    scores[4:12] = 1
    require_close(decay(scores), 0, given="the score 1 in frames 4 to 11 of 16, 0 in all others")


@check_decay.property("time reversed changes its sign")
def _(decay):
    scores = np.random.default_rng(0).random(20)
    given = "20 random scores, and the same in reversed order: the sum of both decays"
    require_close(decay(scores) + decay(scores[::-1]), 0, given)


check_from_first = Exercise(
    name="from_first",
    notebook="00",
    title="Carried from the first frame",
    task=(
        "Block matching copies from the frame *before*, so its errors pile up. Carry the "
        "labels of frame 0 **directly** to every frame. Which of the failures above does it "
        "cure, and which new one does it have? The answer is the argument for a memory of "
        "*several* frames."
    ),
    hints=(
        "`carry` needs the labels of some frame, that frame, and the frame to label. Which frame "
        "is right for certain?",
        "No frame but one may hand labels on. A loop over the others, then, in any order.",
        "The labels of frame 0 are part of the answer, too; stack them before the others.",
    ),
)
GROUND = np.random.default_rng(0).random((16, 24, 3)) / 2  # dark, each pixel different
# Two bright squares, each pixel different
BRIGHT = 0.5 + np.random.default_rng(1).random((2, 3, 3, 3)) / 2


def scene(*corners: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """A frame (16, 24, 3) and its labels, squares 1 and 2 at their corners (y, x); None: hidden."""
    frame, labels = GROUND.copy(), np.zeros(GROUND.shape[:2], np.uint8)
    for number, corner in enumerate(corners, start=1):
        if corner is not None:
            place = tuple(slice(side, side + 3) for side in corner)
            frame[place], labels[place] = BRIGHT[number - 1], number
    return frame, labels


def search(labels: np.ndarray, previous: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Each pixel takes the label of the pixel of its colour, 4 pixels away at most."""
    found, least = np.zeros_like(labels), np.full(labels.shape, 1e-6)
    padded = np.pad(previous, [(REACH, REACH), (REACH, REACH), (0, 0)], constant_values=9)
    marks = np.pad(labels, REACH)
    height, width = labels.shape
    for dy, dx in product(range(2 * REACH + 1), repeat=2):
        there = slice(dy, dy + height), slice(dx, dx + width)
        cost = np.square(padded[there] - frame).sum(axis=-1)
        found = np.where(cost < least, marks[there], found)
        least = np.minimum(least, cost)
    return found


def carried(
    from_first: Answer, *scenes: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The answer for some scenes, and the true labels of each."""
    frames, truth = zip(*scenes, strict=True)
    return from_first(np.stack(frames), truth[0].copy(), search), truth


@check_from_first.property("uint8 (T, H, W), and frame 0 keeps its labels")
def _(from_first):
    got, truth = carried(from_first, scene((2, 2)), scene((2, 2)))
    given = "two equal frames of (16, 24) pixels"
    require_shape(got, (2, 16, 24), given)
    require(got.dtype == np.uint8, given, "uint8", str(got.dtype))
    require_close(got[0], truth[0], given)


@check_from_first.property("a square that moves by three pixels is followed")
def _(from_first):
    got, truth = carried(from_first, scene((2, 2)), scene((5, 5)))
    given = "a square that moves from (2, 2) to (5, 5): the labels of frame 1"
    require_close(got[1], truth[1], given)


@check_from_first.property("two squares may move in different ways")
def _(from_first):
    got, truth = carried(from_first, scene((6, 4), (6, 14)), scene((3, 6), (9, 11)))
    given = "square 1 moves by (-3, 2), square 2 by (3, -3): the labels of frame 1"
    require_close(got[1], truth[1], given)


@check_from_first.property("who was hidden is found again")
def _(from_first):
    got, truth = carried(from_first, scene((6, 4)), scene(None), scene((6, 6)))
    given = "a square that is hidden in frame 1 and back in frame 2: the labels of frame 2"
    require_close(got[2], truth[2], given)


@check_from_first.property("whoever is far from where frame 0 had it is lost")
def _(from_first):
    got, _ = carried(from_first, scene((6, 4)), scene((6, 7)), scene((6, 10)))
    given = "a square that moves by 3 pixels, and by 3 again: pixels of it in frame 2"
    require_close((got[2] == 1).sum(), 0, given)


@check_from_first.property("later frames may come in any order")
def _(from_first):
    first, one, other = scene((6, 4)), scene((6, 8)), scene((3, 2))
    straight, _ = carried(from_first, first, one, other)
    turned, _ = carried(from_first, first, other, one)
    given = "frames 0, 1, 2 and frames 0, 2, 1: the labels of the same frame"
    require_close(turned[[0, 2, 1]], straight, given)


check_area_without_outline = Exercise(
    name="area_without_outline",
    notebook="00",
    title="The area without the outline",
    task="Find two masks, truth and prediction, with J of at least 0.9 but F of at most 0.5.",
    hints=(
        "Few pixels may be wrong, but they have to make much outline. Where do they?",
        "A single wrong pixel inside of an object has an outline of its own, all around it.",
        "The outline must be wrong by more than the tolerance, about a pixel here: keep away from "
        "the true one.",
    ),
)
check_outline_without_area = Exercise(
    name="outline_without_area",
    notebook="00",
    title="The outline without the area",
    task=(
        "Now the other way round: F of at least 0.9 but J of at most 0.5, neither mask empty or "
        "full, and not each other's complement like the two halves above."
    ),
    hints=(
        "Which shape has the outline of a square, and hardly any area?",
        "An inner outline may count as right as well, if it lies within the tolerance of the true "
        "one.",
        "Draw the true square's rim, one pixel wide.",
    ),
)
BOTH = (check_area_without_outline, check_outline_without_area)


def are_two_masks(masks: Answer) -> None:
    """Two bool arrays (64, 64)."""
    pair = masks()
    require(isinstance(pair, tuple) and len(pair) == 2, "your answer", "two masks", pair)
    for mask in pair:
        require_shape(mask, (64, 64), given="your masks")
        require(mask.dtype == bool, "your masks", "bool", str(mask.dtype))


for check in BOTH:
    check.property("two masks, bool (64, 64)")(are_two_masks)


@check_area_without_outline.property("the areas agree: J of at least 0.9")
def _(masks):
    score = region_similarity(*masks())
    require(score >= 0.9, "J of your masks", "0.9 or more", score)


@check_area_without_outline.property("the outlines do not: F of at most 0.5")
def _(masks):
    score = contour_accuracy(*masks())
    require(score <= 0.5, "F of your masks", "0.5 or less", score)


@check_outline_without_area.property("neither is empty or full")
def _(masks):
    shares = [mask.mean() for mask in masks()]
    require(min(shares) > 0 and max(shares) < 1, "shares of object in your masks", "0 to 1", shares)


@check_outline_without_area.property("one is not what the other leaves over")
def _(masks):
    truth, prediction = masks()
    same = int((truth == prediction).sum())
    require(same > 0, "pixels at which your masks agree", "some", same)


@check_outline_without_area.property("the outlines agree: F of at least 0.9")
def _(masks):
    score = contour_accuracy(*masks())
    require(score >= 0.9, "F of your masks", "0.9 or more", score)


@check_outline_without_area.property("the areas do not: J of at most 0.5")
def _(masks):
    score = region_similarity(*masks())
    require(score <= 0.5, "J of your masks", "0.5 or less", score)
