"""The one training loop, used for every network."""

from __future__ import annotations

import csv
import logging
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from minivos.errors import InputError, check_rules, check_settings
from minivos.lab.losses import ABSENT, segmentation_loss
from minivos.nn.network import Memory, VOSNetwork
from minivos.video.files import whole_file
from minivos.video.footage import video_clips
from minivos.video.masks import VOID, one_hot, resize
from minivos.video.pool import Batch, ClipPool, Footage, WholeClips
from minivos.video.stills import rendered_stills, still_clips, stills_in
from minivos.video.synthetic import render

log = logging.getLogger(__name__)
LOG_EVERY = 20  # steps
FOOTAGE = ("synthetic", "stills", "video")
SHARES = (
    "warm_up", "easy", "auxiliary", "feed_predictions_from", "freeze_late_from", "hardest", "jaccard", "gaps_grow",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How to train. Shares are of the whole run; the paper's values are AOT's (Sec. A.1.2 and released code)."""

    steps: int = 6000  # optimiser steps (paper: 100,000)
    minutes: float = 0.0  # stop after this long instead; `steps` is then the number expected; 0: after `steps`
    batch: int = 8  # clips per step, over all processes (paper: 16)
    frames: int = 4  # frames per clip, the first with its masks given (paper: 5)
    side: int = 128  # pixels of a sample (paper: 465)
    clip_side: float = 1.25  # side of the rendered clips over that of the samples, which are cut out of them
    objects: int = 4  # at most so many per clip (paper: 10)
    learning_rate: float = 2e-3  # highest (paper: 4e-4, then 2e-4)
    final_learning_rate: float = 2e-5  # lowest (paper: 2e-5; code: 1e-5 for R50-L and SwinB-L on video)
    encoder_rate: float = 1.0  # how far the encoder's rate rises above the lowest, over the others' (paper: 0.1)
    weight_decay: float = 0.03  # (paper: 0.03, then 0.07)
    warm_up: float = 0.05  # share with rising learning rate (code: 0.05)
    easy: float = 0.2  # share over which clips grow from easy to hard
    auxiliary: float = 0.1  # share over which the loss on the given frame fades (code: 0.1, then 1)
    feed_predictions_from: float = 0.35  # from here on the memory gets predicted masks (code: 1, then 0.5)
    freeze_late_from: float = 1.0  # from here on the network's `frozen_late` weights stay (code: 1, then 0.5)
    hardest: float = 0.4  # share of the pixels in the cross-entropy from the middle of the run on (code: 0.15)
    jaccard: float = 0.5  # weight of the soft Jaccard in the loss; cross-entropy has the rest (paper: 0.5)
    clip_norm: float = 5.0  # of gradients (code: 5)
    longest_gap: int = 12  # between the frames of a sample from video, in frames (code: 12)
    gaps_grow: float = 0.0  # share over which it grows from 1 (code: 0)
    footage: str = "synthetic"  # what the clips are: synthetic, stills or video (paper: stills, then video)
    pool: int = 32  # clips held ready to cut samples out of; 0: each clip is a finished sample
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(
            self, steps=1, minutes=0, batch=1, frames=2, side=1, clip_side=1, objects=1, learning_rate=0,
            final_learning_rate=0, encoder_rate=0, weight_decay=0, clip_norm=0, longest_gap=1, pool=0, seed=0,
        )  # fmt: skip
        shares = {name: getattr(self, name) for name in SHARES}
        check_rules({f"{name}={share} must be 0 to 1": 0 <= share <= 1 for name, share in shares.items()} | {
            f"learning_rate={self.learning_rate} must be finite": self.learning_rate < math.inf,
            f"hardest={self.hardest} must be above 0": self.hardest > 0,
            f"objects={self.objects} must be 100 or fewer": self.objects <= 100,
            f"footage={self.footage!r} must be one of {', '.join(FOOTAGE)}": self.footage in FOOTAGE,
        })  # fmt: skip

    @classmethod
    def aot_stills(cls) -> Recipe:
        """AOT's first stage, on still pictures that move; start from an encoder that knows ImageNet."""
        return cls(
            steps=100_000, batch=16, frames=5, side=465, objects=10, learning_rate=4e-4, encoder_rate=0.1,
            feed_predictions_from=1.0, hardest=0.15, footage="stills", pool=0,
        )  # fmt: skip

    @classmethod
    def aot_video(cls) -> Recipe:
        """AOT's second stage, on video; start from the weights of the first."""
        return replace(
            cls.aot_stills(), learning_rate=2e-4, weight_decay=0.07, auxiliary=1.0, feed_predictions_from=0.5,
            freeze_late_from=0.5, footage="video",
        )  # fmt: skip

    @classmethod
    def sitvos_stills(cls) -> Recipe:
        """SITVOS's first stage, on still pictures that move; start from encoders that know ImageNet.

        Fed masks pass no gradient here, in the released code they do in this stage.
        """
        return cls(
            steps=600_000, batch=4, frames=3, side=384, objects=5, learning_rate=1e-5, final_learning_rate=0.0,
            weight_decay=0.0, warm_up=0.0, auxiliary=0.0, feed_predictions_from=0.0, hardest=1.0, jaccard=0.0,
            clip_norm=math.inf, footage="stills", pool=0,
        )  # fmt: skip

    @classmethod
    def sitvos_video(cls) -> Recipe:
        """SITVOS's second stage, on video, with gaps that grow by a frame every 3000 steps; start from the first."""
        return replace(cls.sitvos_stills(), steps=800_000, objects=10, longest_gap=25, gaps_grow=0.09, footage="video")

    @classmethod
    def hst_stills(cls) -> Recipe:
        """HST's first stage, on still pictures that move; start from a Swin that knows ImageNet.

        The paper gives size, frames, rate, loss and gaps, which are SITVOS's; what it does not give is SITVOS's, too.
        """
        return cls.sitvos_stills()

    @classmethod
    def hst_video(cls) -> Recipe:
        """HST's second stage, on video; start from the first."""
        return cls.sitvos_video()

    @classmethod
    def short(cls) -> Recipe:
        """A first run for a laptop: few steps, smaller frames, shorter clips, milder ones for longer."""
        return cls(
            steps=300, frames=3, side=96, clip_side=1.0, objects=3, easy=1.0, feed_predictions_from=0.6, hardest=0.6
        )


def hardest_share(recipe: Recipe, progress: float) -> float:
    """Share of pixels in the bootstrapped cross-entropy: 1 at the start, `hardest` from the middle of the run on."""
    return max(recipe.hardest, 1 - (1 - recipe.hardest) * progress / 0.5)


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up, then polynomial decay with power 0.9 (AOT Sec. A.1.2, released code)."""
    low, high = recipe.final_learning_rate, recipe.learning_rate
    if progress < recipe.warm_up:
        return low + (high - low) * progress / recipe.warm_up
    step = recipe.steps * (progress - recipe.warm_up)  # since the warm-up
    steps = recipe.steps * (1 - recipe.warm_up)
    return low + (high - low) * (1 - step / (steps + 1)) ** 0.9


def longest_gap(recipe: Recipe, number: int) -> int:
    """The longest gap between the frames of sample `number`: grows from 1 over the first `gaps_grow` share."""
    growing = recipe.gaps_grow * recipe.steps * (1 if recipe.pool else recipe.batch)
    if number >= growing:
        return recipe.longest_gap
    return 1 + int((recipe.longest_gap - 1) * number / growing)


def group_rate(recipe: Recipe, progress: float, group: dict) -> float:
    """The learning rate of one of the `weight_groups`."""
    if group["frozen_late"] and progress >= recipe.freeze_late_from:
        return 0.0
    low, rate = recipe.final_learning_rate, learning_rate(recipe, progress)
    return low + recipe.encoder_rate * (rate - low) if group["encoder"] else rate


class Unroll(nn.Module):
    """Run a network over a few frames, feeding it true masks, later its own, and add up the losses."""

    def __init__(self, network: VOSNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, labels: Tensor, recipe: Recipe, progress: float) -> tuple[Tensor, Tensor]:
        """frames (B, T, 3, H, W), labels (B, T, H, W) -> loss (mean over the predicted frames, plus the
        auxiliary loss on the given one), and mean J of the objects without gradient."""
        network, memory = self.network, Memory(self.network.schedule_in_training)
        objects = max(1, int(labels.where(labels != VOID, 0).max()))
        given = one_hot(labels[:, 0], objects)
        present = given.any(dim=(2, 3))
        present[:, 0] = True  # background
        first = network.encode(frames[:, 0])
        memory.add(network.memorize(first, given), frame=0, reference=True)

        def predict(seen: object) -> tuple[Tensor, object]:
            logits, seen = network.read(seen, memory)
            return resize(logits.float(), labels.shape[-2:], network.sizing.align_corners), seen

        def loss_at(t: int, logits: Tensor) -> Tensor:
            hardest = hardest_share(recipe, progress)
            return segmentation_loss(
                logits, labels[:, t], present, hardest, network.independent_maps, recipe.jaccard
            ).mean()

        auxiliary = max(0.0, 1 - progress / recipe.auxiliary) if recipe.auxiliary else 0.0
        loss = auxiliary * loss_at(0, predict(first)[0]) if auxiliary else 0.0
        scores = []
        for t in range(1, frames.shape[1]):
            logits, seen = predict(network.encode(frames[:, t]))
            loss = loss + loss_at(t, logits) / (frames.shape[1] - 1)
            logits = logits.masked_fill(~present[:, :, None, None], ABSENT)
            found = one_hot(logits.argmax(dim=1), objects)
            truth = one_hot(labels[:, t], objects)
            predicted = logits.detach().softmax(dim=1) if network.soft_masks else found
            fed = predicted if progress >= recipe.feed_predictions_from else truth
            memory.add(network.memorize(seen, fed), frame=t)
            scores.append(mean_j(found, truth, present))
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
    workers: int = 0,
) -> list[dict[str, float]]:
    """Train the network in place, leave it with the averaged weights, and return the log.

    A row per step: step, loss (with the auxiliary one, of the hardest pixels only), J on the training clips, learning
    rate, seconds, and how many of them went into the data.

    With `out`, writes `log.csv` and `checkpoint.pt` there every `save_every` steps and at the end, and goes on exactly
    where a checkpoint there left off (with `minutes` the schedules follow the clock). Under torchrun, once a process
    group is initialised, every process takes its share of each batch. `make_clip(number)` gives frames and labels;
    `clips_for(recipe)` if None. Where the recipe has no pool, `workers` processes make clips ahead of time.

    Raises InputError when the batch does not divide among the processes, the side does not suit the network, clips are
    too short or too small, the loss is no longer a number, or the checkpoint is damaged or of another recipe or
    network; also for `workers` below 0, and for a recipe for video without `make_clip`.
    """
    device, rank, world = torch.device(device), int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if workers < 0:
        raise InputError(f"workers={workers} came; give 0 or more")
    if recipe.batch % world:
        raise InputError(f"A batch of {recipe.batch} does not divide among {world} processes: choose a multiple.")
    if (side := fit_side(network, recipe).side) != recipe.side:
        raise InputError(f"Frames of {recipe.side} pixels do not suit this network: use side={side}.")
    my_share = range(rank * recipe.batch // world, (rank + 1) * recipe.batch // world)  # of each batch
    unroll: nn.Module = Unroll(network.to(device).train())
    if world > 1:
        unroll = DistributedDataParallel(unroll)
    averaged = AveragedModel(network, multi_avg_fn=moving_average(decay=1 - 1 / max(2, 0.1 * recipe.steps)))
    optimiser = torch.optim.AdamW(weight_groups(network, recipe.weight_decay))
    state = {"network": network, "averaged": averaged, "optimiser": optimiser}
    history = load_checkpoint(out, recipe, state) if out else []
    if how_far(recipe, history, device) >= 1:
        log.warning(
            "the training in %s is whole (%d steps): nothing is left to do; to train on, start from its weights in a "
            "new folder",
            out,
            len(history),
        )
    batches = draw_batches(make_clip or clips_for(recipe), recipe, len(history), my_share, workers)

    with tqdm(total=recipe.steps, initial=len(history), unit="step", disable=rank > 0 or None) as bar:
        while (progress := how_far(recipe, history, device)) < 1:
            began, step = time.perf_counter(), len(history)
            batch = next(batches)
            data_ready = time.perf_counter()

            torch.manual_seed(1_000_003 * recipe.seed + step)  # all chance is a function of (seed, step)
            for group in optimiser.param_groups:
                group["lr"] = group_rate(recipe, progress, group)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss, j = unroll(batch.frames.to(device), batch.labels.to(device), recipe, progress)
            if not loss.isfinite():
                raise InputError(f"The loss is {loss.item()} at step {step}: lower the learning rate.")
            optimiser.zero_grad()
            loss.backward()
            learning = [weight for group in optimiser.param_groups if group["lr"] > 0 for weight in group["params"]]
            nn.utils.clip_grad_norm_(learning, recipe.clip_norm)
            optimiser.step()
            averaged.update_parameters(network)

            row = {"step": step, "loss": loss.item(), "J": j.item(), "learning_rate": learning_rate(recipe, progress)}
            seconds = time.perf_counter() - began
            history.append(row | {"seconds": seconds, "data_seconds": data_ready - began})
            bar.update()
            bar.set_postfix_str(f"loss {row['loss']:.3f}, J {row['J']:.2f}", refresh=False)
            if rank == 0 and step % LOG_EVERY == 0:
                log.info("step %d, %.0f %%: loss %.3f, J %.2f", step + 1, 100 * progress, row["loss"], row["J"])
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


def fit_side(network: VOSNetwork, recipe: Recipe) -> Recipe:
    """The recipe with frames of the nearest size that the network takes."""
    return replace(recipe, side=network.sizing((recipe.side, recipe.side), recipe.side)[0])


def clips_for(recipe: Recipe, data: Sequence[Path] = (), photos: Path | None = None) -> Callable[[int], Footage]:
    """`make_clip` for `train`, as the recipe's `footage` says: clips of the data sets in the folders `data`, rendered
    ones where there are none (`photos` as in `render`).

    Raises InputError for video without data, and for data where everything is rendered.
    """
    sample = recipe.frames, recipe.side, recipe.objects, recipe.seed
    if data and (photos or recipe.footage == "synthetic"):
        raise InputError(
            f"Data in {data[0]} came with {'photos' if photos else 'a recipe'} for rendered pictures: leave one out, "
            "or choose a recipe for stills or video."
        )
    if recipe.footage == "video":
        if not data:
            raise InputError("Training on video needs data: name the folder of DAVIS or YouTube-VOS.")
        return video_clips(data, *sample, lambda number: longest_gap(recipe, number))
    if recipe.footage == "stills":
        return still_clips(stills_in(data) if data else rendered_stills(recipe.side, photos), *sample)
    return synthetic_clips(recipe, photos)


def draw_batches(
    make_clip: Callable[[int], Footage], recipe: Recipe, first: int, rows: range, workers: int
) -> Iterator[Batch]:
    """The given rows of the batches from step `first` on, without end; what they hold depends on the step alone."""
    sample = recipe.frames, recipe.side, recipe.objects
    if recipe.pool:
        pool = ClipPool(make_clip, recipe.pool, recipe.seed)
        return (pool.batch(step, rows, *sample) for step in count(first))
    numbers = ([step * recipe.batch + row for row in rows] for step in count(first))
    return WholeClips(make_clip, *sample).batches(numbers, workers)


def synthetic_clips(recipe: Recipe, photos: Path | None = None) -> Callable[[int], Footage]:
    """Clips that grow from easy to hard over the first `easy` share of the steps; `photos` as in `render`."""
    side = round(recipe.clip_side * recipe.side)
    growing = recipe.easy * recipe.steps * (1 if recipe.pool else recipe.batch)  # clips

    def make_clip(number: int) -> Footage:
        difficulty = min(1.0, 0.2 + 0.8 * number / max(1.0, growing))
        number += 1_000_003 * (recipe.seed + 1)  # far from the seeds of the sample clips
        frames = max(8, recipe.frames)
        clip = render(number, frames=frames, size=(side, side), difficulty=difficulty, photos=photos)
        return clip.frames, clip.masks

    return make_clip


def weight_groups(network: VOSNetwork, weight_decay: float) -> list[dict]:
    """The weights that train, for the optimiser, in groups that share their decay and their learning rate.

    Matrices and kernels decay; biases, norms and what the network says does not (`no_decay`) do not.
    """
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            decays = weight.dim() > 1 and not any(fnmatch(name, spared) for spared in network.no_decay)
            late = any(fnmatch(name, pattern) for pattern in network.frozen_late)
            groups[decays, name.startswith("encoder."), late].append(weight)
    return [
        {"params": weights, "weight_decay": weight_decay if decays else 0.0, "encoder": encoder, "frozen_late": late}
        for (decays, encoder, late), weights in groups.items()
    ]


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
        old, new = saved["recipe"], asdict(recipe)
        differs = ", ".join(f"{k}={old.get(k)} (now {new[k]})" for k in sorted(new) if old.get(k) != new[k])
        raise InputError(
            f"{path} was made with other settings of its recipe: {differs}. Repeat them, or start a new run from its "
            "weights in another output folder."
        )
    try:
        for name, thing in state.items():
            thing.load_state_dict(saved[name])
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is of another network ({error}): use another output folder.") from error
    log.info("going on from step %d of %s", len(saved["history"]), path)
    return saved["history"]
