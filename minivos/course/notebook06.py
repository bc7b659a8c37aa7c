"""Checks of notebook 06: the hierarchical read, what it saves, what it may leave out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.course.transplant import CoreExercise, replace_function
from minivos.errors import InputError
from minivos.hst import memory_read
from minivos.nn.network import VOSNetwork

Stages = Sequence[Tensor]
Size = tuple[int, int]


def into_hst(network: VOSNetwork, my_read: Callable[..., Any]) -> VOSNetwork:
    """A copy of an HST in which the student's function reads the memory."""

    def read(
        query_keys: Stages, query_values: Stages, memory_keys: Stages, memory_values: Stages,
        k: int | None, scale: bool, chunk: int, reads: int, *names: object,
    ) -> list[Tensor]:  # fmt: skip
        if not scale or reads != 4:
            raise InputError(f"got scale={scale}, reads={reads}; expected those of hst_mini")
        return my_read(query_keys, query_values, memory_keys, memory_values, k)

    return replace_function(network, "memory_read", read)


check_memory_read = CoreExercise(
    name="memory_read",
    notebook="06",
    title="Hierarchical read",
    task=(
        "Write the read of all four stages, Eq. 1 to 5. Then it reads the memory of the "
        "trained network."
    ),
    network="hst_mini",
    put_in=into_hst,
    hints=(
        "Begin with stage 4, and keep what it chose: `topk` over the cells of all frames at once "
        "gives (B, coarse query cells, k).",
        "Bring every stage into blocks: (B, coarse cells, f * f, C), the cells under one coarse "
        "cell side by side, with f = 1, 2, 4, 8. `rearrange` splits a side into (y f).",
        "An index into the blocks of keys and values gives what a coarse query cell may look at: k "
        "blocks, side by side. Softmax over these only; then back from blocks to a map.",
    ),
)


def stages(
    frames: int = 0, value: float = 0, coarse: Size = (1, 1), channels: int = 1, samples: int = 1
) -> list[Tensor]:
    """A map of one value for each stage, finest first; with frames, if there are any."""
    time = (frames,) if frames else ()
    sides = [[side * f for side in coarse] for f in (8, 4, 2, 1)]
    return [torch.full((samples, channels, *time, *side), float(value)) for side in sides]


def random_stages(frames: int = 0, coarse: Size = (2, 3), channels: int = 2) -> list[Tensor]:
    """The same with random numbers, of two samples."""
    return [torch.randn_like(x) for x in stages(frames, 0, coarse, channels, 2)]


def read_at(got: list[Tensor], stage: int) -> Tensor:
    """What was read at a stage, 1 to 4, by the first sample: (H, W), of one channel."""
    return got[stage - 1][0, -1]


@check_memory_read.property("four answers, finest first: own value beside what was read")
def _(my_read):
    own = random_stages(channels=3)
    inputs = random_stages(), own, random_stages(4), random_stages(4, channels=3)
    got = my_read(*inputs, 2)
    given = "2 samples, 2 x 3 coarse cells, 4 frames, values of 3 channels"
    require(isinstance(got, list | tuple) and len(got) == 4, given, "four tensors", got)
    for number, (answer, value) in enumerate(zip(got, own, strict=True), start=1):
        require_shape(answer, (2, 6, *value.shape[2:]), f"{given}: stage {number}")
        require_close(answer[:, :3], value, f"{given}: the first half of stage {number}")


@check_memory_read.property("stage 4 reads all cells, whatever k is")
def _(my_read):
    values = stages(2)
    values[3][0, 0, 1] = 4
    got = my_read(stages(), stages(), stages(2), values, 1)
    given = "one coarse cell, two frames with equal keys, values 0 and 4, k = 1: read at stage 4"
    require_close(read_at(got, 4), [[2.0]], given)


@check_memory_read.property("scores are dot products over the root of the channels")
def _(my_read):
    q, keys, values = stages(channels=4), stages(2, channels=4), stages(2)
    q[3][0, 0], keys[3][0, 0, 0], values[3][0, 0, 0] = 2, math.log(3), 4
    got = my_read(q, stages(), keys, values, 1)
    given = "q = (2, 0, 0, 0), keys (ln 3, 0, 0, 0) and 0 with the values 4 and 0: read at stage 4"
    require_close(read_at(got, 4), [[3.0]], given)


