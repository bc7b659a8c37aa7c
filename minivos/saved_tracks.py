"""A tracker's state in a file: exact, whole, and loaded without running any code."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import nn

from minivos.errors import InputError
from minivos.nn.memory import Schedule
from minivos.nn.network import VOSNetwork
from minivos.video.files import as_path, whole_file

KIND = "minivos tracker, 1"  # what the file says it is; the number grows with its layout


def save_track(path: str | Path, network: VOSNetwork, state: dict[str, Any]) -> None:
    """Write the state of a tracker that runs this network; InputError when it cannot be written."""
    content = {"kind": KIND, "network": fingerprint(network), "state": state}
    with whole_file(path) as part:
        torch.save(content, part)


def load_track(
    path: str | Path, network: VOSNetwork, names: Collection[str], *kinds: type
) -> dict[str, Any]:
    """The state that `save_track` wrote, its tensors on the network's device.

    `names` are its parts, `kinds` their classes beside those of memory, schedule and entries; no
    other class is made. Raises InputError for a file of another kind or of another network.
    """
    path = as_path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}; give what Tracker.save wrote")
    memory = type(network.new_memory())
    known: list[Any] = [*kinds, memory, Schedule, *classes_in(network.entry_type)]
    device = next(network.parameters()).device
    try:
        with torch.serialization.safe_globals(known):
            content = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds other things than a tracker of {type(network).__name__}; loading them "
            "could run code, so it was refused: restore it with the network that it was saved with"
        ) from error
    except Exception as error:  # on bytes that are no pickle the unpickler may raise anything
        raise InputError(
            f"{path} is damaged or no saved tracker ({error}): save it again"
        ) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise InputError(
            f"{path} is no saved tracker; give what Tracker.save of this version wrote"
        )
    if content.get("network") != fingerprint(network):
        raise InputError(
            f"{path} was saved with another network: create it with the same name, settings and "
            "weights as then"
        )
    state = content.get("state")
    if not isinstance(state, dict) or set(state) != set(names):
        raise InputError(f"{path} lacks parts of a tracker; save it again")
    return state


def fingerprint(network: nn.Module) -> str:
    """Class, settings and checksum of the weights: alike for networks that answer alike."""
    checksum = 0
    for name, weight in network.state_dict().items():
        values = weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        checksum = zlib.crc32(values.data, zlib.crc32(name.encode(), checksum))
    return f"{type(network).__name__} {getattr(network, 'config', '')} {checksum:08x}"


def classes_in(kind: type) -> Iterator[type]:
    """A class, and those of which its fields are: entries hold tensors and small records."""
    yield kind
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if (
                isinstance(part, type)
                and get_type_hints(part)
                and not issubclass(part, torch.Tensor)
            ):
                yield from classes_in(part)
