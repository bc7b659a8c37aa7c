"""SST: sparse spatiotemporal transformers.

Duke, Ahmed, Wolf, Aarabi and Taylor, "SSTVOS: Sparse Spatiotemporal Transformers for Video Object
Segmentation", CVPR 2021. Notebook 04 takes it apart; docs/equations.md says where its equations
stand.

A video is a block of cells, and every cell could look at every other; but a map of all pairs soon
fits into no memory. SST lets each cell look at a small set of others that depends on its place
only, and stacks layers, so that what is far away arrives over several steps. What the decoder hears
about an object is the *object affinity*: how strongly a cell looks at the most similar earlier cell
of that object.

    nn/patterns.py                      who looks at whom; attention; object affinity       Sec. 3.2, Eq. 4 to 6
    nn/sparse.py                        the same as plain functions; routes                 Eq. 5 to 10
    SSTConfig                           sizes and presets
    sine_position_3d, LearnedPosition   positions                                           Eq. 2
    SSTLayer                            attention and feed-forward                          Fig. 2, Eq. 3
    SST                                 encode, read, memorize                              Fig. 2, Eq. 1

The authors never released the network. What the paper leaves open is chosen here: for each object
the decoder sees its affinity and the largest of the other objects' (a channel per layer and head),
with the same weights for every object; local and strided layers see all frames of the buffer, since
a history of a few frames is shorter than any stride. `sst_mini` has a smaller encoder, which learns
from scratch, a smaller decoder and a finer grid; its affinity is by distance, and its buffer keeps
the given frame.

Letters: B batch, C channels, T frames in the buffer, H x W grid, S = T*H*W cells, O = 1 + K
objects, background included. A cell is p = (t, y, x). Heads are folded into the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.decoders import FPNDecoder
from minivos.nn.encoders import ENCODERS
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Sizing, VOSNetwork
from minivos.nn.patterns import (
    AFFINITIES,
    PATTERNS,
    Cell,
    Grid,
    Pattern,
    cells_of,
    check_fit,
    check_together,
)
from minivos.nn.recording import Place, current_frame, record, wants_weights

POSITIONS = ("sine", "learned", "none")


@dataclass(frozen=True)
class SSTConfig:
    """Sizes of an SST network; the defaults are those of the paper, as far as it gives them."""

    encoder: str = "resnet101"  # any of ENCODERS (paper: ResNet-101)
    pattern: str = (
        "local"  # dense, grid, local, strided, or local_strided in turn (paper: local is best)
    )
    layers: int = 2  # L (paper: 1 to 3; local and strided 2)
    width: int = 96  # C, channels of a cell (paper: not given; its config file embeds in 100)
    heads: int = 8  # attention heads (its config file: 8)
    feedforward: int = 192  # channels inside the feed-forward part (paper: not given)
    h: int = 7  # local: cells less than h away are seen; strided: in steps of h (paper: root of the grid's width)
    temporal: str = (
        "dense"  # local and strided layers see all frames; "same": h counts along t as well
    )
    local_window: str = "open"  # side 2 h - 1; "cube": side h
    scale: bool = False  # divide scores by the root of their channels (paper: no)
    affinity: str = (
        "softmax"  # object affinity is the largest softmax weight, score or distance (paper: open)
    )
    position: str = "sine"  # sine, learned or none (paper: sine is best)
    history: int = 2  # tau, earlier frames in the buffer (paper: 1 to 3)
    keep_first: bool = (
        False  # the frames whose masks were given stay in the buffer (paper: not said)
    )
    decoder_width: int = 128  # channels inside the decoder (paper: not given)
    short_side: int | None = None  # pixels, of the frames it works on; None: of the video

    def __post_init__(self) -> None:
        check_settings(
            self,
            layers=1,
            width=1,
            heads=1,
            feedforward=1,
            history=1,
            decoder_width=1,
            short_side=1,
        )
        multiple = self.width % self.heads == 0 == self.width % 6
        check_rules({
            f"width={self.width} must be a multiple of 6 and of heads={self.heads}": multiple,
            f"decoder_width={self.decoder_width} must be a multiple of 16": self.decoder_width % 16 == 0,
            f"encoder={self.encoder!r} must be one of {', '.join(ENCODERS)}": self.encoder in ENCODERS,
            f"pattern={self.pattern!r} must be local_strided or one of {', '.join(PATTERNS)}": (
                self.pattern in ("local_strided", *PATTERNS)
            ),
            f"affinity={self.affinity!r} must be one of {', '.join(AFFINITIES)}": self.affinity in AFFINITIES,
            f"position={self.position!r} must be one of {', '.join(POSITIONS)}": self.position in POSITIONS,
        })  # fmt: skip
        self.patterns()  # which raise for settings that no pattern can have

    @classmethod
    def mini(cls) -> SSTConfig:
        """A network that learns on a laptop."""
        return cls(
            encoder="tiny", heads=4, h=5, affinity="distance", history=3, keep_first=True, decoder_width=48,
            short_side=192,
        )  # fmt: skip

    def patterns(self) -> list[Pattern]:
        """The pattern of each layer."""
        names = ["local", "strided"] if self.pattern == "local_strided" else [self.pattern]
        names = [names[i % len(names)] for i in range(self.layers)]
        return [
            find_pattern(name, self.h, self.scale, self.temporal, self.local_window)
            for name in names
        ]


def sine_position_3d(
    times: Tensor, height: int, width: int, channels: int, base: float = 100.0
) -> Tensor:
    """Sine position encoding P of Eq. 2: (C, T, H, W), a third of the channels for each of t, y and
    x.

    Channels j and j+1 of a third are sine and cosine of place / base^(3 j / C); `times` (T,) are
    frame numbers. A base of 100 suits short axes (10,000 is usual for text). Raises InputError
    unless `channels` is a multiple of 6.
    """
    if channels % 6:
        raise InputError(
            f"{channels} channels came; sine and cosine for each of t, y and x need a multiple of 6"
        )
    third = channels // 3
    wave = base ** (torch.arange(0, third, 2, device=times.device) / third)

    def waves(places: Tensor) -> Tensor:
        angle = places[:, None] / wave
        return rearrange(torch.stack([angle.sin(), angle.cos()], dim=-1), "n j two -> (j two) n")

    t, y, x = (
        waves(p) for p in (times, *(torch.arange(n, device=times.device) for n in (height, width)))
    )
    shape = (third, len(times), height, width)
    parts = (
        t[:, :, None, None].expand(shape),
        y[:, None, :, None].expand(shape),
        x[:, None, None, :].expand(shape),
    )
    return torch.cat(parts)


class LearnedPosition(nn.Module):
    """Position encoding P of Eq. 2 as a sum of three learned vectors, one for each of t, y and x.

    Each axis has `most` of them; the last serves for all places beyond.
    """

    def __init__(self, channels: int, most: int = 300) -> None:
        super().__init__()
        self.tables = nn.ParameterList(
            nn.Parameter(0.02 * torch.randn(most, channels)) for _ in range(3)
        )

    def forward(self, times: Tensor, height: int, width: int) -> Tensor:
        """(C, T, H, W)."""
        places = times, *(torch.arange(n, device=times.device) for n in (height, width))
        t, y, x = (
            table[p.clamp(max=len(table) - 1)].T
            for table, p in zip(self.tables, places, strict=True)
        )
        return t[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]


class SSTLayer(nn.Module):
    """One layer g of the encoder: attention and feed-forward, each with a shortcut and then a
    norm (Fig. 2).
    """

    def __init__(self, config: SSTConfig, pattern: Pattern, name: str) -> None:
        super().__init__()
        self.pattern, self.name, self.heads, self.kind = (
            pattern,
            name,
            config.heads,
            config.affinity,
        )
        c = config.width
        self.query, self.key, self.value, self.project = (nn.Linear(c, c) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        nn.init.orthogonal_(
            self.query.weight, gain=0.25
        )  # at the start like looks at like, neither sure nor lost
        self.key.load_state_dict(self.query.state_dict())
        self.feed_forward = nn.Sequential(
            nn.Linear(c, config.feedforward), nn.ReLU(), nn.Linear(config.feedforward, c)
        )

    def forward(
        self, x: Tensor, labels: Tensor, objects: int, frames: tuple[int, ...], asked: int
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, H, W, C) -> the last `asked` frames of it, a layer on; affinity (B, h, O, H, W)
        of the last frame.

        Labels (B, T, H, W), -1 in the last frame; `frames` are the numbers of the T frames.
        """
        now = x[:, -asked:]
        q, k, v = (
            rearrange(part, "b t y x (h c) -> (b h) c t y x", h=self.heads)
            for part in (self.query(now), self.key(x), self.value(x))
        )
        self.look(q[:, :, -1:], k, frames)
        found = rearrange(
            self.pattern.attend(q, k, v), "(b h) c t y x -> b t y x (h c)", h=self.heads
        )
        now = self.norm1(now + self.project(found))
        now = self.norm2(now + self.feed_forward(now))
        labels = repeat(labels, "b t y x -> (b h) t y x", h=self.heads)
        affinity = self.pattern.affinity(q[:, :, -1:], k, labels, objects, self.kind)
        return now, rearrange(affinity, "(b h) o 1 y x -> b h o y x", h=self.heads)

    def look(self, q: Tensor, k: Tensor, frames: tuple[int, ...]) -> None:
        """Record where the last frame looks."""
        if wants_weights(self.name):
            weights, index = self.pattern.weights(q, k)
            weights = rearrange(weights, "(b h) n i -> b h n i", h=self.heads)
            record(weights, Place(self.name, tuple(k.shape[3:]), tuple(k.shape[2:]), frames, index))


