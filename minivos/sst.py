"""SST: sparse spatiotemporal transformers.

Duke, Ahmed, Wolf, Aarabi and Taylor, "SSTVOS: Sparse Spatiotemporal Transformers for Video Object
Segmentation", CVPR 2021. Notebook 04 takes it apart; docs/equations.md lists its equations.

A map of how each cell of a video looks at every other soon fits into no memory. SST lets a cell
look at few others, chosen by its place only, and stacks layers, so that what is far away arrives
over several steps. What the decoder is told about an object is the *object affinity*: how strongly
a cell looks at the most similar earlier cell of that object.

    nn/patterns.py                      the sets I_p, as index arithmetic          Sec. 3.2
    SSTConfig                           sizes and presets
    sparse_attention, grid_attention    softmax over the set of each cell          Eq. 5, 6
    grid_routes                         the same without softmax, several times    Eq. 7 to 10
    object_affinity                     the strongest link to each object          Eq. 4
    sine_position_3d, LearnedPosition   positions                                  Eq. 2
    SSTLayer                            attention and feed-forward                 Fig. 2, Eq. 3
    SST                                 encode, read, memorize                     Fig. 2, Eq. 1

The authors never released the network. What the paper leaves open is chosen here: for each object
the decoder sees its affinity and the largest of the other objects' (a channel per layer and head),
with the same weights for every object; local and strided layers see all frames of the buffer, which
are fewer than any stride. The paper's decoder is CFBI's; here a feature pyramid (FPN) stands in for
it. `sst_mini` has a smaller encoder, which learns from scratch, a smaller decoder and a finer grid;
its affinity is by distance, and its buffer keeps the given frame.

Letters: B batch, C channels, T frames in the buffer, H x W grid, O = 1 + K objects, background
included, h the reach or stride of a pattern. A cell is p = (t, y, x). Heads are called heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.checks import check_frame, check_masks, check_memory
from minivos.nn.decoders import FPNDecoder
from minivos.nn.encoders import ENCODERS
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.nn.patterns import CHOICES, PATTERNS, Boxes, Cell, Grid, Pattern, cells_of, check_fit
from minivos.nn.recording import Rows, at_frame, record
from minivos.nn.summary import show_network

PAIRS = ("local_strided", "strided_heads")  # layers that take turns; both in each layer (Sec. 3.2)
AFFINITIES = ("softmax", "score", "distance")
POSITIONS = ("sine", "learned", "none")


@dataclass(frozen=True)
class SSTConfig:
    """Sizes of an SST network; the defaults are those of the paper, as far as it gives them."""

    encoder: str = "resnet101"  # any of ENCODERS (paper: ResNet-101)
    pattern: str = "local"  # one of PATTERNS or of PAIRS (paper: local is best)
    layers: int = 2  # L (paper: 1 to 3; local and strided 2)
    width: int = 96  # C, channels of a cell (paper: not given; its config file embeds in 100)
    heads: int = 8  # attention heads (its config file: 8)
    feedforward: int = 192  # channels inside the feed-forward part (paper: not given)
    h: int = 7  # local: reach; strided: stride, in cells (paper: root of the grid's width)
    temporal: str = "dense"  # local and strided layers see all frames; "same": h counts along t
    local_window: str = "open"  # side 2 h - 1; "cube": side h
    scale: bool = False  # divide scores by the root of their channels (paper: no)
    affinity: str = "softmax"  # the largest softmax weight, score or distance (paper: open)
    position: str = "sine"  # sine, learned or none (paper: sine is best)
    history: int = 2  # tau, earlier frames in the buffer (paper: 1 to 3)
    keep_first: bool = False  # frames with given masks stay in the buffer (paper: not said)
    decoder_width: int = 128  # channels inside the decoder (paper: not given)
    short_side: int | None = None  # pixels, of the frames it works on; None: of the video

    @classmethod
    def mini(cls) -> SSTConfig:
        """A network that learns on a laptop."""
        sizes = cls(encoder="tiny", heads=4, h=5, history=3, decoder_width=48, short_side=192)
        return replace(sizes, affinity="distance", keep_first=True)

    def patterns(self) -> list[Pattern]:
        """The pattern of each attention; a layer with strided_heads has two."""
        names = ["local", "strided"] if self.pattern in PAIRS else [self.pattern]
        count = 2 * self.layers if self.pattern == "strided_heads" else self.layers
        settings = self.h, self.scale, self.temporal, self.local_window  # the fields of Pattern
        return [PATTERNS[names[i % len(names)]](*settings) for i in range(count)]

    def __post_init__(self) -> None:
        names: dict[str, Any] = {"encoder": ENCODERS, "pattern": [*PATTERNS, *PAIRS]}
        check_settings(self, affinity=AFFINITIES, position=POSITIONS, **names, **CHOICES)
        width_fits = self.width % self.heads == 0 == self.width % 6
        takes_turns = self.pattern != "local_strided" or self.layers > 1
        check_rules({
            f"width={self.width} must be a multiple of 6 and of heads={self.heads}": width_fits,
            f"decoder_width={self.decoder_width} must be 16 n": self.decoder_width % 16 == 0,
            "one layer of local_strided is local only: use 2, or strided_heads": takes_turns,
        })  # fmt: skip


# Sparse attention ---------------------------------------------------------------------------------


def find_pattern(name: str, h: int | None = None, **settings: Any) -> Pattern:
    """A pattern by name; `settings` are fields of `Pattern`. Local and strided need h."""
    if name not in PATTERNS:
        raise InputError(f"got pattern={name!r}; expected one of {', '.join(PATTERNS)}")
    if h is None and name in ("local", "strided"):
        raise InputError(f"{name} attention needs h, its window or stride in cells")
    return PATTERNS[name](1 if h is None else h, **settings)


def connectivity(
    pattern: str, shape: Cell, cell: Cell, h: int | None = None, **settings: Any
) -> list[Cell]:
    """I_p (Sec. 3.2): the cells of a video (T, H, W) that `cell` looks at, in order, each once."""
    chosen = find_pattern(pattern, h, **settings)
    for name, numbers in (("shape (T, H, W)", shape), ("cell (t, y, x)", cell)):
        if len(numbers) != 3 or not all(isinstance(number, int) for number in numbers):
            raise InputError(f"got {numbers} as {name}; expected three whole numbers")
    check_fit(chosen, shape)
    if not all(0 <= place < size for place, size in zip(cell, shape, strict=True)):
        raise InputError(f"got cell {cell} of a video of {shape} cells, which count from 0")
    cells = cells_of(shape)
    return [tuple(r) for r in cells[chosen.connected(cells - torch.tensor(cell))].tolist()]


def sparse_attention(
    q: Tensor, k: Tensor, v: Tensor, pattern: str, h: int | None = None, **settings: Any
) -> Tensor:
    """softmax(Q_p K_I^T) V_I over the cells I_p that each cell looks at (Eq. 6), one head.

    q, k (B, C, T, H, W), v (B, Cv, T, H, W) -> (B, Cv, T, H, W); `settings` as in `find_pattern`.
    """
    chosen = find_pattern(pattern, h, **settings)
    check_inputs(chosen, q=q, k=k, v=v)
    return attend_sparsely(q, k, v, chosen)


def check_inputs(pattern: Pattern, **inputs: Tensor) -> None:
    """InputError unless q, k, perhaps v are float (B, C, T, H, W), alike but for the C of v."""
    for name, x in inputs.items():
        if not isinstance(x, Tensor) or x.dim() != 5 or not x.is_floating_point():
            kind = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"got {name} as {kind}; expected a float tensor (B, C, T, H, W)")
    q, k = inputs["q"], inputs["k"]
    kinds = {(len(x), x.shape[2:], x.dtype, x.device) for x in inputs.values()}
    if len(kinds) > 1 or q.shape[1] != k.shape[1]:
        got = [f"{name} {tuple(x.shape)} {x.dtype} on {x.device}" for name, x in inputs.items()]
        raise InputError(f"got {', '.join(got)}; expected them alike, but for the C of v")
    check_fit(pattern, q.shape[2:])


def grid_attention(q: Tensor, k: Tensor, v: Tensor, **settings: Any) -> Tensor:
    """`sparse_attention` along the three axes through each cell."""
    return sparse_attention(q, k, v, "grid", **settings)


def local_attention(q: Tensor, k: Tensor, v: Tensor, h: int, **settings: Any) -> Tensor:
    """`sparse_attention` within fewer than h cells."""
    return sparse_attention(q, k, v, "local", h, **settings)


def strided_attention(q: Tensor, k: Tensor, v: Tensor, h: int, **settings: Any) -> Tensor:
    """`sparse_attention` in steps of h cells."""
    return sparse_attention(q, k, v, "strided", h, **settings)


def attend_sparsely(q: Tensor, k: Tensor, v: Tensor, pattern: Pattern) -> Tensor:
    """`sparse_attention` for a pattern, without checks; queries may be of the last frames only."""
    if not isinstance(pattern, Boxes):  # a grid, whose three lines share one softmax
        return carry_along(grid_scores(q, k, pattern).softmax(dim=-1), v)
    out, factor = q.new_zeros(q.shape[0], v.shape[1], *q.shape[2:]), pattern.factor(q.shape[1])
    for here, there, mask in pattern.boxes(k.shape[2:], q.shape[2], q.device):
        parts = (rearrange(x, "b c t y x -> b 1 (t y x) c") for x in (q[here], k[there], v[there]))
        a, b, c = (part.contiguous() for part in parts)  # for the kernel that builds no map
        read = F.scaled_dot_product_attention(a, b, c, mask, scale=factor)  # SST Eq. 5, 6
        out[here] = rearrange(read, "b 1 n c -> b c n").view_as(out[here])
    return out


def grid_scores(q: Tensor, k: Tensor, pattern: Pattern) -> Tensor:
    """Dot products along x, y and t, one behind the other: (B, Tq, H, W, W + H + T).

    A cell stands on all three lines; it counts along x, and is -inf along y and t.
    """
    last, frames, height = q.shape[2], k.shape[2], k.shape[3]
    parts = (rearrange(x, "b c t y x -> b t y x c") for x in (q * pattern.factor(q.shape[1]), k))
    q, k = (part.contiguous() for part in parts)  # products along t are faster so
    now = k[:, -last:]
    own_y = torch.eye(height, dtype=torch.bool, device=q.device)[:, None]  # (H, 1, H)
    own_t = torch.eye(frames, dtype=torch.bool, device=q.device)[-last:, None, None]
    along_x = einsum(q, now, "b t y x c, b t y i c -> b t y x i")
    along_y = einsum(q, now, "b t y x c, b t j x c -> b t y x j").masked_fill(own_y, -torch.inf)
    along_t = einsum(q, k, "b t y x c, b n y x c -> b t y x n").masked_fill(own_t, -torch.inf)
    return torch.cat([along_x, along_y, along_t], dim=-1)


def carry_along(weights: Tensor, v: Tensor) -> Tensor:
    """Sums of values (B, C, T, H, W), weighted along x, y and t as in `grid_scores`."""
    frames, height, width = v.shape[2:]
    along_x, along_y, along_t = weights.split([width, height, frames], dim=-1)
    v = rearrange(v, "b c t y x -> b t y x c").contiguous()
    now = v[:, -weights.shape[1] :]
    carried = einsum(along_x, now, "b t y x i, b t y i c -> b t y x c")
    carried = carried + einsum(along_y, now, "b t y x j, b t j x c -> b t y x c")
    carried = carried + einsum(along_t, v, "b t y x n, b n y x c -> b t y x c")
    return rearrange(carried, "b t y x c -> b c t y x")


def grid_routes(features: Tensor, values: Tensor, steps: int = 3) -> Tensor:
    """Grid attention without softmax, `steps` times, features being queries and keys (Eq. 7 to 10).

    Features (B, C, T, H, W), values (B, Cv, T, H, W), as returned: each is carried along every
    route of so many steps, one axis a step, times the dot products of the features that meet.
    """
    check_inputs(Grid(), q=features, k=features, v=values)
    if not isinstance(steps, int) or steps < 0:
        raise InputError(f"got steps={steps!r}; expected a whole number, 0 or more")
    lines = grid_scores(features, features, Grid())
    lines = lines.masked_fill(lines == -torch.inf, 0)
    for _ in range(steps):  # three make SST Eq. 7, 10
        values = carry_along(lines, values)  # SST Eq. 8, 9
    return values


def explicit_weights(
    q: Tensor, k: Tensor, pattern: Pattern, heads: int = 1, rows: Rows = slice(None)
) -> tuple[Tensor, Tensor]:
    """The definition written out, slow and large, for some queries, by their numbers.

    Weights (B, heads, R, I), and the cells they belong to, (R, I), or -1.
    """
    cells = cells_of(k.shape[2:], q.device)
    queries, keys = (rearrange(x, "(b n) c t y x -> b n (t y x) c", n=heads) for x in (q, k))
    connected = pattern.connected(cells - cells[-queries.shape[2] :][rows, None])  # (R, T*H*W)
    queries = queries[:, :, rows]
    scores = queries @ keys.mT * pattern.factor(q.shape[1])
    weights = scores.masked_fill(~connected, -torch.inf).softmax(dim=-1)
    most = connected.sum(dim=1).max()
    index = connected.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    weights = weights.gather(-1, index.expand(*weights.shape[:2], -1, -1))
    return weights, index.where(connected.gather(1, index), -1)


# Object affinity ----------------------------------------------------------------------------------


def object_affinity(
    q: Tensor, k: Tensor, labels: Tensor, objects: int,
    pattern: str, h: int | None = None, kind: str = "softmax", **settings: Any,
) -> Tensor:  # fmt: skip
    """The strongest link of each cell to earlier cells of each object (Eq. 4): (B, O, T, H, W).

    q and k (B, C, T, H, W) of one head, labels (B, T, H, W) in 0..O-1, or -1 where unknown;
    `objects` is O, background included. `kind` of link: attention weight ("softmax"), "score", or
    2 / (1 + exp(|q - k|^2)) ("distance"). 0 where an object has no earlier cell within reach.
    """
    chosen = find_pattern(pattern, h, **settings)
    check_inputs(chosen, q=q, k=k)
    if kind not in AFFINITIES:
        raise InputError(f"got kind={kind!r}; expected one of {', '.join(AFFINITIES)}")
    if not isinstance(objects, int) or objects < 1:
        raise InputError(f"got objects={objects!r}; expected a whole number, 1 or more")
    check_labels(labels, (len(q), *q.shape[2:]), objects)
    return strongest_links(q, k, labels, objects, chosen, kind)


def check_labels(labels: Tensor, shape: tuple[int, ...], objects: int) -> None:
    """InputError unless labels are integers from -1 to objects - 1, one per cell."""
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        kind = getattr(labels, "dtype", type(labels))
        raise InputError(f"got labels of type {kind}; expected a tensor of integers")
    if labels.shape != shape:
        raise InputError(f"got labels of shape {tuple(labels.shape)}; expected {shape}")
    low, high = labels.min().item(), labels.max().item()
    if low < -1 or high >= objects:
        raise InputError(f"got labels {low} to {high}; expected -1 (unknown) to {objects - 1}")


def strongest_links(
    q: Tensor, k: Tensor, labels: Tensor, objects: int, pattern: Pattern, kind: str
) -> Tensor:
    """`object_affinity` for a pattern, without checks; queries may be of the last frames only."""
    if kind == "distance":
        pattern = replace(pattern, scale=False)  # only scores are scaled
    last, times = q.shape[2], torch.arange(k.shape[2], device=q.device)
    square_q, square_k = q.square().sum(dim=1), k.square().sum(dim=1)  # (B, T, H, W)
    if not isinstance(pattern, Boxes):  # a grid, whose earlier cells are at the same place
        labels, square_k = (rearrange(x, "b t y x -> b 1 y x t") for x in (labels, square_k))
        scores = grid_scores(q, k, pattern)
        if kind != "softmax":
            scores = scores[..., -len(times) :]  # those along t
        links = as_links(scores, kind, square_q[..., None], square_k)
        earlier = times < times[-last:, None, None, None]  # (Tq, 1, 1, T)
        return strongest(links[..., -len(times) :], earlier, labels, objects)

    out = q.new_zeros(len(q), objects, *q.shape[2:])
    time_of_key = times[:, None, None].expand(k.shape[2:])
    q = q * pattern.factor(q.shape[1])
    for here, there, mask in pattern.boxes(k.shape[2:], last, q.device):
        queries, keys = (rearrange(x, "b c t y x -> b (t y x) c") for x in (q[here], k[there]))
        scores = queries @ keys.mT  # (B, queries, keys)
        earlier = time_of_key[there].flatten() < time_of_key[-last:][here].flatten()[:, None]
        if mask is not None:
            earlier, scores = earlier & mask, scores.masked_fill(~mask, -torch.inf)
        squares = square_q[here].flatten(1)[..., None], square_k[there].flatten(1)[:, None]
        links = as_links(scores, kind, *squares)
        link = strongest(links, earlier, labels[there].flatten(1)[:, None], objects)
        out[here] = link.view_as(out[here])
    return out


def as_links(scores: Tensor, kind: str, square_q: Tensor, square_k: Tensor) -> Tensor:
    """Links of a kind from dot products and squared lengths: 2 / (1 + exp(|q - k|^2)) is 1 to 0."""
    if kind == "distance":
        distance = (square_q + square_k - 2 * scores).clamp(min=0)
        return 2 * torch.sigmoid(-distance)
    return scores.softmax(dim=-1) if kind == "softmax" else scores


def strongest(links: Tensor, allowed: Tensor, labels: Tensor, objects: int) -> Tensor:
    """The largest allowed link (B, ..., keys) to a cell of each object, at least 0: (B, O, ...)."""
    per_object = []
    for number in range(objects):  # SST Eq. 4
        other = ~(allowed & (labels == number))
        largest, place = links.detach().masked_fill(other, 0).max(dim=-1, keepdim=True)
        link = links.gather(-1, place).where(largest > 0, 0)  # gradients flow to this link only
        per_object.append(link.squeeze(-1))
    return torch.stack(per_object, dim=1)


# Positions ----------------------------------------------------------------------------------------


def sine_position_3d(
    times: Tensor, height: int, width: int, channels: int, base: float = 100.0
) -> Tensor:
    """Sine position encoding P of Eq. 2: (C, T, H, W), a third of the channels each for t, y, x.

    Channels j and j+1 of a third are sine and cosine of place / base^(3 j / C), along t of the
    frame numbers `times`. A base of 100 suits short axes (10,000 is usual for text).
    """
    if channels % 6:
        raise InputError(f"got {channels} channels; expected a multiple of 6: two for each axis")
    third = channels // 3
    wave = base ** (torch.arange(0, third, 2, device=times.device) / third)
    places = torch.stack(torch.broadcast_tensors(*axes(times, height, width)))  # (3, T, H, W)
    angle = places[..., None] / wave
    waves = torch.stack([angle.sin(), angle.cos()], dim=-1)
    return rearrange(waves, "three t y x j two -> (three j two) t y x")


class LearnedPosition(nn.Module):
    """Learned P of Eq. 2: tables of `most` vectors, one an axis, summed; the last serves beyond."""

    def __init__(self, channels: int, most: int = 300) -> None:
        super().__init__()
        tables = (nn.Parameter(0.02 * torch.randn(most, channels)) for _ in range(3))
        self.tables = nn.ParameterList(tables)

    def forward(self, times: Tensor, height: int, width: int) -> Tensor:
        """P of frames with the numbers `times`: (C, T, H, W)."""
        pairs = zip(self.tables, axes(times, height, width), strict=True)
        t, y, x = (table[places.clamp(max=len(table) - 1)] for table, places in pairs)
        return rearrange(t + y + x, "t y x c -> c t y x")


def axes(times: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places along t, y and x, of shapes that broadcast to (T, H, W)."""
    y, x = (torch.arange(length, device=times.device) for length in (height, width))
    return times[:, None, None], y[:, None], x


