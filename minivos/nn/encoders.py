"""Image encoders: frames -> features at three scales."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm around a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
        )
        nn.init.zeros_(self.body[-1].weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """x + body(x), rectified."""
        return (x + self.body(x)).relu()


class TinyEncoder(nn.Module):
    """A small residual network that a laptop can train from scratch: (B, 3, H, W) -> features at strides 2, 4 and 8."""

    strides = (2, 4, 8)

    def __init__(self, channels: tuple[int, int, int] = (16, 48, 96)) -> None:
        super().__init__()
        self.channels = channels
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(below, width, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(8, width),
                nn.ReLU(),
                ResidualBlock(width),
            )
            for below, width in zip((3, *channels), channels, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
