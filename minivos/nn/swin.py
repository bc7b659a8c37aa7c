"""Swin transformers of images and of video: attention in windows, features of four stages.

Liu et al., "Swin Transformer", ICCV 2021; Liu et al., "Video Swin Transformer", CVPR 2022.

A window is a small box of cells that look at each other. Every second block shifts the boxes by
half of their sides, so that news crosses their borders. A grid is padded to whole windows, in space
and time; no cell looks at the padding.

The image network is timm's, run as a video of one frame. The video network is that one *inflated*:
it starts with the same weights, the position bias repeated along time. Until it is trained, and
without masks, it gives for a frame that stands still what the image network gives.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.models.swin_transformer import SwinTransformerBlock, WindowAttention
from torch import Tensor, nn

from minivos.errors import InputError
from minivos.nn.encoders import SwinEncoder

Sides = tuple[int, ...]  # along t, y, x
Masks = Tensor | None  # (B, T, H, W) in [0, 1]


def in_windows(x: Tensor, window: Sides) -> Tensor:
    """Cut into windows: (B, T, H, W, C) -> (B, windows, cells of a window, C)."""
    t, y, x_ = window
    return rearrange(x, "b (nt t) (ny y) (nx x) c -> b (nt ny nx) (t y x) c", t=t, y=y, x=x_)


def from_windows(x: Tensor, window: Sides, grid: Sides) -> Tensor:
    """Undo `in_windows`."""
    (t, y, x_), nt, ny = window, grid[0] // window[0], grid[1] // window[1]
    undo = "b (nt ny nx) (t y x) c -> b (nt t) (ny y) (nx x) c"
    return rearrange(x, undo, nt=nt, ny=ny, t=t, y=y, x=x_)


# A frame needs 16: two kinds of block, four stages, two networks. A video's would fill gigabytes.
@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept serves in training, too
def who_may_look(grid: Sides, window: Sides, shift: Sides) -> Tensor | None:
    """Which cells of a window may look at each other: bool (windows, cells, cells), None: all."""
    padded = tuple(side + -side % w for side, w in zip(grid, window, strict=True))
    if padded == grid and not any(shift):
        return None
    kinds = torch.zeros(1, 1, 1, 1, 1, dtype=torch.long)
    for axis, (side, length, by) in enumerate(zip(grid, padded, shift, strict=True), start=1):
        place = torch.arange(length)
        kind = (place >= length - by).long()  # 1: wrapped around
        kind[place.roll(-by) >= side] = 2  # padding
        kinds = 3 * kinds + kind.view([-1 if i == axis else 1 for i in range(5)])
    kinds = in_windows(kinds, window)[0, :, :, 0]
    return kinds[:, :, None] == kinds[:, None]


@cache
@torch.inference_mode(False)
def offsets(window: Sides, sides: Sides) -> Tensor:
    """Rows of the pairs of cells of a window in the bias table of windows of `sides`: (N, N)."""
    places = torch.cartesian_prod(*(torch.arange(w) for w in window))  # (N, 3)
    t, y, x = (places[:, None] - places + torch.tensor(sides) - 1).unbind(-1)
    return (t * (2 * sides[1] - 1) + y) * (2 * sides[2] - 1) + x


def window_attention(
    x: Tensor, part: WindowAttention, table: Tensor, sides: Sides, shifted: bool
) -> Tensor:
    """Self-attention in windows: (B, T, H, W, C) -> the same.

    `part` has the projections, `table` (offsets, heads) the position bias of windows of `sides`.
    """
    grid = tuple(x.shape[1:4])
    window = (min(sides[0], grid[0]), *sides[1:])
    shift = tuple(w // 2 if shifted and n > w else 0 for n, w in zip(grid, window, strict=True))
    t, y, x_ = (-side % w for side, w in zip(grid, window, strict=True))
    x = F.pad(x, (0, 0, 0, x_, 0, y, 0, t))
    cells = in_windows(x.roll([-by for by in shift], (1, 2, 3)), window)
    bias = rearrange(table[offsets(window, sides).to(table.device)], "q k h -> h q k")
    parallel = "(b w) h n c"  # four axes, as the fused kernel wants them
    if (allowed := who_may_look(grid, window, shift)) is not None:
        parallel = "b (w h) n c"
        bias = bias.masked_fill(~allowed[:, None].to(bias.device), -torch.inf).flatten(0, 1)
    sizes = {"w": cells.shape[1], "h": part.num_heads}
    q, k, v = rearrange(part.qkv(cells), f"b w n (three h c) -> three {parallel}", three=3, **sizes)
    values = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
    answer = part.proj(rearrange(values, f"{parallel} -> b w n (h c)", **sizes))
    answer = from_windows(answer, window, tuple(x.shape[1:4])).roll(shift, (1, 2, 3))
    return answer[:, : grid[0], : grid[1], : grid[2]]


class VideoBlock(nn.Module):
    """A Swin block over space and time, inflated from a copy of an image block: (B, T, H, W, C)."""

    def __init__(self, image: SwinTransformerBlock | ImageBlock, frames: int, shifted: bool):
        super().__init__()
        own: Any = deepcopy(image)
        self.norm1, self.attn, self.norm2, self.mlp = own.norm1, own.attn, own.norm2, own.mlp
        self.sides, self.shifted = (frames, *self.attn.window_size), shifted
        table = self.attn.relative_position_bias_table.detach().repeat(2 * frames - 1, 1)
        self.attn.relative_position_bias_table = nn.Parameter(table)

    def forward(self, x: Tensor) -> Tensor:
        """Attention and feed-forward, each after a norm and with a shortcut."""
        table = self.attn.relative_position_bias_table
        x = x + window_attention(self.norm1(x), self.attn, table, self.sides, self.shifted)
        return x + self.mlp(self.norm2(x))


class ImageBlock(VideoBlock):
    """The same for images, made of timm's block: (B, H, W, C)."""

    def __init__(self, timm_block: SwinTransformerBlock) -> None:
        super().__init__(timm_block, frames=1, shifted=any(timm_block.target_shift_size))

    def forward(self, x: Tensor) -> Tensor:
        """A video of one frame."""
        return super().forward(x[:, None])[:, 0]


