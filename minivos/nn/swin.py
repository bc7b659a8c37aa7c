"""Swin transformers, of images and of video: attention in windows of space and time, features of
four stages.

Liu et al., "Swin Transformer", ICCV 2021; Liu et al., "Video Swin Transformer", CVPR 2022.

A window is a small box of cells that look at each other; every second block shifts the boxes by
half of their sides, so that news gets across their borders. An image is a video of one frame, so
both networks run the same windows. The image network is timm's, with its weights; the video network
is that one *inflated*: it starts with the same weights, its position bias repeated along time.
Until it is trained, and without masks, it gives for one frame, and for the same frame again and
again, what the image network gives.

Where a grid does not fill whole windows it is padded, in space and time, and nobody looks at the
padding.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.models.swin_transformer import SwinTransformerBlock, WindowAttention
from torch import Tensor, nn

from minivos.errors import InputError
from minivos.nn.encoders import SwinEncoder

Sides = tuple[int, int, int]  # along t, y, x


def in_windows(x: Tensor, window: Sides) -> Tensor:
    """Cut into windows: (B, T, H, W, C) -> (B, windows, cells of a window, C)."""
    t, y, x_ = window
    return rearrange(x, "b (nt t) (ny y) (nx x) c -> b (nt ny nx) (t y x) c", t=t, y=y, x=x_)


def from_windows(x: Tensor, window: Sides, grid: Sides) -> Tensor:
    """Undo `in_windows`."""
    (t, y, x_), (nt, ny, _) = window, (side // w for side, w in zip(grid, window, strict=True))
    return rearrange(
        x, "b (nt ny nx) (t y x) c -> b (nt t) (ny y) (nx x) c", nt=nt, ny=ny, t=t, y=y, x=x_
    )


@lru_cache(
    maxsize=16
)  # what one frame needs: 2 kinds of block, 4 stages, 2 networks; a whole video's fill gigabytes
@torch.inference_mode(False)  # what is kept serves in training, too
def who_may_look(grid: Sides, window: Sides, shift: Sides) -> Tensor | None:
    """Which cells of a window may look at each other: bool (windows, cells, cells), or None where
    all may.

    Not at padding, and not across the border of the video where a shift has brought both ends into
    one window.
    """
    padded = [side + -side % w for side, w in zip(grid, window, strict=True)]
    if tuple(padded) == grid and not any(shift):
        return None
    kinds = torch.zeros(1, *padded, 1, dtype=torch.long)
    for axis, (side, length, by) in enumerate(zip(grid, padded, shift, strict=True)):
        place = torch.arange(length).roll(-by)
        wrapped = torch.arange(length) >= length - by
        kind = torch.where(
            place >= side, 2, wrapped.long()
        )  # 0 inside, 1 wrapped around, 2 padding
        kinds = 3 * kinds + kind.view([-1 if i == axis + 1 else 1 for i in range(5)])
    kinds = in_windows(kinds, window)[0, :, :, 0]
    return kinds[:, :, None] == kinds[:, None]


@cache
@torch.inference_mode(False)
def offsets(window: Sides, sides: Sides) -> Tensor:
    """Where the bias of each pair of cells of a window stands in a table for windows of `sides`:
    (cells, cells).
    """
    places = torch.stack(torch.meshgrid(*(torch.arange(w) for w in window), indexing="ij")).flatten(
        1
    )  # (3, cells)
    apart = places[:, :, None] - places[:, None]
    t, y, x = (a + side - 1 for a, side in zip(apart, sides, strict=True))
    return (t * (2 * sides[1] - 1) + y) * (2 * sides[2] - 1) + x


def window_attention(
    x: Tensor, part: WindowAttention, table: Tensor, sides: Sides, shifted: bool
) -> Tensor:
    """Self-attention in windows: (B, T, H, W, C) -> the same.

    `part` has the projections, `table` (offsets, heads) the position bias of windows of `sides`. A
    window is no longer than the video; along an axis that fits into one window nothing is shifted.
    """
    grid = tuple(x.shape[1:4])
    window = (min(sides[0], grid[0]), *sides[1:])
    shift = tuple(
        w // 2 if shifted and side > w else 0 for side, w in zip(grid, window, strict=True)
    )
    t, y, x_ = (-side % w for side, w in zip(grid, window, strict=True))
    x = F.pad(x, (0, 0, 0, x_, 0, y, 0, t))
    padded = tuple(x.shape[1:4])
    cells = in_windows(x.roll([-by for by in shift], (1, 2, 3)), window)
    bias = rearrange(table[offsets(window, sides).to(table.device)], "q k h -> h q k")
    may, parallel = (
        who_may_look(grid, window, shift),
        "(b w) h n c",
    )  # four axes, as the fused kernel wants them
    if may is not None:
        bias = bias.masked_fill(~may[:, None].to(bias.device), -torch.inf).flatten(
            0, 1
        )  # (w h, cells, cells)
        parallel = "b (w h) n c"
    sizes = {"w": cells.shape[1], "h": part.num_heads}
    q, k, v = rearrange(part.qkv(cells), f"b w n (three h c) -> three {parallel}", three=3, **sizes)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
    found = from_windows(
        part.proj(rearrange(found, f"{parallel} -> b w n (h c)", **sizes)), window, padded
    )
    return found.roll(shift, (1, 2, 3))[:, : grid[0], : grid[1], : grid[2]]


class ImageBlock(SwinTransformerBlock):
    """timm's Swin block with our windows: padding is not looked at."""

    def _attn(self, x: Tensor) -> Tensor:
        sides = (1, *self.attn.window_size)
        shifted = any(self.target_shift_size)
        return window_attention(
            x[:, None], self.attn, self.attn.relative_position_bias_table, sides, shifted
        )[:, 0]


