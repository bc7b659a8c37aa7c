"""Sparse attention as plain functions, one head: a pattern is named, and the input is checked.

Duke et al., "SSTVOS", CVPR 2021, Sec. 3.2; `minivos/nn/patterns.py` does the work.

    connectivity                      the set I_p of one cell
    sparse_attention, ...             softmax over that set                               Eq. 5, 6
    grid_routes                       the same without softmax, several times             Eq. 7 to 10
    object_affinity                   the strongest link to the earlier cells of each object       Eq. 4

Letters: B batch, C channels, T frames, H x W grid, O = 1 + K objects, background included. A cell is
p = (t, y, x).
"""

from __future__ import annotations

import torch
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.patterns import AFFINITIES, PATTERNS, Cell, Grid, Local, Pattern, Strided, cells_of


def find_pattern(
    name: str, h: int | None = None, scale: bool = False, temporal: str = "same", local_window: str = "open"
) -> Pattern:
    """A pattern by name; InputError for an unknown name or setting, and for a local or strided one without h."""
    if name not in PATTERNS:
        raise InputError(f"there is no pattern {name!r}; choose one of {', '.join(PATTERNS)}")
    if h is None and name in ("local", "strided"):
        raise InputError(f"{name} attention needs h, its window or stride in cells")
    return PATTERNS[name](1 if h is None else h, scale, temporal, local_window)


def connectivity(
    pattern: str, shape: Cell, cell: Cell, h: int | None = None, temporal: str = "same", local_window: str = "open"
) -> list[Cell]:
    """I_p (Sec. 3.2): the cells (t, y, x), in order, that `cell` looks at in a video of shape (T, H, W), itself once.

    Raises InputError unless shape and cell are three whole numbers, for a cell outside, and as `sparse_attention`.
    """
    found = find_pattern(pattern, h, temporal=temporal, local_window=local_window)
    for name, numbers in (("shape (T, H, W)", shape), ("cell (t, y, x)", cell)):
        if len(numbers) != 3 or not all(isinstance(number, int) for number in numbers):
            raise InputError(f"the {name} came as {numbers}; give three whole numbers")
    check_fit(found, shape)
    if not all(0 <= place < size for place, size in zip(cell, shape, strict=True)):
        raise InputError(f"the cell {cell} is outside a video of {shape} cells, which count from 0")
    cells = cells_of(tuple(map(range, shape)), torch.device("cpu"))
    return [tuple(r) for r in cells[found.connected(cells - torch.tensor(cell))].tolist()]


def sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: str,
    h: int | None = None,
    scale: bool = False,
    temporal: str = "same",
    local_window: str = "open",
) -> Tensor:
    """softmax(Q_p K_I^T) V_I over the cells I_p that each cell is connected to (Eq. 6), one head.

    q and k (B, C, T, H, W), v (B, Cv, T, H, W) -> (B, Cv, T, H, W). `scale` divides scores by sqrt(C). Raises
    InputError for an unknown pattern, for h below 1 or larger than the grid, and when q, k and v do not fit together.
    """
    found = find_pattern(pattern, h, scale, temporal, local_window)
    check_together(q=q, k=k, v=v)
    check_fit(found, tuple(q.shape[2:]))
    return found.attend(q, k, v)


def grid_attention(q: Tensor, k: Tensor, v: Tensor, scale: bool = False) -> Tensor:
    """`sparse_attention` along the three axes through each cell."""
    return sparse_attention(q, k, v, "grid", scale=scale)


def local_attention(
    q: Tensor, k: Tensor, v: Tensor, h: int, scale: bool = False, temporal: str = "same", local_window: str = "open"
) -> Tensor:
    """`sparse_attention` within fewer than h cells."""
    return sparse_attention(q, k, v, "local", h, scale, temporal, local_window)


def strided_attention(q: Tensor, k: Tensor, v: Tensor, h: int, scale: bool = False, temporal: str = "same") -> Tensor:
    """`sparse_attention` in steps of h cells."""
    return sparse_attention(q, k, v, "strided", h, scale, temporal)


