"""HST: hierarchical spatiotemporal transformers.

Yoo, Lee and Jung, "Hierarchical Spatiotemporal Transformers for Video Object Segmentation", 2023.
Notebook 06 takes it apart; docs/equations.md says where its equations stand.

The current frame goes through an image Swin; the past frames go, together and with their masks,
through a video Swin. Both give features at four stages, and at each stage the frame reads the past.
HST reads densely at the coarsest stage only. Finer cells, which are too many for that, look no
further than under the k coarse cells that their own coarse cell liked best.

    nn/swin.py        image Swin, and the video Swin inflated from it       Sec. III-A and III-B
    HSTConfig         sizes and presets                                     Sec. III-D and IV-A
    EmbedKeysValues   what is compared, and what is handed over             Sec. III-C
    memory_read       dense at stage 4, top-k at stages 3, 2 and 1          Sec. III-C, Eq. 1 to 5
    Stage             one stage: its best cells, its read, its maps         Sec. III-C
    HST               encode, read, memorize                                Fig. 2, Sec. III-C

The authors released no code. What the paper leaves open is chosen here; where that is a setting,
`HSTConfig` says so. Each stage of a Swin ends in a layer norm. Windows are padded where they do not
fit, unseen. RGB, the object's mask and that of all others are embedded apart and summed, as in the
supplement (main text: one patch of RGB and mask). Predicted masks are remembered as probabilities.
Keys and values come from 3x3 convolutions, the decoder's blocks from STM, on which HST builds. All
cells under a coarse cell share its k choices, as in HMMN. Stages that do not read hand zeros to the
decoder beside their query value. Windows of the video Swin reach over 8 frames, as in its paper:
HST-B has 196.5 M parameters then. With windows of one frame it has 193.7 M, next to the 193.6 M of
the paper, but past frames would not meet, which is what its Table IV.5 finds worth 2.9 points.

`hst_mini` has a small Swin that learns from scratch, and an initialisation of our own, with which
the untrained network roughly copies masks to what looks alike.

Letters: B batch (in `memory_read`: one sample for each object of each clip), K objects, T frames in
memory, C channels, H_i x W_i grid of stage i = 1..4, finest first, f = 8, 4, 2 or 1 the side of a
coarse cell in cells of stage i, k the number of chosen coarse cells. Stages come finest first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings, say_once
from minivos.nn.checks import check_frame, check_masks, check_memory
from minivos.nn.decoders import RefineDecoder
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.nn.objects import merge_answers, pad_objects, padding, who_is_there
from minivos.nn.recording import Rows, Weights, at_frame, record
from minivos.nn.summary import show_network
from minivos.nn.swin import SWINS, VideoSwin

log = logging.getLogger(__name__)
Stages = Sequence[Tensor]  # one of each stage, finest first
Numbers = tuple[int, ...]


@dataclass(frozen=True)
class HSTConfig:
    """Sizes of an HST network; the defaults are those of HST-B."""

    swin: str = "base"  # tiny, small, base or large (paper: T, S, B, L); or mini
    time_window: int = 8  # frames in a window of the video Swin (paper: not given); 1: each alone
    top_k: int | None = 128  # coarse cells that finer stages look under (paper: 128); None: dense
    reads: int = 4  # stages that read, from the coarsest (paper: 4)
    others: bool = True  # the memory sees the masks of all other objects, too (paper: yes)
    key_share: int = 8  # channels of a stage over those of its keys (paper: 8)
    value_share: int = 2  # ... of its values (paper: 2)
    scale: bool = True  # divide scores by the root of their channels (paper: not written)
    decoder_width: int = 128  # channels inside the decoder (paper: not given)
    every: int = 8  # keep every n-th frame, beside first and previous (paper: 8); 0: none
    memory_size: int = 32  # keep at most so many frames, beside the previous (paper: no bound)
    short_side: int | None = 480  # pixels of its frames (paper: 480); None: the video's
    chunk: int = 16  # coarse cells that read at once: more need more memory
    copy_at_start: bool = False  # initialise so that it copies masks to what looks alike (ours)

    @classmethod
    def published(cls, swin: str) -> HSTConfig:
        """HST-T, S, B or L by their Swins (those of B: 176.5 M parameters, paper: 193.6 M)."""
        _, *names = SWINS  # all but mini
        if swin not in names:
            raise InputError(f"got swin={swin!r}; expected one of {', '.join(names)}")
        return cls(swin=swin, decoder_width=SWINS[swin].channels[0])

    @classmethod
    def mini(cls) -> HSTConfig:
        """A network that learns on a laptop."""
        sizes = cls(swin="mini", time_window=4, top_k=8, key_share=4, decoder_width=24)
        return replace(sizes, memory_size=8, short_side=128, chunk=64, copy_at_start=True)

    def __post_init__(self) -> None:
        least, or_none = {"decoder_width": 2, "every": 0}, {"top_k", "short_side"}
        check_settings(self, least, or_none, swin=SWINS)
        channels = SWINS[self.swin].channels[0]
        most = channels // 2 if self.copy_at_start else channels
        check_rules({
            f"reads={self.reads} must be 1 to 4": self.reads <= 4,
            f"key_share={self.key_share} must be 1 to {channels}": self.key_share <= channels,
            f"value_share={self.value_share} must be 1 to {most}": self.value_share <= most,
        })  # fmt: skip


class EmbedKeysValues(nn.Module):
    """Keys and values of one stage, of query or memory: two 3x3 convolutions (Sec. III-C)."""

    def __init__(self, channels: int, config: HSTConfig) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, channels // config.key_share, 3, padding=1)
        self.value = nn.Conv2d(channels, channels // config.value_share, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, [T,] H, W) -> keys and values (B, C', [T,] H, W), frame by frame."""
        frames = features.movedim(1, -3)  # (B, [T,] C, H, W)
        flat = frames.flatten(end_dim=-4)
        keys, values = (
            layer(flat).unflatten(0, frames.shape[:-3]).movedim(-3, 1)
            for layer in (self.key, self.value)
        )
        return keys, values