class VideoBlock(nn.Module):
    """A Swin block over space and time, inflated from one of an image network: (B, T, H, W, C)
    -> the same.
    """

    def __init__(self, image: ImageBlock, frames: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = (
            deepcopy(part) for part in (image.norm1, image.attn, image.norm2, image.mlp)
        )
        table = self.attn.relative_position_bias_table
        self.sides, self.shifted = (frames, *image.attn.window_size), any(image.target_shift_size)
        self.attn.relative_position_bias_table = nn.Parameter(
            table.detach().repeat(2 * frames - 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attention and feed-forward, each after a norm and with a shortcut."""
        table = self.attn.relative_position_bias_table
        x = x + window_attention(self.norm1(x), self.attn, table, self.sides, self.shifted)
        return x + self.mlp(self.norm2(x))


class ImageSwin(SwinEncoder):
    """A Swin whole, with windows of ours: features of all four stages, finest first."""

    timm_settings = {"strict_img_size": False, "drop_path_rate": 0.0}
    strides = (4, 8, 16, 32)
    block = ImageBlock

    def early(self) -> list[nn.Module]:
        """No part: HST trains all of it."""
        return []


class SwinTiny(ImageSwin):
    """Swin-T: windows of 7 x 7.

    Its ImageNet weights, like those of the next three, saw 22,000 classes, then 1,000.
    """

    timm_name = "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k"
    channels = (96, 192, 384, 768)


class SwinSmall(ImageSwin):
    """Swin-S: as Swin-T, with a deeper third stage."""

    timm_name = "swin_small_patch4_window7_224.ms_in22k_ft_in1k"
    channels = (96, 192, 384, 768)


class SwinBase(ImageSwin):
    """Swin-B: as deep as Swin-S, windows of 12 x 12."""

    timm_name = "swin_base_patch4_window12_384.ms_in22k_ft_in1k"
    channels = (128, 256, 512, 1024)


class SwinLarge(ImageSwin):
    """Swin-L: as Swin-B, with more channels."""

    timm_name = "swin_large_patch4_window12_384.ms_in22k_ft_in1k"
    channels = (192, 384, 768, 1536)


class SwinMini(ImageSwin):
    """A small Swin that a laptop can train from scratch, with patches of 2 x 2 pixels and
    windows of 4 x 4 cells.
    """

    timm_name = "swin_tiny_patch4_window7_224"
    channels = (16, 32, 64, 128)
    timm_settings = ImageSwin.timm_settings | {
        "patch_size": 2, "embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8), "window_size": 4,
        "mlp_ratio": 2.0,
    }  # fmt: skip
    strides = (2, 4, 8, 16)

    def load_imagenet(self) -> None:
        """Raises InputError: nobody has trained it on ImageNet."""
        raise InputError(
            "The mini Swin has no ImageNet weights: use weights='mini', None or a path."
        )


SWINS = {
    "mini": SwinMini,
    "tiny": SwinTiny,
    "small": SwinSmall,
    "base": SwinBase,
    "large": SwinLarge,
}


class VideoSwin(nn.Module):
    """A video Swin inflated from an image Swin; sees masks beside the pictures.

    Args:
        image: the image network; its weights are copied.
        frames: cells of a window along time; every second block shifts by half of that.
    """

    def __init__(self, image: ImageSwin, frames: int) -> None:
        super().__init__()
        body = image.body
        self.patch_embed, self.norms = deepcopy(body.patch_embed), deepcopy(image.norms)
        width, patch, self.stride = image.channels[0], image.strides[0], image.strides[-1]
        self.embed_target, self.embed_others = (
            nn.Conv2d(1, width, patch, patch, bias=False) for _ in range(2)
        )
        self.merge = nn.ModuleList(deepcopy(stage.downsample) for stage in body.layers)
        self.stages = nn.ModuleList(
            nn.Sequential(*(VideoBlock(block, frames) for block in stage.blocks))
            for stage in body.layers
        )

    def forward(
        self, frames: Tensor, target: Tensor | None = None, others: Tensor | None = None
    ) -> list[Tensor]:
        """Normalised frames (B, T, 3, H, W), masks of one object and of all others (B, T, H, W) in
        [0, 1], or none -> features (B, C_i, T, H_i, W_i), finest first.

        Raises InputError without frames, and unless H and W are multiples of the coarsest stride
        and those of masks.
        """
        self.check(frames, target, others)
        times = frames.shape[1]
        x = self.patch_embed.proj(rearrange(frames, "b t c y x -> (b t) c y x"))
        for embed, masks in ((self.embed_target, target), (self.embed_others, others)):
            if masks is not None:
                x = x + embed(rearrange(masks, "b t y x -> (b t) 1 y x"))
        x, features = self.patch_embed.norm(rearrange(x, "b c y x -> b y x c")), []
        for merge, stage, norm in zip(self.merge, self.stages, self.norms, strict=True):
            x = stage(rearrange(merge(x), "(b t) y x c -> b t y x c", t=times))
            features.append(rearrange(norm(x), "b t y x c -> b c t y x"))
            x = rearrange(x, "b t y x c -> (b t) y x c")
        return features

    def check(self, frames: Tensor, *masks: Tensor | None) -> None:
        """InputError unless `forward` can work with this."""
        fits = frames.dim() == 5 and frames.shape[2] == 3 and frames.numel() > 0
        if not fits or any(side % self.stride for side in frames.shape[3:]):
            raise InputError(
                f"frames of shape {tuple(frames.shape)} came; expected (B, T, 3, H, W) with T >= 1, and H and W "
                f"multiples of {self.stride}: pad them"
            )
        wanted = frames[:, :, 0].shape
        if wrong := [
            tuple(part.shape) for part in masks if part is not None and part.shape != wanted
        ]:
            raise InputError(
                f"masks of shape {wrong[0]} came; expected (B, T, H, W) of the frames, {tuple(wanted)}"
            )