@dataclass(frozen=True)
class Seen:
    """What SST knows of one frame."""

    features: list[Tensor]  # of the encoder, finest scale first
    cells: Tensor  # (B, H, W, C)
    size: tuple[int, int, int]  # B, H, W of the frames


@dataclass
class SSTEntry(Entry):
    """What SST keeps of one frame."""

    cells: Tensor  # (B, H, W, C)
    labels: Tensor  # (B, H, W), the object that most of each cell belongs to
    objects: int  # O = 1 + K, background included
    size: tuple[int, int, int]  # B, H, W of the frames


class SST(VOSNetwork):
    """The whole network: encoder, sparse transformer over a buffer of frames, decoder."""

    seen_type, entry_type = Seen, SSTEntry
    independent_maps = True

    def __init__(self, config: SSTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder]()
        self.sizing = Sizing(self.encoder.strides[-1], config.short_side)
        self.schedule = Schedule(
            first=config.keep_first, previous=False, last=config.history, at_most=config.history + 4
        )
        self.schedule_in_training = self.schedule
        self.project = nn.Conv2d(self.encoder.channels[-1], config.width, kernel_size=1)
        self.norm = nn.LayerNorm(config.width)  # so that cells and positions are of one size
        self.position = LearnedPosition(config.width) if config.position == "learned" else None
        self.layers = nn.ModuleList(
            SSTLayer(config, pattern, f"layer{i}")
            for i, pattern in enumerate(config.patterns(), start=1)
        )
        told = 2 * config.width + 2 * config.layers * config.heads
        self.decoder = FPNDecoder(
            told, self.encoder.channels[:3], config.decoder_width, 1, align_corners=False
        )

    def encode(self, frame: Tensor) -> Seen:
        """RGB frames (B, 3, H, W) in [0, 1], H and W as `sizing` gives them -> seen.

        Raises InputError for others.
        """
        self.check_frame(frame)
        features = self.encoder(self.normalise(frame))  # SST Eq. 1
        cells = self.norm(rearrange(self.project(features[-1]), "b c y x -> b y x c"))
        return Seen(features, cells, (len(frame), *frame.shape[-2:]))

    def read(self, seen: Seen, memory: Memory) -> tuple[Tensor, Seen]:
        """Logits (B, O, h, w) of the objects in memory, background first, each to go through a
        sigmoid; and seen.

        h and w are those of the finest features. Raises InputError when the memory is empty or of
        other B, H or W, and when a window or stride is larger than the grid.
        """
        entries = self.check_memory(seen, memory)
        objects = max(entry.objects for entry in entries)
        frames = (*(entry.frame for entry in entries), max(current_frame(), entries[-1].frame + 1))
        cells = torch.stack(
            [*(entry.cells for entry in entries), seen.cells], dim=1
        )  # (B, T, H, W, C)
        unknown = torch.full_like(entries[-1].labels, -1)
        labels = torch.stack([*(entry.labels for entry in entries), unknown], dim=1)  # (B, T, H, W)

        for layer in self.layers:
            check_fit(layer.pattern, tuple(cells.shape[1:4]))
        x, affinities = (
            cells + self.place(torch.tensor(frames, device=cells.device), cells),
            [],
        )  # SST Eq. 2
        for layer in self.layers:  # SST Eq. 3
            last = layer is self.layers[-1]  # nobody reads the earlier frames of its output
            x, affinity = layer(x, labels, objects, frames, asked=1 if last else len(frames))
            affinities.append(affinity)
        return self.decode(seen, x[:, -1], torch.cat(affinities, dim=1)), seen

    def place(self, times: Tensor, cells: Tensor) -> Tensor:
        """The encoding P of Eq. 2 for frames with these numbers: (T, H, W, C), or 0."""
        height, width, channels = cells.shape[2:]
        if self.config.position == "none":
            return torch.zeros((), device=cells.device)
        learned = self.position is not None
        encoding = (
            self.position(times, height, width)
            if learned
            else sine_position_3d(times, height, width, channels)
        )
        return rearrange(encoding, "c t y x -> t y x c")

    def decode(self, seen: Seen, context: Tensor, affinity: Tensor) -> Tensor:
        """Logits (B, O, h, w) from context (B, H, W, C) and affinity (B, L*h, O, H, W), every
        object alike.
        """
        objects = affinity.shape[2]
        own = torch.eye(objects, dtype=torch.bool, device=affinity.device)[:, :, None, None]
        others = (
            affinity[:, :, None].masked_fill(own, 0).amax(dim=3)
        )  # (B, L*h, O, H, W); 0 is the least affinity
        shared = repeat(torch.cat([seen.cells, context], dim=-1), "b y x c -> b c o y x", o=objects)
        told = rearrange(torch.cat([shared, affinity, others], dim=1), "b c o y x -> (b o) c y x")
        return rearrange(self.decoder(told, seen.features[:3]), "(b o) 1 y x -> b o y x", o=objects)

    def memorize(self, seen: Seen, masks: Tensor) -> SSTEntry:
        """Cells and their labels, of a frame whose masks (B, O, H, W) are given or predicted; H, W
        as of the frame.

        Raises InputError without objects, and for masks of another type, number or size than the
        frames.
        """
        self.check_masks(seen, masks)
        labels = F.adaptive_avg_pool2d(masks, seen.cells.shape[1:3]).argmax(dim=1)
        return SSTEntry(seen.cells, labels, masks.shape[1], seen.size)


