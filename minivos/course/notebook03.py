"""Checks of notebook 03: short-term attention to one previous frame and to two, and its window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minivos.aot import KeysValues, ShortTermAttention
from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.course.transplant import CoreExercise, replace_parts
from minivos.nn.network import VOSNetwork


def into_aot(network: VOSNetwork, attention: type) -> VOSNetwork:
    """A copy of an AOT in which the student's class reads the previous frame, in each block."""

    def build(old: ShortTermAttention) -> nn.Module:
        return attention(old.project.in_features, old.heads, old.window)

    def call(mine: nn.Module, q: Tensor, previous: KeysValues) -> Tensor:
        _, height, width = previous.grid
        return mine(q, previous.keys, previous.values, (height, width))

    return replace_parts(network, ShortTermAttention, build, call)


check_short_term = CoreExercise(
    name="short_term",
    notebook="03",
    title="Short-term attention",
    task=(
        "Write short-term attention, Eq. 7 with both learned terms of each offset. Then it "
        "reads the previous frame in both blocks of the trained network."
    ),
    network="aot_mini",
    put_in=into_aot,
    hints=(
        "Tokens (B, N, C) become a map (B, C, H, W) again; `F.unfold` lays the windows of a map "
        "side by side, (B, C * window^2, N), channel after channel.",
        "For each head: dot products of a query with the window^2 keys around it, over the root of "
        "d, plus `relative_score` of the map of queries. One softmax over the offsets.",
        "`F.unfold` fills with zeros outside of the frame. Unfold a map of ones in the same way: "
        "where it is 0, no weight may go. Values get `relative_value` before they are summed.",
    ),
)
Pair = tuple[Tensor, Tensor]  # keys and values of a frame
ROW = (1, 5)  # a grid of five cells in a row


def plain(kind: type, window: int = 3, heads: int = 1, width: int = 2) -> Any:
    """A part whose projection changes nothing, and whose learned terms are 0."""
    part = kind(width, heads, window)
    with torch.no_grad():
        for weight in part.parameters():
            weight.zero_()
        part.project.weight.copy_(torch.eye(width))
    return part


def in_a_row(*numbers: float) -> Tensor:
    """Tokens (1, 5, 2) whose first channel has these numbers."""
    return torch.tensor([[[number, 0.0] for number in numbers]])


@check_short_term.property("a token for each query: (B, N, C)")
def _(mine):
    got = mine(8, 2, 3)(*torch.randn(3, 2, 12, 8), (3, 4))
    require_shape(got, (2, 12, 8), given="2 clips, a grid of 3 x 4 cells, C = 8")


@check_short_term.property("outside of the frame there is nothing: the weights inside sum to 1")
def _(mine):
    zero, one = in_a_row(0, 0, 0, 0, 0), in_a_row(1, 1, 1, 1, 1)
    got = plain(mine)(zero, zero, one, ROW)[0, :, 0]
    require_close(got, [1.0] * 5, given="5 cells in a row, window 3, equal scores, every value 1")


@check_short_term.property("a cell sees its window, and nothing else")
def _(mine):
    zero, far = in_a_row(0, 0, 0, 0, 0), in_a_row(3, 0, 0, 0, 6)
    got = plain(mine)(zero, zero, far, ROW)[0, :, 0]
    given = "5 cells in a row, window 3, equal scores, values 3, 0, 0, 0, 6"
    require_close(got[2], 0, f"{given}: what the middle cell reads")
    require_close(got[1], 1, f"{given}: what the second cell reads")


@check_short_term.property("windows reach up and down as they reach left and right")
def _(mine):
    cells = torch.zeros(3, 1, 12, 2)
    cells[2, 0, 1, 0] = 6  # the value of cell (0, 1) in 3 x 4
    got = plain(mine)(*cells, (3, 4))[0, :, 0].view(3, 4)
    given = "3 x 4 cells, window 3, equal scores, value 6 in cell (0, 1), 0 elsewhere"
    right = [[1.5, 1, 1, 0], [1, 2 / 3, 2 / 3, 0], [0, 0, 0, 0]]
    require_close(got, right, given)