@check_memory_read.property("the weights of each query sum to 1, at each stage")
def _(my_read):
    got = my_read(
        random_stages(),
        stages(coarse=(2, 3), samples=2),
        random_stages(2),
        stages(2, 1, (2, 3), 1, 2),
        3,
    )
    for number in (4, 3, 2, 1):
        given = f"2 x 3 coarse cells, k = 3, every value 1: read at stage {number}"
        require_close(got[number - 1][:, 1], torch.ones_like(got[number - 1][:, 1]), given)


@check_memory_read.property("stage 4 chooses for all, by its own scores")
def _(my_read):
    coarse = (1, 2)
    q, keys, values = stages(0, 1, coarse), stages(1, 0, coarse), stages(1, 0, coarse)
    keys[3][..., 0] = 5  # stage 4 prefers the left cell, the other stages what lies under the right
    for number, f in ((3, 2), (2, 4), (1, 8)):
        keys[number - 1][..., f:], values[number - 1][..., f:] = 9, 4
    got = my_read(q, stages(coarse=coarse), keys, values, 1)
    for number in (3, 2, 1):
        given = (
            "two coarse cells, k = 1; stage 4 prefers the left one (values 0), the keys of the "
            f"finer stages would prefer the right one (values 4): read at stage {number}"
        )
        require_close(read_at(got, number), torch.zeros_like(read_at(got, number)), given)


@check_memory_read.property("the k best of all frames together, not of each")
def _(my_read):
    q, keys, values = stages(value=1, coarse=(1, 2)), stages(2, 0, (1, 2)), stages(2, 0, (1, 2))
    keys[3][0, 0, 0] = 5  # both cells of frame 0
    values[2][0, 0, 1] = 4  # stage 3 of frame 1
    got = my_read(q, stages(coarse=(1, 2)), keys, values, 2)
    given = "two coarse cells, k = 2, both best in frame 0 (values 0), values 4 in frame 1: stage 3"
    require_close(read_at(got, 3), torch.zeros(2, 4), given)


@check_memory_read.property("all cells under a chosen one are read")
def _(my_read):
    values = stages(1)
    for number, f in ((3, 2), (2, 4), (1, 8)):
        values[number - 1][0, 0, 0, -1, -1] = f * f
    got = my_read(stages(), stages(), stages(1), values, 1)
    for number in (3, 2, 1):
        given = (
            f"one coarse cell, equal keys, value f * f in the last cell under it: stage {number}"
        )
        require_close(read_at(got, number), torch.ones_like(read_at(got, number)), given)


@check_memory_read.property("every query cell looks under what its own coarse cell chose")
def _(my_read):
    coarse, frames = (2, 3), 2
    cells = frames * 6
    order = torch.tensor([7, 0, 11, 4, 8, 2])  # which of the 12 cells each of the 6 likes best
    q, keys, values = (
        stages(coarse=coarse, channels=cells),
        stages(frames, 0, coarse, cells),
        stages(frames, 0, coarse),
    )
    q[3][0] = 50 * torch.eye(cells)[order].T.reshape(cells, *coarse)
    keys[3][0] = torch.eye(cells).reshape(cells, frames, *coarse)
    number_of = torch.arange(float(cells)).view(frames, *coarse)
    for number, f in ((4, 1), (3, 2), (2, 4), (1, 8)):
        values[number - 1][0, 0] = number_of.repeat_interleave(f, 1).repeat_interleave(f, 2)
    got = my_read(q, stages(coarse=coarse), keys, values, 1)
    right = order.double().view(coarse)
    for number, f in ((3, 2), (2, 4), (1, 8)):
        given = (
            "2 x 3 coarse query cells, k = 1; they like the memory cells 7, 0, 11, 4, 8, 2 of 12, "
            f"values are numbers of coarse cells: read at stage {number}"
        )
        expected = right.repeat_interleave(f, 0).repeat_interleave(f, 1)
        require_close(read_at(got, number), expected, given)


