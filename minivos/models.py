"""Names -> networks, and networks <-> weight files."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from minivos.aot import AOT, AOTConfig
from minivos.errors import InputError, say_once
from minivos.hst import HST, HSTConfig
from minivos.nn.network import VOSNetwork
from minivos.sitvos import SITVOS, SITVOSConfig
from minivos.sst import SST, SSTConfig
from minivos.video.files import read_json, whole_file

log = logging.getLogger(__name__)
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = ("shipped", "mini")  # what asks for the weights in the package; "mini" is the old name


@dataclass(frozen=True)
class Preset:
    """A named network."""

    network: Callable[[Any], VOSNetwork]  # made of its configuration
    config: Any
    summary: str
    published: float | None = None  # million parameters, by paper or released code (HST: its Swins)


AOT_OF, HST_OF = AOTConfig.published, HSTConfig.published
PRESETS = {
    "aot_mini": Preset(AOT, AOTConfig.mini(), "AOT for a laptop: 2 LSTT blocks of 96 channels"),
    "aot_lite": Preset(
        AOT,
        replace(AOTConfig.mini(), encoder="efficientnet_lite0"),
        "AOT for real video on a laptop: EfficientNet-Lite0, 2 LSTT blocks of 96 channels",
    ),
    "aot_t": Preset(AOT, AOT_OF("t"), "AOT-T: MobileNet-V2, 1 LSTT block", 5.7),
    "aot_s": Preset(AOT, AOT_OF("s"), "AOT-S: MobileNet-V2, 2 LSTT blocks", 7.0),
    "aot_b": Preset(AOT, AOT_OF("b"), "AOT-B: MobileNet-V2, 3 LSTT blocks", 8.3),
    "aot_l": Preset(AOT, AOT_OF("l"), "AOT-L: AOT-B that keeps every fifth frame", 8.3),
    "r50_aot_l": Preset(AOT, AOT_OF("r50_l"), "R50-AOT-L: ResNet-50, 3 LSTT blocks", 14.9),
    "swinb_aot_l": Preset(AOT, AOT_OF("swinb_l"), "SwinB-AOT-L: Swin-B, 3 LSTT blocks", 65.4),
    "sst_mini": Preset(SST, SSTConfig.mini(), "SST for a laptop: 2 local layers of 96 channels"),
    "sst": Preset(SST, SSTConfig(), "SST: ResNet-101, 2 layers; `pattern` chooses the attention"),
    "sitvos_mini": Preset(SITVOS, SITVOSConfig.mini(), "SITVOS for a laptop: 64 channels"),
    "sitvos": Preset(SITVOS, SITVOSConfig(), "SITVOS: ResNet-50, ResNet-18 for masks", 23.1),
    "sitvos_paper": Preset(SITVOS, SITVOSConfig.paper(), "SITVOS to the letter of its paper"),
    "hst_mini": Preset(HST, HSTConfig.mini(), "HST for a laptop: a Swin of 16 to 128 channels"),
    "hst_t": Preset(HST, HST_OF("tiny"), "HST-T: Swin-T for images and video"),
    "hst_s": Preset(HST, HST_OF("small"), "HST-S: Swin-S for images and video"),
    "hst_b": Preset(HST, HST_OF("base"), "HST-B: Swin-B; published: the two Swins alone", 193.6),
    "hst_l": Preset(HST, HST_OF("large"), "HST-L: Swin-L for images and video"),
}


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return list(PRESETS)


def create_model(name: str, weights: str | Path | None = None, **overrides: Any) -> VOSNetwork:
    """Build a network by name, in evaluation mode.

    Args:
        name: one of `list_models()`.
        weights: None for random weights, "shipped" for the trained weights that come with the
            package, "imagenet" for timm's pretrained weights (downloaded) in the encoders and
            random ones elsewhere, or the path of a `.safetensors` file or of a `.pt` file that
            holds a state dict and nothing else.
        overrides: fields of the network's configuration to change, for example `layers=3`.

    Raises InputError for an unknown name or field and for settings that cannot be, for weights that
    are missing, corrupt or of another network, and when pretrained weights cannot be downloaded or
    there are none.
    """
    if name not in list_models():
        raise InputError(f"There is no model {name!r}. Known models: {', '.join(PRESETS)}.")
    if not isinstance(weights, str | Path | None):
        raise InputError(
            f"got weights={weights!r}; expected None, 'shipped', 'imagenet' or the path of a file"
        )
    preset = PRESETS[name]
    known = sorted(field.name for field in dataclasses.fields(preset.config))
    if unknown := sorted(set(overrides) - set(known)):
        raise InputError(
            f"{name} has no setting {', '.join(unknown)}. Known settings: {', '.join(known)}."
        )
    network = preset.network(dataclasses.replace(preset.config, **overrides))
    if weights == "imagenet":
        network.load_imagenet()
    elif weights is not None:
        path = _shipped(name) if weights in SHIPPED else Path(weights)
        load_weights(network, path)
    return network.eval()


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """A device: "auto" takes CUDA, then MPS, then the CPU; any other name is taken at its word.

    Says once which device it took, through `logging`. Raises InputError for a device that this
    machine does not have.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    here = ["cuda"] * cuda + ["mps"] * mps + ["cpu"]
    if name == "auto":
        name = here[0]
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"got device {name!r}; expected cuda, cuda:1, mps or cpu.") from error
    if device.type not in here:
        have = ", ".join(here)
        raise InputError(f"got device {name!r}, but this machine has {have}: use one or 'auto'.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise InputError(f"got device {name!r}, but GPUs here end at cuda:{last}.")
    say_once(log.info, f"computing on {device}")
    return device


def save_weights(network: VOSNetwork, path: str | Path, half: bool = False) -> None:
    """Write the weights as safetensors, whole or not at all, with a checksum.

    `half`: numbers in float16, half the bytes; networks that load them compute in float32.
    InputError when it cannot be written, and for a number too large for float16.
    """
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    if half:
        tensors = {key: _halved(value, key) for key, value in tensors.items()}
    with whole_file(path) as part:
        part.write_bytes(save(tensors, metadata={"sha256": checksum(tensors)}))


def _halved(tensor: Tensor, key: str) -> Tensor:
    """Floating-point numbers as float16; InputError where one becomes infinite."""
    halved = tensor.half() if tensor.is_floating_point() else tensor
    if (tensor.isfinite() & ~halved.isfinite()).any():
        raise InputError(f"{key} holds numbers above 65504: save without half precision.")
    return halved


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all names and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(network: VOSNetwork, path: str | Path) -> None:
    """Load weights into a network; it is left unchanged on error.

    Names that all begin with "module." are understood. Raises InputError when the file is missing,
    corrupt, holds more than tensors or numbers without end, or fits another network.
    """
    load_tensors(network, _read_weights(path), str(path))


def borrow_weights(network: VOSNetwork, relative: str) -> list[str]:
    """Load what has the same name and shape in a relative: shipped weights, or a file.

    Returns the names of the tensors that stay as they were. Raises InputError as `load_weights`,
    and when nothing fits.
    """
    path = _shipped(relative) if relative in PRESETS else Path(relative)
    own, theirs = network.state_dict(), _read_weights(path)
    fitting = {k: v for k, v in theirs.items() if k in own and v.shape == own[k].shape}
    if not fitting:
        raise InputError(f"{path} has no tensor that fits: borrow from a network of the same paper")
    load_tensors(network, own | fitting, str(path))
    return sorted(own.keys() - fitting.keys())


def _read_weights(path: str | Path) -> Mapping[str, Tensor]:
    tensors = only_tensors(read_file(Path(path)), str(path))
    if tensors and all(key.startswith("module.") for key in tensors):  # of a DataParallel
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def load_tensors(network: VOSNetwork, tensors: Mapping[str, Tensor], path: str) -> None:
    """Load the state dict of `path`; InputError, and nothing changed, when it does not fit."""
    if not isinstance(network, VOSNetwork):
        raise InputError(
            f"got a {type(network).__name__} as network; expected one of create_model: "
            "of a DataParallel give its .module"
        )
    wanted = network.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        raise InputError(
            f"{path} is of another network: it lacks {len(missing)} of the {len(wanted)} tensors "
            f"expected ({_some(missing)}) and has {len(extra)} unknown ones ({_some(extra)}). "
            "Choose the model name and the settings that the weights were trained with."
        )
    for key, value in wanted.items():
        if tensors[key].shape != value.shape:
            raise InputError(
                f"{path}: {key} has shape {tuple(tensors[key].shape)}, the network expects "
                f"{tuple(value.shape)}. "
                "Choose the model name and the settings that the weights were trained with."
            )
        if why := _unusable(tensors[key], value.dtype):
            raise InputError(
                f"{path}: {key} {why}; expected finite numbers of {value.dtype}: the training went "
                "wrong or the file is damaged, take weights of an earlier step"
            )
    network.load_state_dict(tensors)


def _unusable(tensor: Tensor, dtype: torch.dtype) -> str:
    """What keeps a tensor from being weights of that type; nothing if it can be."""
    if tensor.is_floating_point() != dtype.is_floating_point or tensor.is_complex():
        return f"holds {tensor.dtype}"
    count = int((~tensor.to(dtype).isfinite()).sum())
    return f"holds {count:,} numbers that are NaN or infinite" if count else ""


def only_tensors(content: Any, path: str) -> Mapping[str, Tensor]:
    """The content of `path`, if it is a plain state dict; InputError otherwise."""
    plain = isinstance(content, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )
    if not plain:
        raise InputError(
            f"{path} holds a {type(content).__name__}, no plain state dict of tensors. "
            "Save `model.state_dict()` and nothing else; a training writes it as MODEL.safetensors."
        )
    for key, value in content.items():
        if value.layout != torch.strided or value.is_meta:
            kind = "meta" if value.is_meta else value.layout
            raise InputError(
                f"{path}: {key} is a {kind} tensor. Save it dense, with its numbers, on the CPU."
            )
    return content


def read_file(path: Path) -> Any:
    """What a `.safetensors` or `.pt` file holds; no code that a pickle may hold is run."""
    if not os.path.isfile(path):  # of a path that cannot be it says no
        raise InputError(
            f"There is no weights file {path}. Give the path of a .safetensors or .pt file."
        )
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is no weights file; "
            "loading it could run code, so it was refused. Ask for a .safetensors file."
        ) from error
    except Exception as error:  # on bytes that are no pickle the unpickler may raise anything
        why = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"{path} is corrupt or no weights file ({why}). Fetch or train it again."
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dict
        stored = (file.metadata() or {}).get("sha256")
    if stored and stored != checksum(tensors):
        raise ValueError("its checksum is wrong")
    return tensors


def read_facts(name: str) -> dict[str, Any]:
    """How the shipped weights of a model were trained, and their scores; InputError without any."""
    return read_json(_shipped(name).with_suffix(".json"), "how the weights were trained")


def facts_of(name: str, weights: str | Path) -> dict[str, Any]:
    """How weights were trained, "shipped" or a file, by the JSON beside them; {} without one."""
    if weights in SHIPPED:
        return read_facts(name)
    beside = Path(weights).with_suffix(".json")
    return read_json(beside, f"how {weights} was trained") if beside.is_file() else {}


def has_weights(name: str) -> bool:
    """Whether trained weights come with this model."""
    return (WEIGHTS / f"{name}.safetensors").exists()


def _shipped(name: str) -> Path:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))) or "none"
        raise InputError(
            f"No trained weights come with {name} (they come with: {have}). Give a path instead."
        )
    return path


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
