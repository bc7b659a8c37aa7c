"""SITVOS: a Siamese network with an interactive transformer.

Lan, Zhang, He and Zhang, "Siamese Network with Interactive Transformer for Video Object
Segmentation", AAAI 2022. Notebook 05 takes it apart; docs/equations.md says where its equations
stand.

Past and current frames go through one backbone, without their masks ("Siamese"), so that a frame is
seen once: what it gave as the current frame serves when it becomes memory. A small encoder looks at
the mask alone. The transformer then lets memory and query take from each other, in both directions,
before the query reads the memory.

    SITVOSConfig            sizes and presets
    Tokens                  the cells of some frames
    Attention               one head                                         Eq. 1
    SelfAttention           memory looks at memory, query at query           Fig. 2
    FeatureInteraction      memory reads query, query reads memory           Fig. 3, Eq. 3 and 4
    InteractiveTransformer  self-attentions, interaction, last read          Fig. 2, Eq. 2
    SITVOS                  encode, read, decode, memorize                   Fig. 2

An object enters at one place only: the values M_x of Eq. 4 (`marked`), memory cells times M_E
(`marks`), what the mask encoder says of them. All before that is the same for every object and is
computed once per frame: both self-attentions, the weights of Eq. 4 and the whole of Eq. 3. The last
read and the decoder run per object, and soft aggregation merges the answers.

Paper and released code differ; `sitvos` is as the code has it, `sitvos_paper` to the letter of the
paper. What the network without interaction reads last is not said; here it is M_x.
`sitvos_mini` has fewer channels, encoders that learn from scratch, cells of 8 pixels, and an
initialisation of our own that leans towards copying masks to what looks alike.

Letters: B batch, K objects (1 for what all of them share), T frames, H x W grid, N = H*W cells of a
frame, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minivos.errors import InputError, check_rules, check_settings
from minivos.nn.attention import attend
from minivos.nn.checks import check_frame, check_masks, check_memory
from minivos.nn.decoders import RefineDecoder
from minivos.nn.encoders import ENCODERS, MASK_ENCODERS
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.nn.objects import merge_answers, pad_objects, padding, who_is_there
from minivos.nn.recording import at_frame
from minivos.nn.summary import show_network


@dataclass(frozen=True)
class SITVOSConfig:
    """Sizes of a SITVOS network; the defaults are those of the released code."""

    encoder: str = "resnet50"  # without its last stage, ResNet-18 for masks; or tiny, for both
    width: int = 128  # C, channels of a cell (paper: 256)
    match: int = 64  # channels that are compared (paper and code: 64)
    kernel: int = 3  # side of the convolutions that embed features (paper: 1)
    cross_values: bool = False  # the reads of Eq. 2 to 4 project their values, W^V (paper: yes)
    share_norm: bool = True  # the reads of Eq. 2 to 4 share one layer norm (paper: not said)
    skip_query: bool = True  # the decoder also gets the embedded query (paper: not mentioned), ...
    context: int = 512  # ... the two projected to so many channels (paper: no projection)
    fim: bool = True  # feature interaction, Eq. 3 and 4; else the query reads M_x (paper: Table 3)
    dropout: float = 0.01  # of attention weights, in training (paper: not mentioned)
    decoder_width: int = 256  # channels inside the decoder (code: 256)
    every: int = 12  # keep every n-th frame (paper: one row of Table 4); 0: none
    spread: int = 0  # instead, read so many frames spread evenly over the past (paper: 7)
    short_side: int | None = None  # pixels, of the frames it works on; None: of the video
    copy_at_start: bool = False  # initialise so that it leans towards copying masks (ours)

    @classmethod
    def paper(cls) -> SITVOSConfig:
        """To the letter of the paper."""
        letter = cls(width=256, kernel=1, cross_values=True, share_norm=False, skip_query=False)
        return replace(letter, dropout=0.0, every=0, spread=7)

    @classmethod
    def mini(cls) -> SITVOSConfig:
        """A network that learns on a laptop."""
        sizes = cls(encoder="tiny", width=64, match=32, context=64, decoder_width=32, dropout=0.0)
        return replace(sizes, short_side=192, every=0, spread=5, copy_at_start=True)

    def __post_init__(self) -> None:
        least = {"width": 2, "match": 2, "context": 2, "decoder_width": 2, "every": 0, "spread": 0}
        check_settings(self, least, encoder=MASK_ENCODERS)
        can_start = self.encoder == "tiny" and self.skip_query
        check_rules({
            f"kernel={self.kernel} must be odd": self.kernel % 2 == 1,
            f"dropout={self.dropout} must be below 1": self.dropout < 1,
            f"spread={self.spread} must be 32 or fewer": self.spread <= Schedule.at_most,
            "copy_at_start needs encoder=tiny, skip_query": can_start or not self.copy_at_start,
            f"every={self.every}, spread={self.spread}: one is 0": 0 in (self.every, self.spread),
        })  # fmt: skip


@dataclass(frozen=True)
class Tokens:
    """The cells of some frames."""

    cells: Tensor  # (B, K, T, N, C)
    grid: tuple[int, int]  # H, W
    frames: tuple[int, ...]  # their numbers
    by_object: bool = False  # each object has cells of its own


class Attention(nn.Module):
    """softmax((a W^Q)(b W^K)^T / sqrt(d)) v, one head; W^V for the values if asked for (Eq. 1)."""

    def __init__(self, config: SITVOSConfig, name: str, project_values: bool) -> None:
        super().__init__()
        width, match = config.width, config.match
        self.name, self.dropout = name, config.dropout
        self.query, self.key = (nn.Linear(width, match, bias=False) for _ in range(2))
        self.value = nn.Linear(width, width, bias=False) if project_values else nn.Identity()

    def forward(self, asking: Tokens, answering: Tokens, values: Tensor) -> Tensor:
        """What each asking cell reads: (B, K, T, N, C), of values (B, K, T', N, C).

        The values of all objects stand side by side in the channels, so that one map serves them
        all where asking cells are shared. Frames ask one after the other, which keeps maps small.
        """
        q, k, v = self.query(asking.cells), self.key(answering.cells), self.value(values)
        askers, objects = q.shape[1], v.shape[1]
        k = rearrange(k, "b k t n c -> b k (t n) c").expand(-1, askers, -1, -1)
        v = rearrange(v, "b k t n c -> b 1 (t n) (k c)").expand(-1, askers, -1, -1)
        place = self.name, (len(answering.frames), *answering.grid), answering.frames
        how: Any = {"dropout": self.dropout * self.training, "by_object": asking.by_object}
        reads = []
        for t, frame in enumerate(asking.frames):
            with at_frame(frame):
                reads.append(attend(q[:, :, t], k, v, *place, **how))  # SITVOS Eq. 1
        return rearrange(torch.stack(reads), "t b h n (k c) -> b (h k) t n c", k=objects)


class SelfAttention(nn.Module):
    """The memory looks at the whole memory, the query at itself: norm(attention + x) (Fig. 2)."""

    def __init__(self, config: SITVOSConfig, name: str) -> None:
        super().__init__()
        self.attention = Attention(config, name, project_values=True)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, x: Tokens) -> Tokens:
        """Tokens (B, K, T, N, C) -> the same shape."""
        return replace(x, cells=self.norm(self.attention(x, x, x.cells) + x.cells))


class FeatureInteraction(nn.Module):
    """Memory and query read each other, each as the other was before (Fig. 3, Eq. 3 and 4)."""

    def __init__(self, config: SITVOSConfig) -> None:
        super().__init__()
        self.to_memory = Attention(config, "memory_asks_query", config.cross_values)
        self.to_query = Attention(config, "query_asks_memory", config.cross_values)
        norms = 1 if config.share_norm else 2
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(norms))

    def forward(self, memory: Tokens, query: Tokens, marked: Tensor) -> tuple[Tokens, Tokens]:
        """M_SA, Q_SA, M_x (B, K, T, N, C) -> M_out, shared by all objects, and Q_out of each."""
        from_query = self.to_memory(memory, query, query.cells)
        from_memory = self.to_query(query, memory, marked)  # here the objects part
        memory_out = self.norms[0](from_query + memory.cells)  # SITVOS Eq. 3
        query_out = self.norms[-1](from_memory + query.cells)  # SITVOS Eq. 4
        return replace(memory, cells=memory_out), replace(query, cells=query_out, by_object=True)


class InteractiveTransformer(nn.Module):
    """Self-attention on either side, interaction, the query's last read of the memory (Fig. 2)."""

    def __init__(self, config: SITVOSConfig) -> None:
        super().__init__()
        self.memory_self = SelfAttention(config, "memory_self")
        self.query_self = SelfAttention(config, "query_self")
        self.interaction = FeatureInteraction(config) if config.fim else None
        self.last_read = Attention(config, "last_read", config.cross_values)
        shared = config.fim and config.share_norm
        self.norm = None if shared else nn.LayerNorm(config.width)
        self.skip_query, width = config.skip_query, config.width
        self.project = nn.Linear(2 * width, config.context) if self.skip_query else nn.Identity()

    def forward(self, memory: Tokens, query: Tokens, marked: Tensor) -> Tensor:
        """M_ori, Q_ori and M_x (B, K, T, N, C) -> what the decoder gets: (B, K, N, C')."""
        past, now, values = self.memory_self(memory), self.query_self(query), marked
        norm: Any = self.norm
        if self.interaction is not None:
            past, now = self.interaction(past, now, marked)
            values = past.cells
            norm = norm or self.interaction.norms[0]
        context = norm(self.last_read(now, past, values) + now.cells)  # SITVOS Eq. 2
        if self.skip_query:
            own = query.cells.expand(-1, context.shape[1], -1, -1, -1)
            context = torch.cat([context, own], dim=-1)
        return self.project(context)[:, :, 0]


@dataclass(frozen=True)
class SITVOSSeen(Seen):
    """What SITVOS knows of one frame."""

    features: list[Tensor]  # of the backbone, finest scale first
    border: tuple[int, int, int, int]  # pixels of padding: left, right, top, bottom
    present: Tensor | None = None  # (B, K) bool, the objects of each clip, once it has been read


@dataclass
class SITVOSEntry(Entry):
    """What SITVOS keeps of one frame."""

    cells: Tensor  # M_ori (B, C, H, W), the same for all objects
    marks: Tensor  # M_E (B, K, C, H, W), what the mask encoder says of each object
    present: Tensor  # (B, K) bool, the objects of each clip: shorter lists are filled up


class SITVOS(VOSNetwork[SITVOSSeen, SITVOSEntry]):
    """The whole network: backbone, mask encoder, interactive transformer, decoder."""

    seen_type, entry_type = SITVOSSeen, SITVOSEntry
    mask_encoder: Any
    soft_masks = True

    def __init__(self, config: SITVOSConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ENCODERS[config.encoder]()
        self.mask_encoder = MASK_ENCODERS[config.encoder]()
        fine, middle, deep = self.encoder.channels

        def embed(channels: int) -> nn.Conv2d:
            return nn.Conv2d(channels, config.width, config.kernel, padding=config.kernel // 2)

        self.embed_memory, self.embed_query = embed(deep), embed(deep)
        self.embed_mask = embed(self.mask_encoder.channels[-1])
        self.transformer = InteractiveTransformer(config)
        context = config.context if config.skip_query else config.width
        self.decoder = RefineDecoder(context, (fine, middle), config.decoder_width)

        self.stride = self.encoder.strides[-1]
        self.sizing = Sizing(1, config.short_side)  # any size: `encode` pads
        every, spread = config.every, config.spread
        self.schedule = Schedule(previous=0 if spread else 1, every=every, spread=spread)
        self.schedule_in_training = Schedule(previous=0, every=1)
        if config.copy_at_start:
            start_by_copying(self)

    def load_imagenet(self) -> None:
        """Load timm's weights into backbone and mask encoder; InputError without a download."""
        super().load_imagenet()
        self.mask_encoder.load_imagenet()

    def encode(self, frame: Tensor) -> SITVOSSeen:
        """RGB frames (B, 3, H, W) in [0, 1], of any size -> seen."""
        check_frame(self, frame)
        size = size_of(frame)
        border = padding(size[1:], self.stride)
        features = self.encoder(self.normalise(F.pad(frame, border)))
        return SITVOSSeen(size, features, border)

    def read(self, seen: SITVOSSeen, memory: Memory[SITVOSEntry]) -> tuple[Tensor, SITVOSSeen]:
        """Log odds (B, 1+K, H, W) of background and objects, softly aggregated, and seen."""
        entries = check_memory(self, seen, memory)
        objects = max(entry.marks.shape[1] for entry in entries)
        cells = torch.stack([entry.cells for entry in entries], dim=1)  # (B, T, C, H, W)
        marks = torch.stack([self.marks_of(entry, objects) for entry in entries], dim=2)
        marked = rearrange(marks * cells[:, None], "b k t c y x -> b k t (y x) c")  # M_x
        query = self.embed_query(seen.features[-1])  # (B, C, H, W)
        grid = query.shape[2], query.shape[3]
        frames = tuple(entry.frame for entry in entries)
        past = Tokens(rearrange(cells, "b t c y x -> b 1 t (y x) c"), grid, frames)
        now = Tokens(rearrange(query, "b c y x -> b 1 1 (y x) c"), grid, (memory.now,))

        present = torch.stack([pad_objects(entry.present, objects) for entry in entries]).any(dim=0)
        context = self.transformer(past, now, marked)
        return self.decode(seen, context, present), replace(seen, present=present)

    def decode(self, seen: SITVOSSeen, context: Tensor, present: Tensor) -> Tensor:
        """Log odds (B, 1+K, H, W) from context (B, K, N, C'), object by object, then merged."""
        *finer, deepest = seen.features
        height, width = deepest.shape[-2:]
        maps = rearrange(context, "b k (y x) c -> (b k) c y x", y=height)
        answers = self.decoder(maps, finer)[present.flatten()]
        size = height * self.stride, width * self.stride
        return merge_answers(answers, size, present, seen.border)

    def memorize(self, seen: SITVOSSeen, masks: Tensor) -> SITVOSEntry:
        """What the frame becomes as memory; masks (B, 1+K, H, W) in [0, 1] may be soft."""
        check_masks(self, seen, masks)
        masks = masks[:, 1:]
        cells = self.embed_memory(seen.features[-1])
        marks = self.mark(F.pad(masks, seen.border))
        return SITVOSEntry(seen.size, cells, marks, who_is_there(masks, seen.present))

    def mark(self, masks: Tensor) -> Tensor:
        """M_E, what the mask encoder says of each object: (B, K, H, W) -> (B, K, C, H/s, W/s)."""
        each = rearrange(masks, "b k y x -> (b k) 1 y x")
        marks = self.embed_mask(self.mask_encoder(each)[-1])
        return rearrange(marks, "(b k) c y x -> b k c y x", k=masks.shape[1])

    def marks_of(self, entry: SITVOSEntry, objects: int) -> Tensor:
        """The marks of an entry for so many objects: those that came later had an empty mask."""
        missing = objects - entry.marks.shape[1]
        if not missing:
            return entry.marks
        height, width = (side * self.stride for side in entry.cells.shape[-2:])
        empty = self.mark(entry.cells.new_zeros(len(entry.cells), 1, height, width))
        return torch.cat([entry.marks, empty.expand(-1, missing, -1, -1, -1)], dim=1)


def released_schedule(length: int, n: int = 7) -> Schedule:
    """The up to n+1 frames of a video of that length that the released code stores."""
    if not isinstance(length, int) or not isinstance(n, int) or min(length, n) < 1:
        raise InputError(f"got length={length!r} and n={n!r}; expected whole numbers, 1 or more")
    these = np.unique(np.linspace(0, length, n + 2).round().astype(int)[:-1]).tolist()
    return Schedule(these=tuple(these), at_most=max(Schedule.at_most, n + 1))


# Our own initialisation ---------------------------------------------------------------------------


@torch.no_grad()
def start_by_copying(network: SITVOS) -> None:
    """Initialise so that a cell takes over the mask from memory cells that look like it.

    The first channels carry the mask to the decoder, half of them as it is, half negated. What
    memory and query are compared by is embedded alike. The numbers were found by trial.
    """
    carry, middle = max(1, network.config.width // 16), network.config.kernel // 2
    sign = torch.tensor([4.0] * carry + [-4.0] * carry)
    own = slice(2 * carry)  # the channels that carry the mask
    network.mask_encoder.start_by_copying()
    network.decoder.start_by_copying()

    memory: Any = network.embed_memory
    mask: Any = network.embed_mask
    memory.weight -= memory.weight.mean(dim=1, keepdim=True)  # features share a mean
    for layer in (memory, mask):
        layer.weight[own] = 0
        layer.bias.zero_()
    network.embed_query.load_state_dict(memory.state_dict())
    memory.bias[own] = 1
    mask.weight[own, 0, middle, middle] = sign
    mask.bias[own] = -0.35 * sign  # a cell is the object's if so much of what it reads is

    project: Any = network.transformer.project
    project.weight[:2], project.bias[:2] = 0, 0
    project.weight[0, own], project.weight[1, own] = -sign / 8, sign / 8
    for part in network.transformer.modules():
        if isinstance(part, Attention):
            nn.init.orthogonal_(part.query.weight, gain=2.5)  # like finds like
            part.key.load_state_dict(part.query.state_dict())
            if isinstance(part.value, nn.Linear):
                part.value.weight *= 0.1


if __name__ == "__main__":
    show_network(SITVOS(SITVOSConfig.mini()))