class ImageSwin(SwinEncoder):
    """A Swin whole, with our blocks; the ImageNet weights saw 22,000 classes, then 1,000."""

    timm_settings = {"strict_img_size": False, "drop_path_rate": 0.0}
    steps = ("patch_embed layers.0", "layers.1", "layers.2", "layers.3")
    strides = (4, 8, 16, 32)
    block = ImageBlock


def published(size: str, width: int, kind: str) -> type[ImageSwin]:
    """A Swin with ImageNet weights; `kind` is of its windows and the pictures it learned on."""
    name = f"swin_{size}_patch4_{kind}.ms_in22k_ft_in1k"
    channels = tuple(width * 2**stage for stage in range(4))
    return type(f"Swin_{size}", (ImageSwin,), {"timm_name": name, "channels": channels})


class SwinMini(ImageSwin):
    """A small Swin for a laptop: patches of 2 x 2 pixels, windows of 4 x 4 cells."""

    timm_name = "swin_tiny_patch4_window7_224"
    timm_settings = ImageSwin.timm_settings | {
        "patch_size": 2, "window_size": 4, "embed_dim": 16, "mlp_ratio": 2.0,
        "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8),
    }  # fmt: skip
    strides, channels = (2, 4, 8, 16), (16, 32, 64, 128)

    def load_imagenet(self) -> None:
        """Raises InputError: there are no such weights."""
        raise InputError("The mini Swin has no ImageNet weights: use 'shipped', None or a path.")


SWINS: dict[str, type[ImageSwin]] = {
    "mini": SwinMini,
    "tiny": published("tiny", 96, "window7_224"),
    "small": published("small", 96, "window7_224"),  # a deeper third stage
    "base": published("base", 128, "window12_384"),  # as deep, wider windows
    "large": published("large", 192, "window12_384"),
}


class VideoSwin(nn.Module):
    """A video Swin inflated from a copy of an image Swin; `frames` is the length of its windows."""

    def __init__(self, image: ImageSwin, frames: int) -> None:
        super().__init__()
        width, patch, self.stride = image.channels[0], image.strides[0], image.strides[-1]
        self.patch_embed, self.norms = deepcopy(image.body.patch_embed), deepcopy(image.norms)
        self.embed_target = nn.Conv2d(1, width, patch, patch, bias=False)
        self.embed_others = nn.Conv2d(1, width, patch, patch, bias=False)
        self.merge, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage in image.body.layers:
            blocks = [VideoBlock(block, frames, block.shifted) for block in stage.blocks]
            self.merge.append(deepcopy(stage.downsample))
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, frames: Tensor, target: Masks = None, others: Masks = None) -> list[Tensor]:
        """Frames (B, T, 3, H, W), masks of one object, of others -> each (B, C_i, T, H_i, W_i)."""
        self._check(frames, target, others)
        x = self.patch_embed.proj(rearrange(frames, "b t c y x -> (b t) c y x"))
        for embed, masks in ((self.embed_target, target), (self.embed_others, others)):
            if masks is not None:
                x = x + embed(rearrange(masks, "b t y x -> (b t) 1 y x"))
        x = self.patch_embed.norm(rearrange(x, "b c y x -> b y x c"))
        features = []
        for merge, stage, norm in zip(self.merge, self.stages, self.norms, strict=True):
            x = stage(merge(x).unflatten(0, frames.shape[:2]))
            features.append(rearrange(norm(x), "b t y x c -> b c t y x"))
            x = x.flatten(0, 1)
        return features

    def _check(self, frames: Tensor, *masks: Masks) -> None:
        fits = frames.dim() == 5 and frames.shape[2] == 3 and frames.numel() > 0
        if not fits or any(side % self.stride for side in frames.shape[3:]):
            expected = f"(B, T, 3, H, W), T >= 1, H and W multiples of {self.stride}: pad them"
            raise InputError(f"got frames of shape {tuple(frames.shape)}; expected {expected}")
        wanted = tuple(frames[:, :, 0].shape)
        for shape in (tuple(x.shape) for x in masks if x is not None):
            if shape != wanted:
                raise InputError(f"got masks of shape {shape}; expected {wanted}: resize them")