@check_memory_read.property("k = None, or more than there are: every stage reads all")
def _(my_read):
    values = stages(2)
    for x in values:
        x[0, 0, 1] = 4
    for k in (None, 9):
        got = my_read(stages(), stages(), stages(2), values, k)
        given = f"two frames with equal keys, values 0 and 4, k = {k}: read at stage 3"
        require_close(read_at(got, 3), torch.full((2, 2), 2.0), given)


@check_memory_read.property("with random numbers, it is what the package computes")
def _(my_read):
    inputs = (
        random_stages(),
        random_stages(channels=3),
        random_stages(4),
        random_stages(4, channels=3),
    )
    for number, (got, right) in enumerate(
        zip(my_read(*inputs, 5), memory_read(*inputs, 5), strict=True), 1
    ):
        given = f"2 samples, 2 x 3 coarse cells, 4 frames, k = 5: stage {number}"
        require_close(got, right, given)


check_products = Exercise(
    name="products",
    notebook="06",
    title="Products of keys",
    task=(
        "How many products of a query's key and a memory's key does a dense read of *all four* "
        "stages take, and how many the hierarchical one with the $k$ best?"
    ),
    hints=(
        "For one stage: how many query cells are there, and how many cells does each of them meet?",
        "A side has f = 1, 2, 4, 8 times as many cells as at stage 4. Under a coarse cell lie "
        "f * f cells, of the query and of the memory alike.",
        "Below stage 4 a query meets what lies under k coarse cells, however many frames there "
        "are.",
    ),
)


@check_products.property("one cell, one frame: nothing to leave out")
def _(products):
    require_close(products(1, 1, 1, 1), [4369, 4369], given="H = W = T = k = 1")


@check_products.property("k as large as the memory: both are equal")
def _(products):
    require_close(products(1, 1, 2, 2), [8738, 8738], given="H = W = 1, T = 2, k = 2")


@check_products.property("two frames: only stage 4 has more to do")
def _(products):
    require_close(products(1, 1, 2, 1), [8738, 4370], given="H = W = 1, T = 2, k = 1")


@check_products.property("more coarse cells: each has its own k")
def _(products):
    require_close(products(2, 3, 1, 2), [157284, 52452], given="H = 2, W = 3, T = 1, k = 2")


@check_products.property("at the paper's size")
def _(products):
    given = "H = 15, W = 27, T = 8, k = 128"
    require_close(products(15, 27, 8, 128), [5733001800, 227749320], given)


check_needed = Exercise(
    name="needed",
    notebook="06",
    title="Cells that hold a share",
    task=(
        "How many coarse cells hold a share of the weight? For each row of weights, the smallest "
        "$k$ such that its $k$ largest sum to at least `share`."
    ),
    hints=(
        "The largest weights first: `sort` with `descending=True`.",
        "`cumsum` gives the sum of the first, the first two, the first three, ...",
        "How many of these sums are too small? One cell more is enough.",
    ),
)


@check_needed.property("four equal weights: three hold 0.7")
def _(needed):
    require_close(needed(torch.full((1, 4), 0.25), 0.7), [3], given="weights 1/4 four times, 0.7")


@check_needed.property("exactly the share is enough")
def _(needed):
    require_close(needed(torch.full((1, 4), 0.25), 0.5), [2], given="weights 1/4 four times, 0.5")


@check_needed.property("weights come in any order")
def _(needed):
    weights = torch.tensor([[0.125, 0.75, 0.125], [0.125, 0.125, 0.75]])
    given = "weights 1/8, 3/4, 1/8 and 1/8, 1/8, 3/4, share 0.8"
    require_close(needed(weights, 0.8), [2, 2], given)


@check_needed.property("a row for itself")
def _(needed):
    weights = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    require_close(needed(weights, 0.9), [1, 4], given="weights 1, 0, 0, 0 and 1/4 four times, 0.9")


@check_needed.property("k of them hold the share, k - 1 do not")
def _(needed):
    weights = (2 * torch.randn(50, 30)).softmax(dim=1)
    got = needed(weights, 0.9)
    require_shape(got, (50,), given="50 random rows of 30 weights")
    for row, k in zip(weights, got.tolist(), strict=True):
        held, less = (float(row.topk(int(count)).values.sum()) for count in (k, k - 1))
        require(
            held >= 0.9 > less, f"k = {k}, sums of the k and k - 1 largest", "0.9", (held, less)
        )
