"""Weights and inputs drawn from seeds, and the numbers that the released AOT networks give for them.

`reference_aot.json` holds samples of those numbers for AOT-T and R50-AOT-L, what is needed to rebuild the label maps
that were fed back, and the released key layouts. No weights and no images are stored.
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

# Factor on normal / sqrt(fan in), by key; the first pattern that is found counts. They keep activations of order one,
# attention peaked and the identities visible in the output.
GAINS = (
    (r"^patch_wise_id_bank\.weight$", 4.0),
    (r"\.linear_[QK]\.weight$", 2.3),
    (r"\.(linear_V|linear2)\.weight$|_attn\.projection\.weight$", 2.0),
    (r"^decoder\.adapter_", 0.25),
    (r"^decoder\.conv_out\.", 4.0),
    (r"\.qkv\.weight$", 1.5),
    (r"^encoder\.features\..*\.conv\.2\.weight$", 0.8),
    (r"^encoder\.layer.*\.conv3\.weight$", 0.5),
    (r"^encoder\.(features|conv1)\.|^encoder\.layer.*(\.conv|\.downsample\.0\.)", math.sqrt(2)),
    (r"", 1.0),
)
CENTRED = r"^(encoder_projector|decoder\.adapter_\d+x|decoder\.conv_out)\."  # rows without mean: the inputs have one
VECTORS = (  # (pattern, mean, spread) of what is not a kernel or a matrix
    (r"running_mean$", 0.0, 0.05),
    (r"bias$", 0.0, 0.1),
    (r"mask_token$", 0.0, 1.0),
    (r"relative_emb_v$", 0.0, 0.3),
    (r"relative_position_bias_table$", 0.0, 0.5),
)


def weight(key: str, shape: tuple[int, ...]) -> Tensor:
    """The float32 value of the state dict's entry `key`."""
    salt = 513 if key == "decoder.conv_out.weight" else 0
    normal = np.random.default_rng(zlib.crc32(key.encode()) + salt).standard_normal(shape)
    if key.endswith("running_var"):
        return _float(1 + 0.1 * abs(normal))
    for pattern, mean, spread in VECTORS:
        if re.search(pattern, key):
            return _float(mean + spread * normal)
    if len(shape) == 1:  # the scale of a norm
        return _float(1 + 0.05 * normal)
    if re.search(CENTRED, key):
        normal = normal - normal.mean(axis=1, keepdims=True)
    gain = next(factor for pattern, factor in GAINS if re.search(pattern, key))
    return _float(gain * normal / math.sqrt(math.prod(shape[1:])))


def state_dict(variant: str) -> dict[str, Tensor]:
    """All weights of a variant, in the released layout."""
    return {key: weight(key, tuple(shape)) for key, shape in layouts()[variant].items()}


def disks_and_boxes(height: int, width: int, objects: int) -> np.ndarray:
    """Labels 0..objects, uint8 (H, W): a grid of cells that hold a disk or a box each."""
    columns = max(1, math.ceil(math.sqrt(objects * width / height)))
    rows = math.ceil(objects / columns)
    labels, (y, x) = np.zeros((height, width), np.uint8), np.mgrid[:height, :width]
    for k in range(objects):
        row, column = divmod(k, columns)
        dy = (y - (2 * row + 1) * height / (2 * rows)) / (0.36 * height / rows)
        dx = (x - (2 * column + 1) * width / (2 * columns)) / (0.32 * width / columns)
        labels[np.maximum(abs(dy), abs(dx)) <= 1 if k % 2 else dy**2 + dx**2 <= 1] = k + 1
    return labels


def sliding_frames(seed: int, frames: int, height: int, width: int, objects: int = 3) -> Tensor:
    """Normalised frames (T, 3, H, W) of a textured scene that slides by 2 rows and 3 columns a frame."""
    rng = np.random.default_rng(seed)
    tall, wide = height + 2 * frames, width + 3 * frames
    scene = 0
    for strength, block in ((0.5, 40), (0.5, 12), (0.4, 4)):
        coarse = rng.standard_normal((3, math.ceil(tall / block), math.ceil(wide / block)))
        scene = scene + strength * np.kron(coarse, np.ones((block, block)))[:, :tall, :wide]
    labels = np.zeros((tall, wide), np.uint8)
    labels[:height, :width] = disks_and_boxes(height, width, objects)
    scene = scene + rng.standard_normal((objects + 1, 3)).T[:, labels]
    windows = [scene[:, 2 * t : 2 * t + height, 3 * t : 3 * t + width] for t in range(frames)]
    return _float(np.stack([window + 0.05 * rng.standard_normal(window.shape) for window in windows]))


class Numbers(NamedTuple):
    """Every `step`-th number of an array, and the shape, mean, standard deviation and largest size of all."""

    step: int
    values: np.ndarray
    shape: tuple[int, ...]
    moments: np.ndarray


class LabelMap(NamedTuple):
    """A label map: its checksum, and the labels where the two best logits are too close to count on the winner."""

    checksum: int  # zlib.crc32 of the uint8 map
    positions: list[int]
    labels: np.ndarray

    def settle(self, best: np.ndarray) -> np.ndarray:
        """Our map, uint8 (H, W), with the doubtful pixels as released."""
        labels = best.astype(np.uint8)
        labels.flat[self.positions] = self.labels
        return labels

    def is_same(self, labels: np.ndarray) -> bool:
        """Whether every pixel of a map, uint8 (H, W), is as released."""
        return zlib.crc32(labels.tobytes()) == self.checksum


class Released(NamedTuple):
    """What the released network of one variant gave."""

    seed: int
    frames: int
    video: tuple[int, int]  # size of the labels
    network: tuple[int, int]  # size of the frames
    labels: dict[str, LabelMap]
    numbers: dict[str, Numbers]


@cache
def released(variant: str) -> Released:
    """The stored numbers of aot_t or r50_aot_l."""
    stored = _stored()[variant]
    labels = {
        name: LabelMap(checksum, positions, np.array([*digits], np.uint8))
        for name, (checksum, positions, digits) in stored["labels"].items()
    }
    numbers = {
        name: Numbers(step, np.array(values), tuple(shape), np.array(moments))
        for name, (step, values, shape, moments) in stored["numbers"].items()
    }
    sizes = (tuple(stored[name]) for name in ("video", "network"))
    return Released(stored["seed"], stored["frames"], *sizes, labels, numbers)


@cache
def layouts() -> dict[str, dict[str, list[int]]]:
    """Variant -> key -> shape of the released checkpoints; what is an integer index there is left out."""
    found = json.loads(zlib.decompress(base64.b64decode(_stored()["layouts"])))
    return found | {"aot_l": found["aot_b"]}


@cache
def _stored() -> dict:
    return json.loads((Path(__file__).parent / "reference_aot.json").read_text())


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
