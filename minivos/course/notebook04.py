"""Checks of notebook 04: object affinity within a window, and how far patterns reach."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.course.transplant import CoreExercise, replace_function
from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.nn.patterns import Pattern
from minivos.sst import object_affinity

Answer = Callable[..., Any]


def into_sst(network: VOSNetwork, affinity: Answer) -> VOSNetwork:
    """A copy of an SST whose layers tell the decoder the student's affinity."""

    def links(
        q: Tensor, k: Tensor, labels: Tensor, objects: int, pattern: Pattern, kind: str
    ) -> Tensor:
        if kind != "distance" or pattern.temporal != "dense":
            raise InputError(f"got {kind} links of {pattern}; expected those of sst_mini")
        return affinity(q[:, :, 0], k, labels, objects, pattern.h)[:, :, None]

    return replace_function(network, "strongest_links", links)


check_object_affinity = CoreExercise(
    name="object_affinity",
    notebook="04",
    title="Object affinity",
    task=(
        "Write object affinity, Eq. 4, in a window. Then it is all that the decoder of the "
        "trained network is told about the objects."
    ),
    network="sst_mini",
    put_in=into_sst,
    hints=(
        "Take one offset of the window: each cell meets one cell of each frame. Shift the frames "
        "by the offset, and compare all cells at once.",
        "Each link belongs to the object of the *other* cell. For each object keep the largest "
        "link so far, beginning with 0.",
        "Before you shift, pad the keys with anything and the labels with -1: what is outside is "
        "nobody's then.",
    ),
)


def row(*numbers: float) -> Tensor:
    """Vectors of one channel along a row of cells, (1, 1, 1, W)."""
    return torch.tensor(numbers, dtype=torch.float).view(1, 1, 1, -1)


def told(
    affinity: Answer, q: Tensor, past: list[Tensor], labels: list, objects: int = 2, h: int = 2
) -> Tensor:
    """The answer (objects, W) for a row of cells, after frames with labels; the newest is -1."""
    k = torch.stack([*past, q], dim=2)
    whose = torch.tensor([*labels, [-1] * q.shape[-1]])[None, :, None]
    return affinity(q, k, whose, objects, h)[0, :, 0]


@check_object_affinity.property("a number for each object and cell: (B, objects, H, W)")
def _(affinity):
    q, k, labels = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 3, 5), torch.zeros(2, 3, 3, 5)
    got = affinity(q, k, labels.long(), 3, 2)
    require_shape(got, (2, 3, 3, 5), given="2 clips of 3 frames of 3 x 5 cells, 3 objects")


@check_object_affinity.property("an equal cell of an object: 1 for it, 0 for who is not there")
def _(affinity):
    got = told(affinity, row(5), [row(5)], [[1]], objects=3)[1:, 0]
    given = "one cell, vector 5; before, it was 5, too, and of object 1: links to objects 1 and 2"
    require_close(got, [1.0, 0], given)


@check_object_affinity.property("links fall with the squared distance")
def _(affinity):
    got = told(affinity, row(0), [row(math.log(3) ** 0.5)], [[1]])[1, 0]
    given = "one cell; |q - k|^2 = ln 3 to the cell before, which is of object 1"
    require_close(got, 0.5, given)
    got = told(affinity, row(0), [row(2)], [[1]])[1, 0]
    require_close(got, 2 / (1 + math.exp(4)), given="one cell; 0 now, 2 before, of object 1")


@check_object_affinity.property("the squares of all channels add up, and nothing divides them")
def _(affinity):
    past = torch.full((1, 4, 1, 1), (math.log(3) / 4) ** 0.5)
    got = told(affinity, torch.zeros(1, 4, 1, 1), [past], [[1]])[1, 0]
    given = "one cell of four channels; |q - k|^2 = ln 3 to the cell before, of object 1"
    require_close(got, 0.5, given)


