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
    ShortTermAttention   ... at a window of the previous frames, by default one  Sec. 4.2, Eq. 7
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
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from timm.layers import DropPath
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.attention import attend, attend_window, join_heads, sine_position, split_heads
from minivos.nn.checks import check_frame, check_masks, check_memory
from minivos.nn.decoders import FPNDecoder
from minivos.nn.encoders import ENCODERS
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.nn.recording import at_frame
from minivos.nn.summary import show_network

Size = tuple[int, int]  # H, W


@dataclass(frozen=True)
class AOTConfig:
    """Sizes of an AOT network; the defaults are those of the published AOT-T."""

    encoder: str = "mobilenet_v2"  # any of ENCODERS (paper: MobileNet-V2, ResNet-50, Swin-B)
    layers: int = 1  # L, number of LSTT blocks (paper: T 1, S 2, B and L 3)
    width: int = 256  # C, channels of a token (paper: 256)
    heads: int = 8  # attention heads (paper: 8)
    feedforward: int = 1024  # channels inside the feed-forward part (paper: 1024)
    window: int = 15  # lambda, side of the short-term window in cells (paper: 15); 0: no short-term
    previous_frames: int = 1  # n, frames that short-term attention looks at (paper: 1)
    sine: bool = True  # self-attention knows positions (paper: yes)
    relative: bool = True  # short-term attention has a learned term for each offset (paper: yes)
    identities: int = 10  # M, rows of the identity bank (paper: 10)
    decoder_width: int = 256  # channels inside the decoder (paper: 256)
    align_corners: bool = True  # grids share their corner pixels' centres (code: all but SwinB-L)
    every: int = 0  # keep every n-th frame, 0: none (paper: L 5, others none)
    every_in_training: int = 0  # the same while training (paper: L 2, others none)
    memory_size: int = 10_000  # keep at most so many frames (paper: no bound)
    short_side: int | None = None  # pixels, of the frames it works on; None: of the video
    longest: int = 1040  # limit in pixels of their long side (code: 1040)
    antialias: bool = False  # average when frames shrink (code: no)
    drop_path: float = 0.1  # share of branches dropped in training (code: 0.1)
    shuffle_identities: bool = True  # objects get random identities in training (paper: yes)
    freeze_early: bool = True  # do not train the encoder up to stride 4 (paper: yes)
    copy_at_start: bool = False  # initialise so that the untrained network copies masks (ours)

    @classmethod
    def published(cls, variant: str) -> AOTConfig:
        """A published network: t, s, b, l, r50_l or swinb_l (Sec. 5, released code)."""
        large = cls(layers=3, every=5, every_in_training=2)
        variants = {
            "t": cls(), "s": cls(layers=2), "b": cls(layers=3), "l": large,
            "r50_l": replace(large, encoder="resnet50"),
            "swinb_l": replace(large, encoder="swin_b", align_corners=False),
        }  # fmt: skip
        if variant not in variants:
            raise InputError(f"got variant={variant!r}; expected one of {', '.join(variants)}.")
        return variants[variant]

    @classmethod
    def mini(cls) -> AOTConfig:
        """A network that learns in minutes on a laptop."""
        sizes = cls(encoder="tiny", layers=2, width=96, heads=4, feedforward=384, window=9)
        return replace(
            sizes, decoder_width=64, align_corners=False, every=5, every_in_training=2,
            memory_size=3, short_side=192, antialias=True, drop_path=0.0, copy_at_start=True,
        )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self, {"window": 0, "every": 0, "every_in_training": 0}, encoder=ENCODERS)
        width_fits = self.width % self.heads == 0 == self.width % 4
        wide = self.decoder_width % 16 == 0 and self.decoder_width >= 2 * (1 + self.identities)
        check_rules({
            f"window={self.window} must be odd, or 0": self.window % 2 == 1 or self.window == 0,
            f"drop_path={self.drop_path} must be below 1": self.drop_path < 1,
            f"width={self.width} must be a multiple of 4 and of heads={self.heads}": width_fits,
            f"feedforward={self.feedforward} must be a multiple of 32": self.feedforward % 32 == 0,
            f"decoder_width={self.decoder_width} must be 16 n, at least 2 (1 + identities)": wide,
        })  # fmt: skip


