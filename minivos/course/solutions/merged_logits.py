"""The odds of p = sigmoid(x) are exp(x), so the log odds of an object are x itself.

A softmax of log odds normalises odds, which is soft aggregation. What is left is the background:
the log of its probability is a sum of logsigmoid(-x), which is exact for large x, and
log(1 - p0) = log(-expm1(log p0)) is exact where p0 is near 1. Nothing is ever computed as 1 - p.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def merged_logits(x: Tensor) -> Tensor:
    """Logits of the objects (B, K, H, W), p = sigmoid(x) -> logits of all (B, 1+K, H, W).

    Their softmax is the soft aggregation of p, background first, for x from -80 to 80.
    """
    ### BEGIN SOLUTION
    log_nobody = F.logsigmoid(-x).sum(dim=1, keepdim=True)
    log_somebody = torch.log(-torch.expm1(log_nobody))
    return torch.cat([log_nobody - log_somebody, x], dim=1)
    ### END SOLUTION