def find_pattern(
    name: str,
    h: int | None = None,
    scale: bool = False,
    temporal: str = "same",
    local_window: str = "open",
) -> Pattern:
    """A pattern by name; InputError for an unknown name or setting, and for a local or strided
    one without h.
    """
    if name not in PATTERNS:
        raise InputError(f"there is no pattern {name!r}; choose one of {', '.join(PATTERNS)}")
    if h is None and name in ("local", "strided"):
        raise InputError(f"{name} attention needs h, its window or stride in cells")
    return PATTERNS[name](1 if h is None else h, scale, temporal, local_window)


def connectivity(
    pattern: str,
    shape: Cell,
    cell: Cell,
    h: int | None = None,
    temporal: str = "same",
    local_window: str = "open",
) -> list[Cell]:
    """I_p (Sec. 3.2): the cells (t, y, x), in order, that `cell` looks at in a video of shape (T,
    H, W), itself once.

    Raises InputError unless shape and cell are three whole numbers, for a cell outside, and as
    `sparse_attention`.
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

    q and k (B, C, T, H, W), v (B, Cv, T, H, W) -> (B, Cv, T, H, W). `scale` divides scores by
    sqrt(C). Raises InputError for an unknown pattern, for h below 1 or larger than the grid, and
    when q, k and v do not fit together.
    """
    found = find_pattern(pattern, h, scale, temporal, local_window)
    check_together(q=q, k=k, v=v)
    check_fit(found, tuple(q.shape[2:]))
    return found.attend(q, k, v)