@check_object_affinity.property("the strongest link counts, not the sum and not the mean")
def _(affinity):
    past = [row(20 + math.log(3) ** 0.5, 20, 29)]
    got = told(affinity, row(20, 40, 40), past, [[1, 1, 1]])[1, 0]
    given = "two cells of object 1 in reach, with the links 0.5 and 1"
    require_close(got, 1, given)


@check_object_affinity.property("the newest frame says nothing: its masks are not known")
def _(affinity):
    got = told(affinity, row(20, 20), [row(29, 29)], [[1, 1]])
    given = "two equal cells now, labels -1; before, both were far from them and of object 1"
    require_close(got, [[0.0, 0], [0, 0]], given)


@check_object_affinity.property("each object has the links to its own cells")
def _(affinity):
    past = [row(22, 20 + math.log(3) ** 0.5)]
    got = told(affinity, row(20, 40), past, [[0, 1]])[:, 0]
    given = "|q - k|^2 is 4 to a cell of background and ln 3 to one of object 1"
    require_close(got, [2 / (1 + math.exp(4)), 0.5], given)


@check_object_affinity.property("all earlier frames count")
def _(affinity):
    got = told(affinity, row(20), [row(20), row(29), row(29)], [[1], [1], [0]])[:, 0]
    given = "one cell; frame 0 has its equal, of object 1, frames 1 and 2 are far from it"
    require_close(got, [0.0, 1], given)


@check_object_affinity.property("in reach are cells less than h away, and no others")
def _(affinity):
    got = told(
        affinity, row(0, 0, 0, 0, 0, 0, 0), [row(9, 9, 9, 0, 9, 9, 9)], [[0, 0, 0, 1, 0, 0, 0]], h=3
    )
    given = "h = 3, seven cells in a row, the one of object 1 in the middle: affinity of object 1"
    require_close(got[1], [0.0, 1, 1, 1, 1, 1, 0], given)


@check_object_affinity.property("up and down as left and right, and both together")
def _(affinity):
    q, past = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 9.0)
    past[0, 0, 0, 0] = 0
    labels = torch.zeros(1, 2, 4, 4, dtype=torch.long)
    labels[0, 0, 0, 0], labels[0, 1] = 1, -1
    got = affinity(q, torch.stack([past, q], dim=2), labels, 2, 2)[0, 1]
    right = torch.zeros(4, 4)
    right[:2, :2] = 1
    given = "h = 2, 4 x 4 cells, object 1 in the upper left one: the affinity of object 1"
    require_close(got, right, given)


@check_object_affinity.property("outside of the frame there is nothing, not a cell of zeros")
def _(affinity):
    got = told(affinity, row(0, 0, 0), [row(9, 9, 9)], [[1, 1, 1]])
    given = "q = 0, as padding is; all cells before are 9: the affinity of background and object 1"
    require_close(got, torch.zeros(2, 3), given)


@check_object_affinity.property("a cell that is unknown in an earlier frame is nobody's")
def _(affinity):
    got = told(affinity, row(20), [row(20), row(29)], [[-1], [1]])[:, 0]
    given = (
        "one cell; its equal in frame 0 has the label -1, one far from it in frame 1 is object 1"
    )
    require_close(got, [0.0, 0], given)


@check_object_affinity.property("each clip of a batch has its own cells and labels")
def _(affinity):
    q = torch.tensor([20.0, 20]).view(2, 1, 1, 1)
    past = torch.tensor([29.0, 20]).view(2, 1, 1, 1)
    labels = torch.tensor([[0, -1], [1, -1]])[:, :, None, None]
    got = affinity(q, torch.stack([past, q], dim=2), labels, 2, 2)[:, :, 0, 0]
    given = "two clips of one cell, which in the second only has its equal before, of object 1"
    require_close(got, [[0.0, 0], [0, 1]], given)


