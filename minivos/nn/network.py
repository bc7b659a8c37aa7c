"""The three verbs, the memory, and the schedule that decides what the memory keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from minivos.errors import InputError
from minivos.nn.memory import Entry, Memory, Schedule


class VOSNetwork(nn.Module):
    """A video object segmentation network: encode a frame, read the memory, memorize the frame with
    its masks.

    seen = encode(frame)                     what one frame tells us
    logits, seen = read(seen, memory)        what the past says about it
    entry = memorize(seen, masks)            what we keep of it

    A frame that is memorized without having been read is a reference frame: its masks were given,
    not predicted. The image encoder is called `encoder`: training may move it more slowly than the
    rest.
    """

    seen_type: type  # what `encode` returns
    entry_type: type[Entry]  # what `memorize` returns
    sizing: Sizing  # at which size it works
    schedule: Schedule  # which frames it wants remembered
    schedule_in_training: Schedule
    max_objects: int | None = None  # how many objects one memory can tell apart; None: any number
    independent_maps: bool = (
        False  # each logit has a sigmoid of its own, not a softmax with the others
    )
    soft_masks: bool = False  # predicted masks go into memory as probabilities, not as labels
    no_decay: tuple[
        str, ...
    ] = ()  # names (with wildcards) of weights, beside biases and norms, that never decay
    frozen_late: tuple[str, ...] = ()  # ... of weights that a recipe may stop training midway

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False
        )

    def check_frame(self, frame: Tensor) -> None:
        """InputError unless frames are RGB (B, 3, H, W) about in [0, 1], float, of a size that
        `sizing` gives.
        """
        self._check_tensor(frame, "frames", "RGB (B, 3, H, W)")
        if frame.dim() != 4 or frame.shape[1] != 3 or not frame.is_floating_point():
            raise InputError(
                f"frames of shape {tuple(frame.shape)} and type {frame.dtype} came; expected RGB (B, 3, H, W), float, "
                "in [0, 1]"
            )
        if not self.sizing.fits(size := tuple(frame.shape[-2:])):
            raise InputError(
                f"frames of {size} pixels came; resize them to {replace(self.sizing, short_side=None)(size)}, the "
                "nearest size that this network takes"
            )
        if len(frame) and not (frame.amin() >= -1 and frame.amax() <= 2):  # resizing may overshoot
            low, high = frame.amin().item(), frame.amax().item()
            raise InputError(
                f"frames with values {low:g} to {high:g} came; expected [0, 1]: divide uint8 by 255"
            )

    def check_memory(self, seen: Any, memory: Memory) -> list[Entry]:
        """What is remembered, in time order; InputError unless there is some, of this network,
        of seen's B, H, W.
        """
        self._check_seen(seen)
        if not isinstance(memory, Memory):
            raise InputError(
                f"a {type(memory).__name__} came as memory; make one: Memory(network.schedule)"
            )
        if not (entries := memory.entries()):
            raise InputError(
                "The memory is empty, there is nothing to read: memorize a frame with its masks first."
            )
        if foreign := {type(e).__name__ for e in entries if not isinstance(e, self.entry_type)}:
            raise InputError(
                f"The memory holds {', '.join(foreign)}, but {type(self).__name__} reads {self.entry_type.__name__}: "
                "give each network a memory of its own."
            )
        if others := {entry.size for entry in entries} - {seen.size}:
            raise InputError(
                f"The memory holds frames of (B, H, W) = {', '.join(map(str, others))}, but one of {seen.size} reads "
                "it: resize the frame, or start anew."
            )
        return entries

    def check_masks(self, seen: Any, masks: Tensor) -> None:
        """InputError unless masks are float (B, 1+K, H, W) in [0, 1], with an object, of seen's
        B, H and W.
        """
        self._check_seen(seen)
        self._check_tensor(masks, "masks", "(B, 1+K, H, W)")
        fits = (
            masks.dim() == 4 and masks.shape[1] > 1 and (len(masks), *masks.shape[-2:]) == seen.size
        )
        if not fits or not masks.is_floating_point():
            raise InputError(
                f"masks of shape {tuple(masks.shape)} and type {masks.dtype} came for frames of (B, H, W) = "
                f"{seen.size}; expected float (B, 1+K, H, W) of that number and size, background first, and at least "
                "one object"
            )
        if len(masks) and not (masks.amin() >= -1e-3 and masks.amax() <= 1 + 1e-3):
            low, high = masks.amin().item(), masks.amax().item()
            raise InputError(
                f"masks with values {low:g} to {high:g} came; expected [0, 1]: divide 0/255 masks by 255"
            )

    def _check_tensor(self, x: Any, name: str, shape: str) -> None:
        if not isinstance(x, Tensor):
            raise InputError(f"{name} came as {type(x).__name__}; give a tensor, {shape}")
        if x.dtype == torch.float64 != self.mean.dtype:
            raise InputError(
                f"{name} of type torch.float64 came for a network in {self.mean.dtype}; call .float()"
            )

    def _check_seen(self, seen: Any) -> None:
        if not isinstance(seen, self.seen_type):
            came, expected = (
                f"{kind.__module__}.{kind.__name__}" for kind in (type(seen), self.seen_type)
            )
            raise InputError(
                f"{came} came where {expected} was expected: call seen = network.encode(frame) of the same network"
            )

    def normalise(self, frame: Tensor) -> Tensor:
        """RGB in [0, 1] (B, 3, H, W) as image encoders expect it: by mean and deviation of
        ImageNet's pictures.
        """
        return (frame - self.mean) / self.std

    def load_imagenet(self) -> None:
        """Load timm's weights into what they are made for; InputError when they cannot be
        downloaded.
        """
        self.encoder.load_imagenet()

    def encode(self, frame: Tensor) -> Any:
        """Features of one frame: (B, 3, H, W), RGB in [0, 1] -> seen.

        InputError for others (`check_frame`).
        """
        raise NotImplementedError

    def read(self, seen: Any, memory: Memory) -> tuple[Tensor, Any]:
        """Find the objects of the memory in the frame: logits (B, 1+K, h, w), background first, and
        seen.

        h and w are those of the decoder, which may be coarser than the frame; who needs pixels
        resizes.
        """
        raise NotImplementedError

    def memorize(self, seen: Any, masks: Tensor) -> Entry:
        """An entry for the memory from a frame and its masks (B, 1+K, H, W) in [0, 1],
        background first.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Sizing:
    """At which size a network processes the frames of a video."""

    stride: int  # pixels along one side of a cell of its coarsest grid
    short_side: int | None = None  # pixels; None: as the video
    longest: int | None = None  # limit of the long side; None: no limit
    align_corners: bool = (
        False  # grids share the centres of their corner pixels: sides are n * stride + 1
    )
    antialias: bool = False  # average when frames shrink

    def __call__(self, video: tuple[int, int], short_side: int | None = None) -> tuple[int, int]:
        """The size (H, W) for a video of that size, with its short side near `short_side`, if
        given.

        As AOT's released code does it: limit the long side, cut off fractions, go to the nearest
        side that fits.
        """
        short_side = short_side or self.short_side or min(video)
        scale = short_side / min(video)
        if self.longest:
            scale = min(scale, self.longest / max(video))
        extra = int(self.align_corners)
        cells = (round((int(length * scale) - extra) / self.stride) for length in video)
        return tuple(max(1, n) * self.stride + extra for n in cells)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether frames of (H, W) are whole cells."""
        extra = int(self.align_corners)
        return all(side > extra and (side - extra) % self.stride == 0 for side in size)
