"""AOT: associating objects with transformers.

Yang, Wei and Yang, "Associating Objects with Transformers for Video Object Segmentation", NeurIPS
2021. Notebooks 02 and 03 take it apart; docs/equations.md says where its equations stand.

Earlier networks segment one object at a time. AOT gives each object an *identity*, a learned vector
that is painted over the object's pixels, so that one pass through one transformer moves all objects
from memory frames to the current frame at once.

    AOTConfig            sizes and presets
    IdentityBank         masks -> identity embedding                             Sec. 4.1, Eq. 3
    SelfAttention        the current frame looks at itself                       Sec. 4.2
    LongTermAttention    ... at the whole of the kept frames                     Sec. 4.2, Eq. 6
    ShortTermAttention   ... at a window of the previous frame                   Sec. 4.2, Eq. 7
    LSTTBlock, LSTT      the long short-term transformer                         Sec. 4.2, Fig. 2c
    AOT                  encode, read, memorize                                  Fig. 2a, Eq. 5

Where the released code differs from the text we follow the code: identity embeddings are added
before the value projection (the text: after), the background has an identity of its own, patches of
the identity bank overlap by a pixel (but for SwinB-L), and the feed-forward part normalises before
it convolves. `aot_mini` has fewer channels, cells of 8 pixels, an encoder that learns from scratch,
and an initialisation of our own that roughly copies masks.

Letters: B batch, N = H*W tokens of one frame, T kept frames, C width, K objects, M identities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from timm.layers import DropPath
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.attention import (
    attend,
    attend_window,
    join_heads,
    sine_position,
    split_heads,
    window_index,
)
from minivos.nn.decoders import FPNDecoder
from minivos.nn.encoders import ENCODERS
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Sizing, VOSNetwork
from minivos.nn.recording import Place, record, wants_weights

Grid = tuple[int, int]


@dataclass(frozen=True)
class AOTConfig:
    """Sizes of an AOT network; the defaults are those of the published AOT-T."""

    encoder: str = (
        "mobilenet_v2"  # any of ENCODERS (paper: T, S, B, L MobileNet-V2, R50-L, SwinB-L)
    )
    layers: int = 1  # L, number of LSTT blocks (paper: T 1, S 2, B and L 3)
    width: int = 256  # C, channels of a token (paper: 256)
    heads: int = 8  # attention heads (paper: 8)
    feedforward: int = 1024  # channels inside the feed-forward part (paper: 1024)
    window: int = 15  # lambda, side of the short-term window in cells (paper: 15)
    identities: int = 10  # M, rows of the identity bank (paper: 10)
    decoder_width: int = 256  # channels inside the decoder (paper: 256)
    align_corners: bool = (
        True  # grids share the centres of their corner pixels (code: all but SwinB-L)
    )
    memory_every: int = 0  # keep a predicted frame this often, 0: never (paper: L 5, others never)
    memory_every_in_training: int = 0  # the same while training (paper: L 2, others never)
    memory_size: int = 10_000  # keep at most so many frames (paper: no bound)
    short_side: int | None = (
        None  # pixels, of the frames it works on; None: of the video (paper: as DAVIS, 480)
    )
    longest: int = 1040  # limit in pixels of their long side (code: 1040)
    antialias: bool = False  # average when frames shrink (code: no)
    drop_path: float = (
        0.1  # share of self-attention and feed-forward branches dropped in training (code: 0.1)
    )
    shuffle_identities: bool = True  # give objects random identities in training (paper: yes)
    freeze_early: bool = (
        True  # do not train the encoder up to stride 4 (paper: yes); tiny trains as a whole
    )
    copy_at_start: bool = False  # initialise so that the untrained network copies masks (ours)

    def __post_init__(self) -> None:
        check_settings(
            self, layers=1, width=1, heads=1, feedforward=1, window=1, identities=1, decoder_width=1, memory_every=0,
            memory_every_in_training=0, memory_size=1, short_side=1, longest=1,
        )  # fmt: skip
        multiple = self.width % self.heads == 0 == self.width % 4
        wide = self.decoder_width % 16 == 0 and self.decoder_width >= 2 * (1 + self.identities)
        check_rules({
            f"window={self.window} must be odd": self.window % 2 == 1,
            f"drop_path={self.drop_path} must be in [0, 1)": 0 <= self.drop_path < 1,
            f"width={self.width} must be a multiple of 4 and of heads={self.heads}": multiple,
            f"feedforward={self.feedforward} must be a multiple of 32": self.feedforward % 32 == 0,
            f"decoder_width={self.decoder_width} must be a multiple of 16, and at least 2 (1 + identities)": wide,
            f"encoder={self.encoder!r} must be one of {', '.join(ENCODERS)}": self.encoder in ENCODERS,
        })  # fmt: skip

    @classmethod
    def published(cls, variant: str) -> AOTConfig:
        """A published network: t, s, b, l, r50_l or swinb_l (Sec. 5, released code); InputError
        for other names.
        """
        large = {"layers": 3, "memory_every": 5, "memory_every_in_training": 2}
        changes = {
            "t": {}, "s": {"layers": 2}, "b": {"layers": 3}, "l": large, "r50_l": large | {"encoder": "resnet50"},
            "swinb_l": large | {"encoder": "swin_b", "align_corners": False},
        }  # fmt: skip
        if variant not in changes:
            raise InputError(f"variant={variant!r} came; the paper has {', '.join(changes)}.")
        return cls(**changes[variant])

    @classmethod
    def mini(cls) -> AOTConfig:
        """A network that learns in minutes on a laptop."""
        return cls(
            encoder="tiny", layers=2, width=96, heads=4, feedforward=384, window=9, decoder_width=64,
            align_corners=False, memory_every=3, memory_every_in_training=2, memory_size=8, short_side=192,
            antialias=True, drop_path=0.0, copy_at_start=True,
        )  # fmt: skip


class IdentityBank(nn.Module):
    """The bank D of M identity vectors, and one for the background (Sec. 4.1).

    A token is made of `patch` x `patch` pixels; with `overlap` of a row and a column more, shared
    with its neighbours.
    """

    def __init__(self, identities: int, width: int, patch: int, overlap: bool = False) -> None:
        super().__init__()
        self.identities = identities
        side, padding = (patch + 1, patch // 2) if overlap else (patch, 0)
        self.embed = nn.Conv2d(
            1 + identities, width, kernel_size=side, stride=patch, padding=padding
        )
        nn.init.orthogonal_(self.embed.weight.view(width, -1), gain=side**-2)

    def start_by_copying(self) -> None:
        """Initialise with orthogonal identities; a token covered half by object k gets half of
        k's identity.
        """
        width, identities, side, _ = self.embed.weight.shape
        vectors = nn.init.orthogonal_(torch.empty(identities, width)) * width**0.5
        with torch.no_grad():
            self.embed.weight.copy_(vectors.T[:, :, None, None] / side**2)
            self.embed.bias.zero_()

    def vectors(self) -> Tensor:
        """The embedding of a patch that one identity covers whole: (1+M, C), background first,
        without the bias.
        """
        return self.embed.weight.detach().sum(dim=(2, 3)).T

    def assign(self, batch: int, objects: int, shuffle: bool, device: torch.device) -> Tensor:
        """The selecting matrix P (B, 1+K, 1+M) of Eq. 3: which identity each object gets;
        background keeps row 0.

        Object k gets identity k, or a random one with `shuffle`. Raises InputError for more objects
        than identities.
        """
        if objects > self.identities:
            groups = f"track them in groups of {self.identities} (minivos.Tracker does)."
            raise InputError(
                f"{objects} objects for a bank of {self.identities} identities: {groups}"
            )
        order = torch.arange(self.identities, device=device).expand(batch, -1)
        if shuffle:
            order = torch.rand(batch, self.identities, device=device).argsort(dim=1)
        rows = F.pad(order[:, :objects] + 1, (1, 0))  # (B, 1+K), background first
        return F.one_hot(rows, 1 + self.identities).to(self.embed.weight)

    def forward(self, masks: Tensor, assignment: Tensor) -> Tensor:
        """Masks Y (B, 1+K, H, W) and P (B, 1+K, 1+M) -> identity embedding E (B, N, C)."""
        assigned = einsum(masks, assignment, "b k h w, b k m -> b m h w")
        embedding = self.embed(assigned)  # AOT Eq. 3: E = Y P D, one patch per token
        return rearrange(embedding, "b c h w -> b (h w) c")


class SelfAttention(nn.Module):
    """Association within the current frame: queries and keys know their position, values do not."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.project = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, position: Tensor, place: Place) -> Tensor:
        """x (B, N, C), position (1, N, C) -> (B, N, C)."""
        q, k = self.query(x + position), self.key(x + position)
        q, k, v = (split_heads(t, self.heads) for t in (q, k, self.value(x)))
        return self.project(join_heads(attend(q, k, v, place)))


