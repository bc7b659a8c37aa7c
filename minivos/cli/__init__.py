"""What people type: `minivos paint`, `segment`, `explore`, `train`, `eval`, `demo`, and so on.

A command imports what it needs when it runs, so that `--help` and typing errors answer at once.
"""

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from minivos.cli.blend import blend_command
from minivos.cli.explore import explore
from minivos.cli.paint import frame, paint
from minivos.cli.plain import open_closed_streams, plain_errors
from minivos.cli.score import benchmark_command, eval_command
from minivos.cli.segment import segment
from minivos.cli.show import demo, doctor, models, shootout_command
from minivos.cli.train import train_command

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
COMMANDS: dict[str, Callable] = {
    "paint": paint,
    "frame": frame,
    "segment": segment,
    "explore": explore,
    "train": train_command,
    "blend": blend_command,
    "eval": eval_command,
    "benchmark": benchmark_command,
    "demo": demo,
    "shootout": shootout_command,
    "models": models,
    "doctor": doctor,
}


def show_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        print(f"minivos {version('minivos')}")
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="say more")] = False,
    asked: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="say the version"),
    ] = False,
) -> None:
    """Video object segmentation: the masks of the first frame in, the masks of every frame out."""
    open_closed_streams()
    ours = logging.StreamHandler()
    ours.addFilter(logging.Filter("minivos"))  # other packages print their own
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="minivos: %(message)s", handlers=[ours])


for name, command in COMMANDS.items():
    app.command(name)(plain_errors(command))
