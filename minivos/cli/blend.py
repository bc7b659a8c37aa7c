"""`minivos blend`: the mean of two weights of one network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minivos.cli.options import model_for
from minivos.errors import InputError

Weights = Annotated[str, typer.Argument(help="'shipped', or a file that `minivos train` wrote")]


def blend_command(
    learned: Weights,
    known: Weights = "shipped",
    share: Annotated[float, typer.Option(help="of the second in the mean, 0 to 1")] = 0.5,
    model: Annotated[
        str | None,
        typer.Option(help="model name; from the JSON beside the weights if not given"),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for weights and JSON")] = Path("runs/blend"),
) -> None:
    """Mix weights with those they were trained on from, to keep more of what these knew."""
    from minivos.training.blend import blend

    name = model or model_for(learned, "") or model_for(known, "")
    if not name:
        raise InputError(
            f"got {learned} and {known}, and no JSON beside them that names their network; "
            "expected --model NAME, see `minivos models`"
        )
    written = blend(name, learned, known, share, out)
    print(f"{1 - share:.0%} of {learned}, {share:.0%} of {known}: {written} and .json")
