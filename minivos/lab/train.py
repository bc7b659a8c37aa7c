"""The one training loop, used for every network."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from minivos.errors import InputError
from minivos.lab.losses import ABSENT, segmentation_loss
from minivos.nn.network import Memory, VOSNetwork
from minivos.video.files import whole_file
from minivos.video.masks import VOID, one_hot, resize
from minivos.video.pool import ClipPool, Footage
from minivos.video.synthetic import render

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How to train. Shares are of the whole run; the paper's values are AOT's (Sec. 5 and released code)."""

    steps: int = 4000  # optimiser steps (paper: 100,000)
    minutes: float = 0  # stop after this long instead; `steps` is then the number expected; 0: after `steps`
    batch: int = 8  # clips per step, over all processes (paper: 16)
    frames: int = 4  # frames per clip, the first with its masks given (paper: 5)
    side: int = 128  # pixels (paper: 465)
    objects: int = 4  # at most so many per clip (paper: 10)
    learning_rate: float = 1e-3  # highest (paper: 4e-4, then 2e-4)
    final_learning_rate: float = 2e-5  # lowest (paper: 2e-5)
    weight_decay: float = 0.03  # (paper: 0.03, then 0.07)
    warm_up: float = 0.05  # share with rising learning rate (paper: 0.05)
    easy: float = 0.2  # share over which clips grow from easy to hard
    auxiliary: float = 0.1  # share over which the loss on the given frame fades (paper: 0.1, then 1)
    feed_predictions_from: float = 0.35  # from here on the memory gets predicted masks (paper: 0.5)
    hardest: float = 0.4  # share of the pixels in the cross-entropy from the middle of the run on (paper: 0.15)
    clip_norm: float = 5.0  # of gradients (paper: 5)
    pool: int = 32  # clips held ready
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.side, self.objects, self.pool) < 1 or self.frames < 2 or self.minutes < 0:
            raise InputError(f"{self}: steps, batch, side, objects and pool start at 1, frames at 2, minutes at 0.")

    @classmethod
    def two_minutes(cls) -> Recipe:
        """A short run for a laptop: smaller frames, shorter clips, milder ones for longer."""
        return cls(
            minutes=2, steps=300, frames=3, side=96, objects=3, easy=1.0, feed_predictions_from=0.6, hardest=0.6
        )  # fmt: skip


def hardest_share(recipe: Recipe, progress: float) -> float:
    """Share of pixels in the bootstrapped cross-entropy: 1 at the start, `hardest` from the middle of the run on."""
    return max(recipe.hardest, 1 - (1 - recipe.hardest) * progress / 0.5)


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up, then polynomial decay with power 0.9 (AOT Sec. 5)."""
    low, high = recipe.final_learning_rate, recipe.learning_rate
    if progress < recipe.warm_up:
        return low + (high - low) * progress / recipe.warm_up
    return low + (high - low) * (1 - (progress - recipe.warm_up) / (1 - recipe.warm_up)) ** 0.9


class Unroll(nn.Module):
    """Run a network over a few frames, feeding it true masks, later its own, and add up the losses."""

    def __init__(self, network: VOSNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, labels: Tensor, recipe: Recipe, progress: float) -> tuple[Tensor, Tensor]:
        """frames (B, T, 3, H, W), labels (B, T, H, W) -> loss (mean over the predicted frames, plus the
        auxiliary loss on the given one), and mean J of the objects without gradient."""
        network, memory = self.network, Memory(self.network.schedule_in_training)
        objects = int(labels.where(labels != VOID, 0).max())
        given = one_hot(labels[:, 0], objects)
        present = given.any(dim=(2, 3))
        present[:, 0] = True  # background
        first = network.encode(frames[:, 0])
        memory.add(network.memorize(first, given), frame=0, reference=True)

        def predict(seen: object) -> tuple[Tensor, object]:
            logits, seen = network.read(seen, memory)
            return resize(logits.float(), labels.shape[-2:]), seen

        def loss_at(t: int, logits: Tensor) -> Tensor:
            return segmentation_loss(logits, labels[:, t], present, hardest_share(recipe, progress)).mean()

        auxiliary = max(0.0, 1 - progress / recipe.auxiliary) if recipe.auxiliary else 0.0
        loss = auxiliary * loss_at(0, predict(first)[0]) if auxiliary else 0.0
        scores = []
        for t in range(1, frames.shape[1]):
            logits, seen = predict(network.encode(frames[:, t]))
            loss = loss + loss_at(t, logits) / (frames.shape[1] - 1)
            found = logits.masked_fill(~present[:, :, None, None], ABSENT).argmax(dim=1)
            fed = found if progress >= recipe.feed_predictions_from else labels[:, t]
            memory.add(network.memorize(seen, one_hot(fed, objects)), frame=t)
            scores.append(mean_j(one_hot(found, objects), one_hot(labels[:, t], objects), present))
        return loss, torch.stack(scores).mean()


def mean_j(found: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Mean intersection over union of the present objects: (B, 1+K, H, W) twice, (B, 1+K) -> ()."""
    both, either = (found * truth).sum((2, 3)), ((found + truth) > 0).sum((2, 3))
    j = torch.where(either > 0, both / either.clamp(min=1), 1)
    return (j * present)[:, 1:].sum() / present[:, 1:].sum().clamp(min=1)


