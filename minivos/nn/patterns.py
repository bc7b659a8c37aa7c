"""Patterns of sparse attention: which cells I_p of a video each cell p looks at.

Duke et al., "SSTVOS", CVPR 2021, Sec. 3.2; `minivos/sst.py` says what attention does with them.
`connected` defines a pattern. `boxes` cuts a video into parts that look at each other, so that no
map of all pairs is ever built: for 16 x 64 x 64 cells it would have 4 billion weights.

A cell is p = (t, y, x) in a video of shape (T, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from minivos.errors import InputError, check_settings

Cell = tuple[int, int, int]
Stretch = tuple[range, range]  # queries and keys along one axis
Box = tuple[tuple, tuple, Tensor | None]  # the index of its queries, that of its keys, its mask
CHOICES: dict[str, Any] = {"temporal": ("same", "dense"), "local_window": ("open", "cube")}


@dataclass(frozen=True)
class Pattern:
    """Which cells I_p each cell p looks at."""

    h: int = 1  # local: looks less than so far; strided: in steps of h; others do not use it
    scale: bool = False  # divide scores by sqrt(C)
    temporal: str = "same"  # h counts along t as along y and x; or "dense": all frames connected
    local_window: str = "open"  # see Local

    def __post_init__(self) -> None:
        check_settings(self, **CHOICES)

    def connected(self, offset: Tensor) -> Tensor:
        """Whether p looks at p + offset, from offsets (..., 3) along t, y and x: bool (...)."""
        raise NotImplementedError

    def pairs(self, shape: Sequence[int]) -> int:
        """The sizes of all sets I_p of a video, together."""
        size = torch.tensor(shape)
        offset = cells_of((2 * size - 1).tolist()) - (size - 1)
        pairs = (size - offset.abs()).prod(dim=-1)  # of cells so far from each other
        return int(pairs[self.connected(offset)].sum())

    def factor(self, channels: int) -> float:
        """What scores are multiplied by: 1, as in the paper, or 1/sqrt(C)."""
        return channels**-0.5 if self.scale else 1.0


class Grid(Pattern):
    """Each cell looks along the three lines through it, parallel to the axes."""

    def connected(self, offset: Tensor) -> Tensor:
        """Two of the three offsets are zero."""
        return (offset == 0).sum(dim=-1) >= 2


class Boxes(Pattern):
    """A pattern of one rule for each axis: p looks at r if it does along t, y and x."""

    def near(self, offset: Tensor) -> Tensor:
        """The rule: whether a cell looks so many cells, with sign, along an axis; here always."""
        return torch.ones_like(offset, dtype=torch.bool)

    def stretches(self, length: int, first: int) -> list[Stretch]:
        """Queries from `first` on, each once, and keys, of which boxes are made; here one."""
        return [(range(first, length), range(length))]

    def rules(self) -> tuple[Boxes, Boxes, Boxes]:
        """The patterns whose rule holds along t, y and x."""
        along_t = Dense() if self.temporal == "dense" else self
        return along_t, self, self

    def connected(self, offset: Tensor) -> Tensor:
        """Near along every axis."""
        t, y, x = (rule.near(offset[..., i]) for i, rule in enumerate(self.rules()))
        return t & y & x

    def boxes(self, shape: Sequence[int], last: int, device: torch.device) -> Iterator[Box]:
        """The boxes of a video; queries are the cells of its `last` frames, counted from there."""
        starts = shape[0] - last, 0, 0
        axes = zip(self.rules(), shape, starts, strict=True)
        for box in product(*(rule.stretches(length, start) for rule, length, start in axes)):
            here = [cut(queries, start) for (queries, _), start in zip(box, starts, strict=True)]
            there = [cut(keys, 0) for _, keys in box]
            yield (..., *here), (..., *there), self.mask(box, device)

    def mask(self, box: tuple[Stretch, ...], device: torch.device) -> Tensor | None:
        """Which keys of a box its queries look at, bool (queries, keys); None: all."""
        rules = zip(self.rules(), box, strict=True)
        t, y, x = (rule.near(offsets(*stretch, device)) for rule, stretch in rules)
        if t.all() and y.all() and x.all():
            return None
        pairs = t[:, None, None, :, None, None] & y[:, None, None, :, None] & x[:, None, None, :]
        return pairs.flatten(3).flatten(0, 2)


class Dense(Boxes):
    """Each cell looks at all cells (Eq. 5)."""


class Local(Boxes):
    """Each cell looks at those fewer than h cells away along every axis (I^1 of Sec. 3.2).

    Or with `local_window="cube"` at a centred cube of side h; strided layers then leave gaps.
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

    def stretches(self, length: int, first: int) -> list[Stretch]:
        """h queries in a row, at least 8 (smaller boxes cost more calls), and all they reach."""
        (low, high), step = self.reach(), max(self.h, 8)
        ends = [(start, min(start + step, length)) for start in range(first, length, step)]
        return [(range(a, b), range(max(0, a + low), min(length, b + high))) for a, b in ends]


class Strided(Boxes):
    """Each cell looks in steps of h along every axis (I^2 of Sec. 3.2), and at no other."""

    def near(self, offset: Tensor) -> Tensor:
        """A multiple of h."""
        return offset % self.h == 0

    def stretches(self, length: int, first: int) -> list[Stretch]:
        """Every h-th cell."""
        starts = range(first, min(first + self.h, length))
        return [(range(i, length, self.h), range(i % self.h, length, self.h)) for i in starts]


PATTERNS = {"dense": Dense, "grid": Grid, "local": Local, "strided": Strided}


def offsets(queries: range, keys: range, device: torch.device | str = "cpu") -> Tensor:
    """Signed distance from each query to each key along one axis: (queries, keys)."""
    return torch.tensor(keys, device=device) - torch.tensor(queries, device=device)[:, None]


def cut(places: range, start: int) -> slice:
    """The index of places along an axis of which only those from `start` on are there."""
    return slice(places.start - start, places.stop - start, places.step)


def cells_of(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """The (t, y, x) of all cells of a video, in order: (cells, 3)."""
    return torch.cartesian_prod(*(torch.arange(length, device=device) for length in shape))


def check_fit(pattern: Pattern, shape: Sequence[int]) -> None:
    """Raise InputError when the window or stride is larger than the grid."""
    limit = max(shape[1:] if pattern.temporal == "dense" else shape)
    if isinstance(pattern, Local | Strided) and pattern.h > limit:
        raise InputError(f"got h={pattern.h} for a video of {tuple(shape)}; expected 1 to {limit}")
