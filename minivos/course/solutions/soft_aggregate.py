"""Odds, normalised (STM, Sec. 3.4).

Why odds: they make the sure surer. A claim of 0.9 has odds of 9, and of 0.1 has odds of 1 to 9.
Why limits: a probability of exactly 1 has infinite odds, and infinity over infinity is no number.
Background is "none of the objects", so it is the product of what each object leaves over.
"""

import torch
from torch import Tensor


def my_soft_aggregate(p: Tensor) -> Tensor:
    """Probabilities of the objects (B, K, H, W), each asked alone -> of all (B, 1+K, H, W).

    Background comes first; the sum over axis 1 is 1. Probabilities are kept in 1e-5..1-1e-5.
    """
    ### BEGIN SOLUTION
    nobody = torch.prod(1 - p, dim=1, keepdim=True)
    claims = torch.cat([nobody, p], dim=1).clamp(1e-5, 1 - 1e-5)
    odds = claims / (1 - claims)
    return odds / odds.sum(dim=1, keepdim=True)
    ### END SOLUTION
