"""Names -> networks, and networks <-> weight files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from minivos.aot import AOT, AOTConfig
from minivos.errors import InputError
from minivos.hst import HST, HSTConfig
from minivos.nn.network import VOSNetwork
from minivos.sitvos import SITVOS, SITVOSConfig
from minivos.sst import SST, SSTConfig
from minivos.video.files import whole_file

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Preset:
    """A named network."""

    network: type[VOSNetwork]
    config: Callable[[], Any]
    summary: str
    published: float | None = (
        None  # millions of parameters, as paper or released code say (HST: of its Swins)
    )


PRESETS = {
    "aot_mini": Preset(
        AOT, AOTConfig.mini, "AOT with 2 LSTT blocks of 96 channels; learns on a laptop"
    ),
    "aot_t": Preset(
        AOT, partial(AOTConfig.published, "t"), "AOT-T: MobileNet-V2, 1 LSTT block", 5.7
    ),
    "aot_s": Preset(
        AOT, partial(AOTConfig.published, "s"), "AOT-S: MobileNet-V2, 2 LSTT blocks", 7.0
    ),
    "aot_b": Preset(
        AOT, partial(AOTConfig.published, "b"), "AOT-B: MobileNet-V2, 3 LSTT blocks", 8.3
    ),
    "aot_l": Preset(
        AOT, partial(AOTConfig.published, "l"), "AOT-L: AOT-B that keeps every fifth frame", 8.3
    ),
    "r50_aot_l": Preset(
        AOT, partial(AOTConfig.published, "r50_l"), "R50-AOT-L: ResNet-50, 3 LSTT blocks", 14.9
    ),
    "swinb_aot_l": Preset(
        AOT, partial(AOTConfig.published, "swinb_l"), "SwinB-AOT-L: Swin-B, 3 LSTT blocks", 65.4
    ),
    "sst_mini": Preset(
        SST, SSTConfig.mini, "SST with 2 local layers of 96 channels; learns on a laptop"
    ),
    "sst": Preset(
        SST,
        SSTConfig,
        "SST: ResNet-101, 2 layers; pattern= local, strided, local_strided, grid or dense",
    ),
    "sitvos_mini": Preset(SITVOS, SITVOSConfig.mini, "SITVOS with 64 channels; learns on a laptop"),
    "sitvos": Preset(
        SITVOS, SITVOSConfig, "SITVOS: ResNet-50, ResNet-18 for masks; as released", 23.1
    ),
    "hst_mini": Preset(
        HST, HSTConfig.mini, "HST with a Swin of 16 to 128 channels; learns on a laptop"
    ),
    "hst_t": Preset(
        HST, partial(HSTConfig.published, "tiny"), "HST-T: Swin-T for images and video"
    ),
    "hst_s": Preset(
        HST, partial(HSTConfig.published, "small"), "HST-S: Swin-S for images and video"
    ),
    "hst_b": Preset(
        HST,
        partial(HSTConfig.published, "base"),
        "HST-B: two Swin-B; the published number is theirs",
        193.6,
    ),
    "hst_l": Preset(
        HST, partial(HSTConfig.published, "large"), "HST-L: Swin-L for images and video"
    ),
}


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return list(PRESETS)


def create_model(name: str, weights: str | Path | None = None, **overrides: Any) -> VOSNetwork:
    """Build a network by name, in evaluation mode.

    Args:
        name: one of `list_models()`.
        weights: None for random weights, "mini" for the small trained weights that come with the
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
            f"weights={weights!r} came; give None, 'mini', 'imagenet' or the path of a file."
        )
    preset = PRESETS[name]
    config = preset.config()
    known = {field.name for field in dataclasses.fields(config)}
    if unknown := sorted(set(overrides) - known):
        raise InputError(
            f"{name} has no setting {', '.join(unknown)}. Known settings: {', '.join(sorted(known))}."
        )
    network = preset.network(dataclasses.replace(config, **overrides))
    if weights == "imagenet":
        network.load_imagenet()
    elif weights is not None:
        path = _shipped(name) if weights == "mini" else Path(weights)
        load_weights(network, path)
    return network.eval()


def save_weights(network: VOSNetwork, path: str | Path) -> None:
    """Write the weights as safetensors, whole or not at all, with a checksum.

    InputError when it cannot be written.
    """
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    with whole_file(path) as part:
        part.write_bytes(save(tensors, metadata={"sha256": checksum(tensors)}))


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all names and values."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def load_weights(network: VOSNetwork, path: str | Path) -> None:
    """Load weights into a network; it is left unchanged on error.

    Raises InputError when the file is missing, corrupt, holds more than tensors, or fits another
    network.
    """
    load_tensors(network, only_tensors(read_file(Path(path)), str(path)), str(path))


def load_tensors(network: VOSNetwork, found: Mapping[str, Tensor], path: str) -> None:
    """Load a state dict that came from `path`; InputError, and nothing changed, when it does not
    fit.
    """
    wanted = network.state_dict()
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise InputError(
            f"{path} is of another network: it lacks {len(missing)} of the {len(wanted)} tensors expected "
            f"({_some(missing)}) and has {len(extra)} unknown ones ({_some(extra)}). "
            "Choose the model name and the settings that the weights were trained with."
        )
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise InputError(
                f"{path}: {key} has shape {tuple(found[key].shape)}, the network expects {tuple(value.shape)}. "
                "Choose the model name and the settings that the weights were trained with."
            )
    network.load_state_dict(found)


def only_tensors(found: Any, path: str) -> Mapping[str, Tensor]:
    """What came from `path`, when it is a plain state dict; InputError otherwise."""
    plain = isinstance(found, Mapping) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    )
    if not plain:
        raise InputError(
            f"{path} holds no plain state dict of tensors. Save `model.state_dict()` and nothing else."
        )
    return found


def read_file(path: Path) -> Any:
    """What a `.safetensors` or `.pt` file holds, without running any code that a pickle may
    hold.
    """
    if not path.is_file():
        raise InputError(
            f"There is no weights file {path}. Give the path of a .safetensors or .pt file."
        )
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dict
                wanted = (file.metadata() or {}).get("sha256")
                if wanted and wanted != checksum(tensors):
                    raise ValueError("its checksum is wrong")
                return tensors
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is no weights file; loading it could run code, so it was refused. "
            "Ask for a .safetensors file."
        ) from error
    except Exception as error:  # on bytes that are no pickle the unpickler may raise anything
        why = str(error) or type(error).__name__
        raise InputError(
            f"{path} is corrupt or no weights file ({why}). Fetch or train it again."
        ) from error


def read_facts(name: str) -> dict[str, Any]:
    """How the shipped weights of a model were trained and what they score; InputError when it
    has none.
    """
    return json.loads(_shipped(name).with_suffix(".json").read_text())


def has_weights(name: str) -> bool:
    """Whether small trained weights come with this model."""
    return (WEIGHTS / f"{name}.safetensors").exists()


def _shipped(name: str) -> Path:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))) or "none"
        raise InputError(
            f"No small trained weights come with {name} (they come with: {have}). Give a path instead."
        )
    return path


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
