"""The one training loop, used for every network."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from minivos.errors import InputError
from minivos.models import pick_device
from minivos.nn.network import VOSNetwork
from minivos.speed import compile_parts, training_at
from minivos.training.checkpoints import Checkpoints, History, StopAfterStep
from minivos.training.checks import check_run, name_memory, pick_precision
from minivos.training.losses import ABSENT, segmentation_loss
from minivos.training.pool import Batch, Footage
from minivos.training.processes import rank_and_world
from minivos.training.recipe import Recipe, group_rate, hardest_share, learning_rate
from minivos.training.samples import clips_for, draw_batches
from minivos.video.mask_tensors import highest, one_hot, resize
from minivos.video.masks import VOID

log = logging.getLogger(__name__)
LOG_EVERY = 20  # steps


class Unroll(nn.Module):
    """Run a network over a few frames, fed true masks and later its own, and add up the losses."""

    def __init__(self, network: VOSNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, frames: Tensor, labels: Tensor, recipe: Recipe, progress: float
    ) -> tuple[Tensor, Tensor]:
        """frames (B, T, 3, H, W), labels (B, T, H, W) -> loss, and mean J without gradient.

        The loss is the mean over the predicted frames, plus the auxiliary one on the given frame.
        """
        network = self.network
        memory = network.new_memory()
        times, height, width = labels.shape[1:]
        objects = max(1, int(labels.where(labels != VOID, 0).max()))
        given = one_hot(labels[:, 0], objects)
        present = given.any(dim=(2, 3))
        present[:, 0] = True  # background
        first = network.encode(frames[:, 0])
        memory.add(network.memorize(first, given), frame=0, reference=True)

        def predict(seen: Any) -> tuple[Tensor, Any]:
            logits, seen = network.read(seen, memory)
            return resize(logits.float(), (height, width), network.sizing.align_corners), seen

        def loss_at(t: int, logits: Tensor) -> Tensor:
            hardest = hardest_share(recipe, progress)
            independent = network.independent_maps
            return segmentation_loss(
                logits, labels[:, t], present, hardest, independent, recipe.jaccard
            ).mean()

        loss, scores = torch.zeros((), device=frames.device), []
        if recipe.auxiliary and progress < recipe.auxiliary:  # it comes again, as if as frame 1
            loss = (1 - progress / recipe.auxiliary) * loss_at(0, predict(first)[0])
        for t in range(1, times):
            memory.now = t
            logits, seen = predict(network.encode(frames[:, t]))
            loss = loss + loss_at(t, logits) / (times - 1)
            logits = logits.masked_fill(~present[:, :, None, None], ABSENT)
            answer = one_hot(highest(logits), objects)
            truth = one_hot(labels[:, t], objects)
            masks = logits.detach().softmax(dim=1) if network.soft_masks else answer
            if progress < recipe.feed_predictions_from:
                masks = truth
            memory.add(network.memorize(seen, masks), frame=t)
            scores.append(mean_j(answer, truth, present))
        return loss, torch.stack(scores).mean()


def mean_j(answer: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Mean intersection over union of the present objects: (B, 1+K, H, W) twice, (B, 1+K) -> ()."""
    both = (answer * truth).sum((2, 3))
    either = ((answer + truth) > 0).sum((2, 3))
    j = torch.where(either > 0, both / either.clamp(min=1), 1)
    return (j * present)[:, 1:].sum() / present[:, 1:].sum().clamp(min=1)