class IdentityBank(nn.Module):
    """The bank D of M identity vectors, and one for the background (Sec. 4.1).

    A token has `patch` x `patch` pixels; with `overlap` a row and a column more, which it shares.
    """

    def __init__(self, identities: int, width: int, patch: int, overlap: bool = False) -> None:
        super().__init__()
        self.identities = identities
        side, padding = (patch + 1, patch // 2) if overlap else (patch, 0)
        self.embed = nn.Conv2d(1 + identities, width, side, stride=patch, padding=padding)
        nn.init.orthogonal_(self.embed.weight.view(width, -1), gain=side**-2)

    def forward(self, masks: Tensor, assignment: Tensor) -> Tensor:
        """Masks Y (B, 1+K, H, W) and P (B, 1+K, 1+M) -> identity embedding E (B, N, C)."""
        assigned = einsum(masks, assignment, "b k h w, b k m -> b m h w")
        embedding = self.embed(assigned)  # AOT Eq. 3: E = Y P D, one patch per token
        return rearrange(embedding, "b c h w -> b (h w) c")

    def assign(self, batch: int, objects: int, shuffle: bool, device: torch.device) -> Tensor:
        """The selecting matrix P (B, 1+K, 1+M) of Eq. 3: which identity each object gets.

        Background keeps row 0. Object k gets identity k, or a random one with `shuffle`.
        """
        if objects > (most := self.identities):
            raise InputError(f"got {objects} objects; expected {most} at most: use minivos.Tracker")
        order = torch.arange(self.identities, device=device).expand(batch, -1)
        if shuffle:
            order = torch.rand(batch, self.identities, device=device).argsort(dim=1)
        rows = F.pad(order[:, :objects] + 1, (1, 0))  # (B, 1+K), background first
        return F.one_hot(rows, 1 + self.identities).to(self.embed.weight)

    def vectors(self) -> Tensor:
        """The embedding, less its bias, of patches that one identity covers, (1+M, C)."""
        return self.embed.weight.detach().sum(dim=(2, 3)).T


class KeysValues(NamedTuple):
    """Keys and values (B, T*N, C) of T frames, and where they stand."""

    keys: Tensor
    values: Tensor
    grid: tuple[int, int, int]  # T, H, W
    frames: tuple[int, ...] | None = None  # numbers of the frames; None: the current one


class SelfAttention(nn.Module):
    """The current frame looks at itself: queries and keys know their position, values do not."""

    def __init__(self, width: int, heads: int, name: str = "self", sine: bool = True) -> None:
        super().__init__()
        self.heads, self.name, self.sine = heads, name, sine
        self.query, self.key, self.value, self.project = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, grid: Size) -> Tensor:
        """x (B, N, C) of one frame -> (B, N, C)."""
        position = sine_position(grid, x.shape[-1], x.device) if self.sine else 0
        q, k, v = self.query(x + position), self.key(x + position), self.value(x)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        return self.project(join_heads(attend(q, k, v, self.name, (1, *grid))))


class LongTermAttention(nn.Module):
    """Every cell looks at every cell of all kept frames (Eq. 6). Keys and values are projected."""

    def __init__(self, width: int, heads: int, name: str = "long_term") -> None:
        super().__init__()
        self.heads, self.name = heads, name
        self.project = nn.Linear(width, width)

    def forward(self, q: Tensor, past: KeysValues) -> Tensor:
        """Projected queries q (B, N, C) -> (B, N, C)."""
        q, k, v = (split_heads(part, self.heads) for part in (q, past.keys, past.values))
        read = attend(q, k, v, self.name, past.grid, past.frames)  # AOT Eq. 6
        return self.project(join_heads(read))


