"""`minivos eval`: how good masks are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def eval_command(
    gt: Annotated[Path, typer.Argument(help="true masks: a folder of PNGs, or of such folders")],
    pred: Annotated[Path, typer.Argument(help="predicted masks, laid out alike")],
    csv: Annotated[
        Path | None, typer.Option(help="where to write the table; PRED/scores.csv if not given")
    ] = None,
) -> None:
    """Score masks as DAVIS does: J, F, J&F, with recall and decay, per object and overall."""
    from minivos.evaluation.evaluate import evaluate_folders

    evaluation = evaluate_folders(gt, pred)
    print(evaluation.table().text())
    evaluation.write_csv(csv := csv or pred / "scores.csv")
    print(f"written to {csv}")
