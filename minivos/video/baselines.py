"""Two baselines that know no network and learn nothing; a trained network has to beat both."""

import math
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.masks import VOID

# Squared RGB differences, summed over the channels in [0,1] and averaged over a patch
STILLNESS = 5e-4  # what each pixel of motion must gain: where everything looks alike, nothing moves
NEWLY_SEEN = 0.1  # a patch whose best match differs more was hidden one frame earlier


def repeat_first_mask(clip: Clip) -> np.ndarray:
    """Say that nothing moves: the clip's first mask from its frame to the end, uint8 (T,H,W).

    Frames before that are background, and so are void pixels. Raises InputError for a clip without
    a mask.
    """
    if not clip.masks:
        raise InputError("got a clip with no mask; expected one in clip.masks, at the first frame")
    start = min(clip.masks)
    labels = np.zeros(clip.frames.shape[:3], np.uint8)
    labels[start:] = np.where(clip.masks[start] == VOID, 0, clip.masks[start])
    return labels


def block_matching(clip: Clip, reach: int = 12, patch: int = 7) -> np.ndarray:
    """Carry the first mask from frame to frame along the apparent motion: uint8 (T,H,W).

    A pixel gets the label of where the patch around it, `patch` pixels wide, looked most alike one
    frame earlier, about `reach` pixels away at most; without a good match it is background, newly
    uncovered. The search runs at half the size and is refined at full size. Other frames, void and
    errors: see repeat_first_mask.
    """
    if reach < 1 or patch < 1:
        raise InputError(
            f"got reach={reach} and patch={patch} pixels; expected at least 1: "
            "the defaults suit 128x192"
        )
    labels = repeat_first_mask(clip)
    start = min(clip.masks)
    before, before_coarse = _at_two_sizes(clip.frames[start])
    still = torch.zeros(2, *before_coarse.shape[1:], dtype=torch.long)
    for t in range(start + 1, len(labels)):
        now, now_coarse = _at_two_sizes(clip.frames[t])
        motion, _ = _best_match(now_coarse, before_coarse, still, math.ceil(reach / 2), patch)
        guess = F.interpolate(2.0 * motion[None], now.shape[1:])[0].long()  # at full size, (2,H,W)
        motion, difference = _best_match(now, before, guess, 1, patch)
        moved = _fetch(torch.from_numpy(labels[t - 1 : t]), motion)[0]
        labels[t] = moved.where(difference < NEWLY_SEEN, 0)
        before, before_coarse = now, now_coarse
    return labels


def _at_two_sizes(frame: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """A frame (H,W,3) as values in [0,1] of shape (3,H,W), and the same at half the size."""
    full = rearrange(torch.tensor(frame), "h w c -> c h w").float() / 255
    half = [math.ceil(side / 2) for side in frame.shape[:2]]
    return full, F.interpolate(full[None], half, mode="area")[0]


def _best_match(
    frame: torch.Tensor, previous: torch.Tensor, guess: torch.Tensor, reach: int, patch: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The motion (2,H,W) to the best match, at most `reach` from `guess`, and its cost (H,W)."""
    best, least = guess, torch.full(frame.shape[1:], torch.inf)
    for step in product(range(-reach, reach + 1), repeat=2):
        motion = guess + torch.tensor(step)[:, None, None]
        difference = (_fetch(previous, motion) - frame).square().sum(dim=0)  # (3,H,W) -> (H,W)
        cost = _patch_mean(difference, patch) + STILLNESS * math.hypot(*step)
        best, least = torch.where(cost < least, motion, best), torch.minimum(cost, least)
    return best, least


def _patch_mean(values: torch.Tensor, patch: int) -> torch.Tensor:
    """Mean over the square around each of the values (H,W); zeros lie outside."""
    padded = F.pad(values, [(patch - 1) // 2, patch // 2] * 2)
    return padded.unfold(0, patch, 1).mean(dim=-1).unfold(1, patch, 1).mean(dim=-1)


def _fetch(image: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """The pixels of `image` (C,H,W) where the motion (2,H,W) ends, or the nearest of its border."""
    height, width = image.shape[1:]
    y = (torch.arange(height)[:, None] + motion[0]).clamp(0, height - 1)
    x = (torch.arange(width) + motion[1]).clamp(0, width - 1)
    return image[:, y, x]


BASELINES = {"first mask repeated": repeat_first_mask, "block matching": block_matching}
