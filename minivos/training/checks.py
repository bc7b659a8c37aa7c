"""Whether a training can be: its recipe, the network, this machine and its memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import torch
import torch.distributed as dist

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.speed import PRECISIONS
from minivos.training.recipe import Recipe

CLIP_BYTES = 4  # per pixel of a clip that is held ready: RGB and label
SAMPLE_BYTES = 3 * 4 + 8  # per pixel of a sample: RGB in float32, label in int64
WORKERS = 4 * (os.cpu_count() or 1)


def fit_side(network: VOSNetwork, recipe: Recipe) -> Recipe:
    """The recipe with frames of the nearest size that the network takes.

    InputError for frames that are larger than it takes.
    """
    side = network.sizing((recipe.side, recipe.side), recipe.side)[0]
    if side < recipe.side - network.sizing.stride:
        raise InputError(
            f"got side={recipe.side}; this network takes {side} at most: use side={side}."
        )
    return replace(recipe, side=side)


def check_run(
    network: VOSNetwork, recipe: Recipe, world: int, workers: int, precision: str, accumulate: int
) -> None:
    """InputError unless recipe, network, processes and this machine go together."""
    if not 0 <= workers <= WORKERS:
        raise InputError(f"got workers={workers}; expected 0 to {WORKERS}, 4 for each CPU")
    if precision not in ("auto", *PRECISIONS):
        known = ", ".join(("auto", *PRECISIONS))
        raise InputError(f"got precision={precision!r}; expected one of {known}")
    if accumulate < 1:
        raise InputError(f"got accumulate={accumulate}; expected a whole number, 1 or more")
    if recipe.batch % (world * accumulate):
        parts = f"{accumulate} parts in each of " if accumulate > 1 else ""
        raise InputError(
            f"A batch of {recipe.batch} does not divide among {parts}{world} processes: "
            "choose a multiple."
        )
    if world > 1 and not dist.is_initialized():
        raise InputError(
            f"got WORLD_SIZE={world} without a process group; expected one: call "
            "torch.distributed.init_process_group, or use `minivos train`"
        )
    check_memory(recipe, recipe.batch // world)
    if (side := fit_side(network, recipe).side) != recipe.side:
        raise InputError(
            f"Frames of {recipe.side} pixels do not suit this network: use side={side}."
        )


def check_memory(recipe: Recipe, batch: int) -> None:
    """InputError where the pictures of a step and of the pool are more than the memory here.

    What the network makes of them, which is far more, does not count.
    """
    sample = batch * recipe.frames * recipe.side**2 * SAMPLE_BYTES
    clip = recipe.frames * (recipe.clip_side * recipe.side) ** 2 * CLIP_BYTES
    need, have = sample + recipe.pool * clip, psutil.virtual_memory().total
    if need > have:
        raise InputError(
            f"got side={recipe.side}, frames={recipe.frames}, batch={recipe.batch} and "
            f"pool={recipe.pool}, whose pictures alone take {need / 2**30:,.0f} GiB; expected at "
            f"most the {have / 2**30:.0f} GiB of memory here: choose less"
        )


@contextmanager
def name_memory(recipe: Recipe) -> Iterator[None]:
    """Turn the many errors of a step that does not fit into memory into an InputError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        full = any(words in said for words in ("out of memory", "allocate memory"))
        if not full and not isinstance(error, MemoryError):
            raise
        raise InputError(
            f"no memory is left for {recipe.batch} clips of {recipe.frames} frames of "
            f"{recipe.side}x{recipe.side} pixels ({said[:100]}): accumulate the "
            "batch in more parts, or lower batch, side or frames"
        ) from error


def pick_precision(precision: str, device: torch.device) -> str:
    """The precision to compute in: "auto" takes bfloat16 on a GPU, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" else "float32"
