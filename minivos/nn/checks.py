"""What the verbs check: whether frames, masks and memory fit the network and each other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.memory import EntryT, Memory
from minivos.nn.network import Seen, SeenT, VOSNetwork, size_of


def check_frame(network: VOSNetwork, frame: Tensor) -> None:
    """InputError unless frames are RGB (B, 3, H, W) in [0, 1], float, of a size that it takes."""
    _check_tensor(network, frame, "frames", "RGB (B, 3, H, W)")
    if frame.dim() != 4 or frame.shape[1] != 3 or not frame.is_floating_point():
        kind = f"shape {tuple(frame.shape)} and type {frame.dtype}"
        raise InputError(f"got frames of {kind}; expected RGB (B, 3, H, W), float, in [0, 1]")
    _, height, width = size_of(frame)
    if not network.sizing.fits((height, width)):
        nearest = replace(network.sizing, short_side=None)((height, width))
        raise InputError(f"got frames of {(height, width)}; resize them to {nearest}, which fits")
    _check_range(frame, "frames", 1, "divide uint8 by 255")  # resizing may overshoot


def check_memory(
    network: VOSNetwork[SeenT, EntryT], seen: SeenT, memory: Memory[EntryT]
) -> list[EntryT]:
    """The entries in time order; InputError unless there are some, of this network and size."""
    _check_seen(network, seen)
    if not isinstance(memory, Memory):
        kind = type(memory).__name__
        raise InputError(f"got a {kind} as memory; make one: memory = network.new_memory()")
    if not (entries := memory.entries()):
        raise InputError("The memory is empty: memorize a frame with its masks first.")
    own = network.entry_type
    if foreign := {type(entry).__name__ for entry in entries if not isinstance(entry, own)}:
        raise InputError(
            f"The memory holds {', '.join(foreign)}, but {type(network).__name__} reads "
            f"{own.__name__}: give each network a memory of its own."
        )
    if others := {str(entry.size) for entry in entries if entry.size != seen.size}:
        raise InputError(
            f"The memory holds frames of (B, H, W) = {', '.join(others)}, but one of {seen.size} "
            "reads it: resize the frame, or start anew."
        )
    return entries


def check_masks(network: VOSNetwork, seen: Seen, masks: Tensor) -> None:
    """InputError unless masks are float (B, 1+K, H, W) in [0, 1], K >= 1, of seen's B, H and W."""
    _check_seen(network, seen)
    _check_tensor(network, masks, "masks", "(B, 1+K, H, W)")
    fits = masks.dim() == 4 and masks.shape[1] > 1 and masks.is_floating_point()
    if not fits or (len(masks), *masks.shape[-2:]) != seen.size:
        kind = f"shape {tuple(masks.shape)} and type {masks.dtype}"
        raise InputError(
            f"got masks of {kind} for frames of (B, H, W) = {seen.size}; expected float "
            "(B, 1+K, H, W) of that number and size, background first, and at least one object"
        )
    _check_range(masks, "masks", 1e-3, "divide 0/255 masks by 255")


def _check_range(x: Tensor, name: str, margin: float, remedy: str) -> None:
    if len(x) and not (x.amin() >= -margin and x.amax() <= 1 + margin):
        low, high = x.amin().item(), x.amax().item()
        raise InputError(f"got {name} with values {low:g} to {high:g}; expected [0, 1]: {remedy}")


def _check_tensor(network: VOSNetwork, x: Tensor, name: str, shape: str) -> None:
    if not isinstance(x, Tensor):
        raise InputError(f"got {name} as {type(x).__name__}; give a tensor, {shape}")
    own = network.mean.dtype
    if x.dtype == torch.float64 != own:
        raise InputError(f"got {name} of type torch.float64 for a network in {own}; call .float()")


def _check_seen(network: VOSNetwork, seen: Seen) -> None:
    if not isinstance(seen, network.seen_type):
        kind, own = type(seen).__name__, network.seen_type.__name__
        raise InputError(f"got {kind}; expected {own}: call seen = network.encode(frame) first")