@check_object_affinity.property("with random numbers, it is what the package computes")
def _(affinity):
    q, k = torch.randn(2, 2, 3, 3, 6, 7) / 2
    labels = torch.randint(-1, 3, (2, 3, 6, 7))
    labels[:, -1] = -1
    right = object_affinity(q, k, labels, 3, "local", 3, "distance", temporal="dense")[:, :, -1]
    got = affinity(q[:, :, -1], k, labels, 3, 3)
    require_close(got, right, given="2 clips of 3 frames of 6 x 7 cells, h = 3, random numbers")


check_layers_needed = Exercise(
    name="layers_needed",
    notebook="04",
    title="Layers for a row",
    task=(
        "How many *local* layers of window $h$ does news need from one end of a row of $n$ cells "
        "to the other?"
    ),
    hints=(
        "How far does one layer bring it? Fewer than h cells away.",
        "How many steps lie between the first cell of n and the last?",
        "A layer that is needed only in part is needed.",
    ),
)


def knows(n: int, h: int, layers: int) -> bool:
    """Whether news from the first of n cells is at the last after so many layers, tried out."""
    informed = {0}
    for _ in range(layers):
        informed = {cell for cell in range(n) if any(abs(cell - other) < h for other in informed)}
    return n - 1 in informed


@check_layers_needed.property("so many layers are enough")
def _(needed):
    for n, h in ((2, 2), (9, 2), (9, 3), (10, 4), (12, 5), (7, 7), (8, 7)):
        layers = needed(n, h)
        given = f"n = {n}, h = {h}: news after {layers} layers"
        require(knows(n, h, int(layers)), given, "at the last cell", "not yet there")


@check_layers_needed.property("one less is not")
def _(needed):
    for n, h in ((2, 2), (9, 2), (9, 3), (10, 4), (12, 5), (7, 7), (8, 7)):
        layers = int(needed(n, h))
        given = f"n = {n}, h = {h}; your answer is {layers}"
        got = f"{layers - 1} layers are enough"
        require(not knows(n, h, layers - 1), given, "that one layer less is too little", got)


@check_layers_needed.property("a whole number")
def _(needed):
    got = needed(10, 4)
    require(isinstance(got, int), "n = 10, h = 4", "a whole number (int)", repr(got))


check_my_cells = Exercise(
    name="my_cells",
    notebook="04",
    title="A pattern of your own",
    task=(
        "Each cell looks at itself and at most 39 others of a $4 \\times 8 \\times 8$ video (grid: "
        "17), and *two* layers reach everything."
    ),
    hints=(
        "A plane of one frame has 64 cells, a line through it 8: planes are too dear, lines are "
        "cheap. How many lines can you pay?",
        "Two steps have to change t, y and x. Which of them may one step change at once?",
        "A row in each frame is 32 cells: it changes t and x at once. What is left to change?",
    ),
)
VIDEO = 4, 8, 8
EVERYWHERE = set(product(*map(range, VIDEO)))


@check_my_cells.property("cells of the video")
def _(cells):
    outside = set(cells(3, 7, 7)) - EVERYWHERE
    given = "cell (3, 7, 7), the last one: cells outside of the video"
    require(not outside, given, "none", sorted(outside)[:3])


@check_my_cells.property("itself, and 39 others at most")
def _(cells):
    for cell in sorted(EVERYWHERE):
        looks = set(cells(*cell))
        require(cell in looks, f"cell {cell}", "itself among its cells", "it is not")
        require(len(looks) <= 40, f"cell {cell}", "40 cells at most", f"{len(looks)} cells")


@check_my_cells.property("two layers reach everything")
def _(cells):
    looks = {cell: set(cells(*cell)) for cell in EVERYWHERE}
    for cell in sorted(EVERYWHERE):
        reached = set().union(*(looks[near] for near in looks[cell]))
        missing = sorted(EVERYWHERE - reached)
        got = f"{len(missing)} of 256 are not reached, such as {missing[:2]}"
        require(not missing, f"cell {cell}, after two layers", "every cell", got)
