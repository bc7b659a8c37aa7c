"""Networks and clips that are small enough for tests."""

from dataclasses import replace

import numpy as np
import torch
from einops import einsum, rearrange, repeat
from torch import Tensor

from minivos import create_model
from minivos.aot import AOT, AOTConfig, KeysValues, ShortTermAttention
from minivos.nn.attention import join_heads, split_heads, window_index
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Sizing, VOSNetwork
from minivos.video.mask_tensors import one_hot

TINY = AOTConfig(
    layers=2, width=32, heads=2, feedforward=64, window=3, identities=5,
    decoder_width=32, drop_path=0.0, encoder="tiny", align_corners=False, short_side=32, copy_at_start=True,
)  # fmt: skip


def tiny_aot(seed: int = 0, **changes) -> AOT:
    """A small AOT with the same weights whenever the seed is the same, nudged off the zeros that it starts with."""
    torch.manual_seed(seed)
    return nudged(AOT(replace(TINY, **changes)))


def unfolded_window(attention: ShortTermAttention, q: Tensor, previous: KeysValues) -> Tensor:
    """Short-term attention written out: every key and value is copied into each window that it is in."""
    frames, *grid = previous.grid
    index = window_index(grid, attention.window, frames).to(q.device)  # (N, T*window^2)
    relative = attention.relative_score(rearrange(q, "b (y x) c -> b c y x", y=grid[0]))
    relative = repeat(relative, "b (h o) y x -> b h (y x) (t o)", h=attention.heads, t=frames)
    q, k, v = (split_heads(part, attention.heads) for part in (q, previous.keys, previous.values))
    near = index.clamp(min=0)
    scores = einsum(q, k[:, :, near], "b h n d, b h n o d -> b h n o") / q.shape[-1] ** 0.5 + relative
    weights = scores.masked_fill(index < 0, -torch.inf).softmax(dim=-1)
    read = einsum(weights, v[:, :, near], "b h n o, b h n o d -> b h n d")
    learned = weights @ repeat(attention.relative_value, "h d o -> h (t o) d", t=frames)
    return attention.project(join_heads(read + learned))


def nudged(network: VOSNetwork) -> VOSNetwork:
    """The network with its weights off the zeros that it starts with."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return network.eval()


def seeded(name: str, **settings: object) -> VOSNetwork:
    """An untrained network by its name, with the same weights every time."""
    torch.manual_seed(0)
    return nudged(create_model(name, **settings))


def clip_of(objects: int, frames: int = 3, size: tuple[int, int] = (40, 56)) -> tuple[Tensor, Tensor]:
    """Noise (1, T, 3, H, W), and objects that stand as columns side by side: masks (1, T, 1+K, H, W)."""
    pictures = torch.rand(1, frames, 3, *size, generator=torch.Generator().manual_seed(3))
    columns = torch.arange(size[1]) * (objects + 1) // size[1]
    return pictures, one_hot(columns.expand(frames, size[0], -1), objects)[None]


def filled_memory(network: VOSNetwork, frames: Tensor, masks: Tensor, schedule: Schedule | None = None) -> Memory:
    """A memory to which frames (B, T, 3, H, W) came with their masks (B, T, 1+K, H, W)."""
    memory = Memory(schedule or network.schedule_in_training or network.schedule)
    for t in range(frames.shape[1]):
        memory.add(network.memorize(network.encode(frames[:, t]), masks[:, t]), t, reference=True)
    return memory


def squares(number: int = 0, frames: int = 8, size: tuple[int, int] = (40, 48), ids=(1, 2)):
    """Coloured squares that move by a pixel per frame: pictures (T,H,W,3) and labels (T,H,W), both uint8."""
    rng = np.random.default_rng(number)
    height, width = size
    pictures = np.broadcast_to(rng.integers(0, 120, (height, width, 3)), (frames, height, width, 3)).astype(np.uint8)
    labels = np.zeros((frames, height, width), np.uint8)
    for id in ids:
        side = min(size) // 3
        top, left, colour = rng.integers(height - side), rng.integers(width - side), rng.integers(130, 256, 3)
        for t in range(frames):
            y, x = min(top + t, height - side), max(left - t, 0)
            pictures[t, y : y + side, x : x + side] = colour
            labels[t, y : y + side, x : x + side] = id
    return pictures, labels


class EveryFrameCounts(VOSNetwork):
    """A stand-in without weights to speak of that repeats the newest masks and counts what it is asked to do."""

    sizing = Sizing(8, short_side=32)

    def __init__(self, max_objects: int, schedule) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.max_objects, self.schedule = max_objects, schedule
        self.calls = {"encode": 0, "read": 0, "memorize": 0}

    def encode(self, frame):
        self.calls["encode"] += 1
        return frame

    def read(self, seen, memory):
        self.calls["read"] += 1
        return 20 * (memory.previous or memory.kept[-1]).masks - 10, seen

    def memorize(self, seen, masks):
        self.calls["memorize"] += 1
        entry = Entry((len(masks), *masks.shape[2:]))
        entry.masks = masks
        return entry