class LongTermAttention(nn.Module):
    """Every cell looks at every cell of all kept frames (Eq. 6).

    Queries, keys and values come projected.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, place: Place) -> Tensor:
        """q (B, N, C), k and v (B, T*N, C) -> (B, N, C)."""
        q, k, v = (split_heads(t, self.heads) for t in (q, k, v))
        return self.project(join_heads(attend(q, k, v, place)))  # AOT Eq. 6


class ShortTermAttention(nn.Module):
    """Every cell looks at a window of `window` x `window` cells around it in the previous frame
    (Eq. 7).

    Each offset of the window has a learned term in the scores, which depends on the query, and one
    in the values.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_score = nn.Conv2d(width, heads * window**2, kernel_size=1, groups=heads)
        self.relative_value = nn.Parameter(torch.zeros(heads, width // heads, window**2))
        self.project = nn.Linear(width, width)

    def start_near(self) -> None:
        """Initialise the relative terms: weights fall off with the distance d in cells as (1 +
        d^2)^-1.5.
        """
        offset = torch.arange(self.window) - self.window // 2
        fall = -1.5 * torch.log1p(offset[:, None] ** 2 + offset**2)
        with torch.no_grad():
            self.relative_score.bias.copy_(fall.flatten().repeat(self.heads))
            self.relative_value.zero_()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, place: Place) -> Tensor:
        """q, k, v (B, N, C) of one grid -> (B, N, C)."""
        index = window_index(place.query_grid, self.window).to(q.device)  # (N, window^2)
        relative = self.relative_score(rearrange(q, "b (y x) c -> b c y x", y=place.query_grid[0]))
        relative = rearrange(relative, "b (h o) y x -> b h (y x) o", h=self.heads)
        relative = relative.masked_fill(index < 0, float("-inf"))  # outside the frame
        q, k, v = (split_heads(t, self.heads) for t in (q, k, v))
        if wants_weights(place.name):
            near = index.clamp(min=0)
            scores = (
                einsum(q * q.shape[-1] ** -0.5, k[:, :, near], "b h n d, b h n o d -> b h n o")
                + relative
            )
            weights = scores.softmax(dim=-1)  # AOT Eq. 7, (B, h, N, window^2)
            record(weights, replace(place, index=index))
            out = (
                einsum(weights, v[:, :, near], "b h n o, b h n o d -> b h n d")
                + weights @ self.relative_value.mT
            )
        else:
            out = attend_window(
                q, k, v, relative, self.relative_value, place.query_grid
            )  # AOT Eq. 7
        return self.project(join_heads(out))


class FeedForward(nn.Module):
    """Two linear layers around a group norm, GELU and a 5x5 depth-wise convolution over the
    grid.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, inner)
        self.norm = nn.GroupNorm(32, inner)
        self.mix = nn.Conv2d(inner, inner, kernel_size=5, padding=2, groups=inner, bias=False)
        self.shrink = nn.Linear(inner, width)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = rearrange(self.expand(x), "b (y x) c -> b c y x", y=grid[0])
        x = self.mix(F.gelu(self.norm(x)))
        return self.shrink(rearrange(x, "b c y x -> b (y x) c"))


class KeysValues(NamedTuple):
    """What one LSTT block keeps of past frames: keys and values (B, T*N, C) of the frames with
    these numbers.
    """

    keys: Tensor
    values: Tensor
    frames: tuple[int, ...] | None = None  # None: the current frame itself


Past = tuple[KeysValues, KeysValues]  # what long-term and short-term attention of one block read


class Trace(NamedTuple):
    """What one LSTT block saw of a frame: its keys, and the content that becomes values once
    masks are known.
    """

    keys: Tensor  # (B, N, C)
    content: Tensor  # (B, N, C)


class LSTTBlock(nn.Module):
    """Long short-term transformer block: self-attention, long- plus short-term attention, feed-
    forward (Fig. 2c).
    """

    def __init__(self, config: AOTConfig, name: str) -> None:
        super().__init__()
        c, self.name = config.width, name
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(c), nn.LayerNorm(c), nn.LayerNorm(c)
        self.self_attention = SelfAttention(c, config.heads)
        self.match = nn.Linear(c, c)  # W^K, the one projection of queries and keys
        self.value = nn.Linear(c, c)  # W^V
        self.long_term = LongTermAttention(c, config.heads)
        self.short_term = ShortTermAttention(c, config.heads, config.window)
        self.feed_forward = FeedForward(c, config.feedforward)
        self.drop_path = DropPath(config.drop_path)

    def start_by_copying(self) -> None:
        """Initialise so that identities pass unchanged, from near cells first: the untrained
        block repeats masks.
        """
        for layer in (self.value, self.long_term.project, self.short_term.project):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.long_term.project.weight.data *= (
            0.25  # found by trial: untrained, it blurs over the whole frame
        )
        self.match.weight.data *= 1.6  # found by trial: sharper scores, like finds like
        self.short_term.start_near()

    def values_of(self, content: Tensor, identity: Tensor) -> Tensor:
        """Values that carry the identities E of their cells: (B, N, C)."""
        return self.value(content + identity)  # AOT Eq. 4

    def forward(
        self, x: Tensor, grid: Grid, past: Past | None, identity: Tensor | None
    ) -> tuple[Tensor, Trace]:
        """x (B, N, C) -> the same shape, and the trace of the frame.

        `past` is what long-term and short-term attention read. A reference frame has no past and
        reads itself, with the `identity` embedding of its given masks (Sec. 4.2, last paragraph).
        """
        position = sine_position(grid, x.shape[-1], x.device)
        y = self.norm1(x)
        x = x + self.drop_path(
            self.self_attention(y, position, Place(f"{self.name}/self", grid, (1, *grid)))
        )

        y = self.norm2(x)
        trace = Trace(self.match(y), y)
        long, short = past or 2 * [
            KeysValues(trace.keys, self.values_of(y, identity))
        ]  # a reference reads itself
        frames_kept = long.keys.shape[1] // x.shape[1]
        x = x + self.long_term(
            trace.keys,
            long.keys,
            long.values,
            Place(f"{self.name}/long_term", grid, (frames_kept, *grid), long.frames),
        )
        x = x + self.short_term(
            trace.keys,
            short.keys,
            short.values,
            Place(f"{self.name}/short_term", grid, (1, *grid), short.frames),
        )
        return x + self.drop_path(self.feed_forward(self.norm3(x), grid)), trace


class LSTT(nn.Module):
    """A stack of LSTT blocks; the output of each is normalised for the decoder."""

    def __init__(self, config: AOTConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            LSTTBlock(config, f"block{i + 1}") for i in range(config.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.layers))
        for weight in self.blocks.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    def forward(
        self, x: Tensor, grid: Grid, past: list[Past] | None = None, identity: Tensor | None = None
    ) -> tuple[list[Tensor], list[Trace]]:
        """x (B, N, C), one (long, short) pair per block -> normalised outputs (B, N, C) and
        traces, one per block.
        """
        outputs, traces = [], []
        for i, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            x, trace = block(x, grid, None if past is None else past[i], identity)
            outputs.append(norm(x))
            traces.append(trace)
        return outputs, traces


@dataclass(frozen=True)
class Seen:
    """What AOT knows of one frame."""

    features: list[Tensor]  # of the encoder, finest scale first
    tokens: Tensor  # (B, N, C)
    grid: Grid
    size: tuple[int, int, int]  # B, H, W of the frames
    traces: list[Trace] | None = None  # one per block, once the frame has been read
    assignment: Tensor | None = None  # P (B, 1+K, 1+M)


@dataclass
class AOTEntry(Entry):
    """What AOT keeps of one frame: keys and values per block, and who has which identity."""

    blocks: list[KeysValues]
    assignment: Tensor  # P (B, 1+K, 1+M)
    size: tuple[int, int, int]  # B, H, W of the frames


class AOT(VOSNetwork):
    """The whole network: encoder, identity bank, LSTT, decoder."""

    seen_type, entry_type = Seen, AOTEntry
    no_decay = ("*.relative_value", "*.relative_position_bias_table", "decoder.conv_out.weight")
    frozen_late = ("identity_bank.*",)

    def __init__(self, config: AOTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder]()
        shortcuts, deepest, stride = (
            self.encoder.channels[:3],
            self.encoder.channels[-1],
            self.encoder.strides[-1],
        )
        self.sizing = Sizing(
            stride, config.short_side, config.longest, config.align_corners, config.antialias
        )
        self.schedule = Schedule(every=config.memory_every, at_most=config.memory_size)
        self.schedule_in_training = replace(self.schedule, every=config.memory_every_in_training)
        self.max_objects = config.identities
        self.project = nn.Conv2d(deepest, config.width, kernel_size=1)
        nn.init.xavier_uniform_(self.project.weight)
        self.identity_bank = IdentityBank(
            config.identities, config.width, stride, overlap=config.align_corners
        )
        self.lstt = LSTT(config)
        inputs, outputs = config.width * (config.layers + 1), 1 + config.identities
        self.decoder = FPNDecoder(
            inputs, shortcuts, config.decoder_width, outputs, config.align_corners
        )
        if config.copy_at_start:
            self.identity_bank.start_by_copying()
            for block in self.lstt.blocks:
                block.start_by_copying()
            self.decoder.start_by_copying(self.identity_bank.vectors())
        if config.freeze_early:
            for part in self.encoder.early():
                part.requires_grad_(False)

    def encode(self, frame: Tensor) -> Seen:
        """RGB frames (B, 3, H, W) in [0, 1], H and W as `sizing` gives them -> seen.

        Raises InputError for others.
        """
        self.check_frame(frame)
        features = self.encoder(self.normalise(frame))
        tokens, size = self.project(features[-1]), (len(frame), *frame.shape[-2:])
        return Seen(
            features, rearrange(tokens, "b c y x -> b (y x) c"), tuple(tokens.shape[-2:]), size
        )

    def read(self, seen: Seen, memory: Memory) -> tuple[Tensor, Seen]:
        """Logits (B, 1+K, h, w) of the K objects in memory, background first, and seen with its
        traces.

        h and w are those of the finest features: a quarter of the frame, for the tiny encoder half
        of it. Raises InputError when the memory is empty, of other B, H or W, or lacks a kept or
        the previous frame.
        """
        entries = self.check_memory(seen, memory)
        if not memory.kept or memory.previous is None:
            raise InputError(
                "AOT reads kept frames and the previous one: use a schedule that has both."
            )
        outputs, traces = self.lstt(seen.tokens, seen.grid, past=self._recall(memory))
        maps = [
            rearrange(t, "b (y x) c -> b c y x", y=seen.grid[0]) for t in (seen.tokens, *outputs)
        ]
        logits = self.decoder(torch.cat(maps, dim=1), seen.features[:3])  # L^D (B, 1+M, h, w)
        assignment = max((e.assignment for e in entries[::-1]), key=lambda each: each.shape[1])
        chosen = einsum(
            assignment, logits, "b k m, b m h w -> b k h w"
        )  # AOT Eq. 5: P L^D, before the softmax
        return chosen, replace(seen, traces=traces, assignment=assignment)

    def memorize(self, seen: Seen, masks: Tensor) -> AOTEntry:
        """Keys and values of a frame whose masks (B, 1+K, H, W) are given or predicted; H, W as of
        the frame.

        Raises InputError without objects, and for masks of another type, number or size than the
        frames.
        """
        self.check_masks(seen, masks)
        assignment, traces = seen.assignment, seen.traces
        if assignment is None:
            shuffle = self.training and self.config.shuffle_identities
            assignment = self.identity_bank.assign(
                len(masks), masks.shape[1] - 1, shuffle, masks.device
            )
        identity = self.identity_bank(masks, assignment)
        if traces is None:
            _, traces = self.lstt(seen.tokens, seen.grid, identity=identity)
        blocks = [
            KeysValues(trace.keys, block.values_of(trace.content, identity))
            for block, trace in zip(self.lstt.blocks, traces, strict=True)
        ]
        return AOTEntry(blocks, assignment, seen.size)

    def _recall(self, memory: Memory) -> list[Past]:
        """For each block, the (long-term, short-term) keys and values."""
        frames = tuple(entry.frame for entry in memory.kept)
        past = []
        for i in range(len(self.lstt.blocks)):
            kept = [entry.blocks[i] for entry in memory.kept]
            long = KeysValues(
                torch.cat([e.keys for e in kept], 1), torch.cat([e.values for e in kept], 1), frames
            )
            past.append((long, memory.previous.blocks[i]._replace(frames=(memory.previous.frame,))))
        return past


if __name__ == "__main__":
    from minivos.nn.summary import show_network

    show_network(AOT(AOTConfig.mini()))
