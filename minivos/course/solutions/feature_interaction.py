"""Two reads at the same time, each of what the other was before (SITVOS Eq. 3 and 4).

The memory takes in how things look now; its values are the query's features. The query takes in
who is where; its values are M_x, the only input that knows a mask. So Eq. 3 and the *weights* of
Eq. 4 are computed once for all objects, and only the sum over M_x is done for each of them: the
new axis in `weights[:, None]`. The shortcut keeps what a cell was, and one norm serves both sides,
as in the released code.
"""

import torch
from torch import Tensor, nn


class MyFeatureInteraction(nn.Module):
    """Memory and query read each other, each as the other was before."""

    def __init__(self, width: int, match: int) -> None:
        super().__init__()
        # to_memory.query or to_memory["query"] is W^Q of who asks, "key" W^K of who answers
        names = ("query", "key")
        layers = [nn.Linear(width, match, bias=False) for _ in range(4)]
        self.to_memory = nn.ModuleDict(dict(zip(names, layers[:2], strict=True)))  # Eq. 3
        self.to_query = nn.ModuleDict(dict(zip(names, layers[2:], strict=True)))  # Eq. 4
        self.norms = nn.ModuleList([nn.LayerNorm(width)])  # one, which serves both

    def forward(self, M: Tensor, Q: Tensor, M_x: Tensor) -> tuple[Tensor, Tensor]:
        """M_SA (B, S, C) of all cells in memory, Q_SA (B, N, C), M_x (B, K, S, C) of each object
        -> M_out (B, S, C), the same for all objects, and Q_out (B, K, N, C) of each.
        """

        ### BEGIN SOLUTION
        def weights(layers: nn.ModuleDict, asking: Tensor, answering: Tensor) -> Tensor:
            q, k = layers["query"](asking), layers["key"](answering)
            return torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1)

        (norm,) = self.norms
        memory_takes = weights(self.to_memory, M, Q) @ Q
        query_takes = weights(self.to_query, Q, M)[:, None] @ M_x
        return norm(M + memory_takes), norm(Q[:, None] + query_takes)
        ### END SOLUTION
