"""Right angles, less what they have in common.

Why -1/(M-1): if all cosines are c, the sum of the M vectors has the squared length M + M (M-1) c.
No square is negative, so c cannot be lower, and it is reached where the vectors sum to zero. Rows
of the unit matrix have equal cosines, but they do not sum to zero: their mean is in all of them.
Without it they do, and equal they stay, as every row is treated alike. What is left lies in M-1
dimensions: 256 channels have room enough for 30 identities.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def evenly_apart(M: int) -> Tensor:
    """M vectors of length 1, rows of (M, M), equally far apart and as far as can be; M >= 2."""
    ### BEGIN SOLUTION
    right_angles = torch.eye(M)
    apart = right_angles - right_angles.mean(dim=0)
    return F.normalize(apart, dim=1)
    ### END SOLUTION
