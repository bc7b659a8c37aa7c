"""Flip and multi-scale testing: see each frame at several sizes and mirrored, and average.

    tracker = Tracker(Augmented(network, scales=(1.0, 1.3), flip=True))

`Augmented` is a network itself, so it goes wherever one does. Each view has a memory of its own.
Their probabilities are averaged at the size of the frame; all views memorize the masks that come
out, or, as in AOT's released code, each its own (`feedback="own"`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.checks import check_frame, check_masks
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.speed import side_for
from minivos.video.frame_tensors import resize_frames
from minivos.video.mask_tensors import one_hot, resize

FEEDBACK = "merged", "own"


@dataclass(frozen=True)
class View:
    """One way to look at a frame."""

    scale: float
    mirrored: bool

    def turn(self, x: Tensor) -> Tensor:
        """(..., W) mirrored, or as it is; twice is as it was."""
        return x.flip(-1) if self.mirrored else x


@dataclass(frozen=True)
class AugmentedSeen(Seen):
    """What the network knows of each view of a frame."""

    parts: list[Any]
    answers: list[Tensor] | None = None  # probabilities (B, 1+K, H, W), once it has been read


@dataclass
class AugmentedEntry(Entry):
    """What the network keeps of each view of a frame."""

    parts: list[Any]


class AugmentedMemory(Memory[AugmentedEntry]):
    """A memory for each view."""

    def __init__(self, parts: list[Memory]) -> None:
        super().__init__(parts[0].schedule)
        self.parts = parts

    def add(self, entry: AugmentedEntry, frame: int, reference: bool = False) -> None:
        """Take in the entries of all views."""
        super().add(entry, frame, reference)
        for memory, part in zip(self.parts, entry.parts, strict=True):
            memory.add(part, frame, reference)


class Augmented(VOSNetwork[AugmentedSeen, AugmentedEntry]):
    """A network whose answer is the mean over several views of each frame; not for training.

    Args:
        network: it stays what it is, and where it is.
        scales: sizes of the views, 1: the size at which the network works by itself.
        flip: look at each of them mirrored as well, which doubles the work.
        side: short side in pixels of a view of scale 1; None: as `speed.side_for` says. Give it
            here, not to Tracker, which would shrink the frame before it is enlarged.
        feedback: what each view memorizes of a frame without given masks: "merged", the masks that
            come out of all, or "own", its own answer, as AOT's released code has it.

    More objects than `network.max_objects` are averaged group by group before groups are merged.
    Raises InputError for what is no network, for scales that are none or not above 0, for a side
    below a cell, and for an unknown feedback.
    """

    seen_type, entry_type = AugmentedSeen, AugmentedEntry
    sizing = Sizing(stride=1)  # frames come as they are

    def __init__(
        self, network: VOSNetwork, scales: Sequence[float] = (1.0, 1.3), flip: bool = True,
        side: int | None = None, feedback: str = "merged",
    ) -> None:  # fmt: skip
        super().__init__()
        _check(network, scales, side, feedback)
        self.network, self.side, self.feedback = network, side, feedback
        self.views = [View(*view) for view in product(scales, (False, True) if flip else (False,))]
        self.schedule, self.soft_masks = network.schedule, network.soft_masks
        self.max_objects = network.max_objects

    def __getattr__(self, name: str) -> Any:
        """The parts of the network are found here, too: `Tracker(..., compiled=True)` looks."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":
                raise
            return getattr(self.network, name)

    def encode(self, frame: Tensor) -> AugmentedSeen:
        """RGB frames (B, 3, H, W) in [0, 1], of any size -> seen."""
        check_frame(self, frame)
        looks = [self.look(frame, view) for view in self.views]
        return AugmentedSeen(size_of(frame), [self.network.encode(look) for look in looks])

    def look(self, frame: Tensor, view: View) -> Tensor:
        """The frame as one view shows it, resized as Tracker resizes."""
        sizing, video = self.network.sizing, (frame.shape[2], frame.shape[3])
        side = side_for(self.network, video, self.side) or sizing.short_side or min(video)
        longest = sizing.longest and round(view.scale * sizing.longest)
        size = replace(sizing, longest=longest)(video, round(view.scale * side))
        return resize_frames(view.turn(frame) * 255, size, sizing.antialias) / 255

    def read(
        self, seen: AugmentedSeen, memory: Memory[AugmentedEntry]
    ) -> tuple[Tensor, AugmentedSeen]:
        """Logarithms of mean probabilities (B, 1+K, H, W), at the size of the frame, and seen."""
        if not isinstance(memory, AugmentedMemory):
            raise InputError("got a memory of one view; make one by network.new_memory()")
        parts, answers = [], []
        for view, part, own in zip(self.views, seen.parts, memory.parts, strict=True):
            own.now = memory.now
            logits, part = self.network.read(part, own)
            logits = resize(logits.float(), seen.size[1:], self.network.sizing.align_corners)
            answers.append(view.turn(logits.softmax(dim=1)))
            parts.append(part)
        mean = torch.stack(answers).mean(dim=0)
        return mean.clamp(min=1e-12).log(), AugmentedSeen(seen.size, parts, answers)

    def memorize(self, seen: AugmentedSeen, masks: Tensor) -> AugmentedEntry:
        """What each view keeps of a frame with its masks (B, 1+K, H, W)."""
        check_masks(self, seen, masks)
        shown = [masks] * len(self.views)
        if self.feedback == "own" and seen.answers:
            shown = seen.answers
        soft = self.soft_masks and seen.answers is not None
        parts = []
        for view, part, own in zip(self.views, seen.parts, shown, strict=True):
            own, size = view.turn(own), part.size[1:]
            if soft:
                own = resize(own, size)
            else:
                own = one_hot(resize(own.argmax(dim=1), size), masks.shape[1] - 1)
            parts.append(self.network.memorize(part, own))
        return AugmentedEntry(seen.size, parts)

    def new_memory(self, schedule: Schedule | None = None) -> AugmentedMemory:
        """Empty memories, one for each view."""
        return AugmentedMemory([self.network.new_memory(schedule) for _ in self.views])


def _check(network: VOSNetwork, scales: Sequence[float], side: int | None, feedback: str) -> None:
    if not isinstance(network, VOSNetwork):
        raise InputError(f"got {network!r} as network; make one: create_model('aot_mini').")
    numbers = isinstance(scales, Sequence) and all(isinstance(s, int | float) for s in scales)
    if not numbers or not scales or not all(0 < scale < math.inf for scale in scales):
        raise InputError(f"got scales={scales!r}; expected numbers above 0, such as (1.0, 1.3).")
    least = network.sizing.stride
    if side is not None and (not isinstance(side, int) or side < least):
        raise InputError(f"got side={side!r}; expected {least} or more, a cell of the network.")
    if feedback not in FEEDBACK:
        raise InputError(f"got feedback={feedback!r}; expected one of {', '.join(FEEDBACK)}.")
