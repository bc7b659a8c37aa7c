"""The two losses that train every network: bootstrapped cross-entropy and soft Jaccard (AOT Sec. 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minivos.video.masks import VOID

ABSENT = -1e4  # logit of an object that the clip does not have


def segmentation_loss(logits: Tensor, labels: Tensor, present: Tensor, hardest: float) -> Tensor:
    """0.5 bootstrapped cross-entropy + 0.5 soft Jaccard, one value per sample (B,).

    Args:
        logits: (B, 1+K, H, W), at the size of the labels.
        labels: (B, H, W) integers in 0..K; void (255) is left out.
        present: (B, 1+K) bool, which channels exist in the clip of each sample (background always).
        hardest: share of the pixels, those with the largest loss, that cross-entropy averages over, in (0, 1].
    """
    logits = logits.float().masked_fill(~present[:, :, None, None], ABSENT)
    return 0.5 * bootstrapped_cross_entropy(logits, labels, hardest) + 0.5 * soft_jaccard(logits, labels)


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, hardest: float) -> Tensor:
    """Mean cross-entropy of the hardest pixels of each sample: (B, 1+K, H, W), (B, H, W) -> (B,)."""
    loss = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none").flatten(1)
    return loss.topk(max(1, round(hardest * loss.shape[1])), dim=1).values.mean(dim=1)


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - intersection over union of probabilities, mean over the classes in the labels: -> (B,)."""
    known = (labels != VOID)[:, None]
    p = logits.softmax(dim=1) * known
    truth = F.one_hot(labels.where(labels != VOID, 0), logits.shape[1]).movedim(-1, 1) * known
    both = (p * truth).sum(dim=(2, 3))
    either = (p + truth - p * truth).sum(dim=(2, 3))
    in_labels = truth.amax(dim=(2, 3)) > 0  # (B, 1+K)
    return torch.where(in_labels, 1 - both / (either + 1e-6), 0).sum(1) / in_labels.sum(1).clamp(min=1)
