"""Masks as tensors: one-hot and resized."""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from minivos.errors import InputError
from minivos.video.masks import VOID

log = logging.getLogger(__name__)


def one_hot(labels: torch.Tensor, objects: int) -> torch.Tensor:
    """Integer labels (B,H,W) in 0..objects as float masks (B,1+objects,H,W).

    Void pixels are 0 in every channel. Raises InputError when a label is neither void nor in
    0..objects.
    """
    known = (labels >= 0) & (labels <= objects) | (labels == VOID)
    if not known.all():
        raise InputError(
            f"got labels {labels.unique().tolist()} for {objects} objects; "
            f"expected 0..{objects}: renumber them"
        )
    ids = rearrange(torch.arange(objects + 1, device=labels.device), "k -> 1 k 1 1")
    return (rearrange(labels, "b h w -> b 1 h w") == ids).float()


def resize(masks: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Resize integer labels (B,H,W) by nearest neighbour, float values (B,C,H,W) bilinearly."""
    if masks.is_floating_point():
        return F.interpolate(masks, size, mode="bilinear", align_corners=align_corners)
    planes = rearrange(masks, "b h w -> b 1 h w").float()
    planes = F.interpolate(planes, size, mode="nearest")
    return rearrange(planes, "b 1 h w -> b h w").to(masks.dtype)


def highest(scores: torch.Tensor) -> torch.Tensor:
    """The channel with the highest of scores (B,C,H,W), the first of equals: uint8 (B,H,W)."""
    top = scores.amax(dim=1)
    channels = torch.zeros_like(top, dtype=torch.uint8)
    for channel in reversed(range(scores.shape[1])):  # on a CPU much faster than argmax
        channels.masked_fill_(scores[:, channel] == top, channel)
    return channels


def expected_j(probabilities: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """J to expect of each object's mask, if every pixel is its with its probability.

    Of probabilities (1,1+K,H,W) that sum to one and the labels (1,H,W) taken by them: probability
    within the mask over that within the mask or outside, where the mask counts in full; 0 for an
    empty mask. Large frames are sampled at some 480 pixels of their short side.
    """
    step = max(1, min(labels.shape[1:]) // 480)
    probabilities, labels = probabilities[0, :, ::step, ::step], labels[0, ::step, ::step]
    expected = []
    for number, chance in enumerate(probabilities[1:], start=1):
        mask = (labels == number).float()
        both = (chance * mask).sum()
        expected.append(both / (chance.sum() + mask.sum() - both))
    return torch.stack(expected).tolist()


def warn_of_lost(frame: int, ids: list[int], labels: np.ndarray, small: torch.Tensor) -> None:
    """Log which objects of the labels (H,W) have no pixel left at the network's size (1,h,w).

    There the objects are numbered in the order of the ids, from 1.
    """
    left = {ids[number - 1] for number in small.unique().tolist() if number}
    if lost := sorted(set(ids) & set(np.unique(labels).tolist()) - left - {0}):
        names, size = ", ".join(map(str, lost)), " x ".join(map(str, small.shape[-2:]))
        what = f"Frame {frame}: object {names} is too small to be seen at {size} pixels"
        log.warning(f"{what}, the size at which the network works; give a larger side.")
