"""What makes a network faster or too large: half precision, compiled parts, room in memory."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

import psutil
import torch
from torch import nn

from minivos.errors import InputError

PRECISIONS = "float32", "bfloat16"
# Parts whose work is the same in every frame, by their names; none of them records attention
HEAVY = ("encoder", "mask_encoder", "video", "decoder")
BYTES_PER_PIXEL = 76  # at least: an RGB frame and 16 features for each of its pixels, in float32


def at_precision(precision: str, device: torch.device) -> AbstractContextManager:
    """Context in which networks compute: "bfloat16" is autocast, "float32" leaves all as it is.

    InputError for another name.
    """
    if precision not in PRECISIONS:
        known = " or ".join(PRECISIONS)
        raise InputError(f"got precision={precision!r}; expected {known}.")
    half = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()


def compile_parts(network: nn.Module) -> None:
    """Compile encoders and decoders where they stand; they keep their weights and names.

    Each is translated when it first runs, which takes up to a minute. InputError when nothing can
    be compiled, as where the C++ compiler is missing.
    """
    device = next(network.parameters()).device
    number = time.time_ns() % 1e6  # makes a program that no cache knows
    try:
        torch.compile(lambda x: x * number)(torch.zeros(8, device=device))
    except Exception as error:  # each backend has its own
        why = str(error).strip().splitlines()[0]
        raise InputError(
            f"compiling does not work here ({why}); install a C++ compiler such as g++, "
            "or go without: compiled=False, no --compile"
        ) from error
    for name in HEAVY:
        part = getattr(network, name, None)
        if isinstance(part, nn.Module) and part._compiled_call_impl is None:
            part.compile()


def check_room(size: tuple[int, int], device: torch.device) -> None:
    """InputError when frames (H, W) need more memory than the device has, at the very least."""
    height, width = size
    if device.type == "cuda":
        there = torch.cuda.mem_get_info(device)[1]
    else:
        there = psutil.virtual_memory().total
    if (needed := height * width * BYTES_PER_PIXEL) > there:
        raise InputError(
            f"frames of {width}x{height} pixels need {needed / 2**30:,.0f} GiB of memory or more, "
            f"and {device} has {there / 2**30:,.0f} GiB: give a smaller side"
        )
