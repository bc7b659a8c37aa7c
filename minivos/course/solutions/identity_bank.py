"""One convolution over the masks of all identities (AOT, Sec. 4.1, Eq. 3: E = Y P D).

Y P first: P moves the mask of object k to the channel of its identity. Then D: a kernel as large as
a patch, with the stride of a patch, has a vector for each identity *and each pixel of the patch*,
and adds up those that apply, which is what the product with D does, one patch per token.

`assign` draws without repetition: `argsort` of random numbers is a random order, and its first K
places are the identities of K objects. In training they are drawn anew for each clip, so that
every identity gets its turn. Background has row 0 to itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MyIdentityBank(nn.Module):
    """M identity vectors for each pixel of a patch, and one for the background."""

    def __init__(self, identities: int, width: int, patch: int) -> None:
        super().__init__()
        self.identities = identities
        self.embed = nn.Conv2d(1 + identities, width, kernel_size=patch, stride=patch)

    def forward(self, masks: Tensor, assignment: Tensor) -> Tensor:
        """Masks Y (B, 1+K, H, W) and P (B, 1+K, 1+M) -> embedding E (B, N, C), row by row."""
        ### BEGIN SOLUTION
        by_identity = torch.einsum("bkhw,bkm->bmhw", masks, assignment)
        cells = self.embed(by_identity)
        return cells.flatten(2).transpose(1, 2)
        ### END SOLUTION

    def assign(
        self, batch: int, objects: int, shuffle: bool, device: torch.device | str = "cpu"
    ) -> Tensor:
        """P (B, 1+K, 1+M): a one in each row, at the identity of background or of an object.

        Background keeps identity 0. Object k gets identity k; with `shuffle` each clip of the
        batch draws its own, no two objects the same.
        """
        ### BEGIN SOLUTION
        order = torch.arange(self.identities, device=device).repeat(batch, 1)
        if shuffle:
            order = torch.rand(batch, self.identities, device=device).argsort(dim=1)
        background = torch.zeros(batch, 1, dtype=torch.long, device=device)
        taken = torch.cat([background, 1 + order[:, :objects]], dim=1)
        return F.one_hot(taken, 1 + self.identities).float()
        ### END SOLUTION
