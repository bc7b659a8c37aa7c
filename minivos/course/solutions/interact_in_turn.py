"""First Eq. 3, then Eq. 4 with the memory as it has become.

Only the keys of the second read change: what the query takes is still M_x, for M_out knows no mask.
With a memory of one cell there is nothing to choose, all weight lies on it whatever it has become,
and the difference vanishes.
"""

from typing import Any

from torch import Tensor

from minivos.sitvos import FeatureInteraction


def interact_in_turn(
    interaction: FeatureInteraction, M: Tensor, Q: Tensor, M_x: Tensor
) -> tuple[Tensor, Tensor]:
    """Eq. 3 and 4, one after the other, for one object.

    M (S, C), Q (N, C), M_x (S, C) -> M_out (S, C), Q_out (N, C). `interaction` has the layers
    `to_memory.query`, `to_memory.key`, `to_query.query`, `to_query.key`, and a list `norms` of one
    or two: `norms[0]` is for the memory, `norms[-1]` for the query.
    """
    ### BEGIN SOLUTION
    norm_memory, norm_query = interaction.norms[0], interaction.norms[-1]

    def read(part: Any, a: Tensor, b: Tensor, values: Tensor) -> Tensor:
        asks, answers = part.query(a), part.key(b)
        return (asks @ answers.T / asks.shape[1] ** 0.5).softmax(dim=1) @ values

    M_out = norm_memory(M + read(interaction.to_memory, M, Q, Q))
    Q_out = norm_query(Q + read(interaction.to_query, Q, M_out, M_x))
    return M_out, Q_out
    ### END SOLUTION
