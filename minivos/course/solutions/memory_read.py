"""Choose at stage 4, look closer below (HST Sec. III-C, Eq. 1 to 5).

The trick is one shape: at every stage the cells under one coarse cell form a *block*, (coarse
cells, f * f, channels). Then "the cells under the k chosen ones" is an index into blocks, the same
at every stage, and all children of a coarse query cell share it. The softmax comes after the
choice: the weights of the chosen cells sum to 1. The root of the channels is not in the paper.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor


def my_memory_read(
    query_keys: Sequence[Tensor], query_values: Sequence[Tensor],
    memory_keys: Sequence[Tensor], memory_values: Sequence[Tensor], k: int | None,
) -> list[Tensor]:  # fmt: skip
    """Read all cells at stage 4, and at stages 3, 2, 1 those under the k best coarse cells.

    Each sequence has the four stages, finest first: of the query (B, C, H_i, W_i), of the memory
    (B, C, T, H_i, W_i), with sides that halve from stage to stage. Scores are dot products over
    the root of C. A coarse query cell chooses k cells of stage 4 among all frames, by its scores
    there, all if there are fewer; k = None: every stage reads all cells. Whatever lies under the
    coarse query cell reads under these, and nowhere else.
    -> for each stage, finest first, [own value; what was read]: (B, 2 C', H_i, W_i).
    """

    ### BEGIN SOLUTION
    def blocks(x: Tensor, f: int) -> Tensor:  # (B, C, T, H, W) -> (B, coarse cells, f * f, C)
        return rearrange(x, "b c t (y f) (x g) -> b (t y x) (f g) c", f=f, g=f)

    chosen, answers = None, []
    for stage in (3, 2, 1, 0):  # coarsest first
        f = 2 ** (3 - stage)
        own = query_values[stage]
        q = blocks(query_keys[stage].unsqueeze(2), f) / query_keys[stage].shape[1] ** 0.5
        keys, values = blocks(memory_keys[stage], f), blocks(memory_values[stage], f)
        samples = []
        for number in range(len(own)):
            look_at = [part[number] for part in (keys, values)]
            if chosen is None:  # all blocks, side by side
                near_keys, near_values = (part.flatten(0, 1)[None] for part in look_at)
            else:
                near_keys, near_values = (part[chosen[number]].flatten(1, 2) for part in look_at)
            weights = (q[number] @ near_keys.transpose(1, 2)).softmax(dim=-1)
            samples.append(weights @ near_values)
        if stage == 3 and k is not None:
            scores = q[:, :, 0] @ keys[:, :, 0].transpose(1, 2)
            chosen = scores.topk(min(k, scores.shape[-1]), dim=-1).indices
        columns = own.shape[-1] // f
        found = torch.stack(samples)
        read = rearrange(found, "b (y x) (f g) c -> b c (y f) (x g)", x=columns, f=f)
        answers.append(torch.cat([own, read], dim=1))
    return answers[::-1]
    ### END SOLUTION
