"""The recorder: keeps every attention map that is computed inside `with record_attention():`.

Each attention that reads a memory, and the self-attentions of AOT and SITVOS, tell `record` how to
build their weights; the windows of a Swin do not. What a network computes is bit for bit the same,
whoever records: weights are built beside it, for all queries or for those asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product

import torch
from torch import Tensor

from minivos.errors import InputError

Cell = tuple[int, int]  # y, x
Rows = slice | list[int]  # numbers of cells
Weights = tuple[Tensor, Tensor | None]  # (B, heads, R, Nk) and the cells (R, Nk), see `record`
Take = Callable[["AttentionMap"], None]  # gets a map as soon as it is there


@dataclass(frozen=True, repr=False)
class AttentionMap:
    """The weights of one attention, on the CPU, with their geometry. Each row sums to one.

    Rows are the cells of `query_grid`, row by row, or those in `queries`. Columns are the cells of
    one grid per key frame, frame by frame, or, where each query sees only some cells, those named
    in `index`.
    """

    name: str  # for example "block1/long_term"
    weights: Tensor  # (B, heads, Nq, Nk) in [0, 1]
    query_grid: tuple[int, int]  # (H, W)
    key_grid: tuple[int, int, int]  # (T, H, W)
    key_frames: tuple[int, ...]  # number of each key frame
    query_frame: int  # number of the frame that looks
    index: Tensor | None = None  # (Nq, Nk) cell of the key grid, -1 outside the frame
    object: int | None = None  # number of the object it is about, from 1; None: shared by all
    queries: tuple[Cell, ...] | None = None  # cells of `query_grid` that look; None: all

    def __repr__(self) -> str:
        about = "" if self.object is None else f", object {self.object}"
        return (
            f"AttentionMap({self.name!r}{about}, frame {self.query_frame} looks at "
            f"{list(self.key_frames)}, weights {tuple(self.weights.shape)})"
        )

    def dense(self) -> Tensor:
        """The weights over all cells of the key grid: (B, heads, Nq, T*H*W), 0 where not seen."""
        return self._on_key_grid(self.weights, self.index)

    def look_from(self, y: int, x: int, batch: int = 0) -> Tensor:
        """Where query cell (y, x) looks: (heads, T, H, W), sums to one per head; or InputError."""
        (row,) = find_cells([(y, x)], self.query_grid, self.queries)
        index = None if self.index is None else self.index[row]
        return self._on_key_grid(self.weights[batch, :, row], index).unflatten(1, self.key_grid)

    def _on_key_grid(self, weights: Tensor, index: Tensor | None) -> Tensor:
        """Weights (..., Nk) of the cells in index ([Nq,] Nk) -> (..., T*H*W)."""
        if index is None:
            return weights
        full = weights.new_zeros(*weights.shape[:-1], math.prod(self.key_grid))
        return full.scatter_add_(-1, index.clamp(min=0).expand_as(weights), weights)


class Recording(list[AttentionMap]):
    """The maps of one `record_attention` block, in the order in which they were computed."""

    def __init__(self, only: str, queries: tuple[Cell, ...] | None, take: Take | None) -> None:
        super().__init__()
        self.only, self.queries, self.take = only, queries, take or self.append
        self.names_met: set[str] = set()

    def find(self, name: str, frame: int | None = None, object: int | None = None) -> AttentionMap:
        """The last map called `name` (wildcards allowed), of that frame and object; KeyError."""
        for look in reversed(self):
            asked = frame in (None, look.query_frame) and object in (None, look.object)
            if asked and fnmatch(look.name, name):
                return look
        known = sorted({(look.name, look.query_frame) for look in self})
        raise KeyError(f"no map {name!r} of frame {frame}, object {object}; (name, frame): {known}")


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)
explicit: ContextVar[bool] = ContextVar("explicit", default=False)
_frame: ContextVar[int] = ContextVar("frame", default=-1)


@contextmanager
def record_attention(
    only: str = "*", queries: Sequence[Cell] | None = None, take: Take | None = None
) -> Iterator[Recording]:
    """Keep every map computed inside the block whose name matches `only` (wildcards allowed).

    `queries` are the cells (y, x) of the query grid whose weights are built; None: all, which may
    take long and fill memory. `take` gets each map at once, and the recording stays empty. Raises
    InputError inside the block for a query outside the grid, and RuntimeError at its end when
    nothing was recorded and nobody takes.
    """
    recording = Recording(only, None if queries is None else tuple(queries), take)
    with _set(_recording, recording):
        yield recording
    if not recording and take is None:
        met = sorted(recording.names_met)
        why = f"names met: {met}" if met else "none ran in the block and its thread: run it there"
        raise RuntimeError(f"no attention called {only!r} was recorded; {why}")


def explicit_attention() -> AbstractContextManager[None]:
    """Run `attend` in its explicit form inside the block: to compare the two forms."""
    return _set(explicit, True)


def at_frame(number: int) -> AbstractContextManager[None]:
    """Maps recorded inside the block are of frame `number`."""
    return _set(_frame, number)


@contextmanager
def _set(variable: ContextVar, value: object) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def record(
    look: Callable[[Rows], Weights], name: str, key_grid: tuple[int, int, int],
    frames: tuple[int, ...] | None = None, query_grid: tuple[int, int] | None = None,
    object: int | None = None, by_object: bool = False,
) -> None:  # fmt: skip
    """Keep the map of one attention, if somebody records maps of its name; see `AttentionMap`.

    `look` is only called then: it gives the weights of some queries, (B, heads, R, Nk), and the
    cells (R, Nk) that they belong to, None: all, in order. `frames` are the numbers of the key
    frames, None: the frame that looks. `query_grid` is the (H, W) of `key_grid` if not given.
    `by_object`: what `look` calls heads are objects, and each becomes a map of its own.
    """
    recording = _recording.get()
    if recording is None:
        return
    recording.names_met.add(name)
    if not fnmatch(name, recording.only):
        return
    now, grid, queries = _frame.get(), query_grid or key_grid[1:], recording.queries
    with torch.no_grad():
        weights, index = look(slice(None) if queries is None else find_cells(queries, grid))
    kept, index = weights.float().cpu(), None if index is None else index.cpu()
    frames = (now,) if frames is None else frames
    parts = enumerate(kept.split(1, dim=1), start=1) if by_object else [(object, kept)]
    for of, part in parts:
        recording.take(AttentionMap(name, part, grid, key_grid, frames, now, index, of, queries))


def find_cells(
    cells: Sequence[Cell], grid: tuple[int, int], among: Sequence[Cell] | None = None
) -> list[int]:
    """Where cells (y, x) stand among others, None: all of a grid (H, W); or InputError."""
    height, width = grid
    there = list(product(range(height), range(width))) if among is None else list(among)
    if unknown := [cell for cell in cells if cell not in there]:
        known = f"a grid of {height} x {width} cells" if among is None else f"the recorded {there}"
        raise InputError(f"got {unknown}; expected cells (y, x) of {known}")
    return [there.index(cell) for cell in cells]
