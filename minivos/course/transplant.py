"""A student's code inside a trained network: a copy of it in which one part is the student's.

The network that is given stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from inspect import getmembers, isfunction
from types import FunctionType, MethodType
from typing import Any

import numpy as np
from torch import nn

from minivos.course.exercise import Exercise, is_open, open_where_none
from minivos.course.worked import to_write
from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.propagation import propagate
from minivos.video.clip import Clip

MAY_DIFFER = 1e-2  # share of the objects' pixels: at a border numbers added in another order matter


@dataclass
class CoreExercise(Exercise):
    """An exercise whose answer is a part of a network, and can take its place there."""

    core: bool = True
    network: str = "aot_mini"  # by name, the network that the answer belongs into
    put_in: Callable[[VOSNetwork, Any], VOSNetwork] | None = None  # see `replace_...`

    def transplant(self, network: VOSNetwork, answer: Any) -> VOSNetwork:
        """A copy of the network with the answer in it, with the weights of what it replaces.

        InputError if the answer has other parameters, or the network no place for it.
        """
        assert self.put_in is not None, f"{self.name} has no place in a network"
        return self.put_in(network, answer)

    def segment(self, network: VOSNetwork, answer: Any, clip: Clip) -> np.ndarray | None:
        """Labels (T, H, W) of the clip by the network with the answer in it; None if it is open.

        Prints whether the masks are those of the package.
        """
        try:
            if is_open(answer):
                raise NotImplementedError
            asked = open_where_none(answer, to_write(self.name))
            mine = propagate(self.transplant(network, asked), clip)
        except NotImplementedError:
            print(f"{self.notebook} {self.title}, inside {self.network}: your turn")
            return None
        theirs = propagate(network, clip)
        apart, objects = int((mine != theirs).sum()), int(((mine > 0) | (theirs > 0)).sum())
        same = "the same masks as" if apart <= MAY_DIFFER * objects else "other masks than"
        count = f"{apart:,} of {objects:,} pixels of objects differ"
        print(f"Your code segments {len(mine)} frames, with {same} the package's: {count}")
        return mine


def replace_parts(
    network: VOSNetwork, old: type[nn.Module], build: Callable[[Any], nn.Module],
    call: Callable[..., Any] | None = None,
) -> VOSNetwork:  # fmt: skip
    """A copy of the network in which every part of the class `old` is one that `build` made.

    `build` takes the old part. Parameters go over by their names. `call(new, *inputs)` is what the
    network calls then, if the two take different inputs.
    """
    copy = deepcopy(network)
    places = [name for name, part in copy.named_modules() if type(part) is old]
    if not places:
        raise InputError(f"got a network without {old.__name__}; expected one that has it")
    for place in places:
        before = copy.get_submodule(place)
        new = build(before)
        take_over_weights(new, before)
        *path, name = place.split(".")
        setattr(copy.get_submodule(".".join(path)), name, Between(new, call) if call else new)
    return copy


def take_over_weights(new: nn.Module, old: nn.Module) -> None:
    """Copy weights, device and mode; InputError unless names and shapes of all weights agree."""
    mine, theirs = (
        {name: tuple(weight.shape) for name, weight in part.state_dict().items()}
        for part in (new, old)
    )
    if mine != theirs:
        got, expected = listed(mine, but=theirs), listed(theirs, but=mine)
        advice = "keep the layers of the stub's __init__, and add none"
        kind = type(new).__name__
        raise InputError(f"got {kind} with weights {got}; expected {expected}: {advice}")
    some = next(old.parameters())
    new.to(some.device, some.dtype).load_state_dict(old.state_dict())
    new.train(old.training)
    for weight, before in zip(new.parameters(), old.parameters(), strict=True):
        weight.requires_grad_(before.requires_grad)


def listed(shapes: Mapping[str, tuple], but: Mapping[str, tuple]) -> str:
    """Names and shapes that `but` has not, or "no others"."""
    others = [f"{name} {shape}" for name, shape in shapes.items() if but.get(name) != shape]
    return ", ".join(others) or "no others"


class Between(nn.Module):
    """A part that is called in the way of the one it replaced."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.part, self.call = part, call

    def __getattr__(self, name: str) -> Any:
        """What the network reads of the part that was there, such as its norms."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("part"), name)

    def forward(self, *inputs: Any) -> Any:
        """`call(part, *inputs)`."""
        return self.call(self.part, *inputs)


def replace_function(network: VOSNetwork, name: str, function: Callable[..., Any]) -> VOSNetwork:
    """A copy of the network in whose methods the package's function `name` is another one."""
    copy = deepcopy(network)
    found = 0
    for part in copy.modules():
        for method_name, method in getmembers(type(part), isfunction):
            if name in method.__code__.co_names and name in method.__globals__:
                own = MethodType(with_names(method, **{name: function}), part)
                object.__setattr__(part, method_name, own)
                found += 1
    if not found:
        raise InputError(f"got a network that never calls {name}; expected one that does")
    return copy


def with_names(function: Any, **names: Any) -> Any:
    """The same function, for which some names of its module mean something else."""
    its_names = {**function.__globals__, **names}
    code, closure = function.__code__, function.__closure__
    new = FunctionType(code, its_names, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    return new