def grid_attention(q: Tensor, k: Tensor, v: Tensor, scale: bool = False) -> Tensor:
    """`sparse_attention` along the three axes through each cell."""
    return sparse_attention(q, k, v, "grid", scale=scale)


def local_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    h: int,
    scale: bool = False,
    temporal: str = "same",
    local_window: str = "open",
) -> Tensor:
    """`sparse_attention` within fewer than h cells."""
    return sparse_attention(q, k, v, "local", h, scale, temporal, local_window)


def strided_attention(
    q: Tensor, k: Tensor, v: Tensor, h: int, scale: bool = False, temporal: str = "same"
) -> Tensor:
    """`sparse_attention` in steps of h cells."""
    return sparse_attention(q, k, v, "strided", h, scale, temporal)


def grid_routes(features: Tensor, values: Tensor, steps: int = 3) -> Tensor:
    """Grid attention without softmax, `steps` times, with the features as queries and keys each
    time (Eq. 7 to 10).

    Features (B, C, T, H, W), values (B, Cv, T, H, W), as returned: each value is carried along
    every route of so many steps, one axis a step, and multiplied by the dot products of the
    features that meet on the way. Raises InputError when the two do not fit together, and for steps
    below 0.
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
    """The strongest link of each cell to the strictly earlier cells of each object (Eq. 4), one
    head: (B, O, T, H, W).

    q and k (B, C, T, H, W), labels (B, T, H, W) in 0..O-1, or -1 where nobody knows; `objects` is
    O, background included. `kind`: of the attention weights ("softmax"), the scores ("score"), or 2
    / (1 + exp(|q - k|^2)) ("distance"). 0 where an object has no earlier cell within reach. Raises
    InputError as `sparse_attention`, for an unknown kind, and for labels of another size or type,
    or beyond O-1.
    """
    found = find_pattern(pattern, h, scale, temporal, local_window)
    check_together(q=q, k=k)
    check_fit(found, tuple(q.shape[2:]))
    if kind not in AFFINITIES:
        raise InputError(f"there is no affinity {kind!r}; choose one of {', '.join(AFFINITIES)}")
    if not isinstance(objects, int) or objects < 1:
        raise InputError(f"objects={objects!r} came; give a whole number, 1 or more")
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        raise InputError(
            f"labels of type {getattr(labels, 'dtype', type(labels))} came; expected a tensor of integers"
        )
    if labels.shape != (len(q), *q.shape[2:]):
        raise InputError(
            f"labels of shape {tuple(labels.shape)} came; expected {(len(q), *q.shape[2:])}, one per cell"
        )
    if labels.max() >= objects or labels.min() < -1:
        low, high = labels.min().item(), labels.max().item()
        raise InputError(
            f"labels {low} to {high} came for {objects} objects; expected -1 (unknown) to {objects - 1}"
        )
    return found.affinity(q, k, labels, objects, kind)


if __name__ == "__main__":
    from minivos.nn.summary import show_network

    show_network(SST(SSTConfig.mini()))