def train(
    network: VOSNetwork,
    recipe: Recipe,
    out: Path | None = None,
    device: torch.device | str = "auto",
    make_clip: Callable[[int], Footage] | None = None,
    *,
    save_every: float = 60.0,
    workers: int = 0,
    accumulate: int = 1,
    precision: str = "auto",
    compiled: bool = False,
    export: Callable[[VOSNetwork, History], None] | None = None,
) -> History:
    """Train the network in place, leave it with the averaged weights, and return the log.

    A row per step: step, loss (with the auxiliary one, of the hardest pixels only), J on the
    training clips, learning rate, seconds, and how many of them went into the data.

    With `out`, writes `log.csv` and `checkpoint.pt` there every `save_every` seconds, at the end,
    and when Ctrl-C or SIGTERM stops the training after a step; goes on exactly where a checkpoint
    there left off (with `minutes` the schedules follow the clock). Minutes and steps may have grown
    since. `export` is then called with the averaged network and the log.

    Under torchrun, once a process group is initialised, every process takes its share of each
    batch. A step goes through the network in `accumulate` parts, which takes less memory and
    changes nothing but roundings and chance. `precision` is "float32", "bfloat16" (autocast) or
    "auto", which takes the latter on a GPU; `compiled` as in `compile_parts`. `make_clip(number)`
    gives frames and labels; `clips_for(recipe)` if None. Where the recipe has no pool, `workers`
    processes make clips ahead of time.

    Raises InputError when the batch does not divide among processes and parts, the side does not
    suit the network, memory is too small, clips are too short or too small, the loss is no longer a
    number, a file cannot be written, or the checkpoint is damaged or of another recipe or network;
    also for a precision or number of workers that cannot be, and for a recipe for video without
    `make_clip`.
    """
    device = pick_device(device) if isinstance(device, str) else device
    rank, world = rank_and_world()
    check_run(network, recipe, world, workers, precision, accumulate)
    rows = range(rank * recipe.batch // world, (rank + 1) * recipe.batch // world)  # of each batch
    decay = 1 - 1 / max(2, 0.1 * recipe.steps)
    averaged = AveragedModel(network.to(device).train(), multi_avg_fn=moving_average(decay))
    unroll: nn.Module = Unroll(network)
    if compiled:
        compile_parts(network)
    if world > 1:
        unroll = DistributedDataParallel(unroll)
    optimiser = torch.optim.AdamW(weight_groups(network, recipe.weight_decay))
    state = {"network": network, "averaged": averaged, "optimiser": optimiser}
    checkpoints = Checkpoints(out, recipe, state, save_every, export)
    history = checkpoints.load()
    if how_far(recipe, history, device) >= 1:
        log.warning(
            "the training in %s is whole (%d steps): nothing is left to do; to train on, give it "
            "more steps or minutes, or start from its weights in a new folder", out, len(history),
        )  # fmt: skip
    batches = draw_batches(make_clip or clips_for(recipe), recipe, len(history), rows, workers)
    precision = pick_precision(precision, device)

    quiet = rank > 0 or None  # None: unless somebody looks at a terminal
    with (
        tqdm(total=recipe.steps, initial=len(history), unit="step", disable=quiet) as bar,
        StopAfterStep(device) as stop,
    ):
        while not stop.asked() and (progress := how_far(recipe, history, device)) < 1:
            began, step = time.perf_counter(), len(history)
            batch = next(batches).to(device)
            data_ready = time.perf_counter()

            torch.manual_seed(1_000_003 * recipe.seed + step)  # all chance is of (seed, step)
            for group in optimiser.param_groups:
                group["lr"] = group_rate(recipe, progress, group)
            optimiser.zero_grad()
            parts = batch.split(accumulate)
            loss, j = add_gradients(unroll, parts, recipe, progress, precision)
            if not loss.isfinite():
                raise InputError(
                    f"got a loss of {loss.item()} at step {step}: lower the learning rate."
                )
            learning = [group["params"] for group in optimiser.param_groups if group["lr"] > 0]
            nn.utils.clip_grad_norm_(list(chain(*learning)), recipe.clip_norm)
            optimiser.step()
            averaged.update_parameters(network)

            row = {"step": step, "loss": loss.item(), "J": j.item()}
            row["learning_rate"] = learning_rate(recipe, progress)
            row["seconds"] = time.perf_counter() - began
            row["data_seconds"] = data_ready - began
            history.append(row)
            said = f"loss {row['loss']:.3f}, J {row['J']:.2f}"
            bar.update()
            bar.set_postfix_str(said, refresh=False)
            if rank == 0:
                checkpoints.save_in_time(history)
                if step % LOG_EVERY == 0:
                    log.info("step %d, %.0f %%: %s", step + 1, 100 * progress, said)
        if rank == 0:
            checkpoints.save(history)
    if stop.number and history:
        log.warning("stopped after %d steps; the same command goes on from there", len(history))
    stop.obey()
    network.load_state_dict(averaged.module.state_dict())
    network.eval()
    return history


def add_gradients(
    unroll: nn.Module, parts: list[Batch], recipe: Recipe, progress: float, precision: str
) -> tuple[Tensor, Tensor]:
    """Add up the gradients of the equal parts of a batch; returns their mean loss and mean J."""
    network: Any = getattr(unroll, "module", unroll).network  # DistributedDataParallel has a module
    losses, scores = [], []
    for part in parts:
        alone: Any = nullcontext()
        if isinstance(unroll, DistributedDataParallel) and part is not parts[-1]:
            alone = unroll.no_sync()  # the processes add theirs up at the last part
        with name_memory(recipe), alone:
            with training_at(precision, network, part.frames.device):
                loss, j = unroll(part.frames, part.labels, recipe, progress)
            (loss / len(parts)).backward()
        losses.append(loss.detach())
        scores.append(j)
    return torch.stack(losses).mean(), torch.stack(scores).mean()


def how_far(recipe: Recipe, history: list[dict[str, float]], device: torch.device) -> float:
    """Share of the run that is done, by the clock where the recipe has minutes, else by steps."""
    if not recipe.minutes:
        return len(history) / recipe.steps
    spent = torch.tensor(sum(row["seconds"] for row in history) / 60, device=device)
    if dist.is_initialized():
        dist.broadcast(spent, src=0)
    return min(1.0, spent.item() / recipe.minutes)


def weight_groups(network: VOSNetwork, weight_decay: float) -> list[dict]:
    """The weights that train, for the optimiser, in groups of one decay and one learning rate.

    Matrices and kernels decay; biases, norms and what the network names in `no_decay` do not.
    """
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            spared = any(fnmatch(name, pattern) for pattern in network.no_decay)
            late = any(fnmatch(name, pattern) for pattern in network.frozen_late)
            decays = weight.dim() > 1 and not spared
            groups[decays, name.startswith("encoder."), late].append(weight)
    return [
        {
            "params": weights,
            "weight_decay": weight_decay if decays else 0.0,
            "encoder": encoder,
            "frozen_late": late,
        }
        for (decays, encoder, late), weights in groups.items()
    ]


def moving_average(decay: float) -> Callable:
    """Exponential moving average that starts fast: decay min(`decay`, (1+n)/(10+n)) at step n."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        now = min(decay, float((1 + count) / (10 + count)))
        get_ema_multi_avg_fn(now)(averaged, current, count)

    return update
