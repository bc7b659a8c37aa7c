"""Patterns of sparse attention: each cell of a video looks at a set I_p of others, which depends on
its place only.

Duke et al., "SSTVOS", CVPR 2021, Sec. 3.2; `minivos/sst.py` builds a network of them.

    Pattern: Boxes, Grid              who looks at whom; attention; object affinity       Eq. 4 to 6
    Boxes: Dense, Local, Strided      patterns that are alike along every axis

A map of all pairs of cells soon fits into no memory: for 16 x 64 x 64 cells it has 4 billion
weights. `connected` is the definition, and `weights` follows it literally, for few queries;
`attend` and `affinity` are the fast forms, which build no such map.

Letters: B batch (heads are folded into it), C channels, T frames, H x W grid, S = T*H*W cells, O
objects with the background. A cell is p = (t, y, x).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minivos.errors import InputError

Cell = tuple[int, int, int]
Box = tuple[range, range, range]  # the t, y and x of its cells


@dataclass(frozen=True)
class Pattern:
    """Which cells I_p each cell p looks at, and attention over them.

    Queries, keys and values are (B, C, T, H, W); queries may be of the last frames only.
    """

    h: int = 1  # local: cells less than this far away are seen; strided: the stride; others do not use it
    scale: bool = False  # divide scores by sqrt(C)
    temporal: str = "same"  # h counts along t as along y and x, or "dense": it does not, all frames are connected
    local_window: str = "open"  # see Local

    def __post_init__(self) -> None:
        if not isinstance(self.h, int) or isinstance(self.h, bool) or self.h < 1:
            raise InputError(
                f"h={self.h!r} came for a window or a stride; give a whole number of cells, 1 or more"
            )
        for field, choices in (("temporal", ("same", "dense")), ("local_window", ("open", "cube"))):
            if getattr(self, field) not in choices:
                raise InputError(
                    f"{field}={getattr(self, field)!r} is unknown; choose one of {', '.join(choices)}"
                )

    def connected(self, offset: Tensor) -> Tensor:
        """Whether p looks at p + offset, from offsets (..., 3) along t, y and x: bool (...)."""
        raise NotImplementedError

    def pairs(self, shape: Cell) -> int:
        """The sizes of all sets I_p of a video of shape (T, H, W), together."""
        raise NotImplementedError

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Softmax over the connected cells, and the mean of their values: (B, Cv, Tq, H, W)."""
        raise NotImplementedError

    def affinity(self, q: Tensor, k: Tensor, labels: Tensor, objects: int, kind: str) -> Tensor:
        """The strongest link from each query to the earlier cells of each object (Eq. 4): (B, O,
        Tq, H, W).

        Labels (B, T, H, W) of the keys are in 0..O-1, or -1 where nobody knows. 0 where an object
        has no such cell.
        """
        raise NotImplementedError

    def weights(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """The definition written out: weights (B, N, I) of N queries, and the cell (N, I) that each
        is on, -1 none.

        Slow, and large: for pictures of one frame, and for tests.
        """
        cells = cells_of(tuple(map(range, k.shape[2:])), q.device)
        mine, theirs = (rearrange(x, "b c t y x -> b (t y x) c") for x in (q, k))
        seen = self.connected(cells - cells[-mine.shape[1] :, None])  # (N, S)
        scores = (mine @ theirs.mT * self.factor(q)).masked_fill(~seen, -torch.inf)
        index = seen.int().argsort(dim=1, descending=True, stable=True)[:, : seen.sum(dim=1).max()]
        weights = scores.softmax(dim=-1).gather(2, index.expand(len(q), -1, -1))
        return weights, index.where(seen.gather(1, index), -1)

    def factor(self, q: Tensor) -> float:
        """What scores are multiplied by: 1, as in the paper, or 1/sqrt(C)."""
        return q.shape[1] ** -0.5 if self.scale else 1.0


class Boxes(Pattern):
    """A pattern that holds along each axis alone: p looks at r if they are connected along t, along
    y and along x.

    Attention goes through the video in boxes of cells that look at each other, so that no larger
    map is ever built.
    """

    def near(self, offset: Tensor) -> Tensor:
        """Whether a cell looks as far as this along one axis, from signed numbers of cells:
        bool.
        """
        raise NotImplementedError

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """The queries and keys, along one axis, that boxes are made of; each query occurs once."""
        raise NotImplementedError

    def connected(self, offset: Tensor) -> Tensor:
        """Near along every axis, or every axis but t."""
        return self.near(offset[..., 1:] if self.temporal == "dense" else offset).all(dim=-1)

    def pairs(self, shape: Cell) -> int:
        """The product over the axes."""
        along = [
            int(self.near(_offsets(range(n), range(n), torch.device("cpu"))).sum()) for n in shape
        ]
        return shape[0] ** 2 * along[1] * along[2] if self.temporal == "dense" else math.prod(along)

    def boxes(self, shape: Cell, queried: int) -> Iterator[tuple[Box, Box]]:
        """Queries and keys of all boxes in a video of shape (T, H, W), with queries in its last
        `queried` frames.
        """
        frames, height, width = shape
        over_time = (
            [(range(frames), range(frames))] if self.temporal == "dense" else self.stretches(frames)
        )
        for (qt, kt), (qy, ky), (qx, kx) in product(
            over_time, self.stretches(height), self.stretches(width)
        ):
            if late := qt[bisect_left(qt, frames - queried) :]:
                yield (late, qy, qx), (kt, ky, kx)

    def seen(self, queries: Box, keys: Box, device: torch.device) -> Tensor | None:
        """Which keys of a box its queries look at, bool (queries, keys); None: all."""
        t, y, x = (self.near(_offsets(q, k, device)) for q, k in zip(queries, keys, strict=True))
        if self.temporal == "dense":
            t = torch.ones_like(t)
        if t.all() and y.all() and x.all():
            return None
        pairs = t[:, None, None, :, None, None] & y[:, None, None, :, None] & x[:, None, None, :]
        return pairs.flatten(3).flatten(0, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in `Pattern`, box by box."""
        out = q.new_zeros(q.shape[0], v.shape[1], *q.shape[2:])
        for queries, keys in self.boxes(tuple(k.shape[2:]), q.shape[2]):
            here, there = _at(queries, q.shape[2] - k.shape[2]), _at(keys)
            parts = (
                rearrange(x, "b c t y x -> b 1 (t y x) c") for x in (q[here], k[there], v[there])
            )
            mine, theirs, values = (
                part.contiguous() for part in parts
            )  # for PyTorch's kernel without a map
            mask = self.seen(queries, keys, q.device)
            found = F.scaled_dot_product_attention(
                mine, theirs, values, mask, scale=self.factor(q)
            )  # SST Eq. 5, 6
            out[here] = rearrange(found, "b 1 n c -> b c n").unflatten(
                2, [len(axis) for axis in queries]
            )
        return out

    def affinity(self, q: Tensor, k: Tensor, labels: Tensor, objects: int, kind: str) -> Tensor:
        """As in `Pattern`, box by box."""
        out = q.new_zeros(q.shape[0], objects, *q.shape[2:])
        for queries, keys in self.boxes(tuple(k.shape[2:]), q.shape[2]):
            here, there = _at(queries, q.shape[2] - k.shape[2]), _at(keys)
            mine, theirs = (rearrange(x, "b c t y x -> b (t y x) c") for x in (q[here], k[there]))
            key_times, query_times = (
                cells_of(keys, q.device)[:, 0],
                cells_of(queries, q.device)[:, :1],
            )
            allowed = key_times < query_times  # (queries, keys)
            scores = mine @ theirs.mT
            if (mask := self.seen(queries, keys, q.device)) is not None:
                allowed, scores = allowed & mask, scores.masked_fill(~mask, -torch.inf)
            if kind == "distance":
                links = nearness(
                    scores, mine.square().sum(-1)[:, :, None], theirs.square().sum(-1)[:, None]
                )
            else:
                links = scores * self.factor(q)
                links = links.softmax(dim=-1) if kind == "softmax" else links
            found = strongest(
                links, allowed, labels[there].flatten(1)[:, None], objects
            )  # (B, O, queries)
            out[here] = found.unflatten(2, [len(axis) for axis in queries])
        return out


class Dense(Boxes):
    """Each cell looks at all cells (Eq. 5)."""

    def near(self, offset: Tensor) -> Tensor:
        """Always."""
        return torch.ones_like(offset, dtype=torch.bool)

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """One box."""
        return [(range(length), range(length))]


class Local(Boxes):
    """Each cell looks at those fewer than h cells away along every axis (I^1 of Sec. 3.2).

    With `local_window="cube"` at a centred cube of side h: cheaper, but a strided layer then leaves
    gaps at the border.
    """

    def reach(self) -> tuple[int, int]:
        """The lowest and the highest offset along an axis."""
        return (
            (1 - self.h, self.h - 1)
            if self.local_window == "open"
            else (-(self.h // 2), (self.h - 1) // 2)
        )

    def near(self, offset: Tensor) -> Tensor:
        """Within reach."""
        low, high = self.reach()
        return (offset >= low) & (offset <= high)

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """h queries in a row, or 8 where h is less, and all that they reach."""
        (low, high), queries = (
            self.reach(),
            max(self.h, 8),
        )  # smaller boxes cost more in calls than they save
        starts = range(0, length, queries)
        ends = [min(start + queries, length) for start in starts]
        return [
            (range(a, b), range(max(0, a + low), min(length, b + high)))
            for a, b in zip(starts, ends, strict=True)
        ]


class Strided(Boxes):
    """Each cell looks at those in steps of h along every axis (I^2 of Sec. 3.2), and never at
    any other.
    """

    def near(self, offset: Tensor) -> Tensor:
        """A multiple of h."""
        return offset % self.h == 0

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """Every h-th cell."""
        return [(range(start, length, self.h),) * 2 for start in range(min(self.h, length))]


class Grid(Pattern):
    """Each cell looks along the three lines through it, parallel to the axes:

    T + H + W - 2 cells (Sec. 3.2).
    """

    def connected(self, offset: Tensor) -> Tensor:
        """Two of the three offsets are zero."""
        return (offset == 0).sum(dim=-1) >= 2

    def pairs(self, shape: Cell) -> int:
        """T + H + W - 2 for each cell."""
        return math.prod(shape) * (sum(shape) - 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in `Pattern`; the scores of the three lines share one softmax."""
        lines = self.scores(q, k)
        weights = torch.cat(lines, dim=-1).softmax(dim=-1)
        return self.carry(weights.split([line.shape[-1] for line in lines], dim=-1), v)

    def carry(self, weights: Sequence[Tensor], v: Tensor) -> Tensor:
        """Sums of values (B, C, T, H, W) with weights along x, y and t, as `scores` has them:
        (B, C, Tq, H, W).
        """
        along_x, along_y, along_t = weights
        v = _channels_last(v)
        now = v[:, -along_x.shape[1] :]
        found = (
            torch.einsum("btyxi,btyic->btyxc", along_x, now)
            + torch.einsum("btyxj,btjxc->btyxc", along_y, now)
            + torch.einsum("btyxk,bkyxc->btyxc", along_t, v)
        )
        return rearrange(found, "b t y x c -> b c t y x")

    def affinity(self, q: Tensor, k: Tensor, labels: Tensor, objects: int, kind: str) -> Tensor:
        """As in `Pattern`; the only earlier cells are those at the same place."""
        lines = self.scores(q, k)
        links = lines[2]  # (B, Tq, H, W, T)
        if kind == "softmax":
            links = torch.cat(lines, dim=-1).softmax(dim=-1)[..., -k.shape[2] :]
        elif kind == "distance":
            square_q, square_k = (
                q.square().sum(1)[..., None],
                rearrange(k.square().sum(1), "b t y x -> b 1 y x t"),
            )
            links = nearness(links / self.factor(q), square_q, square_k)
        times = torch.arange(k.shape[2], device=q.device)
        earlier = times < times[-q.shape[2] :, None, None, None]  # (Tq, 1, 1, T)
        return strongest(links, earlier, rearrange(labels, "b t y x -> b 1 y x t"), objects)

    def scores(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Dot products along x, y and t: (B, Tq, H, W, W), (..., H) and (..., T).

        A cell stands on all three lines; it counts along x, and is -inf along y and t.
        """
        frames, height = k.shape[2:4]
        q, k = _channels_last(q * self.factor(q)), _channels_last(k)
        now = k[:, -q.shape[1] :]
        along_x = torch.einsum("btyxc,btyic->btyxi", q, now)
        along_y = torch.einsum("btyxc,btjxc->btyxj", q, now)
        along_t = torch.einsum("btyxc,bkyxc->btyxk", q, k)
        same_y = torch.eye(height, dtype=torch.bool, device=q.device)[:, None]  # (H, 1, H)
        same_t = torch.eye(frames, dtype=torch.bool, device=q.device)[
            -q.shape[1] :, None, None
        ]  # (Tq, 1, 1, T)
        return (
            along_x,
            along_y.masked_fill(same_y, -torch.inf),
            along_t.masked_fill(same_t, -torch.inf),
        )


PATTERNS = {"dense": Dense, "grid": Grid, "local": Local, "strided": Strided}
AFFINITIES = ("softmax", "score", "distance")


def nearness(dots: Tensor, square_q: Tensor, square_k: Tensor) -> Tensor:
    """2 / (1 + exp(|q - k|^2)), from 1 for equal vectors to 0, by dot products and squared
    lengths.
    """
    distance = (square_q + square_k - 2 * dots).clamp(min=0)
    return 2 * torch.sigmoid(-distance)


def strongest(links: Tensor, allowed: Tensor, labels: Tensor, objects: int) -> Tensor:
    """The largest link to a cell of each object, among those allowed; at least 0: (B, O, ...).

    Links (B, ..., keys) in which `allowed` and `labels` can be broadcast.
    """
    found = []
    for number in range(objects):  # SST Eq. 4
        largest, place = (
            links.detach().masked_fill(~(allowed & (labels == number)), 0).max(dim=-1, keepdim=True)
        )
        found.append(
            links.gather(-1, place).where(largest > 0, 0).squeeze(-1)
        )  # gradients flow to this link only
    return torch.stack(found, dim=1)


def _channels_last(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, T, H, W, C), laid out like that, which makes products along t many
    times faster.
    """
    return rearrange(x, "b c t y x -> b t y x c").contiguous()


def _offsets(queries: range, keys: range, device: torch.device) -> Tensor:
    """Signed distance from each query to each key along one axis: (queries, keys)."""
    return torch.tensor(keys, device=device) - torch.tensor(queries, device=device)[:, None]


def _at(box: Box, shift: int = 0) -> tuple:
    """The index of a box's cells in the last three dimensions, its frames shifted."""
    t, *others = (slice(axis.start, axis.stop, axis.step) for axis in box)
    return (..., slice(t.start + shift, t.stop + shift, t.step), *others)


def cells_of(box: Box, device: torch.device) -> Tensor:
    """The (t, y, x) of a box's cells, in order: (cells, 3)."""
    return torch.cartesian_prod(*(torch.tensor(axis, device=device) for axis in box))


def check_together(**inputs: Tensor) -> None:
    """Raise InputError unless the tensors (B, C, T, H, W), float, agree in device, type and
    shape but for v's C.
    """
    if arrays := [name for name, tensor in inputs.items() if not isinstance(tensor, Tensor)]:
        raise InputError(
            f"{', '.join(arrays)} came as {type(inputs[arrays[0]]).__name__}; expected PyTorch tensors"
        )
    q = inputs["q"]
    if not q.is_floating_point():
        raise InputError(f"q is {q.dtype}; expected a type of float")
    for name, tensor in inputs.items():
        alike = (
            tensor.shape
            if name != "v" or tensor.dim() != 5
            else (tensor.shape[0], q.shape[1], *tensor.shape[2:])
        )
        if q.dim() != 5 or alike != q.shape:
            shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in inputs.items())
            raise InputError(
                f"{shapes} do not fit together; expected (B, C, T, H, W), all alike but for the C of v"
            )
        if (tensor.device, tensor.dtype) != (q.device, q.dtype):
            raise InputError(
                f"q is {q.dtype} on {q.device}, {name} {tensor.dtype} on {tensor.device}; expected one type and device"
            )


def check_fit(pattern: Pattern, shape: Cell) -> None:
    """Raise InputError when the window or stride is larger than the grid."""
    limit = max(shape[1:] if pattern.temporal == "dense" else shape)
    if isinstance(pattern, Local | Strided) and pattern.h > limit:
        raise InputError(
            f"h={pattern.h} is larger than a video of {shape} cells (T, H, W); choose 1 to {limit}"
        )
