"""HST: hierarchical spatiotemporal transformers.

Yoo, Lee and Jung, "Hierarchical Spatiotemporal Transformers for Video Object Segmentation", 2023.
Notebook 06 takes it apart; docs/equations.md says where its equations stand.

The current frame goes through an image Swin; the past frames go, together and with their masks,
through a video Swin. Both give features at four stages, and at each stage the frame reads the past.
A dense read at the finest scale would compare every fine cell with every fine cell of all frames.
HST reads densely at the coarsest stage only; finer cells look no further than under the k coarse
cells that their own coarse cell liked best.

    nn/swin.py        image Swin, and the video Swin inflated from it       Sec. III-A and III-B
    HSTConfig         sizes and presets                                     Sec. III-D and IV-A
    EmbedKeysValues   what is compared, and what is handed over             Sec. III-C
    memory_read       dense at stage 4, top-k at stages 3, 2 and 1          Sec. III-C, Eq. 1 to 5
    Stage             one stage: its best cells, its read, its maps         Sec. III-C
    HST               encode, read, memorize                                Fig. 2, Sec. III-C

The authors released no code. What the paper leaves open is chosen here; where that is a setting,
`HSTConfig` says so. Each stage of a Swin ends in a layer norm. Windows are padded where they do not
fit, unseen. RGB, the object's mask and that of all others are embedded apart and summed, as the
supplement has it (the main text: one patch of RGB and mask). Predicted masks are remembered as
probabilities. Keys and values come from 3x3 convolutions, and the decoder's blocks are those of
STM, on which HST builds. All cells under a coarse cell share its k choices, as in HMMN. Stages that
do not read hand zeros to the decoder beside their query value.

`hst_mini` is the same with a small Swin that learns from scratch, and an initialisation of our own,
with which the untrained network roughly copies masks to what looks alike.

Letters: B batch (in `memory_read`: one sample for each object of each clip), K objects, T frames in
memory, C channels, H_i x W_i grid of stage i = 1..4, finest first, f = 8, 4, 2 or 1 the side of a
coarse cell in cells of stage i. Lists over stages are finest first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.decoders import RefineDecoder
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Sizing, VOSNetwork
from minivos.nn.objects import crop, merge_answers, pad_objects, padding, who_is_there
from minivos.nn.recording import Place, record, wants_weights
from minivos.nn.swin import SWINS, VideoSwin

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HSTConfig:
    """Sizes of an HST network; the defaults are those of HST-B."""

    swin: str = "base"  # tiny, small, base or large (paper: T, S, B, L); or mini
    time_window: int = (
        8  # frames in a window of the video Swin (paper: not given); 1: every frame by itself
    )
    top_k: int | None = (
        128  # coarse cells under which the finer stages look (paper: 128); None: everywhere, dense
    )
    reads: int = 4  # stages that read, from the coarsest (paper: 4)
    others: bool = True  # the memory sees the masks of all other objects, too (paper: yes)
    key_share: int = 8  # channels of a stage over those of its keys (paper: 8)
    value_share: int = 2  # ... of its values (paper: 2)
    scale: bool = (
        True  # divide scores by the root of their channels (paper: not written, as usual elsewhere)
    )
    decoder_width: int = 128  # channels inside the decoder (paper: not given)
    every: int = 8  # keep every n-th frame, beside first and previous (paper: 8); 0: none
    memory_size: int = 32  # keep at most so many frames, beside the previous (paper: no bound)
    short_side: int | None = (
        None  # pixels, of the frames it works on; None: of the video (paper: 480)
    )
    chunk: int = 16  # coarse cells that read at once: more need more memory
    copy_at_start: bool = (
        False  # initialise so that the untrained network copies masks to what looks alike (ours)
    )

    def __post_init__(self) -> None:
        check_settings(
            self, time_window=1, top_k=1, reads=1, key_share=1, value_share=1, decoder_width=2, every=0, memory_size=1,
            short_side=1, chunk=1,
        )  # fmt: skip
        check_rules({
            f"swin={self.swin!r} must be one of {', '.join(SWINS)}": self.swin in SWINS,
            f"reads={self.reads} must be 1 to 4": self.reads <= 4,
        })  # fmt: skip
        channels, values = SWINS[self.swin].channels[0], 2 if self.copy_at_start else 1
        check_rules({
            f"key_share={self.key_share} must leave a key of {channels} channels": self.key_share <= channels,
            f"value_share={self.value_share} must leave {values} or more of {channels} channels":
                channels // self.value_share >= values,
        })  # fmt: skip

    @classmethod
    def published(cls, swin: str) -> HSTConfig:
        """HST-T, S, B or L by their Swins; the decoder is as wide as the first stage. InputError
        for other names.

        The paper gives the two Swins of HST-B 193.6 M parameters; ours have 176.5 M, the whole
        network 196.5 M.
        """
        if swin not in (names := [name for name in SWINS if name != "mini"]):
            raise InputError(f"swin={swin!r} came; the paper has {', '.join(names)}.")
        return cls(swin=swin, decoder_width=SWINS[swin].channels[0])

    @classmethod
    def mini(cls) -> HSTConfig:
        """A network that learns on a laptop."""
        return cls(
            swin="mini", time_window=4, top_k=8, key_share=4, decoder_width=24, memory_size=8, short_side=128, chunk=64,
            copy_at_start=True,
        )  # fmt: skip


class EmbedKeysValues(nn.Module):
    """Keys and values of one stage, of query or memory: two 3x3 convolutions, frame by frame (Sec.

    III-C).
    """

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
            rearrange(layer(flat), "(b t) c y x -> b c t y x", b=len(features))
            for layer in (self.key, self.value)
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
    """Read the memory at every stage: dense at stage 4, finer ones under the k best coarse cells
    (Sec. III-C).

    Args:
        query_keys, query_values: (B, C_i, H_i, W_i) of each stage, finest first, with H_i = 2
        H_(i+1).
        memory_keys, memory_values: (B, C_i, T, H_i, W_i) of each stage.
        k: coarse cells per coarse query cell; more than there are means all; None: every stage
        reads densely.
        scale: divide scores by the root of their channels.
        chunk: coarse query cells of each of the B samples that read at once. Changes no result. A
            read holds the keys, values and weights of so many cells at a time; where gradients or
            maps are wanted it keeps those of all.
        reads: how many stages read, from the coarsest, 1 to 4; the others get zeros.
        frames, names: numbers of the T frames and names of the B samples, for recorded maps.

    Returns [query value; what was read] of each stage, finest first: (B, 2 C'_i, H_i, W_i). Raises
    InputError when parts or settings do not fit together.
    """
    if not (k is None or type(k) is int and k >= 1):
        raise InputError(f"k={k!r} came; give a whole number, 1 or more, or None.")
    HSTConfig(scale=scale, chunk=chunk, reads=reads)  # which raises for settings that cannot be
    samples, times = check_read(query_keys, query_values, memory_keys, memory_values)
    frames = range(times) if frames is None else frames
    names = [f"sample{b}" for b in range(samples)] if names is None else names
    if (len(frames), len(names)) != (times, samples):
        raise InputError(
            f"{len(frames)} frames and {len(names)} names came; expected {times} and {samples}, T and B"
        )
    chosen, answers = None, []
    for i in (3, 2, 1, 0):  # coarsest first
        q, own, keys, values = query_keys[i], query_values[i], memory_keys[i], memory_values[i]
        if i < 4 - reads:
            found = torch.zeros_like(values[:, :, 0])
        else:
            stage = Stage.cut(
                i + 1, q * q.shape[1] ** -0.5 if scale else q, keys, values, frames, names
            )
            found = stage.read(chosen, chunk)
        if i == 3 and k is not None and reads > 1:
            chosen = stage.best(k)
        answers.append(torch.cat([own, found], dim=1))  # HST Eq. 3, 5
    return answers[::-1]


@dataclass(frozen=True)
class Stage:
    """Query and memory of one stage, cut into the blocks of f x f cells that lie under one
    coarse cell.
    """

    number: int  # 1 to 4
    queries: Tensor  # (B, H4*W4, f*f, C), scaled
    keys: Tensor  # (B, T*H4*W4, f*f, C)
    values: Tensor  # (B, T*H4*W4, f*f, C')
    grid: tuple[int, int, int]  # T, H_i, W_i
    lengths: dict[
        str, int
    ]  # for einops: y blocks from top to bottom, of fy = f rows and fx = f columns each
    frames: Sequence[int]
    names: Sequence[str]

    @classmethod
    def cut(
        cls,
        number: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        frames: Sequence[int],
        names: Sequence[str],
    ) -> Stage:
        """From queries (B, C, H, W), keys (B, C, T, H, W) and values (B, C', T, H, W)."""
        f, cut = 2 ** (4 - number), "b c t (y fy) (x fx) -> b (t y x) (fy fx) c"
        parts = (
            rearrange(part, cut, fy=f, fx=f).contiguous()
            for part in (queries[:, :, None], keys, values)
        )
        lengths = {"y": keys.shape[3] // f, "fy": f, "fx": f}
        return cls(number, *parts, tuple(keys.shape[2:]), lengths, frames, names)

    def best(self, k: int) -> Tensor:
        """For each coarse query cell the k coarse memory cells that score highest: (B, H4*W4,
        k).
        """
        scores = self.queries[:, :, 0] @ self.keys[:, :, 0].mT  # HST Eq. 1, to choose by
        if k > scores.shape[-1]:
            say_once(
                f"top_k={k}: the memory has {scores.shape[-1]} coarse cells, the finer stages look under all"
            )
        return scores.topk(min(k, scores.shape[-1])).indices

    def read(self, chosen: Tensor | None, chunk: int) -> Tensor:
        """What the query finds under the chosen coarse cells (B, H4*W4, k), or, with None,
        anywhere: (B, C', H, W).
        """
        explicit = wants_weights(*(f"{name}/stage{self.number}" for name in self.names))
        found, maps = [], []
        for first in range(0, self.queries.shape[1], chunk):
            part = slice(first, first + chunk)
            queries = self.queries[:, part]  # (B, P, f*f, C)
            if chosen is None:  # all blocks as one
                queries, keys, values = (
                    x.flatten(1, 2)[:, None] for x in (queries, self.keys, self.values)
                )
            else:
                keys, values = (pick(x, chosen[:, part]) for x in (self.keys, self.values))
            if explicit:
                weights = (queries @ keys.mT).softmax(dim=-1)  # HST Eq. 1, 2, 4
                maps.append(weights.flatten(1, 2))
                answer = weights @ values
            else:
                wider = (
                    0,
                    max(0, values.shape[-1] - keys.shape[-1]),
                )  # keys as wide as the fused kernel wants them
                queries, keys = F.pad(queries, wider), F.pad(keys, wider)
                answer = F.scaled_dot_product_attention(
                    queries, keys, values, scale=1
                )  # HST Eq. 1, 2, 4
            found.append(answer.flatten(1, 2))
        if explicit:
            self.record(torch.cat(maps, dim=1), chosen)
        return rearrange(
            torch.cat(found, dim=1), "b (y x fy fx) c -> b c (y fy) (x fx)", **self.lengths
        )

    def record(self, weights: Tensor, chosen: Tensor | None) -> None:
        """Record a map for each sample: weights (B, H4*W4*f*f, n) of the cells under the chosen
        ones, or of all.
        """
        weights = rearrange(weights, "b (y x fy fx) n -> b 1 1 (y fy x fx) n", **self.lengths)
        if chosen is None:
            cells = [None] * len(weights)
            weights = rearrange(
                weights, "... (t y x fy fx) -> ... (t y fy x fx)", t=self.grid[0], **self.lengths
            )
        else:
            cells = repeat(self.under(chosen), "b (y x) n -> b (y fy x fx) n", **self.lengths)
        for name, each, index in zip(self.names, weights, cells, strict=True):
            record(
                each,
                Place(
                    f"{name}/stage{self.number}",
                    self.grid[1:],
                    self.grid,
                    tuple(self.frames),
                    index,
                ),
            )

    def under(self, chosen: Tensor) -> Tensor:
        """Numbers in the grid (T, H_i, W_i) of the cells under coarse cells (..., k): (...,
        k*f*f).
        """
        numbers = torch.arange(math.prod(self.grid), device=chosen.device)
        numbers = rearrange(
            numbers, "(t y fy x fx) -> (t y x) (fy fx)", t=self.grid[0], **self.lengths
        )
        return numbers[chosen].flatten(-2)


def pick(blocks: Tensor, cells: Tensor) -> Tensor:
    """Of each sample the blocks (B, n, f*f, C) with the numbers cells (B, P, k), side by side:
    (B, P, k*f*f, C).
    """
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
) -> tuple[int, int]:
    """B and T of what `memory_read` is given; InputError when it does not fit together."""
    parts = query_keys, query_values, memory_keys, memory_values
    if {len(part) for part in parts} != {4}:
        raise InputError(
            f"{[len(part) for part in parts]} stages of query and memory came; expected 4 each."
        )
    kinds = {(tensor.dtype, tensor.device) for part in parts for tensor in part}
    if len(kinds) > 1 or not query_keys[3].is_floating_point():
        raise InputError(
            f"parts of the kinds {kinds} came; expected one type of float on one device"
        )
    samples, coarse, times = (
        query_keys[3].shape[:1],
        query_keys[3].shape[-2:],
        memory_keys[3].shape[2:3],
    )
    for i, (q, own, keys, values) in enumerate(zip(*parts, strict=True)):
        grid = [side * 2 ** (3 - i) for side in coarse]
        came = [tuple(part.shape) for part in (q, own, keys, values)]
        wanted = [
            (*samples, *part.shape[1:2], *more, *grid)
            for part, more in ((q, ()), (own, ()), (q, times), (values, times))
        ]
        if came != wanted or any(0 in shape for shape in came):
            raise InputError(
                f"stage {i + 1}: query keys and values, memory keys and values of shapes {came} came; expected "
                f"{wanted}, none empty, from the keys at stage 4 and as many channels in both keys"
            )
    return len(memory_keys[3]), memory_keys[3].shape[2]


@dataclass(frozen=True)
class Seen:
    """What HST knows of one frame."""

    picture: Tensor  # (B, 3, H, W), normalised and padded
    keys: list[Tensor]  # (B, C_i, H_i, W_i), finest first
    values: list[Tensor]
    border: tuple[int, int, int, int]  # pixels of padding: left, right, above, below
    size: tuple[int, int, int]  # B, H, W of the frames as they came
    present: Tensor | None = (
        None  # (B, K) bool, the objects that each clip has, once the frame has been read
    )


@dataclass
class HSTEntry(Entry):
    """What HST keeps of one frame: the picture, for what the video Swin makes of it depends on
    all frames in memory.
    """

    picture: Tensor  # (B, 3, H, W), normalised and padded
    masks: Tensor  # (B, K, H, W) in [0, 1], padded
    size: tuple[int, int, int]  # B, H, W of the frames as they came
    present: Tensor  # (B, K) bool


class HST(VOSNetwork):
    """The whole network: image Swin, video Swin, keys and values, hierarchical read, decoder."""

    seen_type, entry_type = Seen, HSTEntry
    soft_masks = True

    def __init__(self, config: HSTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SWINS[config.swin]()
        self.video = VideoSwin(self.encoder, config.time_window)
        channels, self.stride = self.encoder.channels, self.encoder.strides[-1]
        self.sizing = Sizing(1, config.short_side)  # any size: `encode` pads
        self.schedule = Schedule(every=config.every, at_most=config.memory_size)
        self.schedule_in_training = Schedule()
        self.query, self.memory = (
            nn.ModuleList(EmbedKeysValues(c, config) for c in channels) for _ in range(2)
        )
        *fine, coarse = (2 * (c // config.value_share) for c in channels)
        self.decoder = RefineDecoder(coarse, fine, config.decoder_width)
        if config.copy_at_start:
            self.start_by_copying()

    def load_imagenet(self) -> None:
        """Load timm's weights into both Swins; InputError with `copy_at_start`, and when they
        cannot be downloaded.
        """
        if self.config.copy_at_start:
            raise InputError(
                "ImageNet's weights would overwrite what copy_at_start=True has initialised: set copy_at_start=False, "
                "and swin=tiny, small, base or large, which have such weights."
            )
        super().load_imagenet()
        self.video = VideoSwin(self.encoder, self.config.time_window)

    def start_by_copying(self) -> None:
        """Initialise so that a cell takes over the mask from memory cells that look like it.

        Two channels are set aside in both Swins: in the video Swin they carry the mask past
        everything, as it is and negated; in the image Swin they stay zero. In the others a cell
        keeps a rotated copy of its pixels, by which query and memory find each other. The numbers
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
        """RGB frames (B, 3, H, W) in [0, 1], of any size -> seen. Raises InputError for others."""
        self.check_frame(frame)
        border = padding(frame.shape[-2:], self.stride)
        picture = self.normalise(F.pad(frame, border))
        pairs = [embed(part) for embed, part in zip(self.query, self.encoder(picture), strict=True)]
        size = len(frame), *frame.shape[-2:]
        return Seen(picture, *(list(parts) for parts in zip(*pairs, strict=True)), border, size)

    def read(self, seen: Seen, memory: Memory) -> tuple[Tensor, Seen]:
        """Log odds (B, 1+K, H, W) of background and objects, of softly aggregated probabilities;
        and seen.

        H and W are those of the frame. Maps are recorded as object1, object2, ... in the order of
        the masks. Raises InputError when the memory is empty or of other B, H or W.
        """
        entries = self.check_memory(seen, memory)
        objects = max(entry.masks.shape[1] for entry in entries)
        masks = torch.stack([pad_objects(entry.masks, objects) for entry in entries], dim=2)
        present = torch.stack([pad_objects(entry.present, objects) for entry in entries]).any(dim=0)
        present[0, 0] |= not present.any()  # somebody has to ask
        clip, own = present.nonzero(as_tuple=True)  # a row for each object that there is

        pictures, target = (
            torch.stack([e.picture for e in entries], dim=1)[clip],
            masks[clip, own],
        )  # (R, T, [3,] H, W)
        features = self.video(
            pictures, target, masks.sum(dim=1)[clip] - target if self.config.others else None
        )
        past = zip(
            *(embed(part) for embed, part in zip(self.memory, features, strict=True)), strict=True
        )
        now = ([part[clip] for part in parts] for parts in (seen.keys, seen.values))
        names = [
            f"object{o + 1}" if len(present) == 1 else f"clip{c}/object{o + 1}"
            for c, o in zip(clip, own, strict=True)
        ]
        config = self.config
        *fine, coarse = memory_read(
            *now,
            *past,
            config.top_k,
            config.scale,
            config.chunk,
            config.reads,
            [e.frame for e in entries],
            names,
        )
        odds = merge_answers(self.decoder(coarse, fine), tuple(seen.picture.shape[-2:]), present)
        return crop(odds, seen.border), replace(seen, present=present)

    def memorize(self, seen: Seen, masks: Tensor) -> HSTEntry:
        """What the frame becomes as memory; masks (B, 1+K, H, W) in [0, 1], background first, may
        be soft.

        `who_is_there` says which objects it knows. Raises InputError without objects, and for masks
        of another type, number or size than the frames.
        """
        self.check_masks(seen, masks)
        masks = masks[:, 1:]
        there = who_is_there(masks, seen.present)
        return HSTEntry(seen.picture, F.pad(masks, seen.border), seen.size, there)


if __name__ == "__main__":
    from minivos.nn.summary import show_network

    show_network(HST(HSTConfig.mini()))
