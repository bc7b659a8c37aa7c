"""The three verbs that every network has: encode, read, memorize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from minivos.nn.memory import Entry, EntryT, Memory, Schedule


@dataclass(frozen=True)
class Seen:
    """What a network knows of one frame; networks subclass it."""

    size: tuple[int, int, int]  # B, H, W of the frame


def size_of(frame: Tensor) -> tuple[int, int, int]:
    """B, H, W of frames (B, 3, H, W)."""
    batch, _, height, width = frame.shape
    return batch, height, width


SeenT = TypeVar("SeenT", bound=Seen)


class VOSNetwork(nn.Module, Generic[SeenT, EntryT]):
    """A video object segmentation network: three functions of their arguments.

        seen = encode(frame)                 what one frame tells us
        logits, seen = read(seen, memory)    what the past says about it
        entry = memorize(seen, masks)        what we keep of it

    The same arguments give the same answer. What a network must know of time comes with the memory
    (`memory.now`) and its entries (`entry.frame`). A frame that is memorized without having been
    read is a reference frame: its masks were given, not predicted. A network fills in the verbs and
    sets `sizing`; all else has a default.
    """

    encoder: Any  # of images, if there is one; training may move it more slowly than the rest
    mean: Tensor
    std: Tensor
    sizing: Sizing  # at which size it works
    schedule: Schedule = Schedule()  # which frames it wants remembered, ...
    schedule_in_training: Schedule | None = None  # ... and in training, if others
    max_objects: int | None = None  # how many objects one memory can tell apart; None: any number
    independent_maps: bool = False  # each logit has a sigmoid of its own, not a softmax with others
    soft_masks: bool = False  # predicted masks are memorized as probabilities, not as labels
    no_decay: tuple[str, ...] = ()  # names (with wildcards) of weights that never decay, ...
    frozen_late: tuple[str, ...] = ()  # ... and of those that a recipe may stop training midway
    seen_type: type[Seen] = Seen  # what `encode` returns
    entry_type: type[Entry] = Entry  # what `memorize` returns

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def encode(self, frame: Tensor) -> SeenT:
        """What one frame tells us: RGB (B, 3, H, W) in [0, 1], as `sizing` gives it -> seen."""
        raise NotImplementedError

    def read(self, seen: SeenT, memory: Memory[EntryT]) -> tuple[Tensor, SeenT]:
        """What the past says about it: logits (B, 1+K, h, w), background first, and seen.

        h and w may be less than those of the frame: resize. Raises InputError when the memory is
        empty, of another network, or of other B, H, W.
        """
        raise NotImplementedError

    def memorize(self, seen: SeenT, masks: Tensor) -> EntryT:
        """What we keep of it, given masks (B, 1+K, H, W) in [0, 1], background first, K >= 1."""
        raise NotImplementedError

    def new_memory(self, schedule: Schedule | None = None) -> Memory[EntryT]:
        """An empty memory; with the network's schedule if none is given."""
        in_training = self.schedule_in_training if self.training else None
        return Memory(schedule or in_training or self.schedule)

    def normalise(self, frame: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in [0, 1] -> less ImageNet's mean, divided by its deviation."""
        return (frame - self.mean) / self.std

    def load_imagenet(self) -> None:
        """Load timm's weights into the encoder; InputError when they cannot be downloaded."""
        self.encoder.load_imagenet()


@dataclass(frozen=True)
class Sizing:
    """At which size a network processes the frames of a video, as AOT's released code has it."""

    stride: int  # sides are multiples of so many pixels, a cell's; 1: the network pads
    short_side: int | None = None  # pixels; None: as the video
    longest: int | None = None  # limit of the long side; None: no limit
    align_corners: bool = False  # grids share their corner pixels' centres: sides n * stride + 1
    antialias: bool = False  # average when frames shrink

    def __call__(self, video: tuple[int, int], short_side: int | None = None) -> tuple[int, int]:
        """The size (H, W) for a video of that size, its short side near `short_side`, if given."""
        short_side = short_side or self.short_side or min(video)
        scale = short_side / min(video)
        if self.longest:
            scale = min(scale, self.longest / max(video))
        extra = int(self.align_corners)

        def fit(side: int) -> int:
            cells = round((int(side * scale) - extra) / self.stride)
            return max(1, cells) * self.stride + extra

        height, width = video
        return fit(height), fit(width)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether frames of (H, W) are whole cells."""
        extra = int(self.align_corners)
        return all(side > extra and (side - extra) % self.stride == 0 for side in size)
