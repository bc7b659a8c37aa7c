"""How a network runs: in half precision, compiled, at which size; and what cannot run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from numbers import Integral
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from minivos.errors import InputError
from minivos.nn.memory import Schedule
from minivos.nn.network import VOSNetwork

PRECISIONS = "float32", "bfloat16"
PAPER_SIDE = 480  # short side in pixels at which the papers' networks are measured
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


@contextmanager
def training_at(precision: str, network: nn.Module, device: torch.device) -> Iterator[None]:
    """Context for the way forward of a step in training: as `at_precision`, but on a CPU in part.

    There "bfloat16" is for encoders and decoders, whose convolutions are many times faster; what
    they return is float32 again. Attention would be slower on its way back, and so would
    convolutions in groups, as in MobileNet.
    """
    if device.type != "cpu" or precision != "bfloat16":
        with at_precision(precision, device):
            yield
        return
    parts = [part for part in heavy_parts(network) if not has_groups(part)]
    for part in parts:
        part.forward = in_bfloat16(part.forward)
    try:
        yield
    finally:
        for part in parts:
            del part.forward


def in_bfloat16(forward: Callable) -> Callable:
    """The function under autocast; the tensors that it returns in float32."""

    @wraps(forward)
    def computed(*inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return tree_map_only(torch.Tensor, torch.Tensor.float, forward(*inputs))

    return computed


def has_groups(network: nn.Module) -> bool:
    """Whether there are convolutions in groups of channels."""
    return any(getattr(part, "groups", 1) > 1 for part in network.modules())


def heavy_parts(network: nn.Module) -> list[nn.Module]:
    """Encoders and decoders of a network."""
    found = [getattr(network, name, None) for name in HEAVY]
    return [part for part in found if isinstance(part, nn.Module)]


def compile_parts(network: nn.Module) -> None:
    """Compile encoders and decoders where they stand; they keep their weights and names.

    Each is translated when it first runs, which takes up to a minute. InputError when nothing can
    be compiled, as where the C++ compiler is missing.
    """
    parts = [part for part in heavy_parts(network) if part._compiled_call_impl is None]
    if not parts:
        return
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
    for part in parts:
        part.compile()


def side_for(model: VOSNetwork, size: tuple[int, int], side: int | None = None) -> int | None:
    """The short side at which a network sees frames (H, W): `side`, else its own, else 480 at most.

    None where the network or the frames have what it takes.
    """
    if side or model.sizing.short_side or min(size) <= PAPER_SIDE:
        return side
    return PAPER_SIDE


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


def check_tracker(model: VOSNetwork, schedule: Schedule | None, side: int | None) -> None:
    """InputError unless these are what a tracker runs: a float32 network, a schedule, a side."""
    if not isinstance(model, VOSNetwork):
        kind = type(model).__name__
        raise InputError(f"got a {kind} as network; use create_model, or give its .module.")
    if not isinstance(schedule, Schedule | None):
        raise InputError(f"got schedule={schedule!r}; expected a Schedule or None.")
    if not isinstance(side, Integral | None) or isinstance(side, bool):
        raise InputError(f"got side={side!r}; expected a whole number of pixels, or None.")
    if side is not None and side < (least := model.sizing.stride):
        raise InputError(f"got side={side}; expected {least} or more, a cell of the network.")
    if (dtype := next(model.parameters()).dtype) != torch.float32:
        use = "call model.float(), and for half precision Tracker(model, precision='bfloat16')"
        raise InputError(f"got a network in {dtype}; expected float32: {use}")