def grid_routes(features: Tensor, values: Tensor, steps: int = 3) -> Tensor:
    """Grid attention without softmax, `steps` times, with the features as queries and keys each time (Eq. 7 to 10).

    Features (B, C, T, H, W), values (B, Cv, T, H, W), as returned: each value is carried along every route of so many
    steps, one axis a step, and multiplied by the dot products of the features that meet on the way. Raises InputError
    when the two do not fit together, and for steps below 0.
    """
    check_together(q=features, k=features, v=values)
    if not isinstance(steps, int) or steps < 0:
        raise InputError(f"steps={steps!r} came; give a whole number, 0 or more")
    lines = [line.masked_fill(line == -torch.inf, 0) for line in Grid().scores(features, features)]
    for _ in range(steps):  # three make SST Eq. 7, 10
        values = Grid().carry(lines, values)  # SST Eq. 8, 9
    return values


def object_affinity(
    q: Tensor,
    k: Tensor,
    labels: Tensor,
    objects: int,
    pattern: str,
    h: int | None = None,
    scale: bool = False,
    kind: str = "softmax",
    temporal: str = "same",
    local_window: str = "open",
) -> Tensor:
    """The strongest link of each cell to the strictly earlier cells of each object (Eq. 4), one head: (B, O, T, H, W).

    q and k (B, C, T, H, W), labels (B, T, H, W) in 0..O-1, or -1 where nobody knows; `objects` is O, background
    included. `kind`: of the attention weights ("softmax"), the scores ("score"), or 2 / (1 + exp(|q - k|^2))
    ("distance"). 0 where an object has no earlier cell within reach. Raises InputError as `sparse_attention`, for an
    unknown kind, and for labels of another size or type, or beyond O-1.
    """
    found = find_pattern(pattern, h, scale, temporal, local_window)
    check_together(q=q, k=k)
    check_fit(found, tuple(q.shape[2:]))
    if kind not in AFFINITIES:
        raise InputError(f"there is no affinity {kind!r}; choose one of {', '.join(AFFINITIES)}")
    if not isinstance(objects, int) or objects < 1:
        raise InputError(f"objects={objects!r} came; give a whole number, 1 or more")
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        raise InputError(f"labels of type {getattr(labels, 'dtype', type(labels))} came; expected a tensor of integers")
    if labels.shape != (len(q), *q.shape[2:]):
        raise InputError(f"labels of shape {tuple(labels.shape)} came; expected {(len(q), *q.shape[2:])}, one per cell")
    if labels.max() >= objects or labels.min() < -1:
        low, high = labels.min().item(), labels.max().item()
        raise InputError(f"labels {low} to {high} came for {objects} objects; expected -1 (unknown) to {objects - 1}")
    return found.affinity(q, k, labels, objects, kind)


def check_together(**inputs: Tensor) -> None:
    """Raise InputError unless the tensors (B, C, T, H, W), float, agree in device, type and shape but for v's C."""
    if arrays := [name for name, tensor in inputs.items() if not isinstance(tensor, Tensor)]:
        raise InputError(f"{', '.join(arrays)} came as {type(inputs[arrays[0]]).__name__}; expected PyTorch tensors")
    q = inputs["q"]
    if not q.is_floating_point():
        raise InputError(f"q is {q.dtype}; expected a type of float")
    for name, tensor in inputs.items():
        alike = tensor.shape if name != "v" or tensor.dim() != 5 else (tensor.shape[0], q.shape[1], *tensor.shape[2:])
        if q.dim() != 5 or alike != q.shape:
            shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in inputs.items())
            raise InputError(f"{shapes} do not fit together; expected (B, C, T, H, W), all alike but for the C of v")
        if (tensor.device, tensor.dtype) != (q.device, q.dtype):
            raise InputError(
                f"q is {q.dtype} on {q.device}, {name} {tensor.dtype} on {tensor.device}; expected one type and device"
            )


def check_fit(pattern: Pattern, shape: Cell) -> None:
    """Raise InputError when the window or stride is larger than the grid."""
    limit = max(shape[1:] if pattern.temporal == "dense" else shape)
    if isinstance(pattern, Local | Strided) and pattern.h > limit:
        raise InputError(f"h={pattern.h} is larger than a video of {shape} cells (T, H, W); choose 1 to {limit}")
