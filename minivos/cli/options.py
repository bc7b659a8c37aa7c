"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]
Model = Annotated[str, typer.Option(help="model name, see `minivos models`")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="model name, repeatable; all that come with weights if not given"),
]
Weights = Annotated[
    str, typer.Option(help="'shipped' (with the package) or a .safetensors / .pt file")
]
Released = Annotated[
    Path | None,
    typer.Option(help="checkpoint as the network's authors released it, instead of --weights"),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="replace the results that this command wrote there before"),
]
Refine = Annotated[
    bool,
    typer.Option(
        help="fit contours to the colours of the frame where it is much larger than --side"
    ),
]
Precision = Annotated[str, typer.Option(help="float32, or bfloat16, which is meant for GPUs")]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="compile the network first, which takes minutes: for long runs"),
]


def model_for(weights: str, default: str) -> str:
    """The network that the JSON beside a file of weights names, else the default."""
    from minivos.models import SHIPPED, facts_of

    return default if weights in SHIPPED else facts_of(default, weights).get("model", default)
