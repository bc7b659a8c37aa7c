"""The recorder: keeps every attention map that is computed inside `with record_attention():`.

Each attention that reads a memory, and the self-attentions of AOT and SITVOS, hand their weights
to `record`; the windows of a Swin do not. Nothing that a network computes depends on who records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatch

from torch import Tensor


@dataclass(frozen=True, repr=False)
class AttentionMap:
    """The weights of one attention, on the CPU, with their geometry. Each row sums to one.

    Rows are the cells of `query_grid`, row by row. Columns are the cells of one grid per key frame,
    frame by frame, or, where each query sees only some cells, those named in `index`.
    """

    name: str  # for example "block1/long_term"
    weights: Tensor  # (B, heads, Nq, Nk) in [0, 1]
    query_grid: tuple[int, int]  # (H, W)
    key_grid: tuple[int, int, int]  # (T, H, W)
    key_frames: tuple[int, ...]  # number of each key frame
    query_frame: int  # number of the frame that looks
    index: Tensor | None = None  # (Nq, Nk) cell of the key grid, -1 outside the frame
    object: int | None = None  # number of the object it is about, from 1; None: shared by all

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
        """Where query cell (y, x) looks: (heads, T, H, W), sums to one per head; or IndexError."""
        height, width = self.query_grid
        if not (0 <= y < height and 0 <= x < width):
            raise IndexError(f"cell ({y}, {x}) is outside the grid of {height} x {width} cells")
        cell = y * width + x
        index = None if self.index is None else self.index[cell]
        return self._on_key_grid(self.weights[batch, :, cell], index).unflatten(1, self.key_grid)

    def _on_key_grid(self, weights: Tensor, index: Tensor | None) -> Tensor:
        """Weights (..., Nk) of the cells in index ([Nq,] Nk) -> (..., T*H*W)."""
        if index is None:
            return weights
        full = weights.new_zeros(*weights.shape[:-1], math.prod(self.key_grid))
        return full.scatter_add_(-1, index.clamp(min=0).expand_as(weights), weights)


class Recording(list[AttentionMap]):
    """The maps of one `record_attention` block, in the order in which they were computed."""

    def __init__(self, only: str) -> None:
        super().__init__()
        self.only = only
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
_explicit: ContextVar[bool] = ContextVar("explicit", default=False)
_frame: ContextVar[int] = ContextVar("frame", default=-1)


@contextmanager
def record_attention(only: str = "*") -> Iterator[Recording]:
    """Keep every map computed inside the block whose name matches `only` (wildcards allowed).

    Raises RuntimeError at the end of the block when nothing was recorded.
    """
    recording = Recording(only)
    with _set(_recording, recording):
        yield recording
    if not recording:
        met = sorted(recording.names_met)
        why = f"names met: {met}" if met else "none ran in the block and its thread: run it there"
        raise RuntimeError(f"no attention called {only!r} was recorded; {why}")


@contextmanager
def explicit_attention() -> Iterator[None]:
    """Run attention in its explicit form, as if it were recorded: to compare the two forms."""
    with _set(_explicit, True):
        yield


@contextmanager
def at_frame(number: int) -> Iterator[None]:
    """Maps recorded inside the block are of frame `number`."""
    with _set(_frame, number):
        yield


@contextmanager
def _set(variable: ContextVar, value: object) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def wants_weights(name: str) -> bool:
    """Whether the attention of this name has to build its weights, to be recorded or compared."""
    recording = _recording.get()
    if recording is None:
        return _explicit.get()
    recording.names_met.add(name)
    return _explicit.get() or fnmatch(name, recording.only)


def record(
    weights: Tensor, name: str, key_grid: tuple[int, int, int],
    frames: tuple[int, ...] | None = None, *, query_grid: tuple[int, int] | None = None,
    index: Tensor | None = None, object: int | None = None,
) -> None:  # fmt: skip
    """Hand over the weights (B, heads, Nq, Nk) of one attention; see `AttentionMap`.

    `frames` are the numbers of the key frames, None: the frame that looks. `query_grid` is the
    (H, W) of `key_grid` if not given. Does nothing when nothing is recorded.
    """
    recording = _recording.get()
    if recording is None or not wants_weights(name) or not fnmatch(name, recording.only):
        return
    now, grid = _frame.get(), query_grid or key_grid[1:]
    frames = (now,) if frames is None else frames
    kept, index = weights.detach().float().cpu(), None if index is None else index.cpu()
    recording.append(AttentionMap(name, kept, grid, key_grid, frames, now, index, object))
