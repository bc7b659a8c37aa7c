"""Many objects: who is there, and one answer per object merged into one answer for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_aggregate(object_probabilities: Tensor, background: Tensor | None = None) -> Tensor:
    """One foreground probability per object (B,K,H,W) -> (B,1+K,H,W) that sum to one.

    STM, Oh et al. 2019, Sec. 3.4: odds are normalised; background, if not given as (B,1,H,W), is
    "none of the objects".
    """
    objects = object_probabilities.float()
    if background is None:
        background = (1 - objects).prod(dim=1, keepdim=True)
    probabilities = torch.cat([background, objects], dim=1).clamp(1e-5, 1 - 1e-5)
    odds = probabilities / (1 - probabilities)
    return odds / odds.sum(dim=1, keepdim=True)


def merge_groups(groups: Sequence[Tensor]) -> Tensor:
    """Soft aggregation of groups of objects, each (B,1+K,H,W), -> one (B,1+sum of K,H,W).

    Each group has its own probability of background, as in AOT's released code.
    """
    background = torch.stack([group[:, :1].float() for group in groups]).prod(dim=0)
    return soft_aggregate(torch.cat([group[:, 1:] for group in groups], dim=1), background)


def object_log_odds(object_probabilities: Tensor) -> Tensor:
    """Log odds (B,1+K,H,W) of background and objects, given (B,K,H,W) in [0,1], as logits.

    Probabilities are kept in 1e-7..1-1e-7, as in STM's code. The softmax of these is
    `soft_aggregate`, which keeps them in 1e-5..1-1e-5, as AOT's code does.
    """
    objects = object_probabilities.float()
    both = torch.cat([(1 - objects).prod(dim=1, keepdim=True), objects], dim=1)
    return both.clamp(1e-7, 1 - 1e-7).logit()


def merge_answers(
    logits: Tensor, size: tuple[int, int], present: Tensor, border: tuple[int, ...] = (0, 0, 0, 0)
) -> Tensor:
    """Log odds (B,1+K,H,W) of background and objects, from one answer per present object.

    `present`, bool (B,K), says which objects each clip has; logits (R,2,h,w) of "not this object"
    and "this" are those of its R true entries, in order. The others get probability 0. Answers are
    resized to `size`, then what `F.pad` had added is taken off.
    """
    answers = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
    answers = F.pad(answers, [-side for side in border])
    objects = answers.new_zeros(*present.shape, *answers.shape[-2:])
    objects[present] = answers.softmax(dim=1)[:, 1]
    return object_log_odds(objects)


def who_is_there(masks: Tensor, before: Tensor | None = None) -> Tensor:
    """Which objects each clip has, bool (B,K), by masks (B,K,H,W) and by who was there `before`.

    `before` is None if the frame was not read. Once it was, a new object needs more than 0.5
    somewhere: predicted masks give absent objects a little.
    """
    there = masks.amax(dim=(2, 3)) > (0 if before is None else 0.5)
    return there if before is None else there | pad_objects(before, there.shape[1])


def pad_objects(x: Tensor, objects: int) -> Tensor:
    """(B, K, ...) -> (B, objects, ...): nothing for those that are not there yet."""
    return F.pad(x, (0, 0) * (x.dim() - 2) + (0, objects - x.shape[1]))


def padding(size: tuple[int, int], stride: int) -> tuple[int, int, int, int]:
    """Pixels left, right, above and below, as `F.pad` takes them, that make multiples of stride."""
    down, beside = (-side % stride for side in size)
    return beside // 2, beside - beside // 2, down // 2, down - down // 2
