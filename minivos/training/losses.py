"""The losses that train every network: bootstrapped cross-entropy, soft Jaccard (AOT Sec. 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minivos.video.mask_tensors import one_hot
from minivos.video.masks import VOID

ABSENT = -1e4  # logit of an object that the clip does not have


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    present: Tensor,
    hardest: float,
    independent: bool = False,
    jaccard: float = 0.5,
) -> Tensor:
    """Bootstrapped cross-entropy and soft Jaccard, one value per sample (B,).

    Args:
        logits: (B, 1+K, H, W), at the size of the labels.
        labels: (B, H, W) integers in 0..K; void (255) is left out.
        present: (B, 1+K) bool, which channels exist in the clip of each sample (background always).
        hardest: share of the pixels, those with the largest loss, that cross-entropy averages over,
        in (0, 1].
        independent: each map has a sigmoid of its own (`VOSNetwork.independent_maps`), not a
        softmax with the others.
        jaccard: weight of the soft Jaccard in [0, 1]; cross-entropy has the rest.
    """
    logits = logits.float().masked_fill(~present[:, :, None, None], ABSENT)
    cross_entropy = bootstrapped_cross_entropy(logits, labels, hardest, independent)
    return (1 - jaccard) * cross_entropy + jaccard * soft_jaccard(logits, labels, independent)


def bootstrapped_cross_entropy(
    logits: Tensor, labels: Tensor, hardest: float, independent: bool = False
) -> Tensor:
    """Mean cross-entropy of the hardest pixels of each sample: (B, 1+K, H, W), (B, H, W) -> (B,).

    Their number is `hardest` times all pixels, rounded down as in AOT's released code, 1 at least.
    That of independent maps is the sum over the maps, in which an absent one counts 0.
    """
    if independent:
        masks = one_hot(labels, logits.shape[1] - 1)
        loss = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
        loss = (loss.sum(dim=1) * (labels != VOID)).flatten(1)
    else:
        loss = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none").flatten(1)
    pixels = max(1, int(hardest * loss.shape[1]))
    return loss.topk(pixels, dim=1).values.mean(dim=1)


def soft_jaccard(logits: Tensor, labels: Tensor, independent: bool = False) -> Tensor:
    """1 - intersection over union of probabilities, mean over the classes in the labels: (B,)."""
    p = (logits.sigmoid() if independent else logits.softmax(dim=1)) * (labels != VOID)[:, None]
    target = one_hot(labels, logits.shape[1] - 1)
    both = (p * target).sum(dim=(2, 3))
    either = (p + target - p * target).sum(dim=(2, 3))
    in_labels = target.amax(dim=(2, 3)) > 0  # (B, 1+K)
    loss = torch.where(in_labels, 1 - both / (either + 1e-6), 0)
    return loss.sum(1) / in_labels.sum(1).clamp(min=1)