# The network --------------------------------------------------------------------------------------


class SSTLayer(nn.Module):
    """One layer g of the encoder: attention and feed-forward, each x -> norm(x + f(x)) (Fig. 2)."""

    def __init__(self, config: SSTConfig, pattern: Pattern, name: str) -> None:
        super().__init__()
        self.pattern, self.name = pattern, name
        self.heads, self.kind = config.heads, config.affinity
        c, inner = config.width, config.feedforward
        self.query, self.key, self.value, self.project = (nn.Linear(c, c) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        nn.init.orthogonal_(self.query.weight, gain=0.25)  # ours: like looks at like, softly
        self.key.load_state_dict(self.query.state_dict())
        self.feed_forward = nn.Sequential(nn.Linear(c, inner), nn.ReLU(), nn.Linear(inner, c))
        self.whole = config.pattern != "strided_heads" or isinstance(pattern, PATTERNS["strided"])
        if not self.whole:  # local heads: the strided ones of the layer come before the rest of it
            del self.norm2, self.feed_forward

    def forward(
        self, x: Tensor, labels: Tensor, objects: int, frames: tuple[int, ...], last: int
    ) -> tuple[Tensor, Tensor]:
        """The `last` frames of x (B, T, H, W, C), a layer on, and affinity (B, heads, O, H, W).

        The affinity is that of the last frame, -1 in labels (B, T, H, W); `frames` are T numbers.
        """
        now = x[:, -last:]
        fold = "b t y x (n c) -> (b n) c t y x"
        q, k, v = self.query(now), self.key(x), self.value(x)
        q, k, v = (rearrange(part, fold, n=self.heads) for part in (q, k, v))
        look = partial(explicit_weights, q[:, :, -1:], k, self.pattern, self.heads)
        record(look, self.name, (len(frames), k.shape[3], k.shape[4]), frames)  # of the last frame
        read = attend_sparsely(q, k, v, self.pattern)
        read = rearrange(read, "(b n) c t y x -> b t y x (n c)", n=self.heads)
        now = self.norm1(now + self.project(read))
        if self.whole:
            now = self.norm2(now + self.feed_forward(now))

        labels = repeat(labels, "b t y x -> (b n) t y x", n=self.heads)
        affinity = strongest_links(q[:, :, -1:], k, labels, objects, self.pattern, self.kind)
        return now, rearrange(affinity, "(b n) o 1 y x -> b n o y x", n=self.heads)


@dataclass(frozen=True)
class SSTSeen(Seen):
    """What SST knows of one frame."""

    features: list[Tensor]  # of the encoder, finest scale first
    cells: Tensor  # (B, H, W, C)


@dataclass
class SSTEntry(Entry):
    """What SST keeps of one frame."""

    cells: Tensor  # (B, H, W, C)
    labels: Tensor  # (B, H, W), the object that most of each cell belongs to
    objects: int  # O = 1 + K, background included


class SST(VOSNetwork[SSTSeen, SSTEntry]):
    """The whole network: encoder, sparse transformer over a buffer of frames, decoder."""

    seen_type, entry_type = SSTSeen, SSTEntry
    independent_maps = True

    def __init__(self, config: SSTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder]()
        width, shortcuts = config.width, self.encoder.channels[:3]
        self.project = nn.Conv2d(self.encoder.channels[-1], width, kernel_size=1)
        self.norm = nn.LayerNorm(width)  # so that cells and positions are of one size
        self.position = LearnedPosition(width) if config.position == "learned" else None
        patterns = enumerate(config.patterns(), start=1)
        self.layers = nn.ModuleList(SSTLayer(config, each, f"layer{i}") for i, each in patterns)
        told = 2 * width + 2 * len(self.layers) * config.heads
        self.decoder = FPNDecoder(told, shortcuts, config.decoder_width, 1, align_corners=False)

        self.sizing = Sizing(self.encoder.strides[-1], config.short_side)
        history, first = config.history, config.keep_first
        self.schedule = Schedule(first, previous=0, last=history, at_most=history + 4)

    def encode(self, frame: Tensor) -> SSTSeen:
        """RGB frames (B, 3, H, W) in [0, 1], H and W as `sizing` gives them -> seen."""
        check_frame(self, frame)
        features = self.encoder(self.normalise(frame))  # SST Eq. 1
        cells = self.norm(rearrange(self.project(features[-1]), "b c y x -> b y x c"))
        return SSTSeen(size_of(frame), features, cells)

    def read(self, seen: SSTSeen, memory: Memory[SSTEntry]) -> tuple[Tensor, SSTSeen]:
        """Logits (B, O, h, w) of the finest scale, each to go through a sigmoid; and seen."""
        entries = check_memory(self, seen, memory)
        objects = max(entry.objects for entry in entries)
        frames = (*(entry.frame for entry in entries), memory.now)
        cells = torch.stack([*(entry.cells for entry in entries), seen.cells], dim=1)
        unknown = torch.full_like(entries[-1].labels, -1)
        labels = torch.stack([*(entry.labels for entry in entries), unknown], dim=1)  # (B, T, H, W)

        for pattern in self.config.patterns():
            check_fit(pattern, (len(frames), *seen.cells.shape[1:3]))
        x = cells + self.place(torch.tensor(frames, device=cells.device), cells)  # SST Eq. 2
        affinities = []
        with at_frame(memory.now):
            for layer in self.layers:  # SST Eq. 3
                last = 1 if layer is self.layers[-1] else len(frames)  # in the end the newest only
                x, affinity = layer(x, labels, objects, frames, last)
                affinities.append(affinity)
        return self.decode(seen, x[:, -1], torch.cat(affinities, dim=1)), seen

    def place(self, times: Tensor, cells: Tensor) -> Tensor:
        """The encoding P of Eq. 2 for frames with these numbers: (T, H, W, C), or 0."""
        height, width, channels = cells.shape[2:]
        if self.config.position == "none":
            return cells.new_zeros(())
        encode = self.position or partial(sine_position_3d, channels=channels)
        return rearrange(encode(times, height, width), "c t y x -> t y x c")

    def decode(self, seen: SSTSeen, context: Tensor, affinity: Tensor) -> Tensor:
        """Logits (B, O, h, w) from context (B, H, W, C) and affinity (B, L*heads, O, H, W)."""
        objects = affinity.shape[2]
        own = torch.eye(objects, dtype=torch.bool, device=affinity.device)[:, :, None, None]
        others = affinity[:, :, None].masked_fill(own, 0).amax(dim=3)  # (B, L*heads, O, H, W)
        shared = torch.cat([seen.cells, context], dim=-1)
        shared = repeat(shared, "b y x c -> b c o y x", o=objects)
        told = torch.cat([shared, affinity, others], dim=1)
        logits = self.decoder(rearrange(told, "b c o y x -> (b o) c y x"), seen.features[:3])
        return rearrange(logits, "(b o) 1 y x -> b o y x", o=objects)

    def memorize(self, seen: SSTSeen, masks: Tensor) -> SSTEntry:
        """Cells and labels of a frame with its masks (B, O, H, W), H and W as of the frame."""
        check_masks(self, seen, masks)
        _, height, width, _ = seen.cells.shape
        labels = F.adaptive_avg_pool2d(masks, (height, width)).argmax(dim=1)
        return SSTEntry(seen.size, seen.cells, labels, masks.shape[1])


if __name__ == "__main__":
    show_network(SST(SSTConfig.mini()))
