"""HST: hierarchical spatiotemporal transformers.

Yoo, Lee and Jung, "Hierarchical Spatiotemporal Transformers for Video Object Segmentation", 2023.

The current frame goes through an image Swin; the past frames go, together and with their masks, through a video Swin.
Both give features at four scales, and at each scale the frame reads the past. A dense read at the finest scale would
compare every fine cell with every fine cell of all frames. HST reads densely at the coarsest scale only; finer cells
look no further than under the k coarse cells that their own coarse cell liked best.

    nn/swin.py        image Swin, and the video Swin inflated from it       Sec. III-A, Fig. 2
    HSTConfig         sizes and presets
    KeysValues        what is compared, and what is handed over             Sec. III-B
    memory_read       dense at stage 4, top-k at stages 3, 2 and 1          Sec. III-B, Eq. 1 to 5
    HST               encode, read, memorize                                Fig. 2

The authors released no code. What the paper leaves open is chosen here: keys and values come from 3x3 convolutions, as
in STM, on which HST builds; scores are divided by the root of their channels (an option); a window of the video Swin is
8 frames long; RGB, the object's mask and the mask of all others are embedded apart and summed. `hst_mini` is the same
with a small Swin that learns from scratch, and an initialisation of our own, with which the untrained network roughly
copies masks to what looks alike.

Letters: B batch, K objects, T frames in memory, C channels, H_i x W_i grid of stage i = 1..4, finest first, f = 8, 4, 2
or 1 the side of a coarse cell in cells of stage i. Lists over stages are finest first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.attention import Place, record, wants_weights
from minivos.nn.decoders import RefineDecoder
from minivos.nn.network import Entry, Memory, Schedule, Sizing, VOSNetwork
from minivos.nn.swin import SWINS, VideoSwin
from minivos.video.masks import crop, merge_answers, padding

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HSTConfig:
    """Sizes of an HST network; the defaults are those of HST-B."""

    swin: str = "base"  # tiny, small, base or large (paper: T, S, B, L); or mini
    time_window: int = 8  # frames in a window of the video Swin (paper: not given); 1: every frame by itself
    top_k: int | None = 128  # coarse cells under which the finer stages look (paper: 128); None: everywhere, dense
    reads: int = 4  # stages that read, from the coarsest; the others hand on their query value (paper: 4)
    others: bool = True  # the memory sees the masks of all other objects, too (paper: yes)
    key_share: int = 8  # channels of a stage over those of its keys (paper: 8)
    value_share: int = 2  # ... of its values (paper: 2)
    scale: bool = True  # divide scores by the root of their channels (paper: not written, as usual elsewhere)
    decoder_width: int = 128  # channels inside the decoder (paper: not given)
    every: int = 8  # keep every n-th frame, beside first and previous (paper: 8); 0: none
    short_side: int | None = None  # pixels, of the frames it works on; None: of the video (paper: 480)
    chunk: int = 16  # coarse cells that read at once in the finer stages: more need more memory
    copy_at_start: bool = False  # initialise so that the untrained network copies masks to what looks alike (ours)

    def __post_init__(self) -> None:
        check_settings(
            self, time_window=1, top_k=1, reads=1, key_share=1, value_share=1, decoder_width=2, every=0, short_side=1,
            chunk=1,
        )  # fmt: skip
        check_rules({
            f"swin={self.swin!r} must be one of {', '.join(SWINS)}": self.swin in SWINS,
            f"reads={self.reads} must be 1 to 4": self.reads <= 4,
        })  # fmt: skip

    @classmethod
    def published(cls, swin: str) -> HSTConfig:
        """HST-T, S, B or L; the decoder is as wide as the Swin's first stage."""
        return cls(swin=swin, decoder_width={"tiny": 96, "small": 96, "base": 128, "large": 192}[swin])

    @classmethod
    def mini(cls) -> HSTConfig:
        """A network that learns on a laptop."""
        return cls(
            swin="mini", time_window=4, top_k=8, key_share=4, decoder_width=24, short_side=128, chunk=64,
            copy_at_start=True,
        )  # fmt: skip