@check_short_term.property("scores are dot products over the root of d")
def _(mine):
    q, k = torch.zeros(2, 1, 1, 4)
    part = plain(mine, window=1, width=4)
    require_close(part(q, k, torch.ones(1, 1, 4), (1, 1)), torch.ones(1, 1, 4), "one cell, value 1")
    ask, keys = torch.zeros(2, 1, 5, 4)
    ask[..., 0], keys[0, 2, 0] = 2.0, float(torch.tensor(4.0).log())
    values = torch.zeros(1, 5, 4)
    values[0, 2, 0] = 6
    got = plain(mine, width=4)(ask, keys, values, ROW)[0, 2, 0]
    given = "d = 4, q = (2, 0, 0, 0), keys 0, (ln 4, 0, 0, 0), 0 in the window, values 0, 6, 0"
    require_close(got, 4, given)


@check_short_term.property("each head compares with its own channels")
def _(mine):
    q, k, v = torch.zeros(3, 1, 5, 2)
    q[:], k[0, 1, 0], k[0, 3, 1] = 9, 9, 9  # head 1 likes the left neighbour, head 2 the right one
    v[0, 1], v[0, 3] = 1, 2
    got = plain(mine, heads=2)(q, k, v, ROW)[0, 2]
    given = "two heads; the first finds the left neighbour, value 1, the second the right one, 2"
    require_close(got, [1.0, 2], given, within=1e-2)


@check_short_term.property("d is the channels of a head, which stand side by side")
def _(mine):
    q, k, v = torch.zeros(3, 1, 5, 4)
    q[..., [0, 2]] = 2**0.5
    k[0, 1, 0] = k[0, 3, 2] = float(torch.tensor(4.0).log())
    v[0, 1, 0] = v[0, 3, 2] = 6
    got = plain(mine, heads=2, width=4)(q, k, v, ROW)[0, 2]
    given = (
        "two heads with d = 2, q = (r, 0, r, 0), r the root of 2; the left neighbour has the key "
        "(ln 4, 0, 0, 0), value (6, 0, 0, 0), the right one (0, 0, ln 4, 0), (0, 0, 6, 0)"
    )
    require_close(got, [4.0, 0, 4, 0], given)


@check_short_term.property("the learned score of an offset counts, row by row from the upper left")
def _(mine):
    part = plain(mine)
    with torch.no_grad():
        part.relative_score.bias[3] = 50  # the left neighbour, in a window of 3 x 3
    zero = torch.zeros(1, 12, 2)
    got = part(zero, zero, torch.arange(24.0).view(1, 12, 2), (3, 4))[0, 5, 0]
    given = (
        "3 x 4 cells, value 2 n of cell n, `relative_score` 50 for offset 3 of 9: what cell 5 reads"
    )
    require_close(got, 8, given)


@check_short_term.property("the learned score is added as it is, and each head has its own")
def _(mine):
    part = plain(mine, heads=2, width=4)
    with torch.no_grad():
        part.relative_score.bias[9 + 3] = float(torch.tensor(4.0).log())
    zero, values = torch.zeros(1, 12, 4), torch.zeros(1, 12, 4)
    values[0, 4] = 12
    got = part(zero, zero, values, (3, 4))[0, 5]
    given = (
        "two heads, 3 x 4 cells, value 12 in cell 4, 0 elsewhere, `relative_score` ln 4 of head 2 "
        "for offset 3 of 9: what cell 5 reads"
    )
    require_close(got, [4 / 3, 4 / 3, 4, 4], given)


@check_short_term.property("the learned score depends on the query")
def _(mine):
    part = plain(mine)
    with torch.no_grad():
        part.relative_score.weight[3, 0] = 50
    ask, zero = in_a_row(0, 1, -1, 1, 0), in_a_row(0, 0, 0, 0, 0)
    got = part(ask, zero, in_a_row(5, 6, 7, 8, 9), ROW)[0, :, 0]
    given = "`relative_score` 50 q for the left neighbour; q = 0, 1, -1, 1, 0; values 5, 6, 7, 8, 9"
    require_close(got, [5.5, 5, 7.5, 7, 8.5], given)