class ShortTermAttention(nn.Module):
    """Every cell looks at a window of `window` x `window` cells in each previous frame (Eq. 7).

    If `relative`, each offset has a learned term in the scores, which depends on the query, and one
    in the values, alike in all frames.
    """

    def __init__(
        self, width: int, heads: int, window: int, name: str = "short_term", relative: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.window, self.name, self.relative = heads, window, name, relative
        self.relative_score = nn.Conv2d(width, heads * window**2, kernel_size=1, groups=heads)
        self.relative_value = nn.Parameter(torch.zeros(heads, width // heads, window**2))
        self.project = nn.Linear(width, width)

    def forward(self, q: Tensor, previous: KeysValues) -> Tensor:
        """Projected queries q (B, N, C) on the grid of the previous frames -> (B, N, C)."""
        score, heads = self.relative_score, self.heads
        keys = rearrange(score.weight, "(h o) d 1 1 -> h d o", h=heads)
        bias = rearrange(score.get_parameter("bias"), "(h o) -> h o", h=heads)
        learned = [keys, bias, self.relative_value]
        if not self.relative:
            learned = [torch.zeros_like(part) for part in learned]
        _, *grid = previous.grid
        q, k, v = (split_heads(part, heads) for part in (q, previous.keys, previous.values))
        read = attend_window(q, k, v, learned, grid, self.name, previous.frames)  # AOT Eq. 7
        return self.project(join_heads(read))


class FeedForward(nn.Module):
    """Two linear layers around a group norm, GELU and a 5x5 depth-wise convolution."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, inner)
        self.norm = nn.GroupNorm(32, inner)
        self.mix = nn.Conv2d(inner, inner, kernel_size=5, padding=2, groups=inner, bias=False)
        self.shrink = nn.Linear(inner, width)

    def forward(self, x: Tensor, grid: Size) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = rearrange(self.expand(x), "b (y x) c -> b c y x", y=grid[0])
        x = self.mix(F.gelu(self.norm(x)))
        return self.shrink(rearrange(x, "b c y x -> b (y x) c"))


class Past(NamedTuple):
    """What one LSTT block reads."""

    kept: KeysValues  # by long-term attention
    previous: KeysValues  # by short-term attention


class Trace(NamedTuple):
    """What one LSTT block saw of a frame: content becomes values once masks are known."""

    keys: Tensor  # (B, N, C)
    content: Tensor  # (B, N, C)


class LSTTBlock(nn.Module):
    """Self-attention, long- plus short-term attention, feed-forward (Fig. 2c)."""

    def __init__(self, config: AOTConfig, name: str) -> None:
        super().__init__()
        c, heads = config.width, config.heads
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(c), nn.LayerNorm(c), nn.LayerNorm(c)
        self.self_attention = SelfAttention(c, heads, f"{name}/self", config.sine)
        self.match = nn.Linear(c, c)  # W^K, the one projection of queries and keys
        self.value = nn.Linear(c, c)  # W^V
        self.long_term = LongTermAttention(c, heads, f"{name}/long_term")
        nearby = c, heads, config.window, f"{name}/short_term", config.relative
        self.short_term = ShortTermAttention(*nearby) if config.window else None
        self.feed_forward = FeedForward(c, config.feedforward)
        self.drop_path = DropPath(config.drop_path)

    def forward(
        self, x: Tensor, grid: Size, past: Past | None, identity: Tensor | None
    ) -> tuple[Tensor, Trace]:
        """x (B, N, C) -> the same shape, and the trace of the frame.

        A reference frame has no past: it reads itself, with the `identity` embedding (B, N, C) of
        its given masks (Sec. 4.2, last paragraph).
        """
        x = x + self.drop_path(self.self_attention(self.norm1(x), grid))

        content = self.norm2(x)
        q = self.match(content)
        if past is None:
            assert identity is not None, "a reference frame comes with identities"
            itself = KeysValues(q, self.values_of(content, identity), (1, *grid))
            past = Past(itself, itself)
        x = x + self.long_term(q, past.kept)
        if self.short_term:
            x = x + self.short_term(q, past.previous)

        x = x + self.drop_path(self.feed_forward(self.norm3(x), grid))
        return x, Trace(q, content)

    def values_of(self, content: Tensor, identity: Tensor) -> Tensor:
        """Values that carry the identities E of their cells: (B, N, C)."""
        return self.value(content + identity)  # AOT Eq. 4


class LSTT(nn.Module):
    """The long short-term transformer: a stack of blocks; a norm for each output."""

    blocks: Any  # an nn.ModuleList of LSTTBlock

    def __init__(self, config: AOTConfig) -> None:
        super().__init__()
        names = [f"block{i}" for i in range(1, config.layers + 1)]
        self.blocks = nn.ModuleList(LSTTBlock(config, name) for name in names)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in names)
        for weight in self.blocks.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    def forward(
        self, x: Tensor, grid: Size, pasts: list[Past] | None, identity: Tensor | None = None
    ) -> tuple[list[Tensor], list[Trace]]:
        """x (B, N, C) and what each block reads -> outputs (B, N, C) and traces, one per block."""
        outputs, traces = [], []
        for i, block in enumerate(self.blocks):
            x, trace = block(x, grid, pasts[i] if pasts else None, identity)
            outputs.append(self.norms[i](x))
            traces.append(trace)
        return outputs, traces


@dataclass(frozen=True)
class AOTSeen(Seen):
    """What AOT knows of one frame."""

    features: list[Tensor]  # of the encoder, finest scale first
    tokens: Tensor  # (B, N, C)
    grid: Size
    traces: list[Trace] | None = None  # one per block, once the frame has been read
    assignment: Tensor | None = None  # P (B, 1+K, 1+M), once it has been read


@dataclass
class AOTEntry(Entry):
    """What AOT keeps of one frame: keys and values per block, and who has which identity."""

    blocks: list[KeysValues]
    assignment: Tensor  # P (B, 1+K, 1+M)


def side_by_side(entries: list[AOTEntry], block: int) -> KeysValues:
    """The keys and values of a block from several frames."""
    parts = [entry.blocks[block] for entry in entries]
    keys, values, grids, _ = zip(*parts, strict=True)
    frames = tuple(entry.frame for entry in entries)
    grid = len(parts), *grids[0][1:]
    return KeysValues(torch.cat(keys, dim=1), torch.cat(values, dim=1), grid, frames)


class AOT(VOSNetwork[AOTSeen, AOTEntry]):
    """The whole network: encoder, identity bank, LSTT, decoder."""

    seen_type, entry_type = AOTSeen, AOTEntry
    no_decay = ("*.relative_value", "*.relative_position_bias_table", "decoder.conv_out.weight")
    frozen_late = ("identity_bank.*",)

    def __init__(self, config: AOTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder]()
        deepest, stride = self.encoder.channels[-1], self.encoder.strides[-1]
        aligned, outputs = config.align_corners, 1 + config.identities
        self.project = nn.Conv2d(deepest, config.width, kernel_size=1)
        nn.init.xavier_uniform_(self.project.weight)
        self.identity_bank = IdentityBank(config.identities, config.width, stride, overlap=aligned)
        self.lstt = LSTT(config)
        inputs, shortcuts = config.width * (1 + config.layers), self.encoder.channels[:3]
        self.decoder = FPNDecoder(inputs, shortcuts, config.decoder_width, outputs, aligned)

        self.sizing = Sizing(stride, config.short_side, config.longest, aligned, config.antialias)
        nearby, most = config.previous_frames, config.memory_size
        self.schedule = Schedule(previous=nearby, every=config.every, at_most=most)
        self.schedule_in_training = replace(self.schedule, every=config.every_in_training)
        self.max_objects = config.identities
        if config.copy_at_start:
            start_by_copying(self)
        if config.freeze_early:
            for part in self.encoder.early:
                part.requires_grad_(False)

    def encode(self, frame: Tensor) -> AOTSeen:
        """RGB frames (B, 3, H, W) in [0, 1], H and W as `sizing` gives them -> seen."""
        check_frame(self, frame)
        features = self.encoder(self.normalise(frame))
        cells = self.project(features[-1])  # (B, C, H/s, W/s)
        grid = cells.shape[2], cells.shape[3]
        return AOTSeen(size_of(frame), features, rearrange(cells, "b c y x -> b (y x) c"), grid)

    def read(self, seen: AOTSeen, memory: Memory[AOTEntry]) -> tuple[Tensor, AOTSeen]:
        """Logits (B, 1+K, h, w) of the K objects in memory, background first, and seen.

        h and w are those of the finest features. InputError without a kept or a previous frame.
        """
        entries = check_memory(self, seen, memory)
        pasts = self.recall(memory)
        with at_frame(memory.now):
            outputs, traces = self.lstt(seen.tokens, seen.grid, pasts)
        tokens = torch.cat([seen.tokens, *outputs], dim=-1)
        maps = rearrange(tokens, "b (y x) c -> b c y x", y=seen.grid[0])
        logits = self.decoder(maps, seen.features[:3])  # L^D (B, 1+M, h, w)
        newest = (entry.assignment for entry in reversed(entries))
        assignment = max(newest, key=lambda p: p.shape[1])  # the first that knows all
        logits = einsum(assignment, logits, "b k m, b m h w -> b k h w")  # AOT Eq. 5, no softmax
        return logits, replace(seen, traces=traces, assignment=assignment)

    def recall(self, memory: Memory[AOTEntry]) -> list[Past]:
        """What each block reads: the kept frames, and the previous ones."""
        kept, recent, blocks = memory.kept, memory.recent, range(self.config.layers)
        if not kept or not recent:
            raise InputError("AOT reads kept and previous frames: use a schedule with both.")
        return [Past(side_by_side(kept, i), side_by_side(recent, i)) for i in blocks]

    def identity_vectors(self) -> dict[str, Tensor]:
        """The bank's vectors (1+M, C), and as the values of reads carry them, by names of maps."""
        bank, blocks = self.identity_bank.vectors(), enumerate(self.lstt.blocks, start=1)
        return {"bank": bank} | {f"block{i}/*_term": bank @ b.value.weight.T for i, b in blocks}

    def memorize(self, seen: AOTSeen, masks: Tensor) -> AOTEntry:
        """Keys and values of a frame with its masks (B, 1+K, H, W), H and W as of the frame."""
        check_masks(self, seen, masks)
        assignment, traces = seen.assignment, seen.traces
        if assignment is None:
            shuffle, objects = self.training and self.config.shuffle_identities, masks.shape[1] - 1
            assignment = self.identity_bank.assign(len(masks), objects, shuffle, masks.device)
        identity = self.identity_bank(masks, assignment)
        if traces is None:
            _, traces = self.lstt(seen.tokens, seen.grid, None, identity)
        blocks = []
        for block, trace in zip(self.lstt.blocks, traces, strict=True):
            values = block.values_of(trace.content, identity)
            blocks.append(KeysValues(trace.keys, values, (1, *seen.grid)))
        return AOTEntry(seen.size, blocks, assignment)


# Our own initialisation ---------------------------------------------------------------------------


def start_by_copying(network: AOT) -> None:
    """Initialise so that identities pass unchanged: untrained, it repeats masks (by trial)."""
    start_with_orthogonal_identities(network.identity_bank)
    for part in network.lstt.modules():
        if isinstance(part, LSTTBlock):
            nearby = part.short_term.project if part.short_term else None
            for layer in filter(None, (part.value, part.long_term.project, nearby)):
                nn.init.eye_(layer.weight)
                nn.init.zeros_(layer.bias)
            part.match.weight.data *= 1.6  # sharper scores: like finds like
            if part.short_term:
                start_near(part.short_term)  # untrained, the other blurs over the whole frame
                part.long_term.project.weight.data *= 0.25
    network.decoder.start_by_copying(network.identity_bank.vectors())


def start_with_orthogonal_identities(bank: IdentityBank) -> None:
    """A token that object k covers by half gets half of k's identity."""
    width, identities, side, _ = bank.embed.weight.shape
    vectors = nn.init.orthogonal_(torch.empty(identities, width)) * width**0.5
    with torch.no_grad():
        bank.embed.weight.copy_(vectors.T[:, :, None, None] / side**2)
        bank.embed.get_parameter("bias").zero_()


def start_near(short_term: ShortTermAttention) -> None:
    """Weights fall off with the distance d in cells as (1 + d^2)^-1.5."""
    offset = torch.arange(short_term.window) - short_term.window // 2
    fall = -1.5 * torch.log1p(offset[:, None] ** 2 + offset**2)
    short_term.relative_score.get_parameter("bias").data = fall.flatten().repeat(short_term.heads)
    nn.init.zeros_(short_term.relative_value)


if __name__ == "__main__":
    show_network(AOT(AOTConfig.mini()))