class KeysValues(nn.Module):
    """Keys and values of one stage, of query or memory: two 3x3 convolutions, frame by frame (Sec. III-B)."""

    def __init__(self, channels: int, config: HSTConfig) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, channels // config.key_share, 3, padding=1)
        self.value = nn.Conv2d(channels, channels // config.value_share, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, [T,] H, W) -> keys and values (B, C', [T,] H, W)."""
        if features.dim() == 4:
            return self.key(features), self.value(features)
        flat = rearrange(features, "b c t y x -> (b t) c y x")
        return tuple(
            rearrange(layer(flat), "(b t) c y x -> b c t y x", b=len(features)) for layer in (self.key, self.value)
        )


def memory_read(
    query_keys: Sequence[Tensor],
    query_values: Sequence[Tensor],
    memory_keys: Sequence[Tensor],
    memory_values: Sequence[Tensor],
    k: int | None = 128,
    scale: bool = True,
    chunk: int = 16,
    reads: int = 4,
    frames: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> list[Tensor]:
    """Read the memory at every stage: dense at stage 4, finer ones under the k best coarse cells (Eq. 1 to 5).

    Args:
        query_keys, query_values: (B, C_i, H_i, W_i) of each stage, finest first, with H_i = 2 H_(i+1).
        memory_keys, memory_values: (B, C_i, T, H_i, W_i) of each stage.
        k: coarse cells per coarse query cell; more than there are means all; None: every stage reads densely.
        scale: divide scores by the root of their channels.
        chunk: coarse query cells that read at once in the finer stages. Bounds memory, changes no result.
        reads: how many stages read, from the coarsest; the others give their query value alone.
        frames, names: numbers of the T frames and names of the B samples, for recorded maps.

    Returns [query value; what was read] of each stage, finest first: (B, 2 C'_i, H_i, W_i). Raises InputError when
    sizes do not fit together and for k or chunk below 1.
    """
    check_read(query_keys, query_values, memory_keys, memory_values, k, chunk)
    frames = range(memory_keys[-1].shape[2]) if frames is None else frames
    names = [f"sample{b}" for b in range(len(memory_keys[-1]))] if names is None else names
    chosen, answers = None, []
    for number, q, own, keys, values in zip(
        (4, 3, 2, 1), *(parts[::-1] for parts in (query_keys, query_values, memory_keys, memory_values)), strict=True
    ):
        stage = Stage.cut(number, q, keys, values, scale, frames, names)
        if number == 4 and k is not None:
            chosen = stage.best(k)
        if number > 4 - reads:
            found = stage.read(None if number == 4 else chosen, chunk)
        else:
            found = values.new_zeros(len(q), values.shape[1], *q.shape[2:])
        answers.append(torch.cat([own, found], dim=1))  # HST Eq. 3, 5
    return answers[::-1]


@dataclass(frozen=True)
class Stage:
    """Query and memory of one stage, cut into the blocks of f x f cells that lie under one coarse cell."""

    number: int  # 1 to 4
    q: Tensor  # (B, H4*W4, f*f, C), scaled
    k: Tensor  # (B, T*H4*W4, f*f, C)
    v: Tensor  # (B, T*H4*W4, f*f, C')
    grid: tuple[int, int, int]  # T, H_i, W_i
    side: int  # f
    frames: Sequence[int]
    names: Sequence[str]

    @classmethod
    def cut(
        cls, number: int, q: Tensor, k: Tensor, v: Tensor, scale: bool, frames: Sequence[int], names: Sequence[str]
    ) -> Stage:
        """From q (B, C, H, W), k (B, C, T, H, W) and v (B, C', T, H, W)."""
        side, q = 2 ** (4 - number), q[:, :, None] * (q.shape[1] ** -0.5 if scale else 1)
        blocks = "b c t (y fy) (x fx) -> b (t y x) (fy fx) c"
        q, *past = (rearrange(part, blocks, fy=side, fx=side).contiguous() for part in (q, k, v))
        return cls(number, q, *past, tuple(k.shape[2:]), side, frames, names)

    def best(self, k: int) -> Tensor:
        """For each coarse query cell the k coarse memory cells that score highest: (B, H4*W4, k)."""
        scores = self.q[:, :, 0] @ self.k[:, :, 0].mT  # HST Eq. 1
        if k > scores.shape[-1]:
            say_once(f"top_k={k}: the memory has {scores.shape[-1]} coarse cells, the finer stages look under all")
        return scores.topk(min(k, scores.shape[-1])).indices

    def read(self, chosen: Tensor | None, chunk: int) -> Tensor:
        """What the query finds under the chosen coarse cells, or anywhere: (B, C', H, W)."""
        found, seen, everywhere = [], [], torch.arange(self.k.shape[1], device=self.k.device)
        for part in torch.arange(self.q.shape[1]).split(chunk):
            q = self.q[:, part]  # (B, P, f*f, C)
            if chosen is None:
                q, cells = q.flatten(1, 2)[:, None], everywhere[None, None]
                k, v = (x.flatten(1, 2)[:, None] for x in (self.k, self.v))
            else:
                cells = chosen[:, part]
                k, v = (pick(x, cells) for x in (self.k, self.v))
            if not wants_weights():
                wider = (0, max(0, v.shape[-1] - q.shape[-1]))  # keys as wide as values, as the fused kernel wants them
                q, k = F.pad(q, wider), F.pad(k, wider)
                found.append(F.scaled_dot_product_attention(q, k, v, scale=1).flatten(1, 2))  # HST Eq. 2, 4
                continue
            weights = (q @ k.mT).softmax(dim=-1)
            found.append((weights @ v).flatten(1, 2))
            under = self.under(cells).expand(len(q), len(part), -1)
            seen.append((weights.reshape(len(q), len(part), self.side**2, -1), under))
        if seen:
            self.record(*(torch.cat(parts, dim=1) for parts in zip(*seen, strict=True)))
        blocks = torch.cat(found, dim=1)
        rows, f = self.grid[1] // self.side, self.side
        return rearrange(blocks, "b (y x fy fx) c -> b c (y fy) (x fx)", y=rows, fy=f, fx=f)

    def under(self, cells: Tensor) -> Tensor:
        """Numbers in the grid (T, H_i, W_i) of the cells under coarse cells (..., k): (..., k*f*f)."""
        (_, height, width), f = self.grid, self.side
        rows, columns = height // f, width // f
        t, y, x = cells // (rows * columns), cells // columns % rows, cells % columns
        dy, dx = torch.arange(f, device=cells.device)[:, None], torch.arange(f, device=cells.device)
        t, y, x = (part[..., None, None] for part in (t, y, x))
        return ((t * height + y * f + dy) * width + x * f + dx).flatten(-3)

    def record(self, weights: Tensor, index: Tensor) -> None:
        """Record a map for each sample: weights (B, H4*W4, f*f, n) of the cells index (B, H4*W4, n)."""
        _, height, width = self.grid
        rows, f = height // self.side, self.side
        weights = rearrange(weights, "b (y x) (fy fx) n -> b 1 (y fy x fx) n", y=rows, fy=f)
        index = repeat(index, "b (y x) n -> b (y fy x fx) n", y=rows, fy=f, fx=f)
        for name, each, cells in zip(self.names, weights, index, strict=True):
            place = Place(f"{name}/stage{self.number}", (height, width), self.grid, tuple(self.frames), cells)
            record(each[None], place)


def pick(blocks: Tensor, cells: Tensor) -> Tensor:
    """Of each sample the blocks (B, n, f*f, C) with the numbers cells (B, P, k), side by side: (B, P, k*f*f, C)."""
    first = torch.arange(len(blocks), device=blocks.device)[:, None, None] * blocks.shape[1]
    found = blocks.flatten(0, 1).index_select(0, (first + cells).flatten())
    return found.view(*cells.shape[:2], -1, blocks.shape[-1])


@cache
def say_once(message: str) -> None:
    """Log a message the first time."""
    log.warning(message)


def check_read(
    query_keys: Sequence[Tensor],
    query_values: Sequence[Tensor],
    memory_keys: Sequence[Tensor],
    memory_values: Sequence[Tensor],
    k: int | None,
    chunk: int,
) -> None:
    """InputError unless `memory_read` can work with this."""
    if k is not None and k < 1 or chunk < 1:
        raise InputError(f"k={k} and chunk={chunk} came; give 1 or more (k=None reads densely).")
    parts = query_keys, query_values, memory_keys, memory_values
    if {len(part) for part in parts} != {4}:
        raise InputError(f"{[len(part) for part in parts]} stages of query and memory came; expected 4 each.")
    coarse = tuple(query_keys[3].shape[-2:])
    for i, (q, own, keys, values) in enumerate(zip(*parts, strict=True)):
        size = tuple(side * 2 ** (3 - i) for side in coarse)
        shapes = [tuple(part.shape) for part in (q, own, keys, values)]
        fits = (
            all(shape[-2:] == size for shape in shapes)
            and q.dim() == own.dim() == 4
            and keys.dim() == values.dim() == 5
        )
        fits = fits and q.shape[1] == keys.shape[1] and keys.shape[2] == values.shape[2] == memory_keys[3].shape[2]
        if not fits or len({len(part) for part in (q, own, keys, values)}) > 1:
            raise InputError(
                f"stage {i + 1}: query keys and values, memory keys and values of shapes {shapes} came; expected "
                f"(B, C, H, W) twice and (B, C, T, H, W) twice, with as many channels in both keys, {size} cells and "
                "the same T at all stages"
            )


@dataclass(frozen=True)
class Seen:
    """What HST knows of one frame."""

    picture: Tensor  # (B, 3, H, W), normalised and padded
    keys: list[Tensor]  # (B, C_i, H_i, W_i), finest first
    values: list[Tensor]
    border: tuple[int, int, int, int]  # pixels of padding: left, right, above, below
    present: Tensor | None = None  # (B, K) bool, the objects that each clip has, once the frame has been read


@dataclass
class HSTEntry(Entry):
    """What HST keeps of one frame: the picture, for what the video Swin makes of it depends on all frames in memory."""

    picture: Tensor  # (B, 3, H, W), normalised and padded
    masks: Tensor  # (B, K, H, W) in [0, 1], padded
    present: Tensor  # (B, K) bool


class HST(VOSNetwork):
    """The whole network: image Swin, video Swin, keys and values, hierarchical read, decoder."""

    soft_masks = True

    def __init__(self, config: HSTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SWINS[config.swin]()
        self.video = VideoSwin(self.encoder, config.time_window)
        channels, self.stride = self.encoder.channels, self.encoder.strides[-1]
        self.sizing = Sizing(1, config.short_side)  # any size: `encode` pads
        self.schedule = Schedule(every=config.every)
        self.schedule_in_training = Schedule()
        self.query, self.memory = (nn.ModuleList(KeysValues(c, config) for c in channels) for _ in range(2))
        told = [2 * (c // config.value_share) for c in channels]
        self.decoder = RefineDecoder(told[-1], told[:-1], config.decoder_width)
        if config.copy_at_start:
            self.start_by_copying()

    def load_imagenet(self) -> None:
        """Load timm's weights into both Swins; InputError when they cannot be downloaded."""
        super().load_imagenet()
        self.video = VideoSwin(self.encoder, self.config.time_window)

    def start_by_copying(self) -> None:
        """Initialise so that a cell takes over the mask from memory cells that look like it.

        In both Swins two channels carry the mask past everything, as it is and negated, in the image Swin nothing. In
        the others a cell keeps a rotated copy of its pixels, by which query and memory find each other. The numbers
        were found by trial.
        """
        own, sign = slice(2), torch.tensor([1.0, -1.0])
        with torch.no_grad():
            body = self.encoder.body
            embed = body.patch_embed.proj
            nn.init.orthogonal_(embed.weight)
            embed.weight[own], embed.bias[:] = 0, 0
            for stage in body.layers:
                for block in stage.blocks:
                    for layer in (block.attn.proj, block.mlp.fc2):
                        layer.weight[own], layer.bias[:] = 0, 0
                    for layer in (block.attn.qkv, block.mlp.fc1):
                        layer.weight[:, own] = 0
            for stage in body.layers[1:]:
                weight = nn.init.orthogonal_(stage.downsample.reduction.weight)
                four = weight.unflatten(1, (4, -1))  # (2C, 4, C): four cells become one
                four[own], four[:, :, own] = 0, 0
                four[[0, 1], :, [0, 1]] = 1 / 4
            self.video = VideoSwin(self.encoder, self.config.time_window)
            target = self.video.embed_target.weight
            target[:], self.video.embed_others.weight[:] = 0, 0
            target[own] = sign[:, None, None, None] / target[0].numel()
            for query, memory in zip(self.query, self.memory, strict=True):
                nn.init.orthogonal_(query.key.weight, gain=2.0)  # like finds like
                query.key.weight[:, own], query.key.bias[:] = 0, 0
                memory.key.load_state_dict(query.key.state_dict())
                value = memory.value
                value.weight[own] = 0
                value.weight[0, own, 1, 1], value.weight[1, own, 1, 1] = -sign, sign
                value.bias[own] = sign / 2
        *fine, coarse = (part.value.out_channels for part in self.query)
        self.decoder.start_by_copying(coarse, fine)

    def encode(self, frame: Tensor) -> Seen:
        """RGB frames (B, 3, H, W) in [0, 1], of any size -> seen."""
        border = padding(frame.shape[-2:], self.stride)
        picture = self.normalise(F.pad(frame, border))
        pairs = [embed(part) for embed, part in zip(self.query, self.encoder(picture), strict=True)]
        return Seen(picture, *(list(parts) for parts in zip(*pairs, strict=True)), border)

    def read(self, seen: Seen, memory: Memory) -> tuple[Tensor, Seen]:
        """Log odds (B, 1+K, H, W) of background and objects, of softly aggregated probabilities; and seen.

        H and W are those of the frame. Raises InputError when the memory is empty or of frames of another size.
        """
        entries = memory.entries()
        if not entries:
            raise InputError("HST reads the frames before, but the memory is empty: memorize a frame with its masks.")
        size = tuple(seen.picture.shape[-2:])
        if others := {tuple(entry.picture.shape[-2:]) for entry in entries} - {size}:
            raise InputError(f"the memory has frames of {others} pixels, this one {size}: resize it, or start anew")
        k = entries[-1].masks.shape[1]
        masks = torch.stack([F.pad(e.masks, (0, 0, 0, 0, 0, k - e.masks.shape[1])) for e in entries], dim=2)
        present = torch.stack([F.pad(e.present, (0, k - e.present.shape[1])) for e in entries]).any(dim=0)
        present[0, 0] |= not present.any()  # somebody has to ask
        clip, own = present.nonzero(as_tuple=True)  # a row for each object that there is

        pictures, target = torch.stack([e.picture for e in entries], dim=1)[clip], masks[clip, own]  # (R, T, [3,] H, W)
        features = self.video(pictures, target, masks.sum(dim=1)[clip] - target if self.config.others else None)
        past = zip(*(embed(part) for embed, part in zip(self.memory, features, strict=True)), strict=True)
        now = ([part[clip] for part in parts] for parts in (seen.keys, seen.values))
        names = [
            f"object{o + 1}" if len(present) == 1 else f"clip{c}/object{o + 1}" for c, o in zip(clip, own, strict=True)
        ]
        config = self.config
        told = memory_read(
            *now, *past, config.top_k, config.scale, config.chunk, config.reads, [e.frame for e in entries], names
        )
        odds = merge_answers(self.decoder(told[-1], told[:-1]), size, present)
        return crop(odds, seen.border), replace(seen, present=present)

    def memorize(self, seen: Seen, masks: Tensor) -> HSTEntry:
        """What the frame becomes as memory; masks (B, 1+K, H, W) in [0, 1], background first, may be soft.

        Raises InputError without objects, and for masks of another number or size than the frames.
        """
        wanted = len(seen.picture), *crop(seen.picture, seen.border).shape[-2:]
        if masks.dim() != 4 or masks.shape[1] < 2 or (len(masks), *masks.shape[-2:]) != wanted:
            raise InputError(
                f"masks of shape {tuple(masks.shape)} came for {wanted[0]} frames of {wanted[1:]} pixels; expected "
                "(B, 1+K, H, W) of that number and size, background first, and at least one object"
            )
        present = masks[:, 1:].amax(dim=(2, 3)) > 0 if seen.present is None else seen.present
        return HSTEntry(seen.picture, F.pad(masks[:, 1:], seen.border), present)


if __name__ == "__main__":
    from minivos.nn.shapes import show_network

    show_network(HST(HSTConfig.mini()))