@check_short_term.property("the learned value of an offset is added to the value")
def _(mine):
    part = plain(mine)
    with torch.no_grad():
        part.relative_value[0, 0, 4] = 9  # of the cell itself
    zero = in_a_row(0, 0, 0, 0, 0)
    got = part(zero, zero, zero, ROW)[0, :, 0]
    given = "`relative_value` 9 for the cell itself, all else 0: a third of it, at the ends a half"
    require_close(got, [4.5, 3, 3, 3, 4.5], given)


@check_short_term.property("the answer is projected")
def _(mine):
    part = plain(mine)
    with torch.no_grad():
        part.project.bias.fill_(7)
    zero = in_a_row(0, 0, 0, 0, 0)
    require_close(part(zero, zero, zero, ROW), torch.full((1, 5, 2), 7.0), "`project` adds 7")


@check_short_term.property("with random numbers, it is what the package computes")
def _(mine):
    package, part = ShortTermAttention(8, 2, 5), mine(8, 2, 5)
    with torch.no_grad():
        for own, weight in zip(part.parameters(), package.parameters(), strict=True):
            own.copy_(weight.normal_())
    q, k, v = torch.randn(3, 2, 54, 8)
    right = package(q, KeysValues(k, v, (1, 6, 9)))
    require_close(
        part(q, k, v, (6, 9)), right, "6 x 9 cells, window 5, random numbers", within=1e-3
    )


check_two_windows = Exercise(
    name="two_windows",
    notebook="03",
    title="Two windows",
    task=(
        "Table 3c with two previous frames: one softmax over both windows, which "
        "have the same learned terms."
    ),
    hints=(
        "Scores of the newer window and of the older one stand side by side, 2 * window^2 for each "
        "query. How many softmaxes are there?",
        "`window_index(grid, part.window)` gives the cells of each window, -1 outside of the "
        "frame; both frames have the same.",
        "The learned score depends on query and offset, not on the frame: make it once, use it "
        "twice. The same holds for the learned values.",
    ),
)


def windows(answer: Callable[..., Any], q: Tensor, newer: Pair, older: Pair) -> Tensor:
    """What is read by one head without learned terms, in a row of five cells: (5, 2)."""
    found = answer(plain(ShortTermAttention), q, newer, older, ROW)
    require_shape(found, (1, 1, q.shape[1], q.shape[2]), given="1 head, d = 2, 5 cells in a row")
    return found[0, 0]


@check_two_windows.property("all weights sum to 1")
def _(two):
    zero, one = in_a_row(0, 0, 0, 0, 0), in_a_row(1, 1, 1, 1, 1)
    got = windows(two, zero, (zero, one), (zero, one))[:, 0]
    require_close(got, [1.0] * 5, given="5 cells in a row, window 3, equal scores, every value 1")


@check_two_windows.property("where all scores are equal, it is the mean over both")
def _(two):
    zero, plus, minus = in_a_row(0, 0, 0, 0, 0), in_a_row(*[2] * 5), in_a_row(*[-4] * 5)
    got = windows(two, zero, (zero, plus), (zero, minus))[:, 0]
    given = "equal scores; every value is 2 in the newer frame and -4 in the older one"
    require_close(got, [-1.0] * 5, given)


@check_two_windows.property("one softmax: a frame with low scores hardly counts")
def _(two):
    ask, low, zero = in_a_row(*[1] * 5), in_a_row(*[-40] * 5), in_a_row(*[0] * 5)
    got = windows(two, ask, (zero, in_a_row(*[3] * 5)), (low, in_a_row(*[9] * 5)))[:, 0]
    given = "value 3 in the newer frame, 9 in the older one, whose keys have much lower scores"
    require_close(got, [3.0] * 5, given)


@check_two_windows.property("the same frame twice is that frame once")
def _(two):
    q, k, v = torch.randn(3, 1, 5, 2)
    got = windows(two, q, (k, v), (k, v))
    right = plain(ShortTermAttention)(q, KeysValues(k, v, (1, *ROW)))[0]
    require_close(got, right, given="random tokens, the newer frame given as the older one, too")


