"""The mean of two weights of one network: keep what was known, beside what was learned since."""

from __future__ import annotations

from pathlib import Path

import torch

from minivos.errors import InputError
from minivos.models import create_model, facts_of, save_weights
from minivos.training.export import origin, write_facts
from minivos.training.terms import joined
from minivos.video.files import prepare_output


def blend(model: str, learned: str | Path, known: str | Path, share: float, out: Path) -> Path:
    """Write (1 - share) of the weights `learned` + share of those `known`; returns the file.

    Both are "shipped" or a file, and of the network called `model`; share is from 0 to 1. Weights
    that were trained on from others lie so near them that points between the two serve, too, and
    often keep the best of either (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR
    2022). The JSON beside them is that of `learned`, without scores, with what was mixed in.
    Raises InputError for weights of another network, for other shares, and where one of the two
    lies in the folder `out`.
    """
    if not 0 <= share <= 1:
        raise InputError(f"got a share of {share}; expected 0 to 1")
    file = out / f"{model}.safetensors"
    if any(Path(each).resolve() == file.resolve() for each in (learned, known)):
        raise InputError(f"got {out} to write to, where {file.name} lies; expected another folder")
    network, other = create_model(model, learned), create_model(model, known).state_dict()
    between = {
        key: torch.lerp(value, other[key], share) if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(between)
    facts, mixed = facts_of(model, learned), origin(model, str(known))
    told = joined([facts, mixed]) | {"mixed in": {"share": share} | mixed}
    log = facts.pop("log", [])
    facts.pop("scores", None)
    prepare_output(out, overwrite=True, kind="train")
    save_weights(network, file)
    write_facts(out / model, {"model": model} | facts | told | {"log": log})
    return file
