"""Weights and inputs drawn from seeds, and the numbers that the released SITVOS gives for them.

`reference_sitvos.json` holds samples of those numbers, the label maps, and the released key layout. No weights and no
images are stored.
"""

import base64
import json
import math
import re
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

GAINS = (  # factor on centred normal / sqrt(fan in), by key; the first pattern that is found counts
    (r"^Memory\..*w_[qk]\.weight$", 2.0),
    (r"^W_mask\.weight$", 3.0),
    (r"^Encoder(_mask)?\.", math.sqrt(2)),
    (r"^Decoder\.(Res|RF\d\.Res)", 0.7),
    (r"", 1.0),
)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SIZE, FRAMES = (60, 75), 4


class Sample(NamedTuple):
    """Every `step`-th number of an array, and the shape, mean, standard deviation and largest size of all."""

    step: int
    shape: list[int]
    values: list[float]
    moments: list[float]

    def largest_difference(self, found: Tensor) -> float:
        """From an array that should be the same."""
        ours = found.detach().numpy()
        assert list(ours.shape) == self.shape
        moments = ours.mean(dtype=float), ours.std(dtype=float), abs(ours).max()
        sampled = abs(ours.ravel()[:: self.step] - self.values).max()
        return max(sampled, abs(np.subtract(moments, self.moments)).max())


@cache
def reference() -> dict:
    """The content of the JSON."""
    return json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf8"))


def samples() -> dict[str, Sample]:
    """The stored numbers."""
    return {name: Sample(**numbers) for name, numbers in reference()["numbers"].items()}


def labels() -> np.ndarray:
    """The released labels of frames 1 to 3, uint8 (3, H, W)."""
    packed, shape = (reference()["labels"][part] for part in ("packed", "shape"))
    return np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(shape)


def weight(key: str, shape: tuple[int, ...]) -> Tensor:
    """The value of the released state dict's entry `key`."""
    last = key.rsplit(".", 1)[-1]
    if last in IMAGENET:
        return torch.tensor(IMAGENET[last]).view(shape)
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    value = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if last == "running_mean":
        value = 0.05 * value
    elif last == "running_var":
        value = 1 + 0.1 * abs(value)
    elif last == "bias":
        value = 0.02 * value
    elif len(shape) == 1:  # the scale of a norm
        value = 1 + 0.05 * value
    else:
        value = value - value.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        gain = next(factor for pattern, factor in GAINS if re.search(pattern, key))
        value = gain * value / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, np.float32))


@cache
def released_state() -> dict[str, Tensor]:
    """All weights, in the released layout."""
    return {key: weight(key, tuple(shape)) for key, shape in reference()["layout"].items()}


def inputs() -> tuple[Tensor, Tensor]:
    """Frames (4, 3, H, W) in [0, 1], and the masks of the first (1, 1+2, H, W)."""
    (height, width), rng = SIZE, np.random.default_rng(0)
    coarse = rng.random((FRAMES, 3, height // 5, width // 5))
    frames = 0.8 * coarse.repeat(5, axis=2).repeat(5, axis=3) + 0.2 * rng.random((FRAMES, 3, height, width))
    first = np.zeros(SIZE, np.int64)
    first[8:40, 6:30] = 1
    first[20:52, 40:68] = 2
    masks = np.stack([first == k for k in range(3)])
    return torch.from_numpy(frames.astype(np.float32)), torch.from_numpy(masks[None].astype(np.float32))
