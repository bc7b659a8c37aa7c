"""The recorder: every attention map that is computed inside `with record_attention() as maps:`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatch

from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """What the rows and columns of an attention matrix stand for.

    Rows are the cells of `query_grid`, row by row. Columns are the cells of one grid per key frame,
    frame by frame, or, where each query sees only some cells (a window, a cross), the cells named
    in `index`.
    """

    name: str  # for example "block1/long_term"
    query_grid: tuple[int, int]  # (H, W)
    key_grid: tuple[int, int, int]  # (T, H, W)
    key_frames: tuple[int, ...] | None = (
        None  # frame number of each key frame; None: the query's own frame
    )
    index: Tensor | None = (
        None  # (Nq, Nk) cell of the key grid that each column is, -1 outside the frame
    )


@dataclass(frozen=True, repr=False)
class AttentionMap:
    """The weights of one attention, on the CPU, with their geometry. Each row sums to one."""

    name: str
    weights: Tensor  # (B, heads, Nq, Nk) in [0, 1]
    query_grid: tuple[int, int]
    key_grid: tuple[int, int, int]
    key_frames: tuple[int, ...]
    query_frame: int
    index: Tensor | None = None  # (Nq, Nk), see Place

    def __repr__(self) -> str:
        return (
            f"AttentionMap({self.name!r}, frame {self.query_frame} looks at {list(self.key_frames)}, "
            f"weights {tuple(self.weights.shape)})"
        )

    def dense(self) -> Tensor:
        """The weights over all cells of the key grid, (B, heads, Nq, T*H*W); cells that are not
        seen get 0.
        """
        return self._on_key_grid(self.weights, self.index)

    def _on_key_grid(self, weights: Tensor, index: Tensor | None) -> Tensor:
        """Weights (..., Nk) of the cells in index ([Nq,] Nk) -> (..., T*H*W)."""
        if index is None:
            return weights
        cells = self.key_grid[0] * self.key_grid[1] * self.key_grid[2]
        full = weights.new_zeros(*weights.shape[:-1], cells)
        return full.scatter_add_(-1, index.clamp(min=0).expand_as(weights), weights)

    def look_from(self, y: int, x: int, batch: int = 0) -> Tensor:
        """Where query cell (y, x) looks: (heads, T, H, W), sums to one per head; IndexError
        outside the grid.
        """
        height, width = self.query_grid
        if not (0 <= y < height and 0 <= x < width):
            raise IndexError(
                f"cell ({y}, {x}) is outside the query grid of {height} x {width} cells"
            )
        cell, (t, h, w) = y * width + x, self.key_grid
        row = self._on_key_grid(
            self.weights[batch, :, cell], None if self.index is None else self.index[cell]
        )
        return rearrange(row, "n (t h w) -> n t h w", t=t, h=h, w=w)


class Recording(list[AttentionMap]):
    """The attention maps of one `record_attention` block, in the order in which they were
    computed.
    """

    def __init__(self, only: str) -> None:
        super().__init__()
        self.only = only
        self.names_met: set[str] = set()

    def find(self, name: str, frame: int | None = None) -> AttentionMap:
        """The last map called `name` (wildcards allowed), of query frame number `frame` if
        given; KeyError if none.
        """
        for found in reversed(self):
            if fnmatch(found.name, name) and frame in (None, found.query_frame):
                return found
        known = sorted({(m.name, m.query_frame) for m in self})
        raise KeyError(f"no map called {name!r} for frame {frame}; recorded (name, frame): {known}")


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)


_explicit: ContextVar[bool] = ContextVar("explicit", default=False)


_frame: ContextVar[int] = ContextVar("frame", default=-1)


@contextmanager
def record_attention(only: str = "*") -> Iterator[Recording]:
    """Keep every attention map computed inside the block whose name matches `only` (wildcards
    allowed).

    Raises RuntimeError at the end of the block when nothing was recorded.
    """
    recording = Recording(only)
    token = _recording.set(recording)
    try:
        yield recording
    finally:
        _recording.reset(token)
    if not recording:
        met = sorted(recording.names_met)
        raise RuntimeError(
            f"no attention called {only!r} was recorded; "
            + (
                f"names met: {met}"
                if met
                else "no attention ran inside the block: run the network inside it"
            )
        )


@contextmanager
def at_frame(number: int) -> Iterator[None]:
    """Say which frame of the video is being processed, so that recorded maps know."""
    token = _frame.set(number)
    try:
        yield
    finally:
        _frame.reset(token)


def current_frame() -> int:
    """The number of the frame that is being processed, as `at_frame` says; -1 if nobody said."""
    return _frame.get()


@contextmanager
def explicit_attention() -> Iterator[None]:
    """Run attention in its explicit form, as if it were recorded: to compare forms, not to save
    anything.
    """
    token = _explicit.set(True)
    try:
        yield
    finally:
        _explicit.reset(token)


def wants_weights(*names: str) -> bool:
    """Whether attention has to build the weights of these maps: somebody records one, or wants
    the explicit form.
    """
    recording = _recording.get()
    if recording is None:
        return _explicit.get()
    recording.names_met.update(names)
    return _explicit.get() or any(fnmatch(name, recording.only) for name in names)


def record(weights: Tensor, place: Place) -> None:
    """Hand the weights (B, heads, Nq, Nk) of one attention to the recorder; does nothing when
    nobody listens.
    """
    recording = _recording.get()
    if recording is None:
        return
    recording.names_met.add(place.name)
    if fnmatch(place.name, recording.only):
        now = _frame.get()
        frames = (now,) if place.key_frames is None else place.key_frames
        kept = weights.detach().float().cpu()
        index = None if place.index is None else place.index.cpu()
        recording.append(
            AttentionMap(place.name, kept, place.query_grid, place.key_grid, frames, now, index)
        )