@check_two_windows.property("neither frame comes first")
def _(two):
    q, k1, v1, k2, v2 = torch.randn(5, 1, 5, 2)
    got, turned = windows(two, q, (k1, v1), (k2, v2)), windows(two, q, (k2, v2), (k1, v1))
    require_close(turned, got, given="random tokens, newer and older frame exchanged")


@check_two_windows.property("both frames have the learned terms of an offset")
def _(two):
    part = ShortTermAttention(8, 2, 3)
    with torch.no_grad():
        for weight in part.parameters():
            weight.normal_()
    q, k1, v1, k2, v2 = torch.randn(5, 1, 12, 8)
    got = two(part, q, (k1, v1), (k2, v2), (3, 4))
    given = "2 heads, 3 x 4 cells, random learned terms"
    require_shape(got, (1, 2, 12, 4), given)
    both = KeysValues(torch.cat([k1, k2], dim=1), torch.cat([v1, v2], dim=1), (2, 3, 4))
    mine = part.project(got.transpose(1, 2).flatten(2))
    require_close(
        mine, part(q, both), f"{given}; compared with the package, projected", within=1e-3
    )


@check_two_windows.property("outside of the frame there is nothing, in either")
def _(two):
    q = in_a_row(0, 0, 0, 0, 0)
    got = windows(two, q, (q, in_a_row(4, 0, 0, 0, 0)), (q, q))[0, 0]
    given = (
        "value 4 in the first of five cells of the newer frame, all else 0: what that cell reads"
    )
    require_close(got, 1, given)


check_may_see = Exercise(
    name="may_see",
    notebook="03",
    title="A window is a mask",
    task="A window is full attention with a mask. Write the mask.",
    hints=(
        "Which row and which column has cell number n of a grid of so many columns?",
        "Both have to be near: rows by at most window // 2, columns, too.",
        "`y[:, None] - y` has an entry for each pair of cells.",
    ),
)


def as_torch(mask: Any) -> Any:
    """A numpy array as a tensor, anything else as it is."""
    return torch.from_numpy(mask) if isinstance(mask, np.ndarray) else mask


def seen(see: Callable[..., Any], height: int, width: int, window: int) -> Tensor:
    """The mask, checked for its shape and type."""
    got, cells = as_torch(see(height, width, window)), height * width
    given = f"{height} x {width} cells, window {window}"
    require_shape(got, (cells, cells), given)
    require(got.dtype == torch.bool, given, "bool", str(got.dtype))
    return got


@check_may_see.property("window 1: a cell sees itself")
def _(see):
    got = seen(see, 1, 3, 1)
    require_close(got.int(), torch.eye(3), given="1 x 3 cells, window 1")


@check_may_see.property("window 3 in a row: neighbours, cut off at the ends")
def _(see):
    got = seen(see, 1, 4, 3).int()
    right = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    for cell in range(4):
        require_close(got[cell], right[cell], given=f"1 x 4 cells, window 3: what cell {cell} sees")


@check_may_see.property("the end of a row does not see the beginning of the next")
def _(see):
    got = seen(see, 2, 4, 3)[3].int()
    given = "2 x 4 cells, window 3: what cell 3, the last of the first row, sees"
    require_close(got, [0, 0, 1, 1, 0, 0, 1, 1], given)


@check_may_see.property("windows have corners")
def _(see):
    got = seen(see, 6, 9, 5).sum(dim=1)[[0, 22, 31]]
    given = "6 x 9 cells, window 5: how many cells the cells 0, 22 and 31 see"
    require_close(got, [9, 25, 25], given)


@check_may_see.property("full attention with this mask is what the package computes")
def _(see):
    q, k, v = torch.randn(3, 1, 54, 2)
    mask = seen(see, 6, 9, 5)
    got = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    right = plain(ShortTermAttention, window=5)(q, KeysValues(k, v, (1, 6, 9)))
    require_close(got, right, given="6 x 9 cells, window 5, random tokens, no learned terms")
