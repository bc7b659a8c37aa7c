"""Plausible wrong answers to every exercise: what was written instead of what, and which property must say so.

A mistake is a change of the worked solution, or, without `old`, another body for the student's part.
"""

from types import ModuleType
from typing import NamedTuple

from minivos.course.worked import BETWEEN, solution, with_marks


class Mistake(NamedTuple):
    name: str
    caught_by: str  # the property that fails
    new: str
    old: str = ""  # "": `new` is all that stands between the marks
    raises: bool = False  # it is an error that fails the property


def answer_in(source: str) -> object:
    """The last function or class that a source defines."""
    module = ModuleType("student")
    exec(compile(source, "student", "exec"), vars(module))
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == "student"]
    return own[-1]


def with_mistake(name: str, mistake: Mistake) -> str:
    if not mistake.old:
        body = "".join(f"    {line}\n" for line in mistake.new.splitlines())
        changed, count = BETWEEN.subn(lambda _: body, with_marks(name))
        assert count == 1
        return changed
    source = solution(name)
    assert source.count(mistake.old) >= 1, f"{mistake.old!r} stands no more in the solution of {name}"
    return source.replace(mistake.old, mistake.new)


MISTAKES = {
    "decay": [
        Mistake(
            "two frames only",
            "every frame of the first quarter counts",
            "return float(values[:2].mean() - values[-2:].mean()) if len(values) > 4 else float(values[0] - "
            "values[-1])",
        ),
        Mistake(
            "a sum, not a mean",
            "it is a mean: half a quarter of success counts a half",
            ".sum()",
            ".mean()",
        ),
        Mistake(
            "the last less the first",
            "four frames: the first less the last",
            "return -float(",
            "return float(",
        ),
        Mistake("halves", "four frames: the first less the last", "// 2", "// 4"),
        Mistake("without sign", "every frame of the last quarter counts", "return abs(", "return float("),
        Mistake(
            "the first frame less the last quarter",
            "it is a mean: half a quarter of success counts a half",
            "values[0]",
            "values[:quarter].mean()",
        ),
    ],
    "from_first": [
        Mistake(
            "from frame to frame",
            "who was hidden is found again",
            "found = [labels]\n"
            "for previous, frame in zip(frames, frames[1:]):\n"
            "    found.append(carry(found[-1], previous, frame))\n"
            "return np.stack(found).astype(np.uint8)",
        ),
        Mistake(
            "a global shift without `carry`",
            "two squares may move in different ways",
            "shifts = [(y, x) for y in range(-4, 5) for x in range(-4, 5)]\n"
            "found = [labels]\n"
            "for frame in frames[1:]:\n"
            "    costs = [np.abs(np.roll(frames[0] * (labels > 0)[..., None], s, (0, 1))\n"
            "             - frame * np.roll(labels > 0, s, (0, 1))[..., None]).sum() for s in shifts]\n"
            "    found.append(np.roll(labels, shifts[int(np.argmin(costs))], (0, 1)))\n"
            "return np.stack(found).astype(np.uint8)",
        ),
        Mistake(
            "the first mask repeated",
            "a square that moves by three pixels is followed",
            "return np.stack([labels] * len(frames))",
        ),
        Mistake(
            "labels of the frame before at their place in frame 0",
            "who was hidden is found again",
            "found = [labels]\n"
            "for frame in frames[1:]:\n"
            "    found.append(carry(found[-1], frames[0], frame))\n"
            "return np.stack(found).astype(np.uint8)",
        ),
        Mistake("without frame 0", "uint8 (T, H, W), and frame 0 keeps its labels", "later", "[labels, *later]"),
    ],
    "read_memory": [
        Mistake(
            "no root of d",
            "scores are dot products over the root of their length",
            "",
            " / q.shape[-1] ** 0.5",
        ),
        Mistake(
            "divided by d",
            "scores are dot products over the root of their length",
            "q.shape[-1]",
            "q.shape[-1] ** 0.5",
        ),
        Mistake(
            "softmax over the queries",
            "a memory of one key gives its value to every query",
            "dim=-2",
            "dim=-1",
        ),
        Mistake(
            "scores over their sum",
            "large scores give no infinity",
            "weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).exp()\n"
            "return weights / weights.sum(dim=-1, keepdim=True) @ v",
        ),
        Mistake(
            "the best key only",
            "equal keys: the plain mean of their values",
            "best = (q @ k.transpose(-2, -1)).argmax(dim=-1)\n"
            "return v.gather(-2, best[..., None].expand(*best.shape, v.shape[-1]))",
        ),
        Mistake(
            "no axes in front",
            "one row of values for each query, whatever the axes in front",
            "k.T",
            "k.transpose(-2, -1)",
            raises=True,
        ),
    ],
    "soft_aggregate": [
        Mistake(
            "over the sum of probabilities",
            "one object, rather sure: merged it is surer",
            "return claims / claims.sum(dim=1, keepdim=True)",
            "return odds / odds.sum(dim=1, keepdim=True)",
        ),
        Mistake(
            "softmax of probabilities",
            "one object, rather sure: merged it is surer",
            "return claims.softmax(dim=1)",
            "return odds / odds.sum(dim=1, keepdim=True)",
        ),
        Mistake(
            "background is what the largest leaves",
            "background is none of the objects",
            "1 - p.amax(dim=1, keepdim=True)",
            "torch.prod(1 - p, dim=1, keepdim=True)",
        ),
        Mistake(
            "no limits",
            "certainty gives numbers: two objects with 1 share the pixel",
            "",
            ".clamp(1e-5, 1 - 1e-5)",
        ),
        Mistake("background last", "one object, rather sure: merged it is surer", "[p, nobody]", "[nobody, p]"),
        Mistake(
            "summed over the wrong axis",
            "all probabilities of a pixel sum to 1",
            "odds.sum(dim=0, keepdim=True)",
            "odds.sum(dim=1, keepdim=True)",
        ),
    ],
    "merged_logits": [
        Mistake(
            "the log of `soft_aggregate`",
            "of two sure objects the surer stays ahead, by as much as before",
            "from minivos.nn.objects import soft_aggregate\nreturn soft_aggregate(x.sigmoid()).log()",
        ),
        Mistake(
            "background at 0",
            "one object: the softmax is its soft aggregation",
            "torch.zeros_like(log_nobody)",
            "log_nobody - log_somebody",
        ),
        Mistake(
            "the log of background, not its odds",
            "one object: the softmax is its soft aggregation",
            "log_nobody",
            "log_nobody - log_somebody",
        ),
        Mistake(
            "1 - p in floating point",
            "it survives the logit 80, where 1 - p is zero",
            "nobody = (1 - x.sigmoid()).prod(dim=1, keepdim=True)\n"
            "return torch.cat([torch.log(nobody / (1 - nobody)), x], dim=1)",
        ),
        Mistake(
            "logits cut off",
            "of two sure objects the surer stays ahead, by as much as before",
            "x = x.clamp(-10, 10)\n    log_nobody = F.logsigmoid(-x)",
            "log_nobody = F.logsigmoid(-x)",
        ),
        Mistake(
            "logits cut off far out",
            "of two sure objects the surer stays ahead, by as much as before",
            "x = x.clamp(-30, 30)\n    log_nobody = F.logsigmoid(-x)",
            "log_nobody = F.logsigmoid(-x)",
        ),
    ],
    "light_proof": [
        Mistake(
            "the mean taken off",
            "a third of the light changes nothing",
            "return frame - frame.mean(dim=(1, 2, 3), keepdim=True)",
        ),
        Mistake("a constant", "a third of the light changes nothing", "return 3 * frame"),
        Mistake(
            "the light of the whole batch",
            "every frame of a batch has a light of its own",
            "return frame / frame.max().clamp(min=1e-3)",
        ),
        Mistake(
            "each pixel by its sum",
            "colours stay far enough apart for the look-up",
            "return frame / frame.sum(dim=1, keepdim=True).clamp(min=1e-3)",
        ),
        Mistake(
            "by the sum of the frame",
            "colours stay far enough apart for the look-up",
            "return frame / frame.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)",
        ),
        Mistake(
            "a light for each row",
            "it does not matter where in the frame a colour stands",
            "dim=(1, 3)",
            "dim=(1, 2, 3)",
        ),
        Mistake(
            "channels and rows",
            "it does not matter where in the frame a colour stands",
            "dim=(1, 2)",
            "dim=(1, 2, 3)",
        ),
        Mistake(
            "the first pixel is the light",
            "it does not matter where in the frame a colour stands",
            "frame[:, :, :1, :1].mean(dim=1, keepdim=True)",
            "frame.mean(dim=(1, 2, 3), keepdim=True)",
        ),
        Mistake("black divided by black", "a black frame gives numbers", "light", "light.clamp(min=1e-3)"),
        Mistake(
            "a mean of the channels",
            "colours (B, 3, H, W), as many as pixels",
            "return frame.mean(dim=1, keepdim=True) / frame.mean(dim=(1, 2, 3), keepdim=True)",
        ),
    ],
    "identity_bank": [
        Mistake(
            "column by column",
            "tokens run row by row",
            "cells.transpose(2, 3).flatten(2)",
            "cells.flatten(2)",
        ),
        Mistake(
            "P forgotten",
            "P says which identity an object has",
            "F.pad(masks, (0, 0, 0, 0, 0, assignment.shape[2] - masks.shape[1]))",
            'torch.einsum("bkhw,bkm->bmhw", masks, assignment)',
        ),
        Mistake(
            "the largest mask takes the pixel",
            "a soft mask counts by its share",
            "masks = F.one_hot(masks.argmax(dim=1), masks.shape[1]).movedim(-1, 1).float()\n        by_identity = ",
            "by_identity = ",
        ),
        Mistake(
            "no background",
            "background has a vector of its own",
            "self.embed(by_identity * (torch.arange(by_identity.shape[1]) > 0)[:, None, None])",
            "self.embed(by_identity)",
        ),
        Mistake(
            "the mean of a patch first",
            "each pixel of a patch has vectors of its own",
            "self.embed(F.avg_pool2d(by_identity, self.embed.stride).repeat_interleave(self.embed.stride[0], "
            "2).repeat_interleave(self.embed.stride[1], 3))",
            "self.embed(by_identity)",
        ),
        Mistake(
            "the weights without the bias",
            "each token has the bias of `embed`, too",
            "F.conv2d(by_identity, self.embed.weight, stride=self.embed.stride)",
            "self.embed(by_identity)",
        ),
        Mistake(
            "the P of the first clip for all",
            "each clip of a batch has its own P",
            '"bkhw,km->bmhw", masks, assignment[0]',
            '"bkhw,bkm->bmhw", masks, assignment',
        ),
        Mistake(
            "drawn with repetition",
            "assign: one identity for each object, none twice",
            "torch.randint(0, self.identities, (batch, self.identities), device=device)",
            "torch.rand(batch, self.identities, device=device).argsort(dim=1)",
        ),
        Mistake(
            "the same for all clips",
            "assign: each clip draws its own, and every identity gets its turn",
            "torch.rand(1, self.identities, device=device).argsort(dim=1).expand(batch, -1)",
            "torch.rand(batch, self.identities, device=device).argsort(dim=1)",
        ),
        Mistake(
            "background draws, too",
            "assign: background is never shuffled",
            "taken = torch.rand(batch, 1 + self.identities).argsort(dim=1)[:, : 1 + objects] if shuffle else "
            "torch.cat([background, 1 + order[:, :objects]], dim=1)",
            "taken = torch.cat([background, 1 + order[:, :objects]], dim=1)",
        ),
    ],
    "short_term": [
        Mistake(
            "the learned score divided, too",
            "the learned score is added as it is, and each head has its own",
            "(scores + learned.unflatten(1, (self.heads, -1)) / ask.shape[2] ** 0.5)",
            "scores + learned.unflatten(1, (self.heads, -1))",
        ),
        Mistake(
            "offsets before heads",
            "the learned score is added as it is, and each head has its own",
            "scores + learned.unflatten(1, (-1, self.heads)).transpose(1, 2)",
            "scores + learned.unflatten(1, (self.heads, -1))",
        ),
        Mistake(
            "zeros outside of the frame get weight",
            "outside of the frame there is nothing: the weights inside sum to 1",
            "scores",
            "scores.masked_fill(inside == 0, -torch.inf)",
        ),
        Mistake(
            "masked after the softmax",
            "outside of the frame there is nothing: the weights inside sum to 1",
            "scores.softmax(dim=2) * inside",
            "scores.masked_fill(inside == 0, -torch.inf).softmax(dim=2)",
        ),
        Mistake(
            "softmax over the cells",
            "outside of the frame there is nothing: the weights inside sum to 1",
            "softmax(dim=3)",
            "softmax(dim=2)",
        ),
        Mistake("no root of d", "scores are dot products over the root of d", "", " / ask.shape[2] ** 0.5"),
        Mistake(
            "root of C, not of d",
            "d is the channels of a head, which stand side by side",
            "q.shape[2] ** 0.5",
            "ask.shape[2] ** 0.5",
        ),
        Mistake(
            "no learned scores",
            "the learned score of an offset counts, row by row from the upper left",
            "",
            " + learned.unflatten(1, (self.heads, -1))",
        ),
        Mistake(
            "learned scores of the keys",
            "the learned score depends on the query",
            "self.relative_score(k_map)",
            "self.relative_score(q_map)",
        ),
        Mistake(
            "no learned values",
            "the learned value of an offset is added to the value",
            "windows(v_map)",
            "windows(v_map) + self.relative_value[None, :, :, :, None]",
        ),
        Mistake(
            "heads are every n-th channel",
            "d is the channels of a head, which stand side by side",
            "x.unflatten(1, (-1, self.heads)).transpose(1, 2).flatten(1, 2), self.window",
            "x, self.window",
        ),
        Mistake(
            "not projected",
            "the answer is projected",
            "return read.flatten(1, 2).transpose(1, 2)",
            "return self.project(read.flatten(1, 2).transpose(1, 2))",
        ),
    ],
    "two_windows": [
        Mistake(
            "`torch.maximum` of two windows",
            "where all scores are equal, it is the mean over both",
            "weights = torch.stack(scores).softmax(dim=-1)\n"
            "    return torch.maximum(*(weights[..., None] * torch.stack(values)).sum(dim=-2))\n",
            "weights = torch.cat(scores, dim=-1).softmax(dim=-1)\n"
            "    return (weights[..., None] * torch.cat(values, dim=-2)).sum(dim=-2)\n",
        ),
        Mistake(
            "two softmaxes, their mean",
            "one softmax: a frame with low scores hardly counts",
            "weights = torch.cat([each.softmax(dim=-1) / 2 for each in scores], dim=-1)",
            "weights = torch.cat(scores, dim=-1).softmax(dim=-1)",
        ),
        Mistake(
            "two softmaxes, their sum",
            "all weights sum to 1",
            "weights = torch.cat([each.softmax(dim=-1) for each in scores], dim=-1)",
            "weights = torch.cat(scores, dim=-1).softmax(dim=-1)",
        ),
        Mistake(
            "the newer frame only",
            "where all scores are equal, it is the mean over both",
            "(newer, newer)",
            "(newer, older)",
        ),
        Mistake(
            "learned scores for the newer frame only",
            "both frames have the learned terms of an offset",
            "scores.append((ask[..., None, :] * near).sum(dim=-1) / ask.shape[-1] ** 0.5 + (learned if not "
            "scores else learned.clamp(min=0).clamp(max=0)).masked_fill(index < 0, -torch.inf))",
            "scores.append((ask[..., None, :] * near).sum(dim=-1) / ask.shape[-1] ** 0.5 + learned)",
        ),
        Mistake(
            "outside counts",
            "the same frame twice is that frame once",
            "",
            "learned = learned.masked_fill(index < 0, -torch.inf)",
        ),
    ],
    "object_affinity": [
        Mistake(
            "the mean, not the largest",
            "an equal cell of an object: 1 for it, 0 for who is not there",
            "strongest[number] + best / (2 * h - 1) ** 2",
            "torch.maximum(strongest[number], best)",
        ),
        Mistake(
            "the mean of the channels",
            "the squares of all channels add up, and nothing divides them",
            ".square().mean(dim=1)",
            ".square().sum(dim=1)",
        ),
        Mistake(
            "the sum, not the largest",
            "the strongest link counts, not the sum and not the mean",
            "strongest[number] + best",
            "torch.maximum(strongest[number], best)",
        ),
        Mistake(
            "the frame before only",
            "all earlier frames count",
            "link.where(whose == number, 0)[:, -2]",
            "link.where(whose == number, 0).amax(dim=1)",
        ),
        Mistake(
            "one cell too many",
            "in reach are cells less than h away, and no others",
            "h += 1\n    frame = [h - 1] * 4",
            "frame = [h - 1] * 4",
        ),
        Mistake(
            "background outside",
            "outside of the frame there is nothing, not a cell of zeros",
            "value=0",
            "value=-1",
        ),
        Mistake(
            "distance, not squared",
            "links fall with the squared distance",
            ".square().sum(dim=1).sqrt()",
            ".square().sum(dim=1)",
        ),
        Mistake(
            "a plain exponential",
            "links fall with the squared distance",
            "torch.exp(-distance)",
            "2 * torch.sigmoid(-distance)",
        ),
        Mistake(
            "unknown is background",
            "the newest frame says nothing: its masks are not known",
            "labels = labels.clamp(min=0)\n    frame = [h - 1] * 4",
            "frame = [h - 1] * 4",
        ),
        Mistake(
            "what leaves on one side comes in on the other",
            "up and down as left and right, and both together",
            "found = [q.new_zeros(len(q), *q.shape[-2:]) for _ in range(objects)]\n"
            "for dy, dx in product(range(1 - h, h), repeat=2):\n"
            "    there, whose = torch.roll(k, (dy, dx), (-2, -1)), torch.roll(labels, (dy, dx), (-2, -1))\n"
            "    link = 2 * torch.sigmoid(-(q[:, :, None] - there).square().sum(dim=1))\n"
            "    for n in range(objects):\n"
            "        found[n] = torch.maximum(found[n], (link * (whose == n)).amax(dim=1))\n"
            "return torch.stack(found, dim=1)",
        ),
    ],
    "feature_interaction": [
        Mistake(
            "a norm that learned nothing",
            "the norm has the weights that it learned",
            "norm = lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:])",
            "(norm,) = self.norms",
        ),
        Mistake(
            "asks M_x",
            "who is asked is M; M_x is what is taken",
            "torch.stack([weights(self.to_query, Q, M_x[:, k]) for k in range(M_x.shape[1])], dim=1)",
            "weights(self.to_query, Q, M)[:, None]",
        ),
        Mistake(
            "in turn",
            "the query asks the memory as it was before",
            "M = norm(M + memory_takes)\n"
            "        query_takes = weights(self.to_query, Q, M)[:, None] @ M_x\n"
            "        return M, norm(Q[:, None] + query_takes)",
            "query_takes = weights(self.to_query, Q, M)[:, None] @ M_x\n"
            "        return norm(M + memory_takes), norm(Q[:, None] + query_takes)",
        ),
        Mistake(
            "the query takes the memory, not M_x",
            "the query keeps what it was, and adds what it takes of M_x",
            "[:, None] @ M[:, None].expand_as(M_x)",
            "[:, None] @ M_x",
        ),
        Mistake(
            "the memory takes itself",
            "the memory keeps what it was, and adds what it takes of Q",
            "weights(self.to_memory, M, M) @ M",
            "weights(self.to_memory, M, Q) @ Q",
        ),
        Mistake(
            "no shortcut",
            "the query keeps what it was, and adds what it takes of M_x",
            "norm(query_takes)",
            "norm(Q[:, None] + query_takes)",
        ),
        Mistake(
            "no norm",
            "the memory keeps what it was, and adds what it takes of Q",
            "return M + memory_takes,",
            "return norm(M + memory_takes),",
        ),
        Mistake("no root of d", "scores are divided by the root of their channels", "", " / q.shape[-1] ** 0.5"),
        Mistake(
            "softmax over who asks",
            "the query keeps what it was, and adds what it takes of M_x",
            "dim=-2",
            "dim=-1",
        ),
        Mistake(
            "objects mixed",
            "each object for itself, with the same weights for all",
            "@ M_x.mean(dim=1, keepdim=True).expand_as(M_x)",
            "@ M_x",
        ),
        Mistake(
            "layers exchanged",
            "the query asks the memory as it was before",
            "weights(self.to_memory, Q, M)",
            "weights(self.to_query, Q, M)",
        ),
    ],
    "interact_in_turn": [
        Mistake(
            "a query that never sees M_out",
            "the query asks the memory as it has become",
            "Q, M, M_x",
            "Q, M_out, M_x",
        ),
        Mistake(
            "the query takes M_out",
            "a memory of one cell leaves nothing to choose",
            "Q, M_out, M_out",
            "Q, M_out, M_x",
        ),
        Mistake(
            "the query first",
            "the memory takes from the query first, as before",
            "Q_out = norm_query(Q + read(interaction.to_query, Q, M, M_x))\n"
            "    return norm_memory(M + read(interaction.to_memory, M, Q_out, Q_out)), Q_out",
            "M_out = norm_memory(M + read(interaction.to_memory, M, Q, Q))\n"
            "    Q_out = norm_query(Q + read(interaction.to_query, Q, M_out, M_x))\n"
            "    return M_out, Q_out",
        ),
        Mistake(
            "asks the memory without its norm",
            "the query asks the memory as it has become",
            "Q, M + read(interaction.to_memory, M, Q, Q), M_x",
            "Q, M_out, M_x",
        ),
        Mistake(
            "M_out and nothing else",
            "two tensors, as large as M and Q",
            "return M_out",
            "return M_out, Q_out",
        ),
    ],
    "backbone_runs": [
        Mistake(
            "the last frame is kept, too",
            "one frame, one object: nothing is ever kept",
            "K * T",
            "K * (T - 1)",
        ),
        Mistake(
            "once for all objects",
            "two frames: one is kept, and seen once more for each object",
            "T + (T - 1)",
            "T + K * (T - 1)",
        ),
        Mistake(
            "a frame sees itself in memory",
            "one frame, one object: nothing is ever kept",
            "T * (T + 1) // 2",
            "T * (T - 1) // 2",
        ),
        Mistake(
            "the first frame only, anew",
            "three frames: now (b) and (c) part",
            "(T - 1)",
            "(T * (T - 1) // 2)",
        ),
        Mistake(
            "without the frame itself",
            "one frame, one object: nothing is ever kept",
            "all_anew = K",
            "all_anew = T + K",
        ),
    ],
    "memory_read": [
        Mistake(
            "each stage chooses for itself",
            "stage 4 chooses for all, by its own scores",
            "if k is not None:\n"
            "            scores = (q @ keys.flatten(1, 2).transpose(1, 2)[:, "
            "None]).amax(dim=2).unflatten(-1, (-1, f * f)).amax(dim=-1)",
            "if stage == 3 and k is not None:\n            scores = q[:, :, 0] @ keys[:, :, 0].transpose(1, 2)",
        ),
        Mistake(
            "no choice",
            "stage 4 chooses for all, by its own scores",
            "if False:",
            "if stage == 3 and k is not None:",
        ),
        Mistake(
            "stage 4 keeps its best only",
            "stage 4 reads all cells, whatever k is",
            "if stage == 3 and k is not None:\n"
            "            best = (q[:, :, 0] @ keys[:, :, 0].transpose(1, 2)).topk(min(k, keys.shape[1]), "
            "dim=-1).indices\n"
            "            samples = [(q[n] @ keys[n][best[n]].flatten(1, 2).transpose(1, 2)).softmax(dim=-1) "
            "@ values[n][best[n]].flatten(1, 2) for n in range(len(own))]\n"
            "        if stage == 3 and k is not None:",
            "if stage == 3 and k is not None:",
        ),
        Mistake(
            "no root of the channels",
            "scores are dot products over the root of the channels",
            "",
            " / query_keys[stage].shape[1] ** 0.5",
        ),
        Mistake(
            "the upper left cell only",
            "all cells under a chosen one are read",
            "(part[chosen[number]][:, :, :1].flatten(1, 2) for part in look_at)",
            "(part[chosen[number]].flatten(1, 2) for part in look_at)",
        ),
        Mistake(
            "softmax before the choice",
            "the weights of each query sum to 1, at each stage",
            "weights = (q[number] @ near_keys.transpose(1, 2)).softmax(dim=-1)\n"
            "            if chosen is not None:\n"
            "                all_scores = q[number] @ look_at[0].flatten(0, 1).T\n"
            "                near = q[number] @ near_keys.transpose(1, 2)\n"
            "                weights = (near - all_scores.logsumexp(dim=-1, keepdim=True)).exp()",
            "weights = (q[number] @ near_keys.transpose(1, 2)).softmax(dim=-1)",
        ),
        Mistake(
            "the k best of each frame",
            "the k best of all frames together, not of each",
            "frames, one = memory_keys[3].shape[2], scores.shape[1]\n"
            "            each = scores.unflatten(-1, (frames, one)).topk(min(k, one), dim=-1).indices\n"
            "            chosen = (each + one * torch.arange(frames)[:, None]).flatten(2)",
            "chosen = scores.topk(min(k, scores.shape[-1]), dim=-1).indices",
        ),
        Mistake(
            "blocks column by column",
            "every query cell looks under what its own coarse cell chose",
            '"b c t (y f) (x g) -> b (t x y) (f g) c"',
            '"b c t (y f) (x g) -> b (t y x) (f g) c"',
        ),
        Mistake(
            "too large a k is an error",
            "k = None, or more than there are: every stage reads all",
            "topk(k, dim=-1)",
            "topk(min(k, scores.shape[-1]), dim=-1)",
            raises=True,
        ),
        Mistake(
            "coarsest first",
            "four answers, finest first: own value beside what was read",
            "return answers\n",
            "return answers[::-1]\n",
        ),
    ],
    "products": [
        Mistake(
            "under a coarse cell lies one cell",
            "one cell, one frame: nothing to leave out",
            "queries * k",
            "queries * k * f * f",
        ),
        Mistake(
            "the memory's length below stage 4, too",
            "k as large as the memory: both are equal",
            "queries * k * f * f * T",
            "queries * k * f * f",
        ),
        Mistake(
            "without stage 4",
            "one cell, one frame: nothing to leave out",
            "dense, hierarchical = 0, 0",
            "dense, hierarchical = 0, H * W * T * H * W",
        ),
        Mistake(
            "stage 4 has its k, too",
            "two frames: only stage 4 has more to do",
            "H * W * k",
            "H * W * T * H * W",
        ),
        Mistake(
            "two times the cells, not four",
            "one cell, one frame: nothing to leave out",
            "queries = H * f * W",
            "queries = H * f * W * f",
        ),
    ],
    "decoder_work": [
        Mistake(
            "AOT has no groups", "AOT: more objects make groups", "return 1", "return -(-K // identities)  # rounded up"
        ),
        Mistake("rounded down", "one object", "return K // identities", "return -(-K // identities)  # rounded up"),
        Mistake(
            "ten objects make two groups",
            "AOT: one map for as many objects as it has identities",
            "return 1 + K // identities",
            "return -(-K // identities)  # rounded up",
        ),
        Mistake("SST without background", "one object", "K if name", "K + 1 if name"),
        Mistake("background is an object everywhere", "one object", "else K + 1", "else K"),
        Mistake(
            "all have groups",
            "only AOT has groups",
            'return K + 1 if name == "sst_mini" else min(K, 10)',
            'return K + 1 if name == "sst_mini" else K',
        ),
    ],
    "paired_interval": [
        Mistake(
            "a draw for each network",
            "the same scores twice: from 0 to 0",
            "other = np.random.default_rng(1).integers(len(apart), size=(draws, len(apart)))\n"
            "    low, high = np.quantile(b[other].mean(axis=1) - a[drawn].mean(axis=1), (0.025, 0.975))",
            "low, high = np.quantile(apart[drawn].mean(axis=1), (0.025, 0.975))",
        ),
        Mistake("the first less the second", "the second less the first", "apart = a - b", "apart = b - a"),
        Mistake("the middle 90 %", "it is about the mean, and holds 95 %", "(0.05, 0.95)", "(0.025, 0.975)"),
        Mistake(
            "quantiles of the clips",
            "it is about the mean, and holds 95 %",
            "np.quantile(apart, (0.025, 0.975))",
            "np.quantile(apart[drawn].mean(axis=1), (0.025, 0.975))",
        ),
        Mistake(
            "without repetition",
            "clips are drawn with repetition",
            "drawn = np.stack([np.random.default_rng(i).permutation(len(apart)) for i in range(draws)])",
            "drawn = np.random.default_rng(0).integers(len(apart), size=(draws, len(apart)))",
        ),
        Mistake(
            "always ten clips",
            "it is about the mean, and holds 95 %",
            "size=(draws, 10)",
            "size=(draws, len(apart))",
        ),
        Mistake("the higher end first", "two numbers, the lower one first", "(0.975, 0.025)", "(0.025, 0.975)"),
        Mistake(
            "the mean alone", "two numbers, the lower one first", "return float(low)", "return float(low), float(high)"
        ),
    ],
    "frames_read": [
        Mistake("the current frame counts", "then the first and the previous", "1 + T // n", "1 + (T - 1) // n"),
        Mistake(
            "the previous frame always besides",
            "frame 1 reads frame 0, once",
            "return kept + 1",
            "return kept if previous_is_kept else kept + 1",
        ),
        Mistake(
            "only frame 1 has a kept one before it",
            "a previous frame that is kept anyway is read once",
            "T == 1",
            "(T - 1) % n == 0",
        ),
        Mistake("no first frame", "frame 1 reads frame 0, once", "min((T - 1) // n, m)", "min(1 + (T - 1) // n, m)"),
        Mistake(
            "no bound",
            "at most m stay, and the previous frame besides",
            "1 + (T - 1) // n",
            "min(1 + (T - 1) // n, m)",
        ),
        Mistake(
            "m frames in all",
            "at most m stay, and the previous frame besides",
            "return min(kept + (not previous_is_kept), m)",
            "return kept if previous_is_kept else kept + 1",
        ),
        Mistake(
            "rounded up",
            "then the first and the previous",
            "min(1 + -(-(T - 1) // n), m)",
            "min(1 + (T - 1) // n, m)",
        ),
    ],
    "backwards": [
        Mistake(
            "not turned round again",
            "the last frame has the mask that was given",
            "return turned",
            "return turned[::-1]",
        ),
        Mistake(
            "frames not turned",
            "every frame before has the object where it was",
            "frames)",
            "frames[::-1])",
        ),
        Mistake(
            "nothing turned",
            "every frame before has the object where it was",
            "return follow({len(frames) - 1: last_mask}, frames)",
        ),
        Mistake("another axis", "the last frame has the mask that was given", "turned[:, ::-1]", "turned[::-1]"),
        Mistake(
            "the mask at the other end",
            "the last frame has the mask that was given",
            "{len(frames) - 1: last_mask}",
            "{0: last_mask}",
        ),
    ],
    "disagreement": [
        Mistake(
            "the mean difference of labels",
            "labels are names: 1 and 7 differ as 1 and 2 do",
            "np.abs(forwards.astype(int) - backwards)",
            "forwards != backwards",
        ),
        Mistake(
            "one number for all frames",
            "a number for each frame, 0 where both agree",
            "return differ.mean()",
            "return differ.reshape(len(differ), -1).mean(axis=1)",
        ),
        Mistake(
            "a number for each row of pixels",
            "a number for each frame, 0 where both agree",
            "return differ.mean(axis=2)",
            "return differ.reshape(len(differ), -1).mean(axis=1)",
        ),
        Mistake(
            "of the pixels of objects only",
            "the share of all pixels of a frame, background too",
            "return differ.reshape(len(differ), -1).sum(axis=1) / np.maximum(1, (forwards > 0).sum(axis=(1, 2)))",
            "return differ.reshape(len(differ), -1).mean(axis=1)",
        ),
        Mistake(
            "where both see an object",
            "the share of all pixels of a frame, background too",
            "(forwards != backwards) & (forwards > 0) & (backwards > 0)",
            "forwards != backwards",
        ),
        Mistake(
            "agreement",
            "a number for each frame, 0 where both agree",
            "forwards == backwards",
            "forwards != backwards",
        ),
    ],
    "without": [
        Mistake("no copy", "what was given stays as it was", "kept = labels", "kept = labels.copy()"),
        Mistake("everywhere", "from frame t on the object is background", "kept[:]", "kept[t:]"),
        Mistake("from the frame after", "from frame t on the object is background", "kept[t + 1 :]", "kept[t:]"),
        Mistake(
            "all objects",
            "its pixels go to nobody, and all others stay",
            "later[later > 0]",
            "later[later == object_id]",
        ),
        Mistake(
            "given to the next object",
            "its pixels go to nobody, and all others stay",
            "= object_id + 1",
            "= 0",
        ),
    ],
    "area_without_outline": [
        Mistake(
            "the same twice",
            "the outlines do not: F of at most 0.5",
            "return truth, truth",
            "return truth, prediction",
        ),
        Mistake(
            "far apart",
            "the areas agree: J of at least 0.9",
            "prediction[:, :40] = False",
            "prediction[10:54:4, 10:54:4] = False",
        ),
        Mistake(
            "teeth within the tolerance",
            "the outlines do not: F of at most 0.5",
            "prediction[4, 4:60:2] = False",
            "prediction[10:54:4, 10:54:4] = False",
        ),
        Mistake(
            "numbers, not bool",
            "two masks, bool (64, 64)",
            "truth.astype(int), prediction",
            "truth, prediction",
        ),
    ],
    "outline_without_area": [
        Mistake(
            "what the other leaves over",
            "one is not what the other leaves over",
            "prediction = ~truth\n    return",
            "return",
        ),
        Mistake("nothing", "neither is empty or full", "truth & False, prediction & False", "truth, prediction"),
        Mistake(
            "half a square",
            "the outlines agree: F of at least 0.9",
            "prediction[:, :32]",
            "prediction[13:51, 13:51]",
        ),
        Mistake(
            "the same twice",
            "the areas do not: J of at most 0.5",
            "return truth, truth",
            "return truth, prediction",
        ),
    ],
    "evenly_apart": [
        Mistake("right angles", "two vectors point in opposite directions", "return torch.eye(M)"),
        Mistake("lengths forgotten", "every vector has length 1", "return apart", "return F.normalize(apart, dim=1)"),
        Mistake("less the first vector", "every vector has length 1", "right_angles[0]", "right_angles.mean(dim=0)"),
        Mistake(
            "pairs of opposites",
            "every two of four vectors are equally far apart",
            "half = torch.eye(M)[: (M + 1) // 2]\nreturn torch.cat([half, -half])[:M]",
        ),
        Mistake(
            "round a circle",
            "every two of four vectors are equally far apart",
            "angle = 2 * torch.pi * torch.arange(M) / M\n"
            "circle = torch.stack([angle.cos(), angle.sin()], dim=1)\n"
            "return F.pad(circle, (0, M - 2))",
        ),
        Mistake(
            "random ones less their mean",
            "every two of four vectors are equally far apart",
            "torch.randn(M, M)",
            "torch.eye(M)",
        ),
        Mistake("less a half, whatever M", "and as far as can be", "0.5", "right_angles.mean(dim=0)"),
        Mistake(
            "the mean taken twice",
            "two vectors point in opposite directions",
            "2 * right_angles.mean",
            "right_angles.mean",
        ),
    ],
    "exchanged": [
        Mistake("P as it is", "the paint of object 1 is answered with 2, that of 2 with 1", "return P"),
        Mistake(
            "columns",
            "the paint of object 1 is answered with 2, that of 2 with 1",
            "return P[:, [0, 2, 1, *range(3, P.shape[1])]]",
        ),
        Mistake(
            "all objects turned round",
            "all others stay who they are",
            "return P[[0, *range(len(P) - 1, 0, -1)]]",
        ),
        Mistake(
            "background, too",
            "the paint of object 1 is answered with 2, that of 2 with 1",
            "return P.flip(0)",
        ),
        Mistake("in place", "the P that handed out stays as it is", "P[[1, 2]] = P[[2, 1]]\nreturn P"),
    ],
    "may_see": [
        Mistake(
            "by numbers alone",
            "the end of a row does not see the beginning of the next",
            "return (number[:, None] - number).abs() <= window // 2",
            "return near_y & near_x",
        ),
        Mistake(
            "a cross",
            "the end of a row does not see the beginning of the next",
            "return (near_y & (x[:, None] == x)) | (near_x & (y[:, None] == y))",
            "return near_y & near_x",
        ),
        Mistake("one cell too few", "window 1: a cell sees itself", "< window // 2", "<= window // 2"),
        Mistake("the whole window to each side", "window 1: a cell sees itself", "<= window", "<= window // 2"),
        Mistake("rows or columns", "window 1: a cell sees itself", "near_y | near_x", "near_y & near_x"),
        Mistake(
            "a number, not bool",
            "window 1: a cell sees itself",
            "(near_y & near_x).float()",
            "near_y & near_x",
        ),
    ],
    "layers_needed": [
        Mistake("rounded down", "so many layers are enough", "steps // reach", "math.ceil(steps / reach)"),
        Mistake("cells, not steps", "one less is not", "steps, reach = n, h - 1", "steps, reach = n - 1, h - 1"),
        Mistake("h cells a layer", "so many layers are enough", "n - 1, h", "n - 1, h - 1"),
        Mistake("one more to be sure", "one less is not", "1 + steps // reach", "math.ceil(steps / reach)"),
        Mistake(
            "no whole number",
            "a whole number",
            "float(math.ceil(steps / reach))",
            "math.ceil(steps / reach)",
        ),
    ],
    "my_cells": [
        Mistake(
            "three lines, as grid",
            "two layers reach everything",
            "{(frame, y, x) for frame in range(4)} | {(t, y, column) for column in range(8)}",
            "{(frame, y, column) for frame in range(4) for column in range(8)}",
        ),
        Mistake(
            "the plane",
            "itself, and 39 others at most",
            "{(t, row, column) for row in range(8) for column in range(8)} | {(frame, y, x) for frame in range(4)}",
            "rows | here",
        ),
        Mistake("rows only", "two layers reach everything", "return rows", "return rows | here"),
        Mistake(
            "without itself",
            "itself, and 39 others at most",
            "return (rows | here) - {(t, y, x)}",
            "return rows | here",
        ),
        Mistake(
            "beyond the border",
            "cells of the video",
            "{(t, y + row, x) for row in range(8)}",
            "{(t, row, x) for row in range(8)}",
        ),
    ],
    "needed": [
        Mistake(
            "not sorted",
            "weights come in any order",
            "largest_first = weights",
            "largest_first = weights.sort(dim=1, descending=True).values",
        ),
        Mistake("smallest first", "weights come in any order", "descending=False", "descending=True"),
        Mistake("one too few", "four equal weights: three hold 0.7", "too_little", "1 + too_little"),
        Mistake("more than the share", "exactly the share is enough", "<= share", "< share"),
        Mistake(
            "one number for all",
            "four equal weights: three hold 0.7",
            "(1 + too_little.sum(dim=1)).max()",
            "1 + too_little.sum(dim=1)",
        ),
    ],
}
