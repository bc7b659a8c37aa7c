"""Mask decoders: coarse maps and finer image features -> logits.

The n maps x (B*n, C, h, w) of a sample share its `shortcuts` (B, C_i, H_i, W_i), finest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvGN(nn.Sequential):
    """Convolution with bias and group norm in 8 groups: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(8, channels_out)


class FPNDecoder(nn.Module):
    """Feature pyramid decoder with group norm (Lin et al. 2017, as used by AOT Sec. 5)."""

    def __init__(
        self,
        channels_in: int,
        shortcuts: Sequence[int],  # channels of the three image features
        width: int,  # channels inside; the finest scale gets half of them
        channels_out: int,
        align_corners: bool,  # how `F.interpolate` places the corner pixels
    ) -> None:
        super().__init__()
        fine, middle, coarse = shortcuts
        self.grow = partial(F.interpolate, mode="bilinear", align_corners=align_corners)
        self.conv_in = ConvGN(channels_in, width, 1)
        self.conv_coarse = ConvGN(width, width, 3)
        self.conv_middle = ConvGN(width, width // 2, 3)
        self.conv_fine = ConvGN(width // 2, width // 2, 3)
        self.conv_out = nn.Conv2d(width // 2, channels_out, 1)
        self.adapter_coarse = nn.Conv2d(coarse, width, 1)
        self.adapter_middle = nn.Conv2d(middle, width, 1)
        self.adapter_fine = nn.Conv2d(fine, width // 2, 1)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, shortcuts: Sequence[Tensor]) -> Tensor:
        """Coarse x (B*n, channels_in, h, w) -> logits (B*n, channels_out, H, W), finest scale."""
        n = len(x) // len(shortcuts[0])
        adapters = self.adapter_fine, self.adapter_middle, self.adapter_coarse
        image = [adapt(features) for adapt, features in zip(adapters, shortcuts, strict=True)]
        if n > 1:
            image = [features.repeat_interleave(n, dim=0) for features in image]
        fine, middle, coarse = image
        x = self.conv_in(x).relu()
        x = self.conv_coarse(x + coarse).relu()
        x = self.conv_middle(self.grow(x, middle.shape[-2:]) + middle).relu()
        x = self.conv_fine(self.grow(x, fine.shape[-2:]) + fine).relu()
        return self.conv_out(x)

    @torch.no_grad()
    def start_by_copying(self, vectors: Tensor) -> None:
        """Our own initialisation: output k shows where the last channels of x point along vector k.

        `vectors` (channels_out, C), C <= channels_in. The first channels of each layer carry this.
        """
        outputs, width = vectors.shape
        for adapter in (self.adapter_coarse, self.adapter_middle, self.adapter_fine):
            adapter.weight[:outputs] = 0
        inside = (self.conv_coarse, self.conv_middle, self.conv_fine)
        for layer in (self.conv_in, *inside):
            layer.conv.weight[:outputs] = 0
            layer.get_parameter("conv.bias").zero_()
        self.conv_in.conv.weight[:outputs, -width:, 0, 0] = F.normalize(vectors, dim=1)
        for layer in inside:
            layer.conv.weight[:outputs, :outputs, 1, 1] = torch.eye(outputs)
        for values in self.conv_out.parameters():  # weight and bias
            values.zero_()
        self.conv_out.weight[:, :outputs, 0, 0] = 2 * torch.eye(outputs)


class PreActivated(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, around a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x + conv2(relu(conv1(relu(x))))."""
        return x + self.conv2(self.conv1(x.relu()).relu())


class Refine(nn.Module):
    """One step up: image features of the next finer scale join in (Oh et al. 2019, STM)."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        self.adapt = nn.Conv2d(channels_in, width, 3, padding=1)
        self.image, self.merged = PreActivated(width), PreActivated(width)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """x (B*n, C, h, w), features (B, C', 2h, 2w) of the samples -> (B*n, C, 2h, 2w)."""
        image = self.image(self.adapt(features))
        x = F.interpolate(x, features.shape[-2:], mode="bilinear", align_corners=False)
        x = x.unflatten(0, (len(features), -1)) + image[:, None]
        return self.merged(x.flatten(0, 1))


class RefineDecoder(nn.Module):
    """The decoder of STM (Oh et al. 2019): in steps to two logits, "not this object", "this"."""

    def __init__(self, channels_in: int, shortcuts: Sequence[int], width: int) -> None:
        super().__init__()
        self.adapt = nn.Conv2d(channels_in, width, 3, padding=1)
        self.merged = PreActivated(width)
        self.steps = nn.ModuleList(Refine(channels, width) for channels in reversed(shortcuts))
        self.predict = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, x: Tensor, shortcuts: Sequence[Tensor]) -> Tensor:
        """Coarse x (B*n, channels_in, h, w) -> logits (B*n, 2, H, W), finest scale."""
        layout = torch.channels_last  # faster
        x, *shortcuts = (part.contiguous(memory_format=layout) for part in (x, *shortcuts))
        x = self.merged(self.adapt(x))
        for step, features in zip(self.steps, reversed(shortcuts), strict=True):
            x = step(x, features)
        return self.predict(x.relu())

    @torch.no_grad()
    def start_by_copying(self, first: int = 0, joining: Sequence[int] = ()) -> None:
        """Our own initialisation: the logits copy channels `first`, `first + 1` of x, if positive.

        To them it adds channels `joining[i]` and the next of the image features i, finest first.
        """
        steps = [part for part in self.modules() if isinstance(part, Refine)]
        copying = [self.adapt, self.predict, *(step.adapt for step in reversed(steps))]
        adding = [part.conv2 for part in self.modules() if isinstance(part, PreActivated)]
        for conv in copying + adding:
            for values in conv.parameters():  # weight and bias
                values[:2] = 0
        for conv, channel in zip(copying, (first, 0, *joining), strict=False):
            conv.weight[[0, 1], [channel, channel + 1], 1, 1] = 1
