"""Mask decoders: features -> logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvGN(nn.Module):
    """Convolution with bias and group norm in 8 groups: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(8, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """norm(conv(x))."""
        return self.norm(self.conv(x))


class FPNDecoder(nn.Module):
    """Feature pyramid decoder with group norm (Lin et al. 2017, as used by AOT Sec. 5).

    Goes from the coarsest scale to the finest, adding the image features of each scale through a
    1x1 adapter.

    Args:
        channels_in: channels of the coarse input.
        shortcuts: channels of the image features, finest scale first (three of them).
        width: channels inside (the finest scale gets half of them).
        channels_out: number of logits.
        align_corners: how `F.interpolate` places the corner pixels.
    """

    def __init__(
        self,
        channels_in: int,
        shortcuts: Sequence[int],
        width: int,
        channels_out: int,
        align_corners: bool,
    ) -> None:
        super().__init__()
        fine, middle, coarse = shortcuts
        self.align_corners = align_corners
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

    def start_by_copying(self, vectors: Tensor) -> None:
        """Initialise so that output k shows where the last input channels point along vector k.

        `vectors` (channels_out, C) with C <= channels_in; they use the first channels of every
        layer, others stay.
        """
        outputs, width = vectors.shape
        channel = torch.arange(outputs)
        with torch.no_grad():
            self.conv_in.conv.weight[:outputs] = 0
            self.conv_in.conv.weight[:outputs, -width:, 0, 0] = F.normalize(vectors, dim=1)
            for layer in (self.conv_coarse, self.conv_middle, self.conv_fine):
                layer.conv.weight[:outputs] = 0
                layer.conv.weight[channel, channel, 1, 1] = 1
            for adapter in (self.adapter_coarse, self.adapter_middle, self.adapter_fine):
                adapter.weight[:outputs] = 0
            for layer in (
                self.conv_in.conv,
                self.conv_coarse.conv,
                self.conv_middle.conv,
                self.conv_fine.conv,
            ):
                layer.bias.zero_()
            self.conv_out.weight.zero_()
            self.conv_out.weight[channel, channel] = 2
            self.conv_out.bias.zero_()

    def forward(self, x: Tensor, shortcuts: Sequence[Tensor]) -> Tensor:
        """x (B*n, channels_in, h, w) at the coarse scale, image features (B, C, H, W), finest
        first, that the n maps of a sample share -> logits (B*n, channels_out, H, W) at the finest
        scale."""
        n = len(x) // len(shortcuts[0])
        adapters = self.adapter_fine, self.adapter_middle, self.adapter_coarse
        fine, middle, coarse = (
            adapter(features).repeat_interleave(n, dim=0) if n > 1 else adapter(features)
            for adapter, features in zip(adapters, shortcuts, strict=True)
        )
        x = self.conv_in(x).relu()
        x = self.conv_coarse(x + coarse).relu()
        x = self.conv_middle(self._grow(x, middle) + middle).relu()
        x = self.conv_fine(self._grow(x, fine) + fine).relu()
        return self.conv_out(x)

    def _grow(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(
            x, size=like.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )


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
        """x (B*n, C, h, w), features (B, C', 2h, 2w) that the n maps of a sample share -> (B*n,
        C, 2h, 2w).
        """
        image = self.image(self.adapt(features))
        x = F.interpolate(x, features.shape[-2:], mode="bilinear", align_corners=False)
        x = x.unflatten(0, (len(features), -1)) + image[:, None]
        return self.merged(x.flatten(0, 1))


class RefineDecoder(nn.Module):
    """The decoder of STM (Oh et al. 2019): refined step by step, then two logits, "not this object"
    and "this".

    Args:
        channels_in: channels of the coarse input.
        shortcuts: channels of the features that join in, finest scale first, one for each step.
        width: channels inside.
    """

    def __init__(self, channels_in: int, shortcuts: Sequence[int], width: int) -> None:
        super().__init__()
        self.adapt = nn.Conv2d(channels_in, width, 3, padding=1)
        self.merged = PreActivated(width)
        self.steps = nn.ModuleList(Refine(channels, width) for channels in reversed(shortcuts))
        self.predict = nn.Conv2d(width, 2, 3, padding=1)

    def start_by_copying(self, first: int = 0, joining: Sequence[int] = ()) -> None:
        """Initialise so that the logits show two channels of the input, `first` and the next, where
        positive.

        `joining`: so many channels into the features of each step, finest first, are two more to be
        added.
        """
        with torch.no_grad():
            for step in self.steps:
                step.adapt.weight[:2], step.adapt.bias[:2] = 0, 0
            for step, channel in zip(reversed(self.steps), joining, strict=False):
                step.adapt.weight[[0, 1], [channel, channel + 1], 1, 1] = 1
            for block in (
                self.merged,
                *(b for step in self.steps for b in (step.image, step.merged)),
            ):
                block.conv2.weight[:2], block.conv2.bias[:2] = 0, 0
            for layer, channel in ((self.adapt, first), (self.predict, 0)):
                layer.weight[:2], layer.bias[:2] = 0, 0
                layer.weight[[0, 1], [channel, channel + 1], 1, 1] = 1

    def forward(self, x: Tensor, shortcuts: Sequence[Tensor]) -> Tensor:
        """x (B*n, channels_in, h, w), features (B, C, H, W) of the finer scales, finest first, that
        the n maps of a sample share -> logits (B*n, 2, H, W) at the finest of them."""
        x, *shortcuts = (
            part.contiguous(memory_format=torch.channels_last) for part in (x, *shortcuts)
        )  # faster
        x = self.merged(self.adapt(x))
        for step, features in zip(self.steps, reversed(shortcuts), strict=True):
            x = step(x, features)
        return self.predict(x.relu())