def train(
    network: VOSNetwork,
    recipe: Recipe,
    out: Path | None = None,
    device: torch.device | str = "cpu",
    make_clip: Callable[[int], Footage] | None = None,
    save_every: int = 200,
) -> list[dict[str, float]]:
    """Train the network in place, leave it with the averaged weights, and return the log, one row per step.

    With `out`, writes `log.csv` and `checkpoint.pt` there every `save_every` steps and at the end, and goes on exactly
    where a checkpoint there left off (with `minutes` the schedules follow the clock). Under torchrun, once a process
    group is initialised, every process takes its share of each batch. `make_clip(number)` gives frames and labels;
    synthetic clips if None. Raises InputError when the batch does not divide among the processes or the checkpoint is
    damaged or of another recipe or network.
    """
    device, rank, world = torch.device(device), int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if recipe.batch % world:
        raise InputError(f"A batch of {recipe.batch} does not divide among {world} processes: choose a multiple.")
    rows = range(rank * recipe.batch // world, (rank + 1) * recipe.batch // world)
    unroll: nn.Module = Unroll(network.to(device).train())
    if world > 1:
        unroll = DistributedDataParallel(unroll)
    averaged = AveragedModel(network, multi_avg_fn=moving_average(decay=1 - 1 / (0.1 * recipe.steps + 1)))
    optimiser = torch.optim.AdamW(weight_groups(network, recipe.weight_decay))
    pool = ClipPool(make_clip or synthetic_clips(recipe), recipe.pool, recipe.seed)
    state = {"network": network, "averaged": averaged, "optimiser": optimiser}
    history = load_checkpoint(out, recipe, state) if out else []

    with tqdm(total=recipe.steps, initial=len(history), unit="step", disable=rank > 0 or None) as bar:
        while (progress := how_far(recipe, history, device)) < 1:
            began, step = time.perf_counter(), len(history)
            torch.manual_seed(1_000_003 * recipe.seed + step)  # all chance is a function of (seed, step)
            batch = pool.batch(step, rows, recipe.frames, recipe.side, recipe.objects)
            rendered = time.perf_counter()

            rate = learning_rate(recipe, progress)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss, j = unroll(batch.frames.to(device), batch.labels.to(device), recipe, progress)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimiser.step()
            averaged.update_parameters(network)

            row = {"step": step, "loss": loss.item(), "J": j.item(), "learning_rate": rate}
            seconds = time.perf_counter() - began
            history.append(row | {"seconds": seconds, "data_seconds": rendered - began})
            bar.update()
            bar.set_postfix_str(f"loss {row['loss']:.3f}, J {row['J']:.2f}", refresh=False)
            if out and rank == 0 and len(history) % save_every == 0:
                save_checkpoint(out, recipe, state, history)
    if out and rank == 0:
        save_checkpoint(out, recipe, state, history)
    network.load_state_dict(averaged.module.state_dict())
    network.eval()
    return history


def how_far(recipe: Recipe, history: list[dict[str, float]], device: torch.device) -> float:
    """Share of the run that is done, by the clock where the recipe has minutes, else by steps."""
    if not recipe.minutes:
        return len(history) / recipe.steps
    spent = torch.tensor(sum(row["seconds"] for row in history) / 60, device=device)
    if dist.is_initialized():
        dist.broadcast(spent, src=0)
    return min(1.0, spent.item() / recipe.minutes)


def synthetic_clips(recipe: Recipe, photos: Path | None = None) -> Callable[[int], Footage]:
    """Clips that grow from easy to hard over the first `easy` share of the steps; `photos` as in `render`."""

    def make_clip(number: int) -> Footage:
        difficulty = min(1.0, 0.2 + 0.8 * number / max(1.0, recipe.easy * recipe.steps))
        number += 1_000_003 * (recipe.seed + 1)  # far from the seeds of the sample clips
        clip = render(number, size=(recipe.side, recipe.side), difficulty=difficulty, photos=photos)
        return clip.frames, clip.masks

    return make_clip


def weight_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters for the optimiser: matrices and kernels decay, biases and norms do not."""
    decays = [p for p in network.parameters() if p.dim() > 1]
    free = [p for p in network.parameters() if p.dim() <= 1]
    return [{"params": decays, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def moving_average(decay: float) -> Callable:
    """Exponential moving average of weights that starts fast: decay min(`decay`, (1+n)/(10+n)) after n steps."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        get_ema_multi_avg_fn(min(decay, float((1 + count) / (10 + count))))(averaged, current, count)

    return update


def save_checkpoint(out: Path, recipe: Recipe, state: dict, history: list[dict[str, float]]) -> None:
    """Write `checkpoint.pt` and `log.csv` into `out`, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "checkpoint.pt") as part:
        saved = {name: thing.state_dict() for name, thing in state.items()}
        torch.save(saved | {"recipe": asdict(recipe), "history": history}, part)
    with whole_file(out / "log.csv") as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def load_checkpoint(out: Path, recipe: Recipe, state: dict) -> list[dict[str, float]]:
    """Put the checkpoint in `out` back and return its log; an empty log when there is none."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return []
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails in many ways
        raise InputError(f"{path} is damaged ({error}): remove it to start anew.") from error
    if saved["recipe"] != asdict(recipe):
        differs = sorted(k for k, v in asdict(recipe).items() if saved["recipe"].get(k) != v)
        raise InputError(f"{path} was made with other settings of {differs}: use them, or another output folder.")
    try:
        for name, thing in state.items():
            thing.load_state_dict(saved[name])
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is of another network ({error}): use another output folder.") from error
    log.info("going on from step %d of %s", len(saved["history"]), path)
    return saved["history"]