def memory_read(
    query_keys: Stages, query_values: Stages, memory_keys: Stages, memory_values: Stages,
    k: int | None = 128, scale: bool = True, chunk: int = 16, reads: int = 4,
    frames: Sequence[int] | None = None, objects: Sequence[int] | None = None,
) -> list[Tensor]:  # fmt: skip
    """Read the memory: dense at stage 4, finer stages under the k best coarse cells (Sec. III-C).

    Args:
        query_keys, query_values: (B, C_i, H_i, W_i) of each stage, finest first, H_i = 2 H_(i+1).
        memory_keys, memory_values: (B, C_i, T, H_i, W_i) of each stage.
        k: coarse cells per coarse query cell; more than there are: all; None: all stages are dense.
        scale: divide scores by the root of their channels.
        chunk: coarse query cells that read at once: more need more memory; it changes no result.
        reads: how many stages read, from the coarsest, 1 to 4; the others get zeros.
        frames, objects: numbers of the T frames and of the B samples' objects, for recorded maps.

    Returns [query value; what was read] of each stage: (B, 2 C'_i, H_i, W_i).
    """
    check_rules({
        f"k={k!r} must be None or 1 or more": k is None or (isinstance(k, int) and k >= 1),
        f"scale={scale!r} must be True or False": isinstance(scale, bool),
        f"chunk={chunk!r} must be 1 or more": isinstance(chunk, int) and chunk >= 1,
        f"reads={reads!r} must be 1 to 4": reads in (1, 2, 3, 4),
    })  # fmt: skip
    parts = query_keys, query_values, memory_keys, memory_values
    check_read(*parts)
    samples, _, times = memory_keys[3].shape[:3]
    frames = tuple(range(times) if frames is None else frames)
    objects = tuple(range(1, samples + 1) if objects is None else objects)
    if (len(frames), len(objects)) != (times, samples):
        got = f"{len(frames)} frames and {len(objects)} objects"
        raise InputError(f"got {got}; expected T={times}, B={samples}")
    chosen, answers = None, []
    for number in (4, 3, 2, 1):  # coarsest first
        q, own, keys, values = (part[number - 1] for part in parts)
        read = torch.zeros_like(values[:, :, 0])
        if number > 4 - reads:
            q = q * q.shape[1] ** -0.5 if scale else q
            stage = Stage.cut(number, q, keys, values, frames, objects)
            read = stage.read(chosen, chunk)
            if number == 4 and k is not None and reads > 1:
                chosen = stage.best(k)
        answers.append(torch.cat([own, read], dim=1))  # HST Eq. 3, 5
    return answers[::-1]


