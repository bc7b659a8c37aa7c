"""Checks of notebook 08: to follow backwards, to find where to correct, to take an object out."""

import numpy as np

from minivos.course.exercise import Exercise, require, require_close, require_shape

check_backwards = Exercise(
    name="backwards",
    notebook="08",
    title="Backwards",
    task=(
        "Follow the objects from the *last* frame to the first. `follow` takes frames in any order."
    ),
    hints=(
        "`follow` goes forward in whatever frames it is given. Which order makes the last frame "
        "the first?",
        "In these frames, which number has the frame whose mask you know?",
        "The answer comes in the order of the frames that you gave: turn it round again.",
    ),
)


def film(*columns: int) -> np.ndarray:
    """Frames (T, 3, 8, 3), each as bright as the column in which its object stands."""
    return np.stack([np.full((3, 8, 3), column, np.uint8) for column in columns])


def at(column: int) -> np.ndarray:
    """Labels (3, 8) with object 1 in the middle row, at a column."""
    labels = np.zeros((3, 8), np.uint8)
    labels[1, column] = 1
    return labels


def follow(given: dict[int, np.ndarray], frames: np.ndarray) -> np.ndarray:
    """A stand-in for a network: the mask moves by as much as the brightness of `film`."""
    ((start, mask),) = given.items()
    found = np.zeros(frames.shape[:3], np.uint8)
    place = frames[:, 0, 0, 0].astype(int)
    for t in range(start, len(frames)):
        found[t] = np.roll(mask, place[t] - place[start], axis=1)
    return found


@check_backwards.property("labels (T, H, W) of all frames")
def _(backwards):
    got = backwards(follow, film(1, 2, 4), at(4))
    require_shape(got, (3, 3, 8), given="three frames of 3 x 8 pixels")


@check_backwards.property("the last frame has the mask that was given")
def _(backwards):
    got = backwards(follow, film(1, 2, 4), at(4))
    require_close(got[-1], at(4), given="an object in column 4 of the last frame: that frame")


@check_backwards.property("every frame before has the object where it was")
def _(backwards):
    got = backwards(follow, film(1, 2, 4), at(4))
    given = "an object in columns 1, 2, 4 of three frames: the column in each"
    require_close(got[:, 1].argmax(axis=1), [1, 2, 4], given)
    require_close(
        got.sum(axis=(1, 2)), [1, 1, 1], given="one pixel of object 1: how many are found"
    )


@check_backwards.property("a video of one frame")
def _(backwards):
    require_close(backwards(follow, film(3), at(3))[0], at(3), given="one frame, and its mask")


check_disagreement = Exercise(
    name="disagreement",
    notebook="08",
    title="Disagreement",
    task=(
        "Where should a correction go? Without the truth there is a hint that no network has "
        "to give: where following forwards and backwards disagree."
    ),
    hints=(
        "First an array of bool (T, H, W). Labels are names: what is the only question to ask of "
        "two names?",
        "A mean of bool is a share. Over which axes?",
        "One number for each frame is left: the axes of height and width go.",
    ),
)


def two_films() -> tuple[np.ndarray, np.ndarray]:
    """Labels (3, 2, 4) twice, the same."""
    labels = np.zeros((3, 2, 4), np.uint8)
    labels[:, 0, 1], labels[:, 1, 2] = 1, 2
    return labels, labels.copy()


@check_disagreement.property("a number for each frame, 0 where both agree")
def _(disagreement):
    require_close(disagreement(*two_films()), [0, 0, 0], given="the same labels twice, 3 frames")


@check_disagreement.property("the share of all pixels of a frame, background too")
def _(disagreement):
    one, other = two_films()
    other[1, 0, 1] = 0
    given = "3 frames of 8 pixels; in frame 1 one pixel is object 1 or background"
    require_close(disagreement(one, other), [0, 1 / 8, 0], given)


@check_disagreement.property("labels are names: 1 and 7 differ as 1 and 2 do")
def _(disagreement):
    one, other = two_films()
    other[0, 0, 1], other[2, 0, 1] = 7, 2
    given = "object 1 at one pixel of 8; the other says 7 in frame 0 and 2 in frame 2"
    require_close(disagreement(one, other), [1 / 8, 0, 1 / 8], given)


@check_disagreement.property("all different: 1")
def _(disagreement):
    one, other = np.zeros((2, 2, 4), np.uint8), np.full((2, 2, 4), 3, np.uint8)
    require_close(disagreement(one, other), [1, 1], given="background against object 3 everywhere")


@check_disagreement.property("it does not matter who comes first")
def _(disagreement):
    one, other = np.random.default_rng(0).integers(0, 5, (2, 3, 4, 6)).astype(np.uint8)
    given = "random labels, and the same exchanged"
    require_close(disagreement(other, one), disagreement(one, other), given)


check_without = Exercise(
    name="without",
    notebook="08",
    title="Without an object",
    task=(
        "An object has left for good, and the network finds it again and again in something "
        "else. From frame `t` on, make it background."
    ),
    hints=(
        "What was given must stay: begin with a copy.",
        "Frames before t stay, too. A slice of an array is a view of it.",
        "In the later frames, pixels of the object become background, 0; no others change.",
    ),
)


@check_without.property("from frame t on the object is background")
def _(without):
    labels, _ = two_films()
    got = without(labels.copy(), 1, 1)
    require_shape(got, (3, 2, 4), given="3 frames of 2 x 4 pixels")
    counts = (got == 1).sum(axis=(1, 2))
    require_close(counts, [1, 0, 0], given="a pixel of object 1 in 3 frames, t = 1: pixels of it")


@check_without.property("its pixels go to nobody, and all others stay")
def _(without):
    labels, _ = two_films()
    got = without(labels.copy(), 1, 0)
    counts = [(got[0] == number).sum() for number in (0, 1, 2)]
    given = "8 pixels, one of object 1, one of object 2, t = 0: pixels of 0, 1, 2"
    require_close(counts, [7, 0, 1], given)


@check_without.property("what was given stays as it was")
def _(without):
    labels, before = two_films()
    without(labels, 1, 1)
    require(np.array_equal(labels, before), "labels", "the same labels after the call", "others")
