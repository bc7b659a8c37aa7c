"""Frames as tensors, at the size at which a network works."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minivos.nn.network import VOSNetwork


def to_network(frame: np.ndarray, network: VOSNetwork, side: int | None = None) -> Tensor:
    """RGB uint8 (H, W, 3) -> (1, 3, h, w) for `network.encode`, on its device.

    `side`: short side in pixels; None: the network's own. Values are in [0, 1], but resizing
    without averages may overshoot a little. Channels are last in memory: convolutions are faster.
    """
    image = rearrange(torch.tensor(np.ascontiguousarray(frame)), "h w c -> 1 c h w")
    height, width = frame.shape[:2]
    size, antialias = network.sizing((height, width), side), network.sizing.antialias
    device = next(network.parameters()).device
    if not antialias:
        image = image.to(device).float()
    image = resize_frames(image, size, antialias).to(device).float() / 255
    return image.contiguous(memory_format=torch.channels_last)


def resize_frames(frames: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    """Frames (B, 3, H, W), values in 0..255, resized bicubically to `size`, (h, w).

    With `antialias` to whole numbers.
    """
    if frames.shape[2:] == size:
        return frames
    if not antialias:
        return F.interpolate(frames, size, mode="bicubic")
    pixels = frames.round().clamp(0, 255).to("cpu", torch.uint8)  # 8 times faster, on CPUs only
    return F.interpolate(pixels, size, mode="bicubic", antialias=True).to(frames)
