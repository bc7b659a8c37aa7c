"""Patterns of sparse attention: which cells I_p of a video each cell p looks at.

Duke et al., "SSTVOS", CVPR 2021, Sec. 3.2. This is their index arithmetic; what attention does
with it stands in `minivos/sst.py`. `connected` is the definition of a pattern. `boxes` cuts a video
into parts that look at each other, so that no map of all pairs is ever built: for 16 x 64 x 64
cells it would have 4 billion weights.

A cell is p = (t, y, x) in a video of T x H x W cells.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from minivos.errors import InputError, check_choices, check_numbers

Cell = tuple[int, int, int]
Box = tuple[range, range, range]  # the t, y and x of its cells


@dataclass(frozen=True)
class Pattern:
    """Which cells I_p each cell p looks at."""

    h: int = 1  # local: looks less than so far; strided: in steps of h; others do not use it
    scale: bool = False  # divide scores by sqrt(C)
    temporal: str = "same"  # h counts along t as along y and x; or "dense": all frames connected
    local_window: str = "open"  # see Local

    def __post_init__(self) -> None:
        check_numbers(self, "h")
        check_choices(self, temporal=("same", "dense"), local_window=("open", "cube"))

    def connected(self, offset: Tensor) -> Tensor:
        """Whether p looks at p + offset, from offsets (..., 3) along t, y and x: bool (...)."""
        raise NotImplementedError

    def pairs(self, shape: Cell) -> int:
        """The sizes of all sets I_p of a video of shape (T, H, W), together."""
        raise NotImplementedError

    def factor(self, channels: int) -> float:
        """What scores are multiplied by: 1, as in the paper, or 1/sqrt(C)."""
        return channels**-0.5 if self.scale else 1.0


class Boxes(Pattern):
    """A pattern that is alike along every axis: p looks at r if it does along t, y and x."""

    def near(self, offset: Tensor) -> Tensor:
        """Whether a cell looks so many cells, with sign, along one axis: bool."""
        raise NotImplementedError

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """The queries and keys, along one axis, of which boxes are made; each query occurs once."""
        raise NotImplementedError

    def connected(self, offset: Tensor) -> Tensor:
        """Near along every axis, or every axis but t."""
        return self.near(offset[..., 1:] if self.temporal == "dense" else offset).all(dim=-1)

    def pairs(self, shape: Cell) -> int:
        """The product over the axes."""
        cpu = torch.device("cpu")
        t, y, x = (int(self.near(offsets(range(n), range(n), cpu)).sum()) for n in shape)
        return y * x * (shape[0] ** 2 if self.temporal == "dense" else t)

    def boxes(self, shape: Cell, last: int) -> Iterator[tuple[Box, Box]]:
        """Queries and keys of all boxes of a video (T, H, W) that have queries in `last` frames."""
        frames, height, width = shape
        along_t = self.stretches(frames)
        if self.temporal == "dense":
            along_t = [(range(frames), range(frames))]
        axes = along_t, self.stretches(height), self.stretches(width)
        for (qt, kt), (qy, ky), (qx, kx) in product(*axes):
            if late := qt[bisect_left(qt, frames - last) :]:
                yield (late, qy, qx), (kt, ky, kx)

    def mask(self, queries: Box, keys: Box, device: torch.device) -> Tensor | None:
        """Which keys of a box its queries look at, bool (queries, keys); None: all."""
        t, y, x = (self.near(offsets(*axis, device)) for axis in zip(queries, keys, strict=True))
        if self.temporal == "dense":
            t = torch.ones_like(t)
        if t.all() and y.all() and x.all():
            return None
        pairs = t[:, None, None, :, None, None] & y[:, None, None, :, None] & x[:, None, None, :]
        return pairs.flatten(3).flatten(0, 2)


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
        if self.local_window == "open":
            return 1 - self.h, self.h - 1
        return -(self.h // 2), (self.h - 1) // 2

    def near(self, offset: Tensor) -> Tensor:
        """Within reach."""
        low, high = self.reach()
        return (offset >= low) & (offset <= high)

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """h queries in a row, at least 8 (smaller boxes cost more calls), and all they reach."""
        (low, high), step = self.reach(), max(self.h, 8)
        ends = [(start, min(start + step, length)) for start in range(0, length, step)]
        return [(range(a, b), range(max(0, a + low), min(length, b + high))) for a, b in ends]


class Strided(Boxes):
    """Each cell looks in steps of h along every axis (I^2 of Sec. 3.2), and at no other."""

    def near(self, offset: Tensor) -> Tensor:
        """A multiple of h."""
        return offset % self.h == 0

    def stretches(self, length: int) -> list[tuple[range, range]]:
        """Every h-th cell."""
        return [(range(start, length, self.h),) * 2 for start in range(min(self.h, length))]


class Grid(Pattern):
    """Each cell looks along the three lines through it, parallel to the axes (Sec. 3.2)."""

    def connected(self, offset: Tensor) -> Tensor:
        """Two of the three offsets are zero."""
        return (offset == 0).sum(dim=-1) >= 2

    def pairs(self, shape: Cell) -> int:
        """T + H + W - 2 for each cell."""
        return math.prod(shape) * (sum(shape) - 2)


PATTERNS = {"dense": Dense, "grid": Grid, "local": Local, "strided": Strided}


def offsets(queries: range, keys: range, device: torch.device) -> Tensor:
    """Signed distance from each query to each key along one axis: (queries, keys)."""
    return torch.tensor(keys, device=device) - torch.tensor(queries, device=device)[:, None]


def slices_of(box: Box, shift: int = 0) -> tuple:
    """The index of a box's cells in the last three dimensions, its frames shifted."""
    t, *others = (slice(axis.start, axis.stop, axis.step) for axis in box)
    return (..., slice(t.start + shift, t.stop + shift, t.step), *others)


def cells_of(box: Box, device: torch.device) -> Tensor:
    """The (t, y, x) of a box's cells, in order: (cells, 3)."""
    return torch.cartesian_prod(*(torch.tensor(axis, device=device) for axis in box))


def check_fit(pattern: Pattern, shape: Cell) -> None:
    """Raise InputError when the window or stride is larger than the grid."""
    limit = max(shape[1:] if pattern.temporal == "dense" else shape)
    if isinstance(pattern, Local | Strided) and pattern.h > limit:
        raise InputError(
            f"got h={pattern.h} for a video of {shape} cells (T, H, W); expected 1 to {limit}"
        )


def check_together(**inputs: Tensor) -> None:
    """Raise InputError unless tensors (B, C, T, H, W), float, are alike, but for the C of v."""
    for name, tensor in inputs.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"got {name} as {type(tensor).__name__}; expected PyTorch tensors")
    q = inputs["q"]
    if not q.is_floating_point():
        raise InputError(f"got q as {q.dtype}; expected a type of float")
    for name, tensor in inputs.items():
        shape = list(tensor.shape)
        if name == "v" and len(shape) == 5:
            shape[1] = q.shape[1]
        if q.dim() != 5 or shape != list(q.shape):
            shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in inputs.items())
            raise InputError(
                f"{shapes} do not fit together; expected (B, C, T, H, W), all alike but the C of v"
            )
        if (tensor.device, tensor.dtype) != (q.device, q.dtype):
            raise InputError(
                f"q is {q.dtype} on {q.device}, {name} {tensor.dtype} on {tensor.device}; expected "
                "one type and device"
            )
