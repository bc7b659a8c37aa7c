"""Processes that train together, as torchrun starts them."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from minivos.errors import InputError


def rank_and_world() -> tuple[int, int]:
    """The number of this process and how many there are; (0, 1) for one that trains alone.

    Raises InputError when RANK and WORLD_SIZE are not what torchrun sets.
    """
    said = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")}
    if not any(said.values()):
        return 0, 1
    try:
        rank, world = (int(number) for number in said.values())
    except ValueError:
        rank, world = 0, 0
    if not 0 <= rank < world:
        got = " ".join(f"{name}={number}" for name, number in said.items())
        raise InputError(
            f"got {got} in the environment; expected both numbers, as torchrun sets them: "
            "start with torchrun, or unset them"
        )
    return rank, world


def join_processes(device: torch.device) -> None:
    """Under torchrun, join the processes that train together, each with a GPU of its own."""
    _, world = rank_and_world()
    if "RANK" not in os.environ:
        return
    try:
        local = int(os.environ.get("LOCAL_RANK", 0))
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            torch.cuda.set_device(local)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot join the {world} processes of WORLD_SIZE ({error}): start with torchrun"
        ) from error