@dataclass(frozen=True)
class Stage:
    """Query and memory of one stage, in blocks of f x f cells: those under one coarse cell."""

    number: int  # 1 to 4
    queries: Tensor  # (B, H4*W4, f*f, C), scaled
    keys: Tensor  # (B, T*H4*W4, f*f, C)
    values: Tensor  # (B, T*H4*W4, f*f, C')
    grid: tuple[int, int, int]  # T, H_i, W_i
    lengths: dict[str, int]  # for einops: y blocks in a column, each of fy x fx cells
    frames: Numbers  # of the memory, and ...
    objects: Numbers  # ... of each sample, for recorded maps

    @classmethod
    def cut(
        cls, number: int, q: Tensor, keys: Tensor, values: Tensor, frames: Numbers, objects: Numbers
    ) -> Stage:
        """From queries (B, C, H, W), keys (B, C, T, H, W) and values (B, C', T, H, W)."""
        _, _, times, height, width = keys.shape
        f = 2 ** (4 - number)
        q, keys, values = (
            rearrange(x, "b c t (y fy) (x fx) -> b (t y x) (fy fx) c", fy=f, fx=f).contiguous()
            for x in (q[:, :, None], keys, values)
        )
        lengths = {"y": height // f, "fy": f, "fx": f}
        return cls(number, q, keys, values, (times, height, width), lengths, frames, objects)

    def best(self, k: int) -> Tensor:
        """For each coarse query cell the k memory cells that score highest: (B, H4*W4, k)."""
        scores = self.queries[:, :, 0] @ self.keys[:, :, 0].mT  # HST Eq. 1, to choose by
        if k > scores.shape[-1]:
            message = f"top_k={k} is more than there are coarse cells: finer stages read all"
            say_once(log.warning, message)
        return scores.topk(min(k, scores.shape[-1])).indices

    def read(self, chosen: Tensor | None, chunk: int) -> Tensor:
        """What the query reads under the chosen (B, H4*W4, k), or all, cells: (B, C', H, W)."""
        for sample, number in enumerate(self.objects):
            look = partial(self.look, sample, chosen, chunk)
            record(look, f"stage{self.number}", self.grid, self.frames, object=number)
        answers = []
        for first in range(0, self.queries.shape[1], chunk):
            some = slice(first, first + chunk)
            q = self.queries[:, some]  # (B, P, f*f, C)
            if chosen is None:  # all blocks as one
                q, keys, values = (x.flatten(1, 2)[:, None] for x in (q, self.keys, self.values))
            else:
                keys, values = (pick(x, chosen[:, some]) for x in (self.keys, self.values))
            wider = (0, max(0, values.shape[-1] - keys.shape[-1]))  # as the fused kernel wants them
            q, keys = F.pad(q, wider), F.pad(keys, wider)
            answer = F.scaled_dot_product_attention(q, keys, values, scale=1)  # HST Eq. 1, 2, 4
            answers.append(answer.flatten(1, 2))
        answer = torch.cat(answers, dim=1)
        return rearrange(answer, "b (y x fy fx) c -> b c (y fy) (x fx)", **self.lengths)

    def look(self, sample: int, chosen: Tensor | None, chunk: int, rows: Rows) -> Weights:
        """Weights (1, 1, R, n) of some queries of a sample and their cells (R, n), for `record`."""
        own, under = self.cells_under(1), self.cells_under(self.grid[0])
        places = own.flatten().argsort()[rows]  # of the cells in blocks
        q, keys = self.queries[sample].flatten(0, 1)[places], self.keys[sample]
        if chosen is None:
            weights = (q @ keys.flatten(0, 1).mT).softmax(dim=-1)
            return weights[None, None, :, under.flatten().argsort()], None
        blocks = chosen[sample, places // own.shape[1]]  # (R, k)
        parts = zip(q.split(chunk), blocks.split(chunk), strict=True)
        scores = [einsum(some, keys[few], "r c, r k f c -> r k f") for some, few in parts]
        weights = torch.cat(scores).flatten(1).softmax(dim=-1)  # HST Eq. 1, 2, 4
        return weights[None, None], under[blocks].flatten(1)

    def cells_under(self, frames: int) -> Tensor:
        """The numbers of the cells under each coarse cell of so many frames: (T*H4*W4, f*f)."""
        cells = torch.arange(frames * math.prod(self.grid[1:]), device=self.keys.device)
        return rearrange(cells, "(t y fy x fx) -> (t y x) (fy fx)", t=frames, **self.lengths)


def pick(blocks: Tensor, cells: Tensor) -> Tensor:
    """Of blocks (B, n, f*f, C) those of the cells (B, P, k), side by side: (B, P, k*f*f, C)."""
    first = torch.arange(len(blocks), device=blocks.device)[:, None, None] * blocks.shape[1]
    picked = blocks.flatten(0, 1).index_select(0, (first + cells).flatten())
    return picked.view(*cells.shape[:2], -1, blocks.shape[-1])


def check_read(*parts: Stages) -> None:
    """InputError unless keys and values of query and memory, for `memory_read`, fit together."""
    lengths = [len(part) for part in parts]
    if lengths != [4, 4, 4, 4]:
        raise InputError(f"got {lengths} stages of query and memory; expected 4 each")
    kinds = {(tensor.dtype, tensor.device) for part in parts for tensor in part}
    if len(kinds) > 1 or not parts[0][3].is_floating_point():
        raise InputError(f"got parts of {kinds}; expected one type of float on one device")
    batch, _, *coarse = parts[0][3].shape
    times = parts[2][3].shape[2:3]
    for i, stage in enumerate(zip(*parts, strict=True)):
        grid = [side * 2 ** (3 - i) for side in coarse]
        frame, video = (batch, *grid), (batch, *times, *grid)
        shapes = [tuple(part.shape) for part in stage]
        without_channels = [shape[:1] + shape[2:] for shape in shapes]
        fits = without_channels == [frame, frame, video, video] and shapes[0][1] == shapes[2][1]
        if not fits or any(0 in shape for shape in shapes):
            raise InputError(
                f"stage {i + 1}: got shapes {shapes}; expected (B, H, W) = {frame} of the query, "
                f"(B, T, H, W) = {video} of the memory, none empty, as many channels in both keys"
            )


@dataclass(frozen=True)
class HSTSeen(Seen):
    """What HST knows of one frame."""

    picture: Tensor  # (B, 3, H, W), normalised and padded
    keys: list[Tensor]  # (B, C_i, H_i, W_i), finest first
    values: list[Tensor]
    border: tuple[int, int, int, int]  # pixels of padding: left, right, above, below
    present: Tensor | None = None  # (B, K) bool, the objects of each clip, once it has been read


@dataclass
class HSTEntry(Entry):
    """What HST keeps of one frame: the picture, for its features depend on all other frames."""

    picture: Tensor  # (B, 3, H, W), normalised and padded
    masks: Tensor  # (B, K, H, W) in [0, 1], padded
    present: Tensor  # (B, K) bool


class HST(VOSNetwork[HSTSeen, HSTEntry]):
    """The whole network: image Swin, video Swin, keys and values, hierarchical read, decoder."""

    seen_type, entry_type = HSTSeen, HSTEntry
    soft_masks = True

    def __init__(self, config: HSTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SWINS[config.swin]()
        self.video = VideoSwin(self.encoder, config.time_window)
        channels, self.stride = self.encoder.channels, self.encoder.strides[-1]
        self.query = nn.ModuleList(EmbedKeysValues(c, config) for c in channels)
        self.memory = nn.ModuleList(EmbedKeysValues(c, config) for c in channels)
        *fine, coarse = (2 * (c // config.value_share) for c in channels)
        self.decoder = RefineDecoder(coarse, fine, config.decoder_width)

        self.sizing = Sizing(1, config.short_side)  # any size: `encode` pads
        self.schedule = Schedule(every=config.every, at_most=config.memory_size)
        self.schedule_in_training = Schedule()
        if config.copy_at_start:
            start_by_copying(self)

    def load_imagenet(self) -> None:
        """Load timm's weights into both Swins, unless they would undo `copy_at_start`."""
        if self.config.copy_at_start:
            raise InputError("Copies would be undone: set copy_at_start=False, and a larger swin")
        super().load_imagenet()
        self.video = VideoSwin(self.encoder, self.config.time_window)

    def encode(self, frame: Tensor) -> HSTSeen:
        """RGB frames (B, 3, H, W) in [0, 1], of any size -> seen."""
        check_frame(self, frame)
        size = size_of(frame)
        border = padding(size[1:], self.stride)
        picture = self.normalise(F.pad(frame, border))
        stages = [embed(x) for embed, x in zip(self.query, self.encoder(picture), strict=True)]
        keys, values = (list(part) for part in zip(*stages, strict=True))
        return HSTSeen(size, picture, keys, values, border)

    def read(self, seen: HSTSeen, memory: Memory[HSTEntry]) -> tuple[Tensor, HSTSeen]:
        """Log odds (B, 1+K, H, W) of background and objects, softly aggregated, and seen."""
        entries, config = check_memory(self, seen, memory), self.config
        objects = max(entry.masks.shape[1] for entry in entries)
        masks = torch.stack([pad_objects(entry.masks, objects) for entry in entries], dim=2)
        present = torch.stack([pad_objects(entry.present, objects) for entry in entries]).any(dim=0)
        present[0, 0] |= not present.any()  # the read needs one row at least
        clip, own = present.nonzero(as_tuple=True)  # a row for each object that there is

        pictures = torch.stack([entry.picture for entry in entries], dim=1)[clip]  # (R, T, 3, H, W)
        target = masks[clip, own]  # (R, T, H, W)
        others = masks.sum(dim=1)[clip] - target if config.others else None
        features = self.video(pictures, target, others)
        stages = [embed(x) for embed, x in zip(self.memory, features, strict=True)]
        past_keys, past_values = zip(*stages, strict=True)
        keys, values = ([x[clip] for x in parts] for parts in (seen.keys, seen.values))

        settings = config.top_k, config.scale, config.chunk, config.reads
        frames, numbers = [entry.frame for entry in entries], (own + 1).tolist()
        with at_frame(memory.now):
            answers = memory_read(keys, values, past_keys, past_values, *settings, frames, numbers)
        size = seen.picture.shape[2], seen.picture.shape[3]
        answers = self.decoder(answers[3], answers[:3])
        return merge_answers(answers, size, present, seen.border), replace(seen, present=present)

    def memorize(self, seen: HSTSeen, masks: Tensor) -> HSTEntry:
        """What the frame becomes as memory; masks (B, 1+K, H, W) in [0, 1] may be soft."""
        check_masks(self, seen, masks)
        masks = masks[:, 1:]
        there = who_is_there(masks, seen.present)
        return HSTEntry(seen.size, seen.picture, F.pad(masks, seen.border), there)


# Our own initialisation ---------------------------------------------------------------------------


@torch.no_grad()
def start_by_copying(network: HST) -> None:
    """Initialise so that a cell takes over the mask from memory cells that look like it.

    Two channels are set aside in both Swins: in the video Swin they carry the mask past everything,
    as it is and negated; in the image Swin they stay zero. In the others a cell keeps a rotated
    copy of its pixels, by which query and memory find each other. The numbers were found by trial.
    """
    own, sign = slice(2), torch.tensor([1.0, -1.0])
    set_channels_aside(network.encoder.body, own)
    network.video = VideoSwin(network.encoder, network.config.time_window)
    target = network.video.embed_target.weight
    target[:], network.video.embed_others.weight[:] = 0, 0
    target[own] = sign[:, None, None, None] / target[0].numel()
    pairs: list[Any] = list(zip(network.query, network.memory, strict=True))
    for query, memory in pairs:
        nn.init.orthogonal_(query.key.weight, gain=2.0)  # like finds like
        query.key.weight[:, own], query.key.bias[:] = 0, 0
        memory.key.load_state_dict(query.key.state_dict())
        value = memory.value
        value.weight[own] = 0
        value.weight[0, own, 1, 1], value.weight[1, own, 1, 1] = -sign, sign
        value.bias[own] = sign / 2
    *fine, coarse = (query.value.out_channels for query, _ in pairs)
    network.decoder.start_by_copying(coarse, fine)


def set_channels_aside(body: Any, own: slice) -> None:
    """Let no layer of a Swin read or write these channels; merging cells takes their mean."""
    nn.init.orthogonal_(body.patch_embed.proj.weight)
    body.patch_embed.proj.weight[own], body.patch_embed.proj.bias[:] = 0, 0
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


if __name__ == "__main__":
    show_network(HST(HSTConfig.mini()))
