"""What a network is made of, and what its verbs take and give: `python -m minivos.aot`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minivos.nn.network import VOSNetwork

OBJECTS, VIDEO = 2, (128, 192)


@torch.inference_mode()
def show_network(network: VOSNetwork) -> None:
    """Print the parameters of each part, and the shapes of what the verbs take and give."""
    print(f"{type(network).__name__} with {count_parameters(network):,} parameters")
    for name, part in network.named_children():
        print(f"  {name:24} {count_parameters(part):12,}")
    network.eval()
    frame = torch.rand(1, 3, *network.sizing(VIDEO))
    masks = torch.rand(1, 1 + OBJECTS, *frame.shape[2:]).softmax(dim=1)
    memory = network.new_memory()

    seen = network.encode(frame)
    show_call("encode(frame) -> seen", frame=frame, seen=seen)
    entry = network.memorize(seen, masks)
    show_call(f"memorize(seen, masks) -> entry, of {OBJECTS} objects", masks=masks, entry=entry)
    memory.add(entry, 0, reference=True)
    logits, _ = network.read(network.encode(frame), memory)
    show_call("read(seen, memory) -> logits, seen; the memory holds one entry", logits=logits)


def show_call(call: str, **values: Any) -> None:
    """Print the shapes of what a call takes (frame, masks) and gives."""
    print(f"\n{call}")
    for path, tensor in find_tensors(values):
        mark = "takes" if path in ("frame", "masks") else "gives"
        print(f"  {mark} {path:24} {tuple(tensor.shape)}")


def find_tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested mappings, sequences and dataclasses, each with the way to it."""
    if hasattr(value, "_asdict"):  # a named tuple
        value = value._asdict()
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from find_tensors(part, f"{path}[{number}]")
    elif isinstance(value, Mapping) or dataclasses.is_dataclass(value):
        for name, part in (value if isinstance(value, Mapping) else vars(value)).items():
            yield from find_tensors(part, f"{path}.{name}" if path else name)


def count_parameters(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(weight.numel() for weight in network.parameters())
